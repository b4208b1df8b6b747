"""Content fingerprints: SHA-256 over canonical JSON, and digests of files that are hashed once."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

# Entries that a file of digests may hold twice, or that can't be read, before it is written anew.
_SPARE_ENTRIES = 1000


def fingerprint(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of ``value`` (sorted keys, no blanks); raises on anything not JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class DigestCache:
    """File digests remembered by path, size, modification time and inode, so that a second run reads no weights.

    The file is a log: every line is a JSON object of what was learnt at once, and of a file the last word holds. What a
    step adds costs what it adds, and many processes may write. It is never more than a memory: a line that can't be
    read, and one that is lost because two write the whole anew at once, cost a second hashing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] | None = None
        self._new: dict[str, str] = {}

    def digest(self, path: Path, save: bool = True, expected: str | None = None, afresh: bool = False) -> str:
        """SHA-256 of ``path``, from memory when the file has not been touched since it was last hashed.

        Args:
            save: write what is new at once; who asks for many files calls :meth:`save` after the last.
            expected: what it should be; when memory says another the file is hashed, as memory may be what is wrong.
            afresh: read the file whatever is remembered of it.
        """
        if self._known is None:
            self._known = self._read()
        key = _identity(path)
        digest = self._known.get(key)
        if digest is None or afresh or expected not in (None, digest):
            digest = file_digest(path)
            if self._known.get(key) != digest:
                self._known[key] = self._new[key] = digest
                if save:
                    self.save()
        return digest

    def remember(self, digests: Mapping[Path, str]) -> None:
        """Keep digests that are known already, of files that were hashed while they were made."""
        new = {_identity(path): digest for path, digest in digests.items()}
        self._new |= new
        if self._known is not None:
            self._known |= new
        self.save()

    def save(self) -> None:
        """Add what is new, if anything is; where nothing can be written (of others, full), it is hashed again."""
        if not self._new:
            return
        # The line's end comes first: what a process that was killed left unfinished is a line of its own.
        line = ("\n" + json.dumps(self._new)).encode()
        self._new = {}
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(log, line)
            finally:
                os.close(log)

    def forget_what_is_gone(self) -> None:
        """Drop files that are no longer there; the rest is kept without a look at it."""
        self._known = {key: digest for key, digest in self._read().items() if os.path.exists(key.rsplit("|", 3)[0])}
        self._write(self._known)

    def _read(self) -> dict[str, str]:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return {}
        known: dict[str, str] = {}
        told = 0
        for line in filter(None, lines):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            entries = found if isinstance(found, dict) else {"": None}
            told += len(entries)
            known.update({key: digest for key, digest in entries.items() if isinstance(digest, str)})
        if told > 2 * len(known) + _SPARE_ENTRIES:
            self._write(known)
        return known

    def _write(self, digests: dict[str, str]) -> None:
        from .files import write_text

        with suppress(OSError):
            write_text(self._path, json.dumps(digests))


@cache
def digests_of(path: Path) -> DigestCache:
    """The digests that are kept in ``path``: read once by a process, however many of its jobs ask."""
    return DigestCache(path)


def _identity(path: Path) -> str:
    status, place = os.stat(path), os.fspath(path)
    place = place if os.path.isabs(place) else str(Path(place).absolute())
    return f"{place}|{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
