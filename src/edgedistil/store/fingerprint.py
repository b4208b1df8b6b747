"""Content fingerprints: SHA-256 over canonical JSON, and digests of files that are hashed once."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def fingerprint(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of ``value`` (sorted keys, no blanks); raises on anything not JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class DigestCache:
    """File digests remembered by path, size, modification time and inode, so that a second run reads no weights."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] | None = None

    def digest(self, path: Path) -> str:
        """SHA-256 of ``path``, from memory when the file has not been touched since it was last hashed."""
        if self._known is None:
            self._known = self._read()
        status = os.stat(path)
        key = f"{Path(path).absolute()}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
        if key not in self._known:
            self._known[key] = file_digest(path)
            self._write()
        return self._known[key]

    def _read(self) -> dict[str, str]:
        try:
            loaded = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def _write(self) -> None:
        from .files import write_json

        # Another process may have added entries meanwhile; losing one costs a second hashing, never a wrong answer.
        write_json(self._path, {**self._read(), **(self._known or {})})
