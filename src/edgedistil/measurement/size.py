"""Bytes on disk of what would ship, by part."""

from pathlib import Path

# What a process that serves the model opens; everything else in the folder is for people and for PyTorch.
_SHIPS = {
    "onnxruntime": {"model.onnx": "model", "tokenizer.json": "tokenizer", "config.json": "config"},
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
