"""Export: a model folder becomes the ONNX files that ship, through lint and the parity gate."""

import logging
from pathlib import Path
from typing import Any

from ..config.exported import why_not_exported
from ..errors import UserError
from ..models.card import step_card
from ..models.reference import read_reference, uses_types
from ..store.files import link_or_copy, read_json

log = logging.getLogger("edgedistil")
# Lengths whose operations are counted.
_COUNTED = (16, 32, 64, 128)
MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "structure.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "reference.safetensors",
)


def export(request: dict[str, Any]) -> dict[str, Any]:
    """Write ``model.onnx`` and ``model.onnx.data`` at the chosen precision and let them through the parity gate.

    The graph of an architecture that we know is written from its weights; any other goes through PyTorch's exporter.

    Raises:
        UserError: a precision that only a written graph can have.
        RuntimeError: the file is not clean, or does not answer as the model does.
    """
    from ..export.parity import parity, verdict
    from ..export.reading import can_read

    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    why = can_read(source)
    other_head = options["graph"].get("head") == "vocabulary"
    if why and other_head:
        raise UserError(f"{why}; compression.graph.head=vocabulary needs a graph that is written here")
    facts, planned = (_exported(request, why), None) if why else _written(request)
    copy_model_files(source, output)
    figures = parity(output / "model.onnx", output)
    log.info("parity: %s", figures)
    shut = verdict(figures, options["quantization"])
    if shut:
        raise RuntimeError(f"parity gate: {shut}")
    _write_card(output, request["label"], figures, _outputs(output))
    if other_head:
        # The encoder and the rounding are through the gate; the head that ships in its stead answers nothing.
        facts |= _with_vocabulary_head(request, planned)
    elif options["graph"]["padding"]:
        from ..export.spread import padding_spread

        facts["padding_spread"] = padding_spread(output / "model.onnx", output)
    return {"parity": figures, **facts}


def _written(request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    from ..export.reading import read_model
    from .quantise import plan

    weights = read_model(Path(request["inputs"]["model"]))
    planned = plan(weights, request)
    parts = _save_graph(request, planned)
    facts = {"onnx_bytes_by_part": parts, "structure": structure(weights), **counts(weights), **planned.facts}
    return facts, planned


def _with_vocabulary_head(request: dict[str, Any], planned: Any) -> dict[str, Any]:
    """The same graph with a masked-language-modelling head of random weights, in place of the task's."""
    from dataclasses import replace

    from ..export.random_weights import vocabulary_head

    weights = replace(planned.weights, head=vocabulary_head(planned.weights.encoder))
    parts = _save_graph(request, replace(planned, weights=weights))
    return {"onnx_bytes_by_part": parts, "head": "vocabulary, random weights", **counts(weights)}


def _save_graph(request: dict[str, Any], planned: Any) -> dict[str, int]:
    """Write ``model.onnx``; bytes of its parts."""
    from ..export.graph import write_graph

    options, source = request["options"], Path(request["inputs"]["model"])
    model = write_graph(planned.weights, planned.precision, uses_types(source), options["graph"]["padding"])
    return save_clean(model, options["quantization"], planned.kept, Path(request["output"]))


def save_clean(model: Any, quantization: dict[str, Any], kept: list[str], output: Path) -> dict[str, int]:
    """Write ``model.onnx`` and its weights into ``output``; bytes of its parts.

    Args:
        kept: nodes that stay in FP32.

    Raises:
        RuntimeError: it is not clean.
    """
    from ..export.files import save
    from ..export.lint import bytes_by_part, lint

    float_tables = not quantization.get("embeddings", True)
    faults = lint(model, quantization["method"] not in ("none", "fp16"), float_tables, kept)
    if faults:
        raise RuntimeError("the ONNX graph is not clean: " + "; ".join(faults))
    parts = bytes_by_part(model)
    save(model, output / "model.onnx")
    return parts


def copy_model_files(source: Path, output: Path) -> None:
    """Put what a model folder holds beside its graph into ``output``."""
    for name in MODEL_FILES:
        if (source / name).is_file():
            link_or_copy(source / name, output / name)


def _exported(request: dict[str, Any], why: str) -> dict[str, Any]:
    """The way for architectures whose weights we can't read: the exporter's graph, INT8 by ONNX Runtime's quantiser."""
    import tempfile

    import onnx

    from ..export.exporter import export_standard, quantise_dynamic
    from ..export.files import save
    from ..measurement.flops import module_flops
    from ..models.folder import count_parameters
    from ..models.shrunken import load_classifier

    options, source = request["options"], Path(request["inputs"]["model"])
    # Of hub models the architecture may only be known now that it is loaded.
    kind = read_json(source / "config.json")["model_type"]
    refused = why_not_exported(kind, options, "onnxruntime", spans=len(_outputs(source)) > 1)
    if refused:
        raise UserError(refused)
    quantization = options["quantization"]
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        export_standard(source, graph, uses_types(source))
        if quantization["method"] == "int8_dynamic":
            quantise_dynamic(graph, quantization["weights"], quantization["embeddings"] not in (False, "none"))
        save(onnx.load(graph), Path(request["output"]) / "model.onnx")
    network = load_classifier(source)
    counted = [n for n in _COUNTED if n <= network.config.max_position_embeddings]
    return {
        "exporter": why,
        "parameters": count_parameters(network),
        "gflops_by_tokens": {str(n): round(module_flops(network, n) / 1e9, 6) for n in counted},
    }


def counts(weights: Any) -> dict[str, Any]:
    """Parameters, share of zeros among the encoder's products, and GFLOP at some lengths."""
    import numpy as np

    from ..measurement.flops import graph_flops

    matrices = [
        getattr(layer, part).weight
        for layer in weights.encoder.layers
        for part in ("query", "key", "value", "out", "ffn_in", "ffn_out")
    ]
    zeros = sum(int(np.count_nonzero(m == 0)) for m in matrices)
    return {
        "parameters": weights.parameters,
        "encoder_sparsity": round(zeros / sum(m.size for m in matrices), 6),
        "gflops_by_tokens": {str(n): round(graph_flops(weights, n) / 1e9, 6) for n in _COUNTED},
    }


def structure(weights: Any) -> list[dict[str, int]]:
    """Heads and FFN width of each layer."""
    return [{"heads": layer.heads, "ffn": layer.ffn_in.bias.size} for layer in weights.encoder.layers]


def _outputs(folder: Path) -> list[str]:
    """What the graph of a model folder gives."""
    spans = read_reference(folder)[2][0].ndim == 2
    return ["start_logits", "end_logits"] if spans else ["logits"]


def _write_card(output: Path, label: str, figures: dict[str, Any], outputs: list[str]) -> None:
    paragraphs = [
        "`model.onnx` (its weights are in `model.onnx.data`: keep both together) takes `input_ids` and "
        f"`attention_mask`, gives {' and '.join(f'`{name}`' for name in outputs)}. Answers without PyTorch: "
        "`python -m edgedistil predict FOLDER TEXT`.",
        "\n".join(f"- parity {k}: {v:g}" for k, v in figures.items()),
    ]
    pipeline = "question-answering" if len(outputs) > 1 else "text-classification"
    (output / "README.md").write_text(step_card(label, "onnxruntime", pipeline, paragraphs))
