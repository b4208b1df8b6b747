"""The parts of the training split that a step may look at."""

import json
import random
from pathlib import Path
from typing import Any

from .copies import with_copies
from .examples import Examples, load
from .parts import Parts, divide
from .questions import Questions, hold_out_paragraphs, load_questions
from .source import Source


def training_part(request: dict[str, Any], limit: int | None) -> Examples:
    """Texts of the training part, never those held out for model choice, cut to ``limit`` at random.

    Args:
        request: of a step: ``options`` with ``task``, ``data`` and ``seed``, ``inputs.model`` with the class names,
            ``runtime.files``.
        limit: None takes all of them.
    """
    return training_texts(request, limit)[0]


def training_texts(request: dict[str, Any], limit: int | None) -> tuple[Examples, list[int]]:
    """As :func:`training_part`, with the copies that the step ``augment`` made of these texts (``inputs.augmented``),
    and each text's index in the training split with all copies behind it."""
    everything, parts = _divided(request)
    everything, copies = with_copies(everything, request["inputs"].get("augmented"))
    indices = parts.train + copies
    random.Random(request["options"]["seed"]).shuffle(indices)
    return everything.take(indices[:limit]), indices[:limit]


def held_out_part(request: dict[str, Any]) -> Examples:
    """The texts of the training split that models are chosen on, and that no step learns from."""
    everything, parts = _divided(request)
    return everything.take(parts.held_out)


def test_part(request: dict[str, Any]) -> tuple[Examples, list[int] | None]:
    """The texts of the training split that nothing is learnt from nor chosen on (``task.test_texts``), and beside each
    the number of the sentence that it is a phrase of; None where the split holds no phrases (``task.phrases``)."""
    everything, parts = _divided(request)
    phrases = request["options"]["task"].get("phrases", False)
    return everything.take(parts.test), parts.sentences if phrases else None


def class_names(folder: Path) -> list[str] | None:
    """The classes in the order of a model folder's logits; None where it says none (a bare ONNX file's)."""
    if not (folder / "config.json").is_file():
        return None
    id2label = json.loads((folder / "config.json").read_text()).get("id2label") or {}
    return [id2label[key] for key in sorted(id2label, key=int)] or None


def questions_by_part(request: dict[str, Any]) -> tuple[Questions, list[int], list[int]]:
    """All questions of a training split, and which may be learnt from and which models are chosen on: no paragraph is
    on both sides."""
    options = request["options"]
    task, seed = options["task"], options["seed"]
    everything = load_questions(task, Source(options["data"], request["runtime"]["files"]), "train", seed)
    return everything, *hold_out_paragraphs(everything, task["held_out"], seed)


def _divided(request: dict[str, Any]) -> tuple[Examples, Parts]:
    options = request["options"]
    task = options["task"]
    names = class_names(Path(request["inputs"]["model"]))
    everything = load(task, Source(options["data"], request["runtime"]["files"]), "train", names, options["seed"])
    return everything, divide(everything, task, options["seed"])
