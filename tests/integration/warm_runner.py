"""Commands answered by forks of one warmed-up process, so that a case of bad input costs its own work and no imports.

Run as a program it serves: one JSON request a line on standard input (``command``, ``cwd``, ``variables``, ``out``,
``err``), one JSON answer a line (``code``, ``cpu_s``). A request runs in a fork that has imported what the scripts, the
commands and the child processes of steps import, and has done nothing else; a step's child process is one more fork.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_CHILD = ["-m", "edgedistil.stages.child"]


class WarmRunner:
    """The client: ``answer(command, cwd, variables)`` as (exit code, standard output, standard error, seconds of the
    processor); use as a context manager."""

    def __init__(self, scratch: Path, variables: dict[str, str]) -> None:
        self._scratch = scratch
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables,
            cwd=scratch,
        )

    def __enter__(self) -> "WarmRunner":
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def answer(self, command: list[str], cwd: Path, variables: dict[str, str]) -> tuple[int, str, str, float]:
        assert self._process.stdin
        assert self._process.stdout
        out, err = self._scratch / "out.txt", self._scratch / "err.txt"
        request = {"command": command, "cwd": str(cwd), "variables": variables, "out": str(out), "err": str(err)}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        found = json.loads(self._process.stdout.readline())
        return found["code"], out.read_text(errors="replace"), err.read_text(errors="replace"), found["cpu_s"]


class Forked:
    """What the code knows of :class:`subprocess.Popen`, for the child process of a step."""

    def __init__(self, command: list[str], *, stdout: int, env: dict[str, str], **_: Any) -> None:
        assert command[1:-1] == _CHILD, command
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(stdout, 1)
            os.environ.clear()
            os.environ.update(env)
            # Nobody here waits for the end of a parent that is only a fork.
            os.environ.pop("EDGEDISTIL_PARENT", None)
            from edgedistil.stages import child

            _end(lambda: child.main(command[-1]))

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


def _end(program: Any) -> None:
    """Run a program to the end of this process, as the interpreter would, but for what it forked with."""
    code: Any = 0
    try:
        code = program()
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        import atexit

        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _program(command: list[str]) -> Any:
    if command[:2] == ["-m", "edgedistil"]:
        from edgedistil.__main__ import main

        return lambda: main(command[2:])
    script = str(REPOSITORY / command[0])
    sys.argv = [script, *command[1:]]
    return lambda: runpy.run_path(script, run_name="__main__") and None


def _forked(request: dict[str, Any]) -> tuple[int, float]:
    pid = os.fork()
    if pid == 0:
        for number, name, how in ((0, os.devnull, os.O_RDONLY), (1, request["out"], os.O_CREAT | os.O_WRONLY),
                                  (2, request["err"], os.O_CREAT | os.O_WRONLY)):
            handle = os.open(name, how | os.O_TRUNC if number else how, 0o644)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdin = os.fdopen(0, closefd=False)
        os.environ.clear()
        os.environ.update(request["variables"])
        os.chdir(request["cwd"])
        tempfile.tempdir = None
        _end(_program(request["command"]))
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def _warm_up() -> None:
    import gc
    import importlib

    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for name in (
        "torch", "lightning", "onnx", "onnxruntime", "tokenizers", "pyarrow.parquet", "torchmetrics",
        "transformers.models.bert.modeling_bert", "transformers.models.distilbert.modeling_distilbert",
        "huggingface_hub.utils", "edgedistil.__main__", "edgedistil.stages.child", "edgedistil.stages.train",
        "edgedistil.stages.adopt", "edgedistil.stages.export", "edgedistil.stages.bench", "edgedistil.stages.pretrain",
        "edgedistil.models.loading", "edgedistil.models.shrunken", "edgedistil.shipping.predictor",
        "edgedistil.reporting.show",
    ):
        importlib.import_module(name)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    assert AutoModelForSequenceClassification
    assert AutoTokenizer
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from edgedistil.config.schemas import register
    from edgedistil.stages import runner

    register()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        compose("bench")
    GlobalHydra.instance().clear()
    # Nobody has to look at what is there already, and no fork has to copy it for that.
    gc.collect()
    gc.freeze()
    runner.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": Forked})  # type: ignore[assignment]


def serve() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _warm_up()
    while line := sys.stdin.readline():
        code, cpu_s = _forked(json.loads(line))
        print(json.dumps({"code": code, "cpu_s": cpu_s}), file=answers, flush=True)


if __name__ == "__main__":
    serve()
