"""Artifacts appear whole or not at all, and upkeep removes what it says it removes."""

import errno
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from edgedistil.errors import UserError, refusal
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


def test_collect_leaves_alone_what_somebody_makes_again(store: Store) -> None:
    publish(store, "k1", 9)
    with store.lock("k1"):
        assert upkeep.collect(store, keep_days=0, everything=True)[0] == 0
        assert store.find("export", "k1") is not None
    assert upkeep.collect(store, keep_days=0, everything=True)[0] == 1


def test_collect_takes_no_folder_from_under_a_repair(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "k1")
    rename = os.rename

    def collected_meanwhile(source: Path, target: Path) -> None:
        monkeypatch.undo()
        upkeep.collect(store, keep_days=30)
        rename(source, target)

    monkeypatch.setattr("os.rename", collected_meanwhile)
    store.set_aside("export", "k1")
    assert store.find("export", "k1") is None
    (store.root / "trash" / "k9-of-a-killed-one").mkdir()
    upkeep.collect(store, keep_days=30)
    assert list((store.root / "trash").iterdir()) == []


def test_collect_minds_no_file_that_goes_while_it_looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.open_work("k1") / "checkpoint").write_bytes(b"x" * 1000)
    looked = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: [*looked(self, pattern), self / ".progress.json.1"])
    assert upkeep.collect(store, keep_days=30) == (0, 0.0)
    assert upkeep.collect(store, keep_days=30, everything=True) == (1, pytest.approx(0.001))


def test_the_store_is_cleaned_on_a_full_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("k0", "k1"):
        publish(store, key, 9)
    store.set_aside("export", "k0")
    made, opened = os.mkdir, os.open

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_new_folder(path: Any, *rest: Any, **named: Any) -> None:
        return made(path, *rest, **named) if os.path.exists(path) else full()

    def no_new_file(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        return full() if flags & os.O_CREAT and not os.path.exists(path) else opened(path, flags, *rest, **named)  # type: ignore[func-returns-value, return-value]

    for name, instead in {"pwrite": full, "ftruncate": full, "write": full, "mkdir": no_new_folder}.items():
        monkeypatch.setattr(f"os.{name}", instead)
    monkeypatch.setattr("os.open", no_new_file)
    assert upkeep.collect(store, keep_days=5)[0] == 1
    assert store.find("export", "k1") is None


def test_collect_removes_old_failures_as_it_says(store: Store) -> None:
    write_json(store.root / "failures" / "k1.json", {"message": "no"})
    upkeep.collect(store, keep_days=0, everything=True)
    assert list((store.root / "failures").iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"files": 3, "label": []}', "\xff", "[" * 100_000])
def test_a_damaged_artifact_is_listed_and_stops_nothing(store: Store, text: str) -> None:
    publish(store, "whole", age_days=2, seconds=3.0, label="mine")
    damaged = publish(store, "damaged", age_days=9, label="other") / ARTIFACT_FILE
    damaged.write_bytes(text.encode("latin-1"))
    listed = {entry.fingerprint: entry for entry in upkeep.entries(store)}
    assert set(listed) == {"whole", "damaged"}
    assert listed["whole"].label == "mine"
    assert listed["damaged"].size_mb > 0.0009
    assert upkeep.typical(store) == {"export": (3.0, 0.001)}
    # Its age is that of its file.
    assert upkeep.collect(store, keep_days=5) == (0, 0.0)
    os.utime(damaged, (time.time() - 9 * DAY,) * 2)
    assert upkeep.collect(store, keep_days=5)[0] == 1
    assert [entry.fingerprint for entry in upkeep.entries(store)] == ["whole"]


def test_a_work_folder_that_can_not_be_emptied_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    (store.open_work("k1") / "output" / "left").touch()

    def shut(path: Path, **_: object) -> None:
        # As of Python 3.11, which removes by descriptors.
        raise PermissionError(13, "Permission denied", "left")

    monkeypatch.setattr("edgedistil.store.store.shutil.rmtree", shut)
    with pytest.raises(PermissionError) as refused:
        store.open_work("k1")
    output = tmp_path / "work" / "k1" / "output"
    assert refusal(refused.value) == f"{output} can't be written or read: Permission denied"
