"""The parts of the training split that a step may look at."""

import json
import random
from pathlib import Path
from typing import Any

from .examples import Examples, load
from .parts import divide
from .questions import Questions, hold_out_paragraphs, load_questions
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


def training_questions(request: dict[str, Any]) -> Questions:
    """The questions of a question answering task's training part: none of a paragraph held out for model choice."""
    everything, (rest, _) = _questions(request)
    return everything.take(rest)


def held_out_questions(request: dict[str, Any]) -> Questions:
    """The questions of the paragraphs that models are chosen on, and that no step learns from."""
    everything, (_, held_out) = _questions(request)
    return everything.take(held_out)


def _questions(request: dict[str, Any]) -> tuple[Questions, tuple[list[int], list[int]]]:
    options = request["options"]
    task, seed = options["task"], options["seed"]
    everything = load_questions(task, Source(options["data"], request["runtime"]["files"]), "train", seed)
    return everything, hold_out_paragraphs(everything, task["held_out"], seed)


def _parts(request: dict[str, Any]) -> tuple[Examples, Examples, Examples]:
    options = request["options"]
    task = options["task"]
    id2label = json.loads((Path(request["inputs"]["model"]) / "config.json").read_text())["id2label"]
    names = [id2label[key] for key in sorted(id2label, key=int)]
    everything = load(task, Source(options["data"], request["runtime"]["files"]), "train", names, options["seed"])
    parts = divide(everything, task, options["seed"])
    return everything.take(parts.train), everything.take(parts.held_out), everything.take(parts.test)
