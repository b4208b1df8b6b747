"""Bytes on disk of what would ship, by part."""

from pathlib import Path

# What a process that serves the model opens; everything else in the folder is for people and for PyTorch.
_SHIPS = {
    "onnxruntime": {
        "model.onnx": "model",
        "model.onnx.data": "model",
        "tokenizer.json": "tokenizer",
        "config.json": "config",
    },
    "torch": {
        "model.safetensors": "model",
        "tokenizer.json": "tokenizer",
        "config.json": "config",
        "structure.json": "config",
    },
}


def size_by_part(folder: Path, engine: str) -> dict[str, float]:
    """MB (10⁶ bytes) of model, tokenizer and config of a model folder, and their ``total``."""
    parts = {"model": 0.0, "tokenizer": 0.0, "config": 0.0}
    for name, part in _SHIPS[engine].items():
        if (folder / name).is_file():
            parts[part] += (folder / name).stat().st_size / 1e6
    return {f"{part}_mb": round(value, 6) for part, value in {**parts, "total": sum(parts.values())}.items()}


# Weights and graphs of every engine that may stand in a run: ONNX with its outside data, OpenVINO, CTranslate2.
_WEIGHTS = (".onnx", ".data", ".xml", ".bin")


def shipped_files(folder: Path) -> list[Path]:
    """The files under a model folder that any engine opens: everything but notes and references, in order of name."""
    kept = {name for parts in _SHIPS.values() for name in parts}
    return sorted(p for p in folder.rglob("*") if p.is_file() and (p.name in kept or p.suffix in _WEIGHTS))
