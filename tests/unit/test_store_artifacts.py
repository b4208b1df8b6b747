"""Artifacts appear whole or not at all, and upkeep removes what it says it removes."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from edgedistil.errors import UserError
from edgedistil.store import upkeep
from edgedistil.store.files import read_json, write_json
from edgedistil.store.store import ARTIFACT_FILE, Store

DAY = 86_400


@pytest.fixture
def store(own_store: Path) -> Store:
    return Store(own_store)


def publish(store: Store, key: str, age_days: float = 0, content: bytes = b"x" * 1000, **facts: Any) -> Path:
    with store.lock(key):
        work = store.open_work(key)
        (work / "output" / "deep").mkdir()
        (work / "output" / "deep" / "data.bin").write_bytes(content)
        return store.publish("export", key, {"created_unix_s": time.time() - age_days * DAY, **facts})


def test_published_artifact_lists_digest_and_size_of_every_file(store: Store) -> None:
    folder = publish(store, "k1", content=b"abc", label="mine")
    facts = store.read("export", "k1")
    assert folder == store.path("export", "k1") == store.find("export", "k1")
    assert facts["files"] == {"deep/data.bin": {"sha256": hashlib.sha256(b"abc").hexdigest(), "bytes": 3}}
    assert (facts["step"], facts["fingerprint"], facts["schema_version"], facts["label"]) == ("export", "k1", 1, "mine")
    assert sorted(p.name for p in folder.iterdir()) == [ARTIFACT_FILE, "deep"]


def test_work_folder_is_gone_after_publishing_and_stays_before(store: Store) -> None:
    work = store.open_work("k1")
    (work / "checkpoint").write_text("half")
    (work / "output" / "stale").write_text("old")
    assert store.open_work("k1") == work
    assert (work / "checkpoint").read_text() == "half"
    assert list((work / "output").iterdir()) == []
    store.publish("train", "k1", {})
    assert not work.exists()


def test_find_does_not_see_a_folder_without_artifact_json(store: Store) -> None:
    store.path("export", "k1").mkdir(parents=True)
    (store.path("export", "k1") / "model.onnx").write_text("half")
    assert store.find("export", "k1") is None


def test_nothing_is_visible_until_the_rename(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: Path, target: Path) -> None:
        assert (Path(source) / ARTIFACT_FILE).is_file()
        assert not Path(target).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("os.rename", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(store, "k1")
    assert store.find("export", "k1") is None
    monkeypatch.undo()
    assert publish(store, "k1") == store.find("export", "k1")


def test_publishing_replaces_a_leftover_without_artifact_json(store: Store) -> None:
    store.path("export", "k1").mkdir(parents=True)
    (store.path("export", "k1") / "half").write_text("half")
    folder = publish(store, "k1")
    assert sorted(p.name for p in folder.iterdir()) == [ARTIFACT_FILE, "deep"]


def test_success_forgets_the_failure_before(store: Store) -> None:
    store.note_failure("k1", {"message": "no"})
    note = store.root / "failures" / "k1.json"
    assert read_json(note) == {"message": "no"}
    publish(store, "k1")
    assert not note.exists()


def test_store_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"store .* can't be made: Not a directory. Set EDGEDISTIL_STORE"):
        Store(tmp_path / "file" / "store")


def test_entries_are_oldest_first_with_size_and_label(store: Store) -> None:
    publish(store, "young", 1, b"x" * 500_000, label="b")
    publish(store, "old", 9, b"y" * 1_000_000, label="a")
    found = upkeep.entries(store)
    assert [(e.fingerprint, e.label, e.step) for e in found] == [("old", "a", "export"), ("young", "b", "export")]
    assert found[0].size_mb == pytest.approx(1.0, abs=0.002)
    assert found[1].size_mb == pytest.approx(0.5, abs=0.002)


def test_hard_linked_files_are_counted_once(store: Store) -> None:
    first = publish(store, "a", content=b"x" * 1_000_000)
    work = store.open_work("b")
    (work / "output" / "data.bin").hardlink_to(first / "deep" / "data.bin")
    store.publish("export", "b", {})
    assert sum(e.size_mb for e in upkeep.entries(store)) == pytest.approx(1.0, abs=0.003)


def test_collect_removes_what_is_older_than_the_limit(store: Store) -> None:
    publish(store, "old", 9, b"y" * 1_000_000)
    publish(store, "young", 1)
    removed, freed = upkeep.collect(store, keep_days=5)
    assert removed == 1
    assert freed == pytest.approx(1.0, abs=0.002)
    assert store.find("export", "old") is None
    assert store.find("export", "young") is not None
    assert upkeep.collect(store, keep_days=5) == (0, 0.0)
    assert upkeep.collect(store, keep_days=5, everything=True)[0] == 1
    assert upkeep.entries(store) == []


def test_collect_removes_old_abandoned_work_and_leaves_locked_work_alone(store: Store) -> None:
    long_ago = time.time() - 40 * 86400
    for key in ("abandoned", "alive"):
        checkpoint = store.open_work(key) / "checkpoint"
        checkpoint.write_bytes(b"x" * 1000)
        for path in (checkpoint, checkpoint.parent / "output", checkpoint.parent):
            os.utime(path, (long_ago, long_ago))
    with store.lock("alive"):
        assert upkeep.collect(store, keep_days=30) == (1, pytest.approx(0.001))
        assert (store.root / "work" / "alive" / "checkpoint").is_file()
    assert not (store.root / "work" / "abandoned").exists()
    assert upkeep.collect(store, keep_days=30)[0] == 1


def test_collect_keeps_the_checkpoint_of_a_run_killed_today(store: Store) -> None:
    checkpoint = store.open_work("killed") / "checkpoint"
    checkpoint.write_bytes(b"x")
    assert upkeep.collect(store, keep_days=30) == (0, 0.0)
    assert checkpoint.is_file()
    assert upkeep.collect(store, keep_days=30, everything=True)[0] == 1


def test_collect_removes_old_failures_as_it_says(store: Store) -> None:
    write_json(store.root / "failures" / "k1.json", {"message": "no"})
    upkeep.collect(store, keep_days=0, everything=True)
    assert list((store.root / "failures").iterdir()) == []
