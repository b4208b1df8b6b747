"""Turn a trained model folder into what a peer engine loads: a step like those of :mod:`edgedistil.stages.compress`."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models.reference import uses_types
from ..store.files import link_or_copy
from ..tasks.training_part import training_part
from .registry import interpreter, missing, peer, versions

# Training sentences that a static quantisation sees (NNCF's own default is 300).
CALIBRATION_SENTENCES = 300
_BESIDE = ("config.json", "tokenizer.json", "reference.safetensors")
_ONLY_SHRUNKEN_LOADER = (
    "its own loader knows one number of heads and one FFN width for all layers; this model's layers have their own"
)


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Fill ``request["output"]`` for ``request["options"]["peer"]``.

    ``options`` are ``peer``, ``task``, ``data``, ``seed`` and, for INT8 on processors without VNNI, ``reduce_range``.

    Beside the engine's own files the folder gets the model's config, tokenizer and reference answers.

    Returns:
        ``peer``, ``precision``, ``versions``, ``files`` (bytes of what the engine loads, by name) and what the
        conversion noted; or ``peer`` and ``skipped``, one line, when the engine can't hold this model.

    Raises:
        UserError: the peer is unknown or not installed.
        RuntimeError: a conversion failed.
    """
    from ..learning.quiet import quiet

    name = request["options"]["peer"]
    wanted = peer(name)
    lacking = missing(name)
    if lacking:
        raise UserError(lacking)
    quiet()
    source, output = Path(request["inputs"]["model"]), Path(request["output"])
    for file in _BESIDE:
        if (source / file).is_file():
            link_or_copy(source / file, output / file)
    beside = set(output.rglob("*"))
    facts = _CONVERSIONS[name](request, source, output)
    if "skipped" in facts:
        return {"peer": name, **facts}
    made = sorted(path for path in set(output.rglob("*")) - beside if path.is_file())
    return {
        "peer": name,
        "precision": wanted.precision,
        "versions": versions(name),
        "files": {str(path.relative_to(output)): path.stat().st_size for path in made},
        **facts,
    }


def _openvino_fp32(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    from ..export.exporter import export_standard
    from .openvino_convert import convert_float

    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        figures = export_standard(source, graph, uses_types(source))
        convert_float(graph, output / "model.xml")
    return {"exporter_parity": figures}


def _openvino_int8(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    from ..export.exporter import export_standard
    from .openvino_convert import convert_int8

    rows = _calibration(request, source)
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        figures = export_standard(source, graph, uses_types(source))
        convert_int8(graph, output / "model.xml", rows, _reduce_range(request))
    return {"exporter_parity": figures, "calibration_sentences": len(rows)}


def _openvino_int8_trimmed(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    import onnx

    from ..export.graph import write_graph
    from ..export.precision import Float32
    from ..export.reading import read_model
    from .openvino_convert import convert_int8

    rows = _calibration(request, source)
    model = write_graph(read_model(source), Float32(), token_types=uses_types(source), standard=True)
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        onnx.save(model, graph)
        convert_int8(graph, output / "model.xml", rows, _reduce_range(request))
    return {"calibration_sentences": len(rows)}


def _ctranslate2_int8(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    from .ctranslate2_convert import convert_int8, why_not

    reason = why_not(source)
    if reason:
        return {"skipped": reason}
    convert_int8(source, output)
    return {}


def _optimum_int8(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    from ..models.shrunken import STRUCTURE_FILE

    if (source / STRUCTURE_FILE).is_file():
        return {"skipped": f"Optimum can't load the model: {_ONLY_SHRUNKEN_LOADER}"}
    python = interpreter("optimum_int8")
    assert python is not None
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as lent:
        # Without the tokenizer's files, which the older transformers there may not read; nothing here needs them.
        for file in ("config.json", "model.safetensors"):
            link_or_copy(source / file, Path(scratch) / file)
        # This package alone, not what is installed beside it.
        package = Path(__file__).resolve().parents[1]
        (Path(lent) / package.name).symlink_to(package)
        arguments = [scratch, str(output / "optimum"), *(["reduce_range"] if _reduce_range(request) else [])]
        done = subprocess.run(
            [python, "-m", "edgedistil.peers.optimum_convert", *arguments],
            env={**os.environ, "PYTHONPATH": lent, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise RuntimeError(f"Optimum's conversion failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    facts: dict[str, Any] = json.loads(lines[-1])
    return facts


def _onnxruntime_int8_recipe(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from ..export.exporter import export_standard

    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        figures = export_standard(source, graph, uses_types(source))
        quantize_dynamic(
            graph,
            output / "model.onnx",
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=_reduce_range(request),
        )
    return {"exporter_parity": figures}


def _torch_as_it_is(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    from ..models.shrunken import STRUCTURE_FILE

    for file in ("model.safetensors", STRUCTURE_FILE):
        if (source / file).is_file():
            link_or_copy(source / file, output / file)
    return {}


def _torch_dynamic_int8(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    import torch

    # The file is FP32: PyTorch quantises it each time it is loaded.
    return {**_torch_as_it_is(request, source, output), "quantised_engine": torch.backends.quantized.engine}


def _torch_compile(request: dict[str, Any], source: Path, output: Path) -> dict[str, Any]:
    from .registry import compiler

    return {**_torch_as_it_is(request, source, output), "compiler": Path(str(compiler())).name}


_CONVERSIONS: dict[str, Callable[[dict[str, Any], Path, Path], dict[str, Any]]] = {
    "openvino_fp32": _openvino_fp32,
    "openvino_int8": _openvino_int8,
    "openvino_int8_trimmed": _openvino_int8_trimmed,
    "ctranslate2_int8": _ctranslate2_int8,
    "optimum_int8": _optimum_int8,
    "onnxruntime_int8_recipe": _onnxruntime_int8_recipe,
    "torch_dynamic_int8": _torch_dynamic_int8,
    "torch_compile": _torch_compile,
}


def _reduce_range(request: dict[str, Any]) -> bool:
    """Weights within 7 bits, as the same option of our own INT8: for x86 without VNNI."""
    return bool(request["options"].get("reduce_range", False))


def _calibration(request: dict[str, Any], source: Path) -> list[dict[str, Any]]:
    """Training sentences as a quantiser's inputs: int64 ``[1, tokens]`` by name, each at its true length."""
    import numpy as np

    from ..tasks.encode import encode_with_types, load_tokenizer

    examples = training_part(request, CALIBRATION_SENTENCES)
    tokenizer = load_tokenizer(source, request["options"]["task"]["max_length"])
    rows = []
    for ids, types in zip(*encode_with_types(tokenizer, examples.texts), strict=True):
        row = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": types}
        rows.append({key: np.array([value], np.int64) for key, value in row.items()})
    return rows
