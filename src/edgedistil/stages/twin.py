"""A twin: a model's shape with random weights, for what does not depend on values: speed, memory, size."""

from pathlib import Path
from typing import Any

from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError
from ..learning.quiet import quiet
from ..tasks.source import Source


def twin(request: dict[str, Any]) -> dict[str, Any]:
    """Make a model of the given architecture, with the task's head and seeded random weights; none is downloaded.

    Raises:
        UserError: the architecture has unknown keys, or knows fewer tokens than the tokenizer.
    """
    quiet()
    import torch
    from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    from ..models.folder import count_parameters, save_model
    from ..models.loading import save_tokenizer
    from ..models.reference import write_reference
    from ..tasks.encode import encode_with_types, load_tokenizer
    from ..tasks.examples import SCORE, load
    from ..tasks.questions import load_questions
    from .answering import window_inputs

    options, runtime, output = request["options"], request["runtime"], Path(request["output"])
    task = options["task"]
    names = [SCORE] if task.get("regression") else task["labels"]
    spans = task["kind"] == QUESTION_ANSWERING
    if not names and not spans:
        raise UserError("a random twin needs task.labels: they say how many classes its head has")
    architecture = {**options["model"]["architecture"]}
    labels = {} if spans else {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    config = AutoConfig.for_model(architecture.pop("model_type"), **{**architecture, **labels})
    torch.manual_seed(options["seed"])
    head = AutoModelForQuestionAnswering if spans else AutoModelForSequenceClassification
    network = head.from_config(config).float().eval()
    save_tokenizer(runtime["location"], options["model"], output)
    tokenizer = load_tokenizer(output, task["max_length"])
    if tokenizer.get_vocab_size() > config.vocab_size:
        raise UserError(
            f"model.architecture has vocab_size={config.vocab_size}, the tokenizer knows {tokenizer.get_vocab_size()} "
            "tokens: give at least that many"
        )
    source = Source(options["data"], runtime["files"])
    if spans:
        ids, types = window_inputs(tokenizer, load_questions(task, source, "validation", options["seed"]), task)
    else:
        texts = load(task, source, "validation", names, options["seed"]).texts
        ids, types = encode_with_types(tokenizer, texts)
    save_model(network, output, {"title": request["label"], "lines": ["random weights: speed and size only"]})
    write_reference(network, output, ids, types, options["seed"])
    return {"parameters": count_parameters(network), "random": True}
