"""What artifacts were made of: ``artifact.json`` files of a store, each read once."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ..store.store import ARTIFACT_FILE, artifact_facts

Artifact = dict[str, Any]
# (step, fingerprint) → the folder of the finished artifact, None where there is none
Found = dict[tuple[str, str], Path | None]


def ancestry(folder: Path, seen: set[str] | None = None, found: Found | None = None) -> Iterator[tuple[Path, Artifact]]:
    """(folder, artifact) of what an artifact was made of, inputs before their users, itself last, each once.

    Args:
        seen: fingerprints to leave out, which grows: what several artifacts share then comes once.
        found: what was looked for in this store, which grows: of many artifacts it is looked for once.
    """
    # STORE/artifacts/STEP/FINGERPRINT
    artifacts, seen = folder.parents[1], set() if seen is None else seen
    known: Found = {} if found is None else found

    def place_of(step: str, key: str) -> Path | None:
        if (step, key) not in known:
            place = artifacts / step / key
            known[step, key] = place if (place / ARTIFACT_FILE).is_file() else None
        return known[step, key]

    def visit(place: Path) -> Iterator[tuple[Path, Artifact]]:
        artifact = read_artifact(place)
        for source in artifact.get("inputs", {}).values():
            above = place_of(source["step"], source["fingerprint"])
            if above and source["fingerprint"] not in seen:
                seen.add(source["fingerprint"])
                yield from visit(above)
        yield place, artifact

    return visit(folder)


def read_artifact(folder: Path) -> Artifact:
    """``artifact.json`` of a finished artifact, read once; what comes back isn't to be edited.

    Raises:
        UserError: it is damaged.
    """
    status = os.stat(os.path.join(folder, ARTIFACT_FILE))
    return _read(str(folder), status.st_size, status.st_mtime_ns)


@cache
def _read(folder: str, size: int, changed_ns: int) -> Artifact:
    return artifact_facts(Path(folder))
