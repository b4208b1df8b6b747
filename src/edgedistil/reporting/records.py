"""Reading ``record.json``: ours, whole, of a schema that is known; anything else is named and left out."""

import hashlib
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import parse_json
from ..store.integrity import changed
from .forms import named, text

RECORD_FILE = "record.json"
# What stages/bench.py wrote so far.
SCHEMAS = (1, 2, 3)
_PARTS = ("fingerprint", "names", "compression", "quality", "size", "model", "device", "environment")
_TIMED = ("latency", "throughput", "cold_start", "memory")


class RecordError(UserError):
    """A record that can't be used; the message says which file and why."""


def whole(file: Path, is_now: tuple[int, str] | None = None) -> Path:
    """``file`` of an artifact, once it is what was published.

    Args:
        is_now: how many bytes it has and their SHA-256, where they were read already.

    Raises:
        RecordError: it was edited, or is another artifact's.
    """
    wrong = changed(file, is_now)
    if wrong:
        raise RecordError(f"{wrong}. store.repair=true computes it again")
    return file


def record_file(place: Path) -> Path:
    """Where the record of a bench artifact's folder is; a file is one itself."""
    return place if place.is_file() else place / RECORD_FILE


def read_record(place: Path) -> dict[str, Any]:
    """The record in a bench artifact's folder, or in a file.

    Raises:
        RecordError: it is not there, not whole, not a record, or of a schema of the future.
    """
    return read_record_file(record_file(place))


def read_record_file(file: Path) -> dict[str, Any]:
    """The record in ``file``, whatever its name is.

    Raises:
        RecordError: as :func:`read_record`.
    """
    return read_whole(file)[0]


def read_whole(file: Path) -> tuple[dict[str, Any], str]:
    """The record in ``file``, and the SHA-256 of the bytes that it was read from.

    Raises:
        RecordError: as :func:`read_record`.
    """
    try:
        content = _bytes(file)
        record = parse_json(content.decode("utf-8"), parse_constant=_no_number)
    except ValueError as error:
        raise RecordError(f"the record {file} can't be read: {type(error).__name__}: {error}") from None
    if not isinstance(record, dict) or "schema_version" not in record:
        raise RecordError(f"{file} is no record of this project (no schema_version)")
    if record["schema_version"] not in SCHEMAS:
        raise RecordError(
            f"the record {file} has schema_version={record['schema_version']!r}, known here: "
            f"{', '.join(map(str, SCHEMAS))}; read it with the version of edgedistil that wrote it"
        )
    wanted = (*_PARTS, *(_TIMED if record.get("timed", True) else ()))
    missing = [part for part in wanted if part not in record]
    if missing:
        raise RecordError(f"the record {file} lacks {', '.join(missing)}: it is of another project, or was edited")
    if not named(record["names"]) or not text(record["fingerprint"]):
        raise RecordError(f"the record {file} has no names or no fingerprint of a cell: it was edited")
    return record, _whole_digest(file, content)


def record_digest(file: Path) -> str:
    """The SHA-256 of a record's bytes, which were read and not looked into.

    Raises:
        RecordError: it is not there, can't be read, or is not what was published.
    """
    return _whole_digest(file, _bytes(file))


def _whole_digest(file: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    whole(file, (len(content), digest))
    return digest


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"the record {file} is no longer in the store; run the sweep again") from None
    except OSError as error:
        raise RecordError(f"the record {file} can't be read: {type(error).__name__}: {error}") from None


def _no_number(text: str) -> None:
    """Ours are written without them."""
    raise ValueError(f"{text} is no figure")
