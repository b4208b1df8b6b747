"""The three losses of a compressed masked language model, through the engine that ships.

What ships gives logits alone; DistilBERT's cosine loss (arXiv 1910.01108, section 3) needs the last hidden state. So
the same weights at the same precision are written once more, with that as a second output, and it is checked that both
files give the same logits. The second one is no part of what ships, nor of its size.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..learning.quiet import quiet
from .language_export import ask, gate_texts, language_graph
from .language_quality import LOSSES_FILE

log = logging.getLogger("edgedistil")
# The two files' logits, in units of their spread: the kernels may be fused otherwise around the second output.
_SAME = 1e-3


def evaluate_language(request: dict[str, Any]) -> dict[str, Any]:
    """Step: losses in nats on the held-out texts, one text at a time, on the masks that training is validated with.

    Returns:
        ``losses``: ``mlm_loss`` and ``perplexity``; with a teacher ``soft_target_loss`` (T² · KL over all real tokens),
        ``cosine_loss`` (1 − cos of the last hidden states) and ``teacher_mlm_loss``; ``texts`` and ``targets``;
        ``parity_with_shipped``. ``losses.safetensors`` holds each text's sums.

    Raises:
        RuntimeError: the evaluation graph does not answer as the shipped one.
    """
    quiet()
    import torch
    from safetensors.numpy import save_file

    from ..config.build import build
    from ..export.calibration import open_session
    from ..learning.losses import cosine_loss, soft_target_loss
    from ..learning.pretraining import perplexity
    from ..tasks.corpus import Corpus
    from .masked_texts import held_out_texts, vocabulary_of

    options, inputs = request["options"], request["inputs"]
    _, model = language_graph(request, hidden=True)
    session = open_session(model)
    outputs = [output.name for output in session.get_outputs()]
    same = _parity_with_shipped(session, outputs, inputs)
    train, held_out = (Corpus(Path(inputs[name])) for name in ("train", "held_out"))
    size = session.get_outputs()[0].shape[-1]
    masking = build(options["masking"])(vocabulary_of(Path(inputs["exported"]), train, size))
    teacher = _teacher(request)
    sums: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        sums.setdefault(name, []).append(value)

    for text in held_out_texts(held_out, masking):
        logits, hidden = (torch.from_numpy(x) for x in ask(session, text.shown.tolist(), outputs))
        add("targets", int(text.target.sum()))
        add("tokens", len(text.true))
        add("mlm_loss", _of_targets(logits, text))
        if teacher is not None:
            their_logits, their_hidden = teacher(text.shown)
            add("soft_target_loss", float(soft_target_loss(logits, their_logits, options["temperature"])))
            if hidden.shape == their_hidden.shape:
                add("cosine_loss", float(cosine_loss(hidden, their_hidden)))
            add("teacher_mlm_loss", _of_targets(their_logits, text))
    figures = {name: np.array(values, np.float64) for name, values in sums.items()}
    # Means over rows: targets of the MLM losses, real tokens of the others.
    for name in ("soft_target_loss", "cosine_loss"):
        if name in figures:
            figures[name] *= figures["tokens"]
    save_file(figures, Path(request["output"]) / LOSSES_FILE)
    losses = {name: round(mean(figures, name), 6) for name in figures if name.endswith("_loss")}
    losses["perplexity"] = round(perplexity(losses["mlm_loss"]), 6)
    log.info("losses: %s", losses)
    counted = {"texts": len(figures["tokens"]), "targets": int(figures["targets"].sum())}
    return {"losses": losses, **counted, "parity_with_shipped": same}


def mean(figures: dict[str, Any], name: str) -> float:
    """A loss over all texts out of each text's sum."""
    rows = "targets" if name.endswith("mlm_loss") else "tokens"
    return float(figures[name].sum() / figures[rows].sum())


def _of_targets(logits: Any, text: Any) -> float:
    """Summed cross-entropy in nats at the masked places."""
    from torch.nn.functional import cross_entropy

    return float(cross_entropy(logits[text.target].float(), text.true[text.target], reduction="sum"))


def _teacher(request: dict[str, Any]) -> Any:
    """From ids ``[tokens]`` to the teacher's logits and last hidden state, or None where there is no teacher."""
    if "teacher" not in request["options"]:
        return None
    import torch

    from ..models.masked_lm import encode_tokens, load_masked_lm, token_logits

    where = request["inputs"].get("teacher") or request["runtime"]["teacher"]
    network = load_masked_lm(where, request["options"]["teacher"], needs_head=True)

    def answer(ids: Any) -> tuple[Any, Any]:
        with torch.inference_mode():
            hidden = encode_tokens(network, ids[None], torch.ones(1, len(ids), dtype=torch.long))[0]
            return token_logits(network, hidden).float(), hidden.float()

    return answer


def _parity_with_shipped(session: Any, outputs: list[str], inputs: dict[str, str]) -> dict[str, Any]:
    from ..export.calibration import open_session
    from ..export.parity import differences

    shipped, texts = open_session(Path(inputs["exported"]) / "model.onnx"), gate_texts(Path(inputs["held_out"]))
    if not texts:
        raise UserError("the held-out texts are too few to check a graph on: give more (task.validation)")
    found = differences([ask(session, t, outputs)[0] for t in texts], [ask(shipped, t, ["logits"])[0] for t in texts])
    if found["rms_ratio"] > _SAME:
        raise RuntimeError(f"the evaluation graph does not answer as what ships: {found}")
    return found
