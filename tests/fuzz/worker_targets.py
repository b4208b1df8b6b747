"""The workers' protocol, a JSON object a line each way: requests that a worker gets, answers that it gives."""

import io
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedistil.workers.client import Worker
from edgedistil.workers.loop import Conversation

from .mutation import odd_json_lines
from .target import REFUSED, Target, answered

# What a pipe holds, so that nobody must write beside the reader.
_PIPE_BYTES = 60_000


class SmallEngine:
    """An engine whose answers are the lengths of what it is asked."""

    facts: Any = None

    def load(self, request: dict[str, Any]) -> dict[str, int]:
        print("a library talks")
        return {"imported": time.monotonic_ns(), "first_logits": time.monotonic_ns()}

    def pack(self, rows: list[list[int]], length: int = 0) -> Any:
        return [max(length, len(row)) for row in rows]

    def run(self, packed: Any) -> Any:
        return packed

    def predict(self, texts: list[list[str]]) -> list[list[float]]:
        return [[float(len(text)) for text in pair] for pair in texts]

    def predict_ids(self, ids: list[int], types: list[int]) -> list[float]:
        # A sum of ids may be what JSON has no word for.
        return [float(sum(ids))]

    def spans(self, ids: list[int], types: list[int]) -> list[list[float]]:
        return [[float(i) for i in ids], [float(i) for i in types]]

    def tokenize(self, text: list[str]) -> Any:
        return text[0].split()


def requests() -> Sequence[bytes]:
    """A conversation, as :meth:`edgedistil.workers.client.Worker.ask` writes it."""
    asked = [
        {"op": "load", "folder": "/nowhere", "threads": 1, "max_length": 8, "text": ["a"], "quantization": "none"},
        {"op": "prepare", "name": "a", "batches": [[[1, 2], [3]]], "pad_to": 4},
        {"op": "time", "name": "a", "start": 0, "count": 2},
        {"op": "tokenize", "texts": [["a b"]]},
        {"op": "predict", "texts": [["a", "b"]]},
        {"op": "predict", "ids": [[1, 2]], "types": [[0, 0]]},
        {"op": "spans", "ids": [[1]], "types": [[0]]},
        {"op": "memory"}, {"op": "usage"}, {"op": "probe"},
    ]  # fmt: skip
    whole = [json.dumps(one).encode() for one in asked]
    return [b"\n".join(whole), *whole]


def check_requests(data: bytes, folder: Path) -> None:
    talk = Conversation(SmallEngine(), 0)  # type: ignore[arg-type]
    for line in data.split(b"\n"):
        count = _asked(line, "count")
        if type(count) is int and count > 1000:
            # As many calls as were asked for would be made.
            continue
        said = talk.reply(line + b"\n")
        if said is None:
            assert _asked(line, "op") == "exit"
            return
        assert said.endswith("\n")
        assert said.count("\n") == 1
        answer = json.loads(said)
        assert isinstance(answer, dict)
        assert "error" not in answer or answer["error"].strip()


def _asked(line: bytes, key: str) -> Any:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request.get(key) if isinstance(request, dict) else None


class Told(Worker):
    """A client whose worker has said ``said`` already, and is gone.

    Args:
        native: it ends with a marker, as the native runner does.
    """

    def __init__(self, said: bytes, native: bool = False) -> None:
        self.engine, self.threads, self.spawned_ns = "told", 1, time.monotonic_ns()
        self._ends_with_marker, self._timeout_s, self._held, self._lent = native, None, b"", None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by the base class)
        self._process = _Gone(said[:_PIPE_BYTES])  # type: ignore[assignment]


class _Gone:
    """A process that said something and ended."""

    def __init__(self, said: bytes) -> None:
        self.stdin = io.BytesIO()
        read, write = os.pipe()
        os.write(write, said)
        os.close(write)
        self.stdout = os.fdopen(read, "rb")

    def poll(self) -> int:
        return 1

    def wait(self) -> int:
        return 1

    def kill(self) -> None:
        pass


def answers() -> Sequence[bytes]:
    """What workers answer: to ``load``, ``time``, ``predict``, an error, the native runner's end."""
    memory = {"peak_rss_mb": 1.0, "rss_mb": 1.0}
    loaded = {"clock_ns": {"started": 1, "session": 3, "first_logits": 9}, "memory": memory, "memory_by_phase": {},
              "peak_resettable": True, "pid": 7, "cores": [0], "facts": {"a": 1}}  # fmt: skip
    timed = {"wall_ms": [1.0], "cpu_ms": [1.0], "involuntary_switches": 0}
    made = [loaded, {**loaded, "clock_ns": {"spawned": 0, "first_logits": 5}}, timed, {"logits": [[0.1, 0.9]]},
            {"error": "ValueError: no such op", "traceback": "Traceback ..."}, {"end": 0}]  # fmt: skip
    whole = [json.dumps(one).encode() + b"\n" for one in made]
    return [*whole, whole[0] + whole[-1], b"WARNING: linker: something\n" + whole[0]]


def check_answers(data: bytes, folder: Path) -> None:
    for native in (False, True):
        told = Told(data, native)
        try:
            loaded = answered(lambda told=told: told.load("f", 8, ("a",)), "told worker")
            if loaded is not REFUSED:
                assert type(loaded["cold_start_ms"]["total"]) is float
        finally:
            told.__exit__(ValueError, ValueError("enough"), None)
        told = Told(data, native)
        try:
            found = answered(lambda told=told: told.ask("usage"), "told worker")
            assert found is REFUSED or (isinstance(found, dict) and "error" not in found)
        finally:
            ended = answered(lambda told=told: told.__exit__(None, None, None), "told worker")
            assert ended in (None, REFUSED)


TARGETS = (
    Target("worker_requests", requests, odd_json_lines, check_requests),
    Target("worker_answers", answers, odd_json_lines, check_answers),
)
