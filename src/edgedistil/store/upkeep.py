"""Keeping the store in bounds: list it, size it, remove what is old."""

import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .files import read_json
from .lock import locked
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
        facts = read_json(manifest)
        seconds.setdefault(facts["step"], []).append(facts.get("seconds", 0.0))
        sizes.setdefault(facts["step"], []).append(sum(f["bytes"] for f in facts["files"].values()) / 1e6)
    return {step: (statistics.median(values), statistics.median(sizes[step])) for step, values in seconds.items()}


def _scan(store: Store, seen: set[tuple[int, int]]) -> Iterator[Entry]:
    for manifest in sorted((store.root / "artifacts").glob(f"*/*/{ARTIFACT_FILE}")):
        folder = manifest.parent
        facts = read_json(manifest)
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
            facts.get("created_unix_s", 0.0),
            folder,
            facts.get("label", ""),
        )


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
            # Renamed first: a half-removed folder must not be taken for a finished one.
            trash = store.root / "trash" / f"{entry.step}-{entry.fingerprint}"
            trash.parent.mkdir(exist_ok=True)
            entry.path.rename(trash)
            shutil.rmtree(trash)
            removed, freed = removed + 1, freed + entry.size_mb
    for failure in (store.root / "failures").glob("*.json"):
        if everything or failure.stat().st_mtime < limit:
            failure.unlink()
    shutil.rmtree(store.root / "trash", ignore_errors=True)
    for folder in (store.root / "tokens").glob("*"):
        # Touched whenever they are read; a process that has them mapped keeps them until it ends.
        if everything or folder.stat().st_mtime < limit:
            size = sum(p.stat().st_size for p in folder.rglob("*")) / 1e6
            shutil.rmtree(folder, ignore_errors=True)
            removed, freed = removed + 1, freed + size
    for work in (store.root / "work").glob("*"):
        if not everything and max(p.stat().st_mtime for p in [work, *work.rglob("*")]) >= limit:
            # A killed training of today goes on from its checkpoint tomorrow.
            continue
        size = sum(p.stat().st_size for p in work.rglob("*") if p.is_file()) / 1e6
        try:
            with locked(store.root / "locks" / f"{work.name}.lock", on_wait=_refuse):
                shutil.rmtree(work)
                removed, freed = removed + 1, freed + size
        except BlockingIOError:
            continue
    return removed, freed


def token_mb(store: Store) -> float:
    """MB of the token ids that are kept of large splits; they are made again when they are gone."""
    return sum(p.stat().st_size for p in (store.root / "tokens").glob("*/*")) / 1e6


def _inputs_of_running_steps(store: Store) -> set[str]:
    """Folders that a step with a living holder of its lock reads now."""
    found: set[str] = set()
    for request in (store.root / "work").glob("*/request.json"):
        try:
            with locked(store.root / "locks" / f"{request.parent.name}.lock", on_wait=_refuse):
                continue
        except BlockingIOError:
            found |= set(read_json(request)["inputs"].values())
    return found


def _refuse(holder: str) -> None:
    raise BlockingIOError(holder)
