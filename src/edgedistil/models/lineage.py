"""Which models a model was cut from: a list in ``config.json``, so that it stays with the weights wherever they go."""

import hashlib
from pathlib import Path
from typing import Any

from .folder import count_parameters

KEY = "edgedistil_parents"


def record_parent(network: Any, folder: Path, pruning: dict[str, Any]) -> list[dict[str, Any]]:
    """Add the folder that a model was read from to its parents, before it is cut.

    Returns:
        All parents, the oldest first: ``sha256`` of ``model.safetensors``, ``parameters``, and what was done to it
        next (``method``, ``ratio``).
    """
    with open(Path(folder) / "model.safetensors", "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    parents: list[dict[str, Any]] = [
        *(getattr(network.config, KEY, None) or []),
        {
            "sha256": digest,
            "parameters": count_parameters(network),
            "method": pruning["method"],
            "ratio": pruning["ratio"],
        },
    ]
    setattr(network.config, KEY, parents)
    return parents
