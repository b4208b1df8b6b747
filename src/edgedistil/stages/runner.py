"""Making steps: ask the store, else compute in a child process under the fingerprint's lock and publish."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from ..devices import host
from ..devices.allocator import KEEP_MEMORY
from ..errors import StepError, UserError
from ..store.files import read_json, write_json
from ..store.integrity import damage, damage_on_disk
from ..store.progress import PROGRESS_FILE
from ..store.store import Store
from . import ranks, screen, stopping
from .step import Step

log = logging.getLogger("edgedistil")
_POLL_S = 0.1
_TRAINING = ("pretrain", "train", "recover", "qat", "prune_gradually", "teacher_logits")
_GRACE_S = 3.0
# Artifacts whose every byte this process has read and found sound.
_read_whole: set[Path] = set()


def ensure(step: Step, store: Store, repair: bool = False) -> Path:
    """The folder of ``step``'s artifact, computed with everything that it needs if it is not there yet.

    Args:
        repair: an artifact whose files are not what was published is computed again, and so is one that it came from:
            reports read their answers.

    Raises:
        UserError: the child found the options or the data wrong; an artifact is damaged.
        StepError: the child failed or died.
    """
    try:
        found = _sound(step, store, repair)
        if found:
            store.tidy(step.fingerprint)
            for source in step.ancestry() if repair else ():
                before = store.find(source.name, source.fingerprint)
                if before and _wrong(before, store, repair):
                    ensure(source, store, repair)
            return found
        stopping.check()
        ranks.check(step.options)
        inputs = {name: ensure(source, store, repair) for name, source in step.inputs.items()}
        return _computed(step, inputs, store)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise StepError(
            f"{step.name} ({step.label}): the store can't be used: {error.strerror or error}{where}. What is finished "
            "is kept; run it again when that is mended",
            traceback.format_exc(),
        ) from error


def _computed(step: Step, inputs: dict[str, Path], store: Store) -> Path:
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
        folder = store.publish(
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
        log.info("%s: %s: done in %.1f s", step.name, step.label, seconds)
        return folder


def _sound(step: Step, store: Store, repair: bool) -> Path | None:
    """The finished artifact, with its files as they were published; None when there is none, or none any more."""
    found = store.find(step.name, step.fingerprint)
    wrong = _wrong(found, store, repair) if found else None
    if not found or not wrong:
        return found
    if not store.find(step.name, step.fingerprint):
        # Removed since it was found (`store gc`): absent, not damaged.
        return None
    if not repair:
        raise UserError(f"{step.name} ({step.label}) is damaged: {wrong}. store.repair=true computes it again")
    log.warning("%s: %s is computed again: %s", step.name, step.label, wrong)
    with store.lock(step.fingerprint, _waiting(step.label)):
        if store.find(step.name, step.fingerprint) and damage(store, found):
            store.set_aside(step.name, step.fingerprint)
    return None


def _wrong(folder: Path, store: Store, repair: bool) -> str | None:
    """What is wrong with an artifact. To repair, every byte is read, once by this process: bits go without a touch."""
    if not repair or folder in _read_whole:
        return damage(store, folder)
    wrong = damage_on_disk(folder)
    if not wrong:
        _read_whole.add(folder)
    return wrong


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
            "attempt": time.time_ns(),
        },
    )
    for leftover in ("error.json", "facts.json", PROGRESS_FILE):
        (work / leftover).unlink(missing_ok=True)
    (work / "rendezvous").unlink(missing_ok=True)
    several = ranks.processes(step.options) > 1
    if several:
        leader().start(work / "request.json", _variables(step, store))
    watch, alive = os.pipe()
    try:
        # The children watch `watch`: end of file means that this process is gone. They also inherit the locks.
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "edgedistil.stages.child", str(work / "request.json")],
                stdin=subprocess.DEVNULL,
                **screen.streams(step.name),
                pass_fds=(watch, *locks),
                env=_environment(step, store, watch) | place,
            )
            for place in ranks.places(step.options)
        ]
        os.close(watch)
        with stopping.passed_on(children):
            code = _wait(children)
    finally:
        os.close(alive)
        if several:
            leader().over()
    if code == 0:
        return read_json(work / "facts.json")
    stopping.check(code, f"{step.name} ({step.label})")
    raise _failure(step, work, code, store)


def _wait(children: list["subprocess.Popen[bytes]"]) -> int:
    """The exit code of the processes of one step: 0, or that of the first that failed, which then ends the others."""
    try:
        if len(children) == 1:
            return children[0].wait()
        while any(child.poll() is None for child in children):
            failed = [child for child in children if child.returncode]
            if failed:
                # What made one fail makes most fail; they may be about to say so themselves.
                time.sleep(_GRACE_S)
                return failed[0].returncode
            time.sleep(_POLL_S)
        return next((child.returncode for child in children if child.returncode), 0)
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            try:
                child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                # Lightning catches the signal, and one that waits for a dead process's gradients never looks.
                child.kill()
                child.wait()


@cache
def leader() -> ranks.Leader:
    """The one that talks to the other commands of a ``torchrun``."""
    return ranks.Leader()


def _environment(step: Step, store: Store, watch: int) -> dict[str, str]:
    several = ranks.processes(step.options) > 1
    inherited = ranks.without_slurm(os.environ) if several else ranks.without_place(os.environ)
    return {**inherited, **_variables(step, store), stopping.PARENT: str(watch)}


def _variables(step: Step, store: Store) -> dict[str, str]:
    """What a step's processes find in their environment beside what this one has."""
    keep = {k: v for k, v in KEEP_MEMORY.items() if k not in os.environ} if step.name in _TRAINING else {}
    return {
        **keep,
        "OMP_NUM_THREADS": str(step.runtime.get("threads") or _threads(step)),
        "TOKENIZERS_PARALLELISM": "false",
        # Where token ids of large splits are kept (tasks/token_cache.py): store.root may name another than this has.
        "EDGEDISTIL_STORE": str(store.root),
        "PYTHONUNBUFFERED": "1",
    }


def _threads(step: Step) -> str | int:
    count, wish = ranks.processes(step.options), os.environ.get("OMP_NUM_THREADS")
    # torchrun sets 1 for its workers, which says nothing about a step that has the machine to itself.
    if wish and (count > 1 or not ranks.launched()):
        return wish
    return max(1, host.free_cores() // len(ranks.places(step.options)))


def _failure(step: Step, work: Path, code: int, store: Store) -> Exception:
    try:
        error = read_json(work / "error.json")
    except (OSError, ValueError):
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hint = "; the kernel may have been out of memory" if code == -signal.SIGKILL else ""
        message = stopping.heard(code) or f"the process died ({name}{hint})"
        if code in (1, 2):
            message = f"the process ended with {name} and could not keep why; what it said stands above"
        error = {"kind": "died", "message": message, "traceback": ""}
    message = f"{step.name} ({step.label}): {error['message']}"
    if error["kind"] == "user":
        if not (work / "checkpoints").is_dir():
            shutil.rmtree(work, ignore_errors=True)
        return UserError(error["message"])
    store.note_failure(step.fingerprint, {"step": step.name, "label": step.label, **error})
    return StepError(message, error["traceback"])
