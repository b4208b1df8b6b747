"""The process in which a step is computed: ``python -m edgedistil.stages.child REQUEST.json``.

The request names everything, so the command can be run again by hand or by a launcher of ranks. It leaves
``facts.json`` or ``error.json`` beside the request; exit code 0, 1 (failed), 2 (the user's input is wrong) or 75
(stopped by SIGTERM; the same request goes on).
"""

import ctypes
import gc
import importlib
import logging
import os
import shutil
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..config import hub
from ..credentials import masked
from ..errors import UserError, error_line
from ..store import progress
from ..store.files import read_json, write_json
from . import ranks, stopping
from .advice import described
from .step import STEPS

_PR_SET_PDEATHSIG = 1
# Allocations until the collector looks again, in place of 700: while torch and transformers are imported, whenever a
# step first needs them, hundreds of thousands of objects are made that stay (what it brings: docs/log.md).
_COLLECT_EVERY = 10_000


def main(request_file: str) -> int:
    """Run the step that ``request_file`` asks for; returns the exit code."""
    gc.set_threshold(_COLLECT_EVERY)
    stopping.leave_ctrl_c_to_the_command()
    _die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpx2", "filelock", "fsspec", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It logs each failed import over several lines beside the exception that we turn into one.
    logging.getLogger("hydra").setLevel(logging.CRITICAL)
    request = read_json(Path(request_file))
    work = Path(request["work"])
    if ranks.rank():
        _leave_writing_to_the_first(request)
    else:
        progress.begin(work)
    try:
        ranks.join(request)
        write_json(work / "facts.json", run(request))
    except UserError as error:
        _leave_error(work, "user", str(error))
        return 2
    except Exception as error:
        _leave_error(work, "failed", described(error, request))
        if os.environ.get("HYDRA_FULL_ERROR"):
            traceback.print_exc()
        return 1
    return 0


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Import the step's function and call it; returns its facts (JSON values)."""
    # Before the libraries are imported: what it finds decides whether they ask the hub.
    hub.prepare(request["options"])
    module, function = STEPS[request["step"]][0].split(":")
    facts: dict[str, Any] = getattr(importlib.import_module(module), function)(request)
    return facts


def _leave_writing_to_the_first(request: dict[str, Any]) -> None:
    logging.getLogger("edgedistil").setLevel(logging.WARNING)
    request["runtime"]["progress"] = False
    own = Path(request["work"]) / "others" / str(ranks.rank())
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    request["output"] = str(own)


def _leave_error(work: Path, kind: str, message: str) -> None:
    if (work / "error.json").exists():
        # Of several processes the first to fail has the cause; what follows are lost connections.
        return
    if ranks.rank():
        message = f"process {ranks.rank()}: {message}"
    told = {"kind": kind, "message": " ".join(message.split()), "traceback": traceback.format_exc()}
    try:
        # Libraries quote addresses, and a proxy's or a mirror's may hold a password.
        write_json(work / "error.json", {name: masked(text) for name, text in told.items()})
    except OSError as unwritten:
        # Most likely what the step failed of, too: a full disk, a folder that may not be written any more.
        print(error_line(f"{message} (that can't be kept: {unwritten})"), file=sys.stderr)


def _die_with_parent() -> None:
    """End this process when the one that asked for it is gone, so that nothing is computed that nobody publishes."""
    watch = os.environ.pop(stopping.PARENT, None)
    if watch is None:
        return
    # The thread below needs the interpreter, which a library that hangs while it is loaded never gives back (OpenBLAS
    # asks for ever when it gets no memory): this child would keep its locks. The kernel asks nobody.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def wait() -> None:
        os.read(int(watch), 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
