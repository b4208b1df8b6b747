"""The side that asks: starts a worker process, sends requests, sleeps until the answer is there."""

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .loop import CORES_VARIABLE

PROGRAMS = {"onnxruntime": "edgedistil.workers.onnx", "torch": "edgedistil.workers.torch"}


class WorkerError(Exception):
    """A worker died or answered with an error."""


class Worker:
    """One worker process on this machine; use as a context manager.

    Args:
        engine: a key of :data:`PROGRAMS`, or the dotted name of any module that serves :mod:`edgedistil.workers.loop`.
        threads: intra-op threads, also given to OpenMP.
        cores: the process stays on these, from before it imports anything heavy; None leaves it to the scheduler.
        python: another interpreter (of a virtual environment with other libraries); this package is lent to it alone,
            not the packages that are installed beside it.
        variables: more of the process's environment.
        command: another program that speaks the protocol, such as the native runner, alone or through a shell on
            another device; ``engine`` is only its name then. It must close with an end marker (``{"end": exit code}``),
            since the exit code of what carries it says nothing of a run that was torn.
        timeout_s: how long one answer may take; None waits for ever.
    """

    def __init__(
        self,
        engine: str,
        threads: int,
        cores: Sequence[int] | None = None,
        python: str | None = None,
        variables: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.engine, self.threads, self._ends_with_marker = engine, threads, command is not None
        self._timeout_s, self._held = timeout_s, b""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in __exit__)
        self._lent = tempfile.TemporaryDirectory() if python else None
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            CORES_VARIABLE: ",".join(map(str, cores or ())),
            **(variables or {}),
        }
        if self._lent:
            package = Path(__file__).resolve().parents[1]
            (Path(self._lent.name) / package.name).symlink_to(package)
            environment["PYTHONPATH"] = self._lent.name
        self.spawned_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            command or [python or sys.executable, "-m", PROGRAMS.get(engine, engine)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        torn = None
        try:
            if kind is None and self._ends_with_marker:
                torn = self._close_to_marker()
            elif self._process.poll() is None and kind is None:
                assert self._process.stdin is not None
                self._process.stdin.close()
            else:
                self._process.kill()
            self._process.wait()
        finally:
            self._errors.close()
            assert self._process.stdout is not None
            self._process.stdout.close()
            if self._lent:
                self._lent.cleanup()
        if torn:
            raise WorkerError(torn)

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its answer, without using the processor.

        Raises:
            WorkerError: the worker is gone, could not do it, or gave no answer in time and was ended.
        """
        assert self._process.stdin is not None
        # A pipe holds 64 kB: one that reads nothing any more must not hold the writer for ever.
        late = threading.Timer(self._timeout_s, self._process.kill) if self._timeout_s is not None else None
        try:
            if late:
                late.start()
            self._process.stdin.write((json.dumps({"op": op, **arguments}) + "\n").encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            if late and not late.is_alive():
                raise WorkerError(f"{self._no_answer(op)}: it reads no requests") from error
            raise WorkerError(self._last_words(op)) from error
        finally:
            if late:
                late.cancel()
        line = self._read(op, to_the_end=False)
        if not line.endswith("\n"):
            raise WorkerError(self._last_words(op))
        answer = self._parsed(op, line)
        if self._ends_with_marker and "end" in answer:
            raise WorkerError(self._last_words(op))
        if "error" in answer:
            raise WorkerError(f"the {self.engine} worker could not {op}: {answer['error']}")
        return answer

    def _parsed(self, op: str, line: str) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            # Such as what a library or a loader prints before the program has standard output for itself.
            found = None
        if not isinstance(found, dict):
            raise WorkerError(f"the {self.engine} worker answered {op} with what is no answer: {_begin(line)}")
        return found

    def load(
        self,
        folder: Any,
        max_length: int,
        text: tuple[str, ...],
        quantization: str = "none",
        **more: Any,
    ) -> dict[str, Any]:
        """Load a model folder and answer one text.

        Args:
            more: further fields of the request. Programs without a tokenizer answer ``ids`` and ``types`` (one row
                each) in place of the text.

        Returns:
            ``cold_start_ms`` by phase (each from the end of the one before, and ``total`` from process start to the
            first logits, without the time that looking at memory took), ``memory`` at the end of loading,
            ``memory_by_phase``, ``peak_resettable`` (whether the peaks of phases are their own) and ``cores`` (where
            the process may run; None where the system doesn't say); ``facts`` of the device and the engine, when the
            program brings them. A program that knows by its own device's clock when it was spawned is believed.

        Raises:
            WorkerError: as :meth:`ask`, or its answer lacks a part of these.
        """
        answer = self.ask(
            "load",
            folder=str(folder),
            threads=self.threads,
            max_length=max_length,
            text=list(text),
            quantization=quantization,
            **more,
        )
        clock, kept = answer.get("clock_ns"), ("memory", "memory_by_phase", "peak_resettable", "cores")
        counts = isinstance(clock, dict) and all(type(end) is int and 0 <= end < 1 << 63 for end in clock.values())
        if not isinstance(clock, dict) or not counts or not set(kept) <= set(answer):
            raise WorkerError(f"the {self.engine} worker answered load without its clock or memory: {_begin(answer)}")
        began = before = clock.pop("spawned", self.spawned_ns)
        phases = {}
        for name, end in sorted(clock.items(), key=lambda item: item[1]):
            phases[name] = round((end - before) / 1e6, 3)
            before = end
        phases["total"] = round((before - began) / 1e6, 3)
        facts = {"facts": answer["facts"]} if "facts" in answer else {}
        return {"cold_start_ms": phases, **{key: answer[key] for key in kept}, **facts}

    def _close_to_marker(self) -> str | None:
        """Ends a program by the end of its input; what is wrong with how it ended, None when nothing is."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            return self._last_words("exit")
        lines = self._read("exit", to_the_end=True).splitlines()
        if lines[-1:] and lines[-1].replace(" ", "") == '{"end":0}':
            return None
        return f"{self._last_words('exit')}; its end marker is missing, so the run was torn"

    def _read(self, op: str, to_the_end: bool) -> str:
        """One line, without its end when the worker is gone; or all that is left."""
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while to_the_end or b"\n" not in self._held:
            if deadline is not None and not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self._process.kill()
                raise WorkerError(self._no_answer(op))
            piece = os.read(stream, 1 << 20)
            if not piece:
                break
            self._held += piece
        end = len(self._held) if to_the_end else self._held.find(b"\n") + 1 or len(self._held)
        said, self._held = self._held[:end], self._held[end:]
        return said.decode(errors="replace")

    def _no_answer(self, op: str) -> str:
        return f"the {self.engine} worker gave no answer to {op} within {self._timeout_s:g} s and was ended"

    def _last_words(self, op: str) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()
        return f"the {self.engine} worker died at {op} (exit code {code}): {words[-1] if words else 'no message'}"


def _begin(said: Any) -> str:
    """The beginning of what a program said, on one line."""
    return repr(said)[:200]
