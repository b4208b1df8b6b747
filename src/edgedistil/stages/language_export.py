"""Export of a masked language model: the file that ships, and a second graph that also gives the last hidden state."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..learning.quiet import quiet
from ..store.files import link_or_copy
from .export import MODEL_FILES, counts, structure

log = logging.getLogger("edgedistil")
# Texts of the gate: a logit of each of 30,522 entries for every token of every text.
_TEXTS = 16
_LONGEST = 64
Logits = NDArray[np.float32]


def export_language(request: dict[str, Any]) -> dict[str, Any]:
    """Step: write ``model.onnx`` at the chosen precision; it must answer as PyTorch does on held-out texts.

    Raises:
        UserError: an architecture that we can't write.
        RuntimeError: the file is not clean, or does not answer as the model does.
    """
    from ..export.files import save
    from ..export.lint import bytes_by_part, lint
    from ..export.parity import verdict

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    quantization = options["quantization"]
    planned, model = language_graph(request, hidden=False)
    float_tables = not quantization.get("embeddings", True)
    faults = lint(model, quantization["method"] not in ("none", "fp16"), float_tables, planned.kept)
    if faults:
        raise RuntimeError("the ONNX graph is not clean: " + "; ".join(faults))
    parts = bytes_by_part(model)
    save(model, output / "model.onnx")
    for name in MODEL_FILES:
        if (source / name).is_file():
            link_or_copy(source / name, output / name)
    figures = _parity(output / "model.onnx", source, Path(request["inputs"]["held_out"]))
    log.info("parity: %s", figures)
    shut = verdict(figures, quantization)
    if shut:
        raise RuntimeError(f"parity gate: {shut}")
    return {
        "parity": figures,
        "head": "vocabulary",
        "onnx_bytes_by_part": parts,
        "structure": structure(planned.weights),
        **counts(planned.weights),
        **planned.facts,
    }


def language_graph(request: dict[str, Any], hidden: bool) -> tuple[Any, Any]:
    """(what was decided for the precision, the ONNX model); ``hidden``: with the last hidden state as an output."""
    from ..export.graph import write_graph
    from ..export.reading import read_model
    from .quantise import plan

    planned = plan(read_model(Path(request["inputs"]["model"])), request)
    padding = request["options"]["graph"]["padding"]
    return planned, write_graph(planned.weights, planned.precision, padding=padding, hidden=hidden)


def gate_texts(held_out: Path) -> list[list[int]]:
    """Token ids of the first held-out texts, none longer than the gate looks at."""
    from ..tasks.corpus import Corpus

    corpus = Corpus(held_out)
    return [corpus[i][:_LONGEST].tolist() for i in range(min(_TEXTS, len(corpus)))]


def ask(session: Any, ids: list[int], outputs: list[str]) -> list[Logits]:
    """Outputs of one text alone, without padding, each without its batch axis."""
    wanted = {i.name for i in session.get_inputs()}
    feed = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, len(ids)), np.int64)}
    return [found[0] for found in session.run(outputs, {k: v for k, v in feed.items() if k in wanted})]


def _parity(file: Path, source: Path, held_out: Path) -> dict[str, Any]:
    import torch

    from ..export.calibration import open_session
    from ..models.shrunken import load_model

    texts, network, session = gate_texts(held_out), load_model(source), open_session(file)
    with torch.inference_mode():
        expected = [network(torch.tensor([t]), torch.ones(1, len(t))).logits[0].numpy() for t in texts]
    return differences([ask(session, t, ["logits"])[0] for t in texts], expected)


def differences(found: list[Logits], expected: list[Logits]) -> dict[str, Any]:
    """As :func:`edgedistil.export.parity.parity`; an answer is the best token at a place that the model is sure of."""
    from ..export.parity import centred_spread
    from ..models.reference import equal_share

    difference = np.concatenate([(f - e).ravel() for f, e in zip(found, expected, strict=True)])
    return {
        "max_abs_difference": float(np.abs(difference).max()),
        "rms_ratio": float(np.sqrt(np.mean(difference.astype(np.float64) ** 2))) / centred_spread(expected),
        "agreement": equal_share(found, expected),
        "n": len(found),
    }
