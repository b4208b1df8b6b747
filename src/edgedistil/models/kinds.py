"""What differs between architectures, said once."""

from typing import Any

# Those whose layers we know: graphs written from weights, pruning.
KNOWN = ("bert", "distilbert")
# Others go through PyTorch's exporter, uncut.
EXPORTED = ("albert", "electra", "mobilebert", "roberta")
# Those whose texts are cut into BERT's word pieces: a twin's stand-in tokenizer makes texts of their length.
TWINS = (*KNOWN, "albert", "electra", "mobilebert")
# How the classes of transformers end whose models are trained for a kind of task.
CLASSIFIER, SPANS, MASKED_LM = "ForSequenceClassification", "ForQuestionAnswering", "ForMaskedLM"
_TYPED = ("bert", "albert", "electra", "mobilebert")


def head_of(task_kind: str) -> str:
    """How the class of a model ends that is fine-tuned for this kind of task."""
    return SPANS if task_kind == "question_answering" else CLASSIFIER


def takes_token_types(model: Any) -> bool:
    """Whether the model tells the two texts of a pair apart by a third input."""
    return model.config.model_type in _TYPED


def is_regression(model: Any) -> bool:
    """Whether the model has a single output a text: the number itself."""
    return bool(model.config.num_labels == 1)
