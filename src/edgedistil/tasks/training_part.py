"""The parts of the training split that a step may look at."""

import json
import random
from pathlib import Path
from typing import Any

from .examples import Examples, load
from .parts import divide
from .source import Source


def training_part(request: dict[str, Any], limit: int | None) -> Examples:
    """Texts of the training part, never those held out for model choice, cut to ``limit`` at random.

    Args:
        request: of a step: ``options`` with ``task``, ``data`` and ``seed``, ``inputs.model`` with the class names,
            ``runtime.files``.
        limit: None takes all of them.
    """
    rest = _parts(request)[0]
    order = list(range(len(rest)))
    random.Random(request["options"]["seed"]).shuffle(order)
    return rest.take(order[:limit])


def held_out_part(request: dict[str, Any]) -> Examples:
    """The texts of the training split that models are chosen on, and that no step learns from."""
    return _parts(request)[1]


def test_part(request: dict[str, Any]) -> Examples:
    """The texts of the training split that nothing is learnt from nor chosen on (``task.test_texts``)."""
    return _parts(request)[2]


def class_names(folder: Path) -> list[str] | None:
    """The classes in the order of a model folder's logits; None where it says none (a bare ONNX file's)."""
    if not (folder / "config.json").is_file():
        return None
    id2label = json.loads((folder / "config.json").read_text()).get("id2label") or {}
    return [id2label[key] for key in sorted(id2label, key=int)] or None


def _parts(request: dict[str, Any]) -> tuple[Examples, Examples, Examples]:
    options = request["options"]
    task = options["task"]
    names = class_names(Path(request["inputs"]["model"]))
    everything = load(task, Source(options["data"], request["runtime"]["files"]), "train", names, options["seed"])
    parts = divide(everything, task, options["seed"])
    return everything.take(parts.train), everything.take(parts.held_out), everything.take(parts.test)
