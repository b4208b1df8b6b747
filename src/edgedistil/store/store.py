"""Artifacts: one finished folder per fingerprint, with ``artifact.json`` as the last file written."""

import json
import os
import secrets
import shutil
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from ..errors import UserError, first_line
from .files import read_json, sync_tree, write_json
from .fingerprint import digests_of, file_digest, fingerprint
from .lock import locked, refuse

ARTIFACT_FILE = "artifact.json"
SCHEMA_VERSION = 1


def artifact_facts(folder: Path) -> dict[str, Any]:
    """``artifact.json`` of a finished artifact's folder.

    Raises:
        UserError: it is no JSON object any more.
        OSError: it can't be read.
    """
    file = Path(folder) / ARTIFACT_FILE
    try:
        facts = read_json(file)
    except ValueError as error:
        facts = first_line(error)
    if not isinstance(facts, dict):
        told = f" ({facts})" if isinstance(facts, str) else ""
        raise UserError(f"{file} is damaged{told}: the run that needs it, with store.repair=true, makes it again")
    return facts


class Store:
    """A folder of artifacts: ``artifacts/STEP/FINGERPRINT/``, with work in progress under ``work/``.

    ``work/FINGERPRINT`` survives a kill, so that a step which can resume (training) finds its checkpoint; everything
    else starts again in a clean ``output`` folder there.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the store {self.root} can't be made: {error.strerror}. Set EDGEDISTIL_STORE or store.root "
                "to a folder that you may write"
            ) from error
        self.digests = digests_of(self.root / "digests.json")

    def path(self, step: str, key: str) -> Path:
        """Where the artifact of ``step`` with fingerprint ``key`` is, or would be."""
        return self.root / "artifacts" / step / key

    def find(self, step: str, key: str) -> Path | None:
        """The finished artifact's folder, or None."""
        folder = self.path(step, key)
        return folder if (folder / ARTIFACT_FILE).is_file() else None

    def read(self, step: str, key: str) -> dict[str, Any]:
        """``artifact.json`` of a finished artifact."""
        return artifact_facts(self.path(step, key))

    def lock(self, key: str, on_wait: Any = None) -> AbstractContextManager[int]:
        """The exclusive lock of one fingerprint (or of a device)."""
        return locked(self.root / "locks" / f"{key}.lock", on_wait)

    def open_work(self, key: str) -> Path:
        """The work folder of ``key``, with an empty ``output``; call with the lock held."""
        work = self.root / "work" / key
        _removed(work / "output")
        (work / "output").mkdir(parents=True)
        return work

    def publish(self, step: str, key: str, facts: dict[str, Any], work: str | None = None) -> Path:
        """Move ``work/KEY/output`` to its place; call with the lock held. Other processes see all of it or nothing.

        Args:
            work: the work folder's name, where it is not ``key``.
        """
        output = self.root / "work" / (work or key) / "output"
        files = {
            str(p.relative_to(output)): {"sha256": file_digest(p), "bytes": p.stat().st_size}
            for p in sorted(output.rglob("*"))
            if p.is_file()
        }
        told = {
            "schema_version": SCHEMA_VERSION,
            "step": step,
            "fingerprint": key,
            "files": files,
            "created_unix_s": round(time.time(), 3),
            **facts,
        }
        # Of what a reader gets: keys that JSON makes texts of are in another order before.
        write_json(output / ARTIFACT_FILE, told | {"own_sha256": fingerprint(json.loads(json.dumps(told)))})
        sync_tree(output)
        target = self.path(step, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A leftover without artifact.json can only come from outside interference; it must not block the rename.
        _removed(target)
        os.rename(output, target)
        self.digests.remember({target / name: str(file["sha256"]) for name, file in files.items()})
        self._remove_work(work or key)
        return target

    def tidy(self, key: str) -> None:
        """Remove what a process left of a finished ``key`` that was killed just after it had published it."""
        if not (self.root / "work" / key).is_dir() and not (self.root / "failures" / f"{key}.json").is_file():
            return
        try:
            with self.lock(key, refuse):
                self._remove_work(key)
        except OSError:
            # Somebody is at it, or the store is of others: nothing that is needed now.
            return

    def _remove_work(self, key: str) -> None:
        (self.root / "failures" / f"{key}.json").unlink(missing_ok=True)
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    def set_aside(self, step: str, key: str) -> None:
        """Remove an artifact that can't be used; call with its lock held."""
        # Renamed first: a half-removed folder must not be taken for a finished one. To a name that nobody else has: one
        # that was killed here may have left its own. No folder is made for it: the disk may be full.
        trash = self.root / "trash"
        trash.mkdir(exist_ok=True)
        own = trash / f"{key}-{secrets.token_hex(8)}"
        os.rename(self.path(step, key), own)
        shutil.rmtree(own, ignore_errors=True)

    def note_failure(self, key: str, facts: dict[str, Any]) -> None:
        """Keep why ``key`` failed the last time, if there is space to; a later success removes it."""
        with suppress(OSError):
            write_json(self.root / "failures" / f"{key}.json", facts)


def _removed(folder: Path) -> None:
    """Remove ``folder`` if it is there; where it can't be, that is the error, not what making it anew would say."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        if folder.exists():
            # Inside it the library names files without their folder.
            raise OSError(error.errno, error.strerror, str(folder)) from error
