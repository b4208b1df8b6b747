"""The side that asks: starts a worker process, sends requests, sleeps until the answer is there."""

import json
import os
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

PROGRAMS = {"onnxruntime": "edgedistil.workers.onnx", "torch": "edgedistil.workers.torch"}


class WorkerError(Exception):
    """A worker died or answered with an error."""


class Worker:
    """One worker process on this machine; use as a context manager.

    Args:
        engine: a key of :data:`PROGRAMS`.
        threads: intra-op threads, also given to OpenMP.
    """

    def __init__(self, engine: str, threads: int) -> None:
        self.engine, self.threads = engine, threads
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in __exit__)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.spawned_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            [sys.executable, "-m", PROGRAMS[engine]],
            stdin=subprocess.PIPE,
            text=True,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None and kind is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
        else:
            self._process.kill()
        self._process.wait()
        self._errors.close()

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its answer, without using the processor.

        Raises:
            WorkerError: the worker is gone or could not do it.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(self._last_words(op)) from error
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words(op))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"the {self.engine} worker could not {op}: {answer['error']}")
        return answer

    def load(self, folder: Any, max_length: int, text: tuple[str, ...], quantization: str = "none") -> dict[str, Any]:
        """Load a model folder and answer one text.

        Returns:
            ``cold_start_ms`` by phase (each from the end of the one before, and ``total`` from process start to the
            first logits) and ``memory`` at the end of loading.
        """
        answer = self.ask(
            "load",
            folder=str(folder),
            threads=self.threads,
            max_length=max_length,
            text=list(text),
            quantization=quantization,
        )
        clock = answer["clock_ns"]
        phases, before = {}, self.spawned_ns
        for name in ("started", "imported", "tokenizer", "session", "first_logits"):
            phases[name] = round((clock[name] - before) / 1e6, 3)
            before = clock[name]
        phases["total"] = round((clock["first_logits"] - self.spawned_ns) / 1e6, 3)
        return {"cold_start_ms": phases, "memory": answer["memory"]}

    def _last_words(self, op: str) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()
        return f"the {self.engine} worker died at {op} (exit code {code}): {words[-1] if words else 'no message'}"
