"""The worker's side of the protocol: one JSON object a line in, one out. Standard library only.

Requests: ``load`` (folder, threads, ...), ``prepare`` (name, batches), ``time`` (name, start, count), ``predict``
(texts), ``memory``, ``exit``. Times of day are nanoseconds of the system-wide monotonic clock, so that the process
that started the worker can subtract its own.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol


class Engine(Protocol):
    """What a worker program must bring."""

    def load(self, request: dict[str, Any]) -> dict[str, int]:
        """Load tokenizer and model and answer one text; returns the clock (ns) at the end of each phase."""

    def pack(self, rows: list[list[int]]) -> Any:
        """Token ids of one batch (padded on the right with the mask to match) as the engine's own input."""

    def run(self, packed: Any) -> Any:
        """One inference; returns when the logits are there."""

    def predict(self, texts: list[list[str]]) -> list[list[float]]:
        """Logits of each text or pair, one at a time, unpadded."""


def serve(engine: Engine, started_ns: int) -> None:
    """Answer requests until ``exit`` or the end of standard input."""
    # Libraries print to standard output; the protocol keeps its own copy of it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepared: dict[str, list[Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "exit":
            return
        try:
            answer = _answer(engine, request, prepared, started_ns)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(engine: Engine, request: dict[str, Any], prepared: dict[str, list[Any]], started_ns: int) -> dict[str, Any]:
    op = request["op"]
    if op == "load":
        reset_peak()
        return {"clock_ns": {"started": started_ns, **engine.load(request)}, "memory": memory(), "pid": os.getpid()}
    if op == "prepare":
        prepared[request["name"]] = [engine.pack(rows) for rows in request["batches"]]
        return {"batches": len(prepared[request["name"]])}
    if op == "time":
        return _timed(engine.run, prepared[request["name"]], request["start"], request["count"])
    if op == "predict":
        return {"logits": engine.predict(request["texts"])}
    if op == "memory":
        found = memory()
        reset_peak()
        return {"memory": found}
    raise ValueError(f"unknown op {op!r}")


def _timed(run: Callable[[Any], Any], inputs: list[Any], start: int, count: int) -> dict[str, list[float]]:
    wall, cpu = [], []
    for call in range(start, start + count):
        packed = inputs[call % len(inputs)]
        cpu_0, wall_0 = time.process_time_ns(), time.perf_counter_ns()
        run(packed)
        wall_1, cpu_1 = time.perf_counter_ns(), time.process_time_ns()
        wall.append((wall_1 - wall_0) / 1e6)
        cpu.append((cpu_1 - cpu_0) / 1e6)
    return {"wall_ms": wall, "cpu_ms": cpu}


def memory() -> dict[str, float]:
    """This process's memory in MB: peak (the kernel's high-water mark), resident now, anonymous, file-backed."""
    names = {"VmHWM": "peak_rss_mb", "VmRSS": "rss_mb", "RssAnon": "rss_anonymous_mb", "RssFile": "rss_file_mb"}
    found = {}
    with open("/proc/self/status") as status:
        for line in status:
            key, _, value = line.partition(":")
            if key in names:
                found[names[key]] = round(int(value.split()[0]) * 1024 / 1e6, 3)
    return found


def reset_peak() -> None:
    """Set the kernel's high-water mark back to the present size (``clear_refs`` 5), where it may be."""
    try:
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")
    except OSError:
        return
