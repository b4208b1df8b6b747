"""A parser of our own, valid input for it, and what it promises of any other: a value, or one line that says what is
wrong."""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedistil.devices.adb import PhoneError
from edgedistil.errors import UserError, error_line
from edgedistil.reporting import ancestry
from edgedistil.store.fingerprint import digests_of
from edgedistil.workers.client import WorkerError

# What stands for "this input is wrong, and here is how" in this project; a RecordError is a UserError.
ERRORS = (UserError, PhoneError, WorkerError)
# ``answered`` gave no value.
REFUSED = object()
# How often ``answered`` gave a value, and how often none.
counts = {"value": 0, "refused": 0}

Mutator = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Target:
    """``check(data, folder)`` gives ``data`` to a parser and raises whatever breaks its promise.

    Args:
        seeds: valid input, built by the project's own writers where it has one.
        change: makes a valid input odd.
        check: gets an empty folder that is its own between calls, for parsers that read files.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    change: Mutator
    check: Callable[[bytes, Path], None]


def answered(call: Callable[[], Any], names: str = "") -> Any:
    """What ``call`` gives, or :data:`REFUSED` when it says in one line that its input is wrong.

    Args:
        names: what that line must name, such as the file.

    Raises:
        AssertionError: the line is empty, or does not name it; every other exception of the call goes on.
    """
    try:
        found = call()
        counts["value"] += 1
        return found
    except ERRORS as error:
        refusal = error
    line = error_line(refusal)
    assert len(line.splitlines()) == 1, f"more than one line: {line!r}"
    assert str(refusal).strip(), f"a {type(refusal).__name__} without a word"
    assert names in line or len(str(refusal)) > 1900, f"{line!r} does not name {names!r}"
    counts["refused"] += 1
    return REFUSED


@contextmanager
def empty_folder(base: Path) -> Iterator[Path]:
    """A folder in ``base``, gone afterwards with all that was remembered of its files."""
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        digests_of.cache_clear()
        ancestry._read.cache_clear()


def written(folder: Path, name: str, data: bytes) -> Path:
    """``data`` as a file of ``folder``."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
