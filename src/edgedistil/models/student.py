"""A student cut out of its teacher: some layers, the embeddings and the decoder copied as they are."""

from typing import Any

from ..errors import UserError
from .conversion import as_distilbert_masked_lm
from .layer_choice import choose_layers

_TRANSFORM = ("vocab_transform.", "vocab_layer_norm.")


def student_of(teacher: Any, student: dict[str, Any]) -> Any:
    """A DistilBERT masked language model made from ``teacher`` (BERT or DistilBERT), in eval mode.

    Args:
        student: the validated ``student`` group. ``init: teacher`` copies the chosen layers, embeddings with their
            LayerNorm, decoder bias (its matrix is tied) and, with ``vocab_transform: true``, the head's transform and
            its LayerNorm, bit for bit; of a BERT, row 0 of the token types is added to the positions first
            (:mod:`.conversion`). ``init: random`` takes the shape alone; ``architecture`` may then change it.

    Raises:
        UserError: see :func:`choose_layers`; another width with copied weights.
    """
    from transformers import DistilBertForMaskedLM

    source = as_distilbert_masked_lm(teacher)
    changes = dict(student["architecture"] or {})
    if student["init"] == "random":
        depth = changes.get("n_layers") or student["depth"] or len(student["layers"] or []) or None
        layers = list(range(depth)) if depth else choose_layers(student, source.config.n_layers)
    else:
        layers = choose_layers(student, source.config.n_layers)
        if changes:
            raise UserError(
                f"student.architecture changes {', '.join(sorted(changes))}, which copied weights can't follow; use "
                "student.init=random"
            )
    config = type(source.config)(**{**source.config.to_dict(), "n_layers": len(layers), **changes})
    made = DistilBertForMaskedLM(config)
    if student["init"] == "random":
        return made.eval()
    state = {}
    for name, value in source.state_dict().items():
        if name.startswith(_TRANSFORM) and not student["vocab_transform"]:
            continue
        if name.startswith("distilbert.transformer.layer."):
            continue
        state[name] = value
    for new, old in enumerate(layers):
        prefix = f"distilbert.transformer.layer.{old}."
        for name, value in source.state_dict().items():
            if name.startswith(prefix):
                state[f"distilbert.transformer.layer.{new}.{name.removeprefix(prefix)}"] = value
    missing, unexpected = made.load_state_dict(state, strict=False)
    lost = [n for n in missing if not n.startswith(_TRANSFORM) and not n.endswith("position_ids")]
    if lost or unexpected:
        raise UserError(f"the student's weights do not fit: missing {lost[:3]}, unexpected {unexpected[:3]}")
    return made.eval()
