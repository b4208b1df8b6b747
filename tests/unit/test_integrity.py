"""An artifact that is not what was published is named, never used, and computed again when that is asked for."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tiny_step import TinyStep

from edgedistil.__main__ import main
from edgedistil.errors import StepError, UserError
from edgedistil.reporting.outcomes import checked
from edgedistil.stages import runner
from edgedistil.store import fingerprint as module
from edgedistil.store.fingerprint import DigestCache, file_digest
from edgedistil.store.integrity import changed, damage, damage_on_disk
from edgedistil.store.store import ARTIFACT_FILE, Store


@pytest.fixture
def store(own_store: Path) -> Store:
    return Store(own_store)


def publish(store: Store, key: str, content: bytes = b"weights" * 100) -> Path:
    with store.lock(key):
        output = store.open_work(key) / "output"
        (output / "deep").mkdir()
        (output / "model.bin").write_bytes(content)
        (output / "deep" / "a.json").write_text("{}")
        return store.publish("train", key, {"label": "mine", "options": {}, "inputs": {}})


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def flip_untouched(file: Path) -> None:
    """As a disk does it: no time and no size tells."""
    before = file.stat()
    flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(folder: Path) -> None:
    other = publish(Store(folder.parents[2]), "other", b"other")
    (folder / ARTIFACT_FILE).write_text((other / ARTIFACT_FILE).read_text())


CASES: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: os.truncate(f / "model.bin", 100), "model.bin has 100 bytes, and had 700 when it was published"),
    (lambda f: (f / "model.bin").write_bytes(b""), "model.bin has 0 bytes"),
    (lambda f: flip(f / "model.bin"), "model.bin is not what was published (sha256 "),
    (lambda f: (f / "deep" / "a.json").write_text("[]"), "a.json is not what was published"),
    (lambda f: (f / "model.bin").unlink(), "model.bin is gone"),
    (lambda f: (f / ARTIFACT_FILE).write_text('{"files"'), "artifact.json can't be read (JSONDecodeError"),
    (lambda f: (f / ARTIFACT_FILE).write_text("[1]"), "artifact.json can't be read (TypeError"),
    (swap, "artifact.json is of another artifact (train other)"),
]


@pytest.mark.parametrize(("harm", "said"), CASES)
def test_every_kind_of_damage_is_named(store: Store, harm: Callable[[Path], object], said: str) -> None:
    folder = publish(store, "k1")
    assert damage(store, folder) is None
    harm(folder)
    for found in (damage(store, folder), damage_on_disk(folder), damage(Store(store.root), folder)):
        assert said in str(found)


def test_a_file_is_hashed_once_until_it_is_touched(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = publish(store, "k1")
    hashed: list[Path] = []
    monkeypatch.setattr("edgedistil.store.fingerprint.file_digest", lambda path: hashed.append(path) or "changed")
    # TinyStep since it was published, by a process that starts later too.
    assert damage(store, folder) is None
    assert damage(Store(store.root), folder) is None
    assert hashed == []
    os.utime(folder / "model.bin")
    assert "model.bin is not what was published" in str(damage(store, folder))
    assert hashed == [folder / "model.bin"]


def test_bits_that_went_without_a_touch_are_found_on_disk(store: Store) -> None:
    folder = publish(store, "k1")
    flip_untouched(folder / "model.bin")
    assert damage(store, folder) is None
    assert "model.bin is not what was published" in str(damage_on_disk(folder))


@pytest.mark.parametrize("find", [damage_on_disk, lambda folder: changed(folder / "model.bin")])
def test_what_was_found_by_every_byte_is_named_by_the_next_run(store: Store, find: Callable[[Path], object]) -> None:
    folder = publish(store, "k1")
    flip_untouched(folder / "model.bin")
    assert damage(store, folder) is None
    assert "model.bin is not what was published" in str(find(folder))
    assert "model.bin is not what was published" in str(damage(store, folder))
    # Of a process that starts later.
    store.digests = DigestCache(store.root / "digests.json")
    assert "model.bin is not what was published" in str(damage(store, folder))


def test_repair_finds_bits_that_went_without_a_touch(store: Store) -> None:
    folder = publish(store, "k1")
    flip_untouched(folder / "model.bin")
    assert runner._sound(TinyStep(), store, repair=True) is None  # type: ignore[arg-type]
    assert not folder.exists()


def test_repair_reads_what_an_artifact_came_from_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "k1")
    source = publish(store, "source", b"teacher")

    class Source(TinyStep):
        fingerprint = "source"

    class Goal(TinyStep):
        @staticmethod
        def ancestry() -> list[Any]:
            return [Source(), Goal()]

    made: list[str] = []
    monkeypatch.setattr(runner, "_computed", lambda step, *_: made.append(step.fingerprint))
    flip_untouched(source / "model.bin")
    runner.ensure(Goal(), store, repair=True)  # type: ignore[arg-type]
    assert made == ["source"]
    publish(store, "source", b"teacher")
    read: list[Path] = []
    monkeypatch.setattr(module, "file_digest", lambda path: read.append(path) or file_digest(path))
    for _ in range(2):
        runner.ensure(Goal(), store, repair=True)  # type: ignore[arg-type]
    assert sorted(read) == [source / "deep" / "a.json", source / "model.bin"]


@pytest.mark.parametrize("spoil", [
    lambda told: json.dumps({key: "0" * 64 for key in told}),
    lambda told: json.dumps({key: 5 for key in told}),
    lambda told: json.dumps({key: [digest] for key, digest in told.items()}),
    lambda told: "[" * 100_000,
    lambda told: "\udcff",
])
def test_a_damaged_memory_of_digests_damages_nothing(store: Store, spoil: Callable[[dict[str, str]], str]) -> None:
    folder = publish(store, "k1")
    memory = store.root / "digests.json"
    memory.write_text(spoil(json.loads(memory.read_text())), errors="surrogateescape")
    store.digests = DigestCache(memory)
    assert damage(store, folder) is None
    store.digests = DigestCache(memory)
    assert runner._sound(TinyStep(), store, repair=True) == folder  # type: ignore[arg-type]


def test_what_is_removed_while_it_is_looked_at_is_absent_not_damaged(store: Store,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "k1")

    def late(store: Store, folder: Path) -> str | None:
        store.set_aside("train", "k1")
        return damage(store, folder)

    monkeypatch.setattr(runner, "damage", late)
    assert runner._sound(TinyStep(), store, repair=False) is None  # type: ignore[arg-type]


def test_a_store_that_fails_while_an_artifact_is_checked_is_a_failed_step(store: Store,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "k1")

    def broken(store: Store, folder: Path) -> str | None:
        raise OSError(5, "Input/output error", str(folder))

    monkeypatch.setattr(runner, "damage", broken)
    with pytest.raises(StepError, match=r"train \(mine\): the store can't be used: Input/output error: .*k1"):
        runner.ensure(TinyStep(), store)  # type: ignore[arg-type]


def test_a_damaged_artifact_stops_or_is_computed_again(store: Store) -> None:
    folder = publish(store, "k1")
    flip(folder / "model.bin")

    with pytest.raises(UserError, match=r"train \(mine\) is damaged: .*model.bin is not what.*store.repair=true"):
        runner._sound(TinyStep(), store, repair=False)  # type: ignore[arg-type]
    assert folder.is_dir()
    assert runner._sound(TinyStep(), store, repair=True) is None  # type: ignore[arg-type]
    assert not folder.exists()
    assert list((store.root / "trash").iterdir()) == []
    again = publish(store, "k1")
    assert runner._sound(TinyStep(), store, repair=False) == again  # type: ignore[arg-type]


def test_the_command_reads_every_byte(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    publish(store, "k1")
    folder = publish(store, "k2", b"more")
    assert main(["store", "verify"]) == 0
    assert "2 artifacts, 0 damaged" in capsys.readouterr().out
    flip(folder / "model.bin")
    assert main(["store", "verify"]) == 1
    out = capsys.readouterr().out
    assert "k2/model.bin is not what was published" in out
    assert "2 artifacts, 1 damaged" in out
    (folder / ARTIFACT_FILE).unlink()
    assert main(["store", "verify"]) == 1
    out = capsys.readouterr().out
    assert f"{folder / ARTIFACT_FILE} is gone" in out
    assert "2 artifacts, 1 damaged" in out


def test_an_edited_manifest_is_found_by_its_own_digest(store: Store) -> None:
    folder = publish(store, "k1")
    manifest = folder / ARTIFACT_FILE
    manifest.write_text(manifest.read_text().replace('"label": "mine"', '"label": "yours"'))
    assert damage(store, folder) == f"{manifest} is not what was published: it was edited, or bits of it were lost"
    assert changed(folder / "model.bin") == damage(store, folder)


def test_one_file_is_checked_by_every_byte_and_a_copy_elsewhere_is_not(store: Store, tmp_path: Path) -> None:
    folder = publish(store, "k1")
    assert changed(folder / "model.bin") is None
    flip_untouched(folder / "model.bin")
    assert "model.bin is not what was published" in str(changed(folder / "model.bin"))
    (tmp_path / "copy.bin").write_bytes(b"mine")
    assert changed(tmp_path / "copy.bin") is None
    # With a manifest beside it that lists it, or others: a folder of results.
    again = publish(store, "k2")
    copy = tmp_path / "results" / "first"
    shutil.copytree(again, copy)
    (copy / "notes.md").write_text("mine")
    assert changed(copy / "model.bin") is None
    assert changed(copy / "notes.md") is None
    assert damage_on_disk(again) is None


def test_a_file_beside_anothers_manifest_or_in_none_is_damaged_in_a_store(store: Store) -> None:
    folder = publish(store, "k1")
    strange = folder / "record.json"
    strange.write_text("{}")
    assert changed(strange) == f"{strange} is none of the files that {ARTIFACT_FILE} lists"
    assert changed(folder / ARTIFACT_FILE) is None
    with store.lock("k2"):
        output = store.open_work("k2") / "output"
        (output / "other.bin").write_bytes(b"other")
        other = store.publish("train", "k2", {"label": "mine", "inputs": {}})
    (folder / ARTIFACT_FILE).write_text((other / ARTIFACT_FILE).read_text())
    for name in ("model.bin", ARTIFACT_FILE):
        assert changed(folder / name) == f"{folder / ARTIFACT_FILE} is of another artifact (train k2)"


def test_an_edited_record_is_unreadable_and_says_so(store: Store) -> None:
    from tests.unit.tiny_records import record

    made = record(key="k1")
    with store.lock("k1"):
        output = store.open_work("k1") / "output"
        (output / "record.json").write_text(json.dumps(made))
        folder = store.publish("bench", "k1", {"label": "mine", "inputs": {}})
    cell = {"status": "done", "step": "bench", "folder": str(folder)}
    assert [c["status"] for c in checked([cell])] == ["done"]
    made["quality"]["accuracy"] = 0.999
    (folder / "record.json").write_text(json.dumps(made))
    (found,) = checked([cell])
    assert found["status"] == "unreadable"
    assert f"{folder / 'record.json'} " in found["why"]
    assert "when it was published" in found["why"] or "is not what was published" in found["why"]


def test_what_a_publisher_that_was_killed_left_goes_but_not_under_a_living_one(store: Store) -> None:
    publish(store, "k1")
    work = store.root / "work" / "k1"
    work.mkdir(parents=True)
    store.note_failure("k1", {"message": "the first time"})
    with store.lock("k1"):
        store.tidy("k1")
        assert work.is_dir()
    store.tidy("k1")
    assert not work.exists()
    assert not list((store.root / "failures").iterdir())


def test_half_removed_rubbish_of_others_is_in_nobodys_way(store: Store) -> None:
    for _ in range(2):
        folder = publish(store, "k1")
        (store.root / "trash" / f"train-k1-{os.getpid()}" / "deep").mkdir(parents=True, exist_ok=True)
        (store.root / "trash" / "train-k1" / "deep").mkdir(parents=True, exist_ok=True)
        store.set_aside("train", "k1")
        assert not folder.exists()


def test_digests_of_what_is_gone_are_dropped_and_a_store_of_others_is_only_read(store: Store) -> None:
    from edgedistil.store.upkeep import collect

    publish(store, "k1")
    kept = publish(store, "k2", b"more")
    store.set_aside("train", "k1")
    (store.root / ".digests.json.abc").write_text("half")
    os.utime(store.root / ".digests.json.abc", (0, 0))
    collect(store, keep_days=1)
    told = json.loads((store.root / "digests.json").read_text())
    assert {Path(key.split("|")[0]).parent for key in told} == {kept, kept / "deep"}
    assert not (store.root / ".digests.json.abc").exists()


def test_a_child_that_never_gives_the_interpreter_back_goes_with_its_parent() -> None:
    hanging = (
        "import ctypes, os; from edgedistil.stages.child import _die_with_parent; _die_with_parent(); "
        "print(os.getpid(), flush=True); ctypes.PyDLL(None).pause()"
    )
    parent = (
        f"import os, subprocess, sys; r, w = os.pipe(); subprocess.Popen([sys.executable, '-c', {hanging!r}], "
        "pass_fds=[r], env={**os.environ, 'EDGEDISTIL_PARENT': str(r)}); os.read(r, 1)"
    )
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    child = int(started.stdout.readline())
    started.kill()
    started.wait()
    end = time.monotonic() + 10
    while _alive(child):
        assert time.monotonic() < end, "the child outlived its parent"
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
