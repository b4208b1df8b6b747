"""The worker's side of the protocol: one JSON object a line in, one out. Standard library only.

Requests: ``load`` (folder, threads, ...), ``prepare`` (name, batches, maybe pad_to), ``time`` (name, start, count),
``tokenize`` (texts), ``predict`` (texts, or ids with types), ``spans`` (ids, types), ``probe``, ``memory``, ``usage``,
``exit``.
Times of day are nanoseconds of the system-wide monotonic clock, so that the process that started the worker can
subtract its own. The native runner (``mobile/``) answers the same requests; having no tokenizer, it takes ids alone.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .memory import memory, reset_peak

# Cores to stay on, as "0,2": set by the process that starts a worker.
CORES_VARIABLE = "EDGEDISTIL_CORES"


class Engine(Protocol):
    """What a worker program must bring. Heavy imports belong into ``load``: the process is pinned before it.

    An engine may also have ``predict(texts)`` (logits of each text or pair, one at a time, unpadded),
    ``tokenize(text: list[str]) -> Any`` (one text or pair to token ids), which is timed, ``predict_ids(ids, types)``
    (logits of one text that was tokenized elsewhere), and ``spans(ids, types)`` (start and end logits of one window),
    of models that answer by spans; ``probe()`` (facts of the processor as JSON values) is the calibration worker's.

    Engines on another device than the processor may have ``device_memory()`` (that device's figures in MB since the
    last look, or None), ``device_ms()`` (how long the last ``run`` took by the device's own clock, or None) and
    ``facts`` (what it is, as JSON values, once loaded).
    """

    def load(self, request: dict[str, Any]) -> dict[str, int]:
        """Load tokenizer and model and answer one text; returns the clock (ns) at the end of each phase.

        A :class:`edgedistil.workers.phases.Phases` brings each phase's memory as well.
        """

    def pack(self, rows: list[list[int]]) -> Any:
        """Token ids of one batch (padded on the right with the mask to match) as the engine's own input."""

    def run(self, packed: Any) -> Any:
        """One inference; returns when the logits are there."""


def serve(engine: Engine, started_ns: int) -> None:
    """Pin this process, then answer requests until ``exit`` or the end of standard input."""
    if os.environ.get(CORES_VARIABLE):
        os.sched_setaffinity(0, [int(core) for core in os.environ[CORES_VARIABLE].split(",")])
    # Libraries print to standard output; the protocol keeps its own copy of it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    talk = Conversation(engine, started_ns)
    for line in sys.stdin.buffer:
        said = talk.reply(line)
        if said is None:
            return
        answers.write(said)
        answers.flush()


class Conversation:
    """What one engine answers, line by line; it remembers the inputs that were prepared."""

    def __init__(self, engine: Engine, started_ns: int) -> None:
        self._engine, self._started_ns = engine, started_ns
        self._prepared: dict[str, list[Any]] = {}
        self._folder: Path | None = None

    def reply(self, line: bytes) -> str | None:
        """The answer to a request, as the line that is written; None to ``exit``.

        Whatever goes wrong is an answer too (``error``): a line that is no request, an answer that is no JSON.
        """
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or not isinstance(request.get("op"), str):
                raise ValueError("a request is a JSON object with an op")
            return None if request["op"] == "exit" else json.dumps(self._answer(request)) + "\n"
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            return json.dumps({"error": told, "traceback": traceback.format_exc()}) + "\n"

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request["op"]
        if op == "load":
            return self._load(request)
        if op == "prepare":
            # Engines that pad to more than a batch's longest row say so by taking a length.
            more = {"length": request["pad_to"]} if "pad_to" in request else {}
            self._prepared[request["name"]] = [self._engine.pack(rows, **more) for rows in request["batches"]]
            return {"batches": len(self._prepared[request["name"]])}
        if op == "time":
            inputs = self._prepared[request["name"]]
            device_ms = getattr(self._engine, "device_ms", None)
            return _timed(self._engine.run, inputs, request["start"], request["count"], device_ms)
        if op == "tokenize":
            if not hasattr(self._engine, "tokenize"):
                raise ValueError("this engine has no tokenizer of its own")
            return _timed(self._engine.tokenize, request["texts"], 0, len(request["texts"]))
        if op == "predict" and "ids" in request:
            if not hasattr(self._engine, "predict_ids"):
                raise ValueError("this engine takes texts, not ids")
            types = request.get("types", [[0] * len(row) for row in request["ids"]])
            pairs = zip(request["ids"], types, strict=True)
            return {"logits": [self._engine.predict_ids(*pair) for pair in pairs]}
        if op == "predict":
            if not hasattr(self._engine, "predict"):
                raise ValueError("this engine reads no texts")
            return {"logits": self._engine.predict(request["texts"])}
        if op == "spans":
            if not hasattr(self._engine, "spans"):
                raise ValueError("this engine does not answer by spans")
            windows = zip(request["ids"], request["types"], strict=True)
            return {"logits": [self._engine.spans(ids, types) for ids, types in windows]}
        if op == "memory":
            found = self._memory()
            reset_peak()
            return {"memory": found}
        if op == "probe":
            if not hasattr(self._engine, "probe"):
                raise ValueError("this engine measures nothing of the processor")
            return {"probe": self._engine.probe()}
        if op == "usage":
            return {"cpu_s": time.process_time()}
        raise ValueError(f"unknown op {op!r}")

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        self._folder = Path(request["folder"])
        resettable = reset_peak()
        clock = self._engine.load(request)
        by_phase: dict[str, dict[str, Any]] = getattr(clock, "memory", {})
        now = self._memory()
        # Phases set the marks back between them; the peak of loading is the highest of theirs.
        _raise_peaks(now, list(by_phase.values()))
        if "gpu" in now:
            _raise_peaks(now["gpu"], [m["gpu"] for m in by_phase.values() if "gpu" in m])
        reset_peak()
        facts = getattr(self._engine, "facts", None)
        return {
            "clock_ns": {"started": self._started_ns, **clock},
            "memory": now,
            "memory_by_phase": by_phase,
            "peak_resettable": resettable,
            "pid": os.getpid(),
            "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            **({"facts": facts} if facts else {}),
        }

    def _memory(self) -> dict[str, Any]:
        found: dict[str, Any] = memory(self._folder)
        device = self._engine.device_memory() if hasattr(self._engine, "device_memory") else None
        return {**found, "gpu": device} if device else found


def _raise_peaks(now: dict[str, Any], earlier: list[dict[str, Any]]) -> None:
    for name in now:
        if "peak" in name:
            now[name] = max((m[name] for m in [now, *earlier] if m[name] is not None), default=None)


def _timed(
    run: Callable[[Any], Any],
    inputs: list[Any],
    start: int,
    count: int,
    device_ms: Callable[[], float | None] | None = None,
) -> dict[str, Any]:
    """Wall and CPU time (all threads) of each call in ms, and how often the kernel took the processor away.

    The device's own time of each as well, when the engine runs on one that has a clock.
    """
    wall, cpu, device = [], [], []
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    for call in range(start, start + count):
        packed = inputs[call % len(inputs)]
        cpu_0, wall_0 = time.process_time_ns(), time.perf_counter_ns()
        run(packed)
        wall_1, cpu_1 = time.perf_counter_ns(), time.process_time_ns()
        wall.append((wall_1 - wall_0) / 1e6)
        cpu.append((cpu_1 - cpu_0) / 1e6)
        if device_ms and (found := device_ms()) is not None:
            device.append(found)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
    times = {"wall_ms": wall, "cpu_ms": cpu, **({"device_ms": device} if device else {})}
    return {**times, "involuntary_switches": taken}
