"""What a killed run left of its log, made whole, because ``wandb sync`` stops at a log that ends within a record and
leaves out all that the same run wrote after it.

The format is LevelDB's log (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind seven bytes of its
own: blocks of 32 KiB, in each of them chunks of a checksum (4 bytes), a length (2 bytes, little-endian) and a type (1:
a whole record, 2: its first part, 3: one between, 4: its last), then the data; up to six zero bytes fill a block.
"""

import math
import os
import shutil
from pathlib import Path
from typing import Any

from ..store.files import read_json, write_json

_OPENING, _BLOCK, _HEAD = 7, 32 * 1024, 7
_WHOLE, _LAST = 1, 4
# Ours, beside the log.
_SUMMARY = "edgedistil-summary.json"


def mend(folder: Path, run_id: str, current: Path) -> None:
    """Cut the logs that earlier processes left of a run to their last whole record, and drop those without any.

    Args:
        folder: where runs lie (``wandb/``).
        current: the run's folder of this process, which is left alone.
    """
    for log in _earlier(folder, run_id, current):
        kept = whole_bytes(log)
        if kept <= _OPENING:
            shutil.rmtree(log.parent, ignore_errors=True)
        elif kept < log.stat().st_size:
            os.truncate(log, kept)


def keep_summary(current: Path, summary: dict[str, Any]) -> None:
    """Leave the final figures of this process for the next one of the same run: plain ones, without what W&B adds."""
    plain = {
        k: v
        for k, v in summary.items()
        # Times and steps are the process's own.
        if not k.startswith("_") and (isinstance(v, str | bool | int) or (isinstance(v, float) and math.isfinite(v)))
    }
    write_json(current / _SUMMARY, plain)


def last_summary(folder: Path, run_id: str, current: Path) -> dict[str, Any]:
    """The final figures that an earlier process left of a run: `wandb sync` puts those of the last one in their place,
    where a run that is resumed online begins with them.

    Args:
        folder, current: as :func:`mend` has them.
    """
    found: dict[str, Any] = {}
    for log in _earlier(folder, run_id, current):
        if (log.parent / _SUMMARY).is_file():
            found |= read_json(log.parent / _SUMMARY)
    return found


def _earlier(folder: Path, run_id: str, current: Path) -> list[Path]:
    """The logs of a run's earlier processes, the first one first (names begin with their time)."""
    logs = folder.glob(f"*run-*-{run_id}/run-{run_id}.wandb")
    others = [p for p in logs if not p.parent.is_symlink() and p.parent.resolve() != current.resolve()]
    return sorted(others, key=lambda p: p.parent.name.removeprefix("offline-"))


def whole_bytes(log: Path) -> int:
    """How many bytes of a log end with a whole record; 0 of a file that has not even its opening."""
    content = log.read_bytes()
    place = kept = min(_OPENING, len(content)) if len(content) >= _OPENING else 0
    while place + _HEAD <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEAD:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        if not _WHOLE <= kind <= _LAST or place + _HEAD + length > len(content):
            break
        place += _HEAD + length
        if kind in (_WHOLE, _LAST):
            kept = place
    return kept
