"""Keeping the store in bounds: list it, size it, remove what is old."""

import shutil
import stat
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import read_object
from .lock import refuse
from .store import ARTIFACT_FILE, Store


@dataclass(frozen=True)
class Entry:
    """One artifact: what it is, how large (MB on disk, hard-linked files counted once over all entries), how old."""

    step: str
    fingerprint: str
    size_mb: float
    created_unix_s: float
    path: Path
    label: str


def entries(store: Store) -> list[Entry]:
    """All finished artifacts, oldest first."""
    seen: set[tuple[int, int]] = set()
    return sorted(_scan(store, seen), key=lambda e: e.created_unix_s)


def typical(store: Store) -> dict[str, tuple[float, float]]:
    """Median seconds and MB of the artifacts that each step has in the store: what another one may cost."""
    seconds: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    for manifest in (store.root / "artifacts").glob(f"*/*/{ARTIFACT_FILE}"):
        facts = read_object(manifest)
        try:
            took, size = float(facts.get("seconds", 0.0)), sum(f["bytes"] for f in facts["files"].values()) / 1e6
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
            # What is damaged says nothing of others; who needs it is told so then.
            continue
        seconds.setdefault(manifest.parent.parent.name, []).append(took)
        sizes.setdefault(manifest.parent.parent.name, []).append(size)
    return {step: (statistics.median(values), statistics.median(sizes[step])) for step, values in seconds.items()}


def _scan(store: Store, seen: set[tuple[int, int]]) -> Iterator[Entry]:
    for manifest in sorted((store.root / "artifacts").glob(f"*/*/{ARTIFACT_FILE}")):
        folder = manifest.parent
        facts = read_object(manifest)
        size = 0
        for path in folder.rglob("*"):
            status = path.lstat()
            if path.is_file() and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                size += status.st_size
        yield Entry(
            folder.parent.name,
            folder.name,
            size / 1e6,
            _made(facts, manifest),
            folder,
            str(facts.get("label", "")) if facts else f"{ARTIFACT_FILE} can't be read (store verify)",
        )


def _made(facts: dict[str, Any], manifest: Path) -> float:
    """When an artifact was made, in seconds since 1970; of one that does not say, when its file was written."""
    told = facts.get("created_unix_s")
    return float(told) if isinstance(told, int | float) and 0 <= told < 1 << 40 else manifest.stat().st_mtime


def collect(store: Store, keep_days: float, everything: bool = False) -> tuple[int, float]:
    """Remove artifacts made more than ``keep_days`` ago (or all), abandoned work, old failures, and token ids of splits
    that nothing read for so long.

    Work that a living process holds the lock of is left alone, and so is what it reads.

    Returns:
        How many folders went, and how many MB.
    """
    limit = time.time() - keep_days * 86400
    removed, freed = 0, 0.0
    in_use = _inputs_of_running_steps(store)
    for entry in entries(store):
        if (everything or entry.created_unix_s < limit) and str(entry.path) not in in_use:
            try:
                with store.lock(entry.fingerprint, refuse):
                    store.set_aside(entry.step, entry.fingerprint)
                    removed, freed = removed + 1, freed + entry.size_mb
            except (BlockingIOError, FileNotFoundError):
                # Somebody makes it again now, or removed it meanwhile.
                continue
    for failure in (store.root / "failures").glob("*.json"):
        if everything or _look(failure)[1] < limit:
            failure.unlink(missing_ok=True)
    for left in (store.root / "trash").glob("*"):
        # The folder itself stays: somebody may be about to put something there.
        shutil.rmtree(left, ignore_errors=True)
    for folder in (store.root / "tokens").glob("*"):
        # Touched whenever they are read; a process that has them mapped keeps them until it ends.
        if everything or folder.stat().st_mtime < limit:
            size = _look(folder)[0]
            shutil.rmtree(folder, ignore_errors=True)
            removed, freed = removed + 1, freed + size
    for work in (store.root / "work").glob("*"):
        size, touched = _look(work)
        if not everything and touched >= limit:
            # A killed training of today goes on from its checkpoint tomorrow.
            continue
        try:
            with store.lock(work.name, refuse):
                shutil.rmtree(work)
                removed, freed = removed + 1, freed + size
        except (BlockingIOError, FileNotFoundError):
            # Somebody is at it, or it was finished meanwhile.
            continue
    for unfinished in store.root.glob(".*.json.*"):
        # Of a process that was killed while it wrote digests.json anew.
        if everything or unfinished.stat().st_mtime < limit:
            unfinished.unlink(missing_ok=True)
    store.digests.forget_what_is_gone()
    return removed, freed


def _look(place: Path) -> tuple[float, float]:
    """(MB of the files in it, when the last of them was touched) of what a running step may be writing now."""
    size, touched = 0, 0.0
    for path in [place, *place.rglob("*")]:
        with suppress(FileNotFoundError):
            status = path.lstat()
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
            touched = max(touched, status.st_mtime)
    return size / 1e6, touched


def token_mb(store: Store) -> float:
    """MB of the token ids that are kept of large splits; they are made again when they are gone."""
    return sum(p.stat().st_size for p in (store.root / "tokens").glob("*/*")) / 1e6


def _inputs_of_running_steps(store: Store) -> set[str]:
    """Folders that a step with a living holder of its lock reads now."""
    found: set[str] = set()
    for request in (store.root / "work").glob("*/request.json"):
        try:
            with store.lock(request.parent.name, refuse):
                continue
        except BlockingIOError:
            found |= {str(place) for place in dict(read_object(request).get("inputs", {})).values()}
    return found
