"""Making steps: ask the store, else compute in a child process under the fingerprint's lock and publish."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..devices import host
from ..errors import StepError, UserError
from ..store.files import read_json, write_json
from ..store.store import Store
from .step import Step

log = logging.getLogger("edgedistil")


def ensure(step: Step, store: Store) -> Path:
    """The folder of ``step``'s artifact, computed with everything that it needs if it is not there yet.

    Raises:
        UserError: the child found the options or the data wrong.
        StepError: the child failed or died.
    """
    found = store.find(step.name, step.fingerprint)
    if found:
        return found
    inputs = {name: ensure(source, store) for name, source in step.inputs.items()}
    with ExitStack() as stack:
        descriptors = [stack.enter_context(store.lock(step.fingerprint, _waiting(step.label)))]
        found = store.find(step.name, step.fingerprint)
        if found:
            return found
        if step.exclusive:
            descriptors.append(stack.enter_context(store.lock(f"device-{step.exclusive}", _waiting(step.exclusive))))
        work = store.open_work(step.fingerprint)
        started = time.monotonic()
        log.info("%s: %s", step.name, step.label)
        facts = _run_child(step, inputs, work, descriptors, store)
        seconds = round(time.monotonic() - started, 2)
        log.info("%s: %s: done in %.1f s", step.name, step.label, seconds)
        return store.publish(
            step.name,
            step.fingerprint,
            {
                "label": step.label,
                "options": step.options,
                "seconds": seconds,
                "facts": facts,
                "inputs": {name: {"step": s.name, "fingerprint": s.fingerprint} for name, s in step.inputs.items()},
            },
        )


def _waiting(what: str) -> Any:
    return lambda holder: log.info("waiting for %s: %s is at it", what, holder)


def _run_child(step: Step, inputs: dict[str, Path], work: Path, locks: list[int], store: Store) -> Any:
    write_json(
        work / "request.json",
        {
            "step": step.name,
            "label": step.label,
            "fingerprint": step.fingerprint,
            "options": step.options,
            "runtime": step.runtime,
            "inputs": {name: str(path) for name, path in inputs.items()},
            "work": str(work),
            "output": str(work / "output"),
        },
    )
    for leftover in ("error.json", "facts.json"):
        (work / leftover).unlink(missing_ok=True)
    watch, alive = os.pipe()
    try:
        # The child watches `watch`: end of file means that this process is gone. It also inherits the locks.
        child = subprocess.Popen(
            [sys.executable, "-m", "edgedistil.stages.child", str(work / "request.json")],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            pass_fds=(watch, *locks),
            env=_environment(step, watch),
        )
        os.close(watch)
        try:
            code = child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
    finally:
        os.close(alive)
    if code == 0:
        return read_json(work / "facts.json")
    raise _failure(step, work, code, store)


def _environment(step: Step, watch: int) -> dict[str, str]:
    threads = step.runtime.get("threads") or os.environ.get("OMP_NUM_THREADS") or host.free_cores()
    return {
        **os.environ,
        "EDGEDISTIL_PARENT": str(watch),
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _failure(step: Step, work: Path, code: int, store: Store) -> Exception:
    try:
        error = read_json(work / "error.json")
    except (OSError, ValueError):
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hint = "; the kernel may have been out of memory" if code == -signal.SIGKILL else ""
        error = {"kind": "died", "message": f"the process died ({name}{hint})", "traceback": ""}
    message = f"{step.name} ({step.label}): {error['message']}"
    if error["kind"] == "user":
        if not (work / "checkpoints").is_dir():
            shutil.rmtree(work, ignore_errors=True)
        return UserError(error["message"])
    store.note_failure(step.fingerprint, {"step": step.name, "label": step.label, **error})
    return StepError(message, error["traceback"])
