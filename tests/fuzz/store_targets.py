"""Files of the store: what an artifact says of itself, digests that are remembered, progress, locks."""

import fcntl
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgedistil.store.fingerprint import DigestCache
from edgedistil.store.integrity import changed, damage, damage_on_disk
from edgedistil.store.lock import holder, locked
from edgedistil.store.progress import PROGRESS_FILE, begin, tell, told
from edgedistil.store.store import ARTIFACT_FILE, Store
from edgedistil.store.upkeep import collect, entries, typical

from .mutation import odd_json, odd_text
from .target import Target, answered, written

STEP, KEY = "train", "a" * 64


def artifacts() -> Sequence[bytes]:
    """``artifact.json`` as the store publishes it, with and without the digest of itself."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch))
        written(store.open_work(KEY) / "output", "weights.bin", b"12345")
        folder = store.publish(STEP, KEY, {"seconds": 1.5, "label": "a step", "inputs": {}, "options": {"seed": 1}})
        whole = (folder / ARTIFACT_FILE).read_bytes()
    older = {k: v for k, v in json.loads(whole).items() if k != "own_sha256"}
    return [whole, json.dumps(older).encode()]


def check_artifact(data: bytes, folder: Path) -> None:
    store = Store(folder)
    place = store.path(STEP, KEY)
    written(place, "weights.bin", b"12345")
    written(place, ARTIFACT_FILE, data)
    for said in (damage(store, place), damage_on_disk(place), changed(place / "weights.bin")):
        assert said is None or (said.strip() and str(folder) in said), said
    if data in artifacts_here():
        assert damage_on_disk(place) is None
    # Kept however odd: only what was looked at is damaged.
    listed = answered(lambda: entries(store), ARTIFACT_FILE)
    answered(lambda: typical(store), ARTIFACT_FILE)
    assert isinstance(listed, list)
    assert [(entry.step, entry.fingerprint) for entry in listed] == [(STEP, KEY)]
    assert isinstance(listed[0].label, str)
    assert "x" not in f"{listed[0].created_unix_s:.0f}{listed[0].size_mb:.1f}"
    answered(lambda: collect(store, 1e9), ARTIFACT_FILE)


_kept: list[bytes] = []


def artifacts_here() -> Sequence[bytes]:
    """:func:`artifacts`, made once."""
    if not _kept:
        _kept.extend(artifacts())
    return _kept


def digest_files() -> Sequence[bytes]:
    """``digests.json`` with one file that is there and one that is gone."""
    with tempfile.TemporaryDirectory() as scratch:
        cache = DigestCache(Path(scratch) / "digests.json")
        cache.digest(written(Path(scratch), "a", b"a"))
        cache.remember({written(Path(scratch), "b", b"b"): "0" * 64})
        return [(Path(scratch) / "digests.json").read_bytes(), b"{}"]


def check_digests(data: bytes, folder: Path) -> None:
    file, cache = written(folder, "a", b"abc"), DigestCache(written(folder, "digests.json", data))
    truth = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert cache.digest(file) == truth
    cache.remember({file: truth})
    again = DigestCache(folder / "digests.json")
    again.forget_what_is_gone()
    assert DigestCache(folder / "digests.json").digest(file) == truth
    assert list(json.loads((folder / "digests.json").read_text()).values()).count(truth) >= 1


def progress_files() -> Sequence[bytes]:
    """``progress.json`` as a step writes it."""
    with tempfile.TemporaryDirectory() as scratch:
        begin(Path(scratch))
        tell(3, 10, "steps")
        return [(Path(scratch) / PROGRESS_FILE).read_bytes()]


def check_progress(data: bytes, folder: Path) -> None:
    written(folder, PROGRESS_FILE, data)
    found = told(folder)
    assert found is None or (
        set(found) == {"done", "total", "unit"}
        and type(found["done"]) is int and type(found["total"]) is int and type(found["unit"]) is str
    )  # fmt: skip


def owners() -> Sequence[bytes]:
    """What a holder leaves in its lock."""
    with tempfile.TemporaryDirectory() as scratch, locked(Path(scratch) / "a.lock"):
        return [(Path(scratch) / "a.lock").read_bytes(), b""]


def check_owner(data: bytes, folder: Path) -> None:
    file = written(folder, "a.lock", data)
    assert holder(file) is None, "nobody holds it"
    held = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        who = holder(file)
    finally:
        os.close(held)
    assert who
    assert len(who.splitlines()) == 1, f"more than one line: {who!r}"
    with locked(file):
        assert file.read_text() == f"process {os.getpid()} on {os.uname().nodename}"


TARGETS = (
    Target("artifact", artifacts_here, odd_json, check_artifact),
    Target("digests", digest_files, odd_json, check_digests),
    Target("progress", progress_files, odd_json, check_progress),
    Target("lock_owner", owners, odd_text, check_owner),
)
