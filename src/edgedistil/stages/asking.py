"""What measuring a cell of a question answering task needs beside times: windows to run, answers, their scores."""

from pathlib import Path
from typing import Any

import numpy as np

from ..measurement.span_quality import span_quality, spans_against_host, spans_against_parent
from ..store.files import read_json, write_json
from ..tasks.encode import load_tokenizer
from ..tasks.questions import Questions, load_questions
from ..tasks.source import Source
from ..tasks.span_answers import answers
from ..tasks.windows import windows
from .telling import telling

ANSWERS_FILE = "answers.json"


def predict(request: dict[str, Any]) -> dict[str, Any]:
    """Answers to all validation questions, one window at a time through the engine, on the bytes that ship.

    They are kept as the official script reads them: ``answers.json``, question id → text.
    """
    options, folder = request["options"], Path(request["inputs"]["model"])
    task, questions = options["task"], _validation(request)
    parts = windows(load_tokenizer(folder, task["max_length"]), questions, task, offsets=True)
    with telling(request, folder, questions.texts()[0]) as teller:
        found = teller.spans([p.ids.tolist() for p in parts], [p.types.tolist() for p in parts])
    logits = [np.array(row, np.float32) for row in found]
    best = answers(questions, parts, logits, task)
    texts = {own: answer.text for own, answer in zip(questions.ids, best, strict=True)}
    write_json(Path(request["output"]) / ANSWERS_FILE, texts)
    return {"n": len(questions), "windows": len(parts)}


def inputs(request: dict[str, Any], folder: Path) -> tuple[list[tuple[str, str]], list[list[int]]]:
    """(question and context of each validation question, token ids of each of their windows)."""
    task, questions = request["options"]["task"], _validation(request)
    parts = windows(load_tokenizer(folder, task["max_length"]), questions, task, offsets=False)
    return questions.texts(), [part.ids.tolist() for part in parts]


def quality(request: dict[str, Any], name: str) -> dict[str, Any]:
    """Scores of the answers that input ``name`` holds, beside the parent's where they are there."""
    questions = _validation(request)
    own = _read(request, name, questions)
    result = span_quality(own, questions.answers)
    if "parent_predictions" in request["inputs"]:
        parent = _read(request, "parent_predictions", questions)
        result["against_parent"] = spans_against_parent(own, parent, questions.answers)
    if name == "predictions" and "host_predictions" in request["inputs"]:
        here = _read(request, "host_predictions", questions)
        result["against_host"] = spans_against_host(own, here, questions.answers)
    return result


def _read(request: dict[str, Any], name: str, questions: Questions) -> list[str]:
    texts = read_json(Path(request["inputs"][name]) / ANSWERS_FILE)
    return [texts[own] for own in questions.ids]


def _validation(request: dict[str, Any]) -> Questions:
    options = request["options"]
    source = Source(options["data"], request["runtime"]["files"])
    return load_questions(options["task"], source, "validation", options["seed"])
