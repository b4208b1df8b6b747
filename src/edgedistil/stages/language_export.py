"""Export of a masked language model: the file that ships, and a second graph that also gives the last hidden state."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..learning.quiet import quiet
from .export import copy_model_files, counts, save_clean, structure

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
    from ..export.parity import verdict

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    quantization = options["quantization"]
    planned, model = language_graph(request, hidden=False)
    parts = save_clean(model, quantization, planned.kept, output)
    copy_model_files(source, output)
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
    from ..export.parity import differences
    from ..models.shrunken import load_model

    texts, network, session = gate_texts(held_out), load_model(source), open_session(file)
    with torch.inference_mode():
        expected = [network(torch.tensor([t]), torch.ones(1, len(t))).logits[0].numpy() for t in texts]
    return differences([ask(session, t, ["logits"])[0] for t in texts], expected)
