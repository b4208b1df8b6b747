"""Fingerprints, digests, and files that are whole or absent."""

import hashlib
import json
import math
import os
from pathlib import Path

import pytest

from edgedistil.store import fingerprint as module
from edgedistil.store.files import link_or_copy, read_json, write_json, write_text
from edgedistil.store.fingerprint import DigestCache, file_digest, fingerprint


def test_fingerprint_is_sha256_of_canonical_json() -> None:
    assert fingerprint({"b": [1, None], "a": "x"}) == hashlib.sha256(b'{"a":"x","b":[1,null]}').hexdigest()


def test_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})


def test_fingerprint_tells_apart_values_and_order_in_lists() -> None:
    prints = {fingerprint(v) for v in ({"a": 1}, {"a": 2}, {"a": [1, 2]}, {"a": [2, 1]}, {"a": None}, {}, {"a": True})}
    assert len(prints) == 7


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_fingerprint_refuses_what_json_does_not_know(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"a": value})
    with pytest.raises(TypeError):
        fingerprint({"a": {1, 2}})


def test_digest_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "f") == expected
    assert DigestCache(tmp_path / "d.json").digest(tmp_path / "f") == expected


def test_digest_cache_hashes_once_even_across_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    calls: list[Path] = []

    def counted(path: Path) -> str:
        calls.append(path)
        return "digest"

    monkeypatch.setattr(module, "file_digest", counted)
    cache = DigestCache(tmp_path / "d.json")
    assert [cache.digest(tmp_path / "f") for _ in range(3)] == ["digest"] * 3
    assert DigestCache(tmp_path / "d.json").digest(tmp_path / "f") == "digest"
    assert calls == [tmp_path / "f"]


def test_digest_cache_notices_a_file_changed_at_the_same_size(tmp_path: Path) -> None:
    file, cache = tmp_path / "f", DigestCache(tmp_path / "d.json")
    file.write_bytes(b"abc")
    before = cache.digest(file)
    file.write_bytes(b"abd")
    os.utime(file, ns=(1, 1))
    assert cache.digest(file) == hashlib.sha256(b"abd").hexdigest() != before


def test_digest_cache_notices_a_file_replaced_with_the_same_time(tmp_path: Path) -> None:
    file, cache = tmp_path / "f", DigestCache(tmp_path / "d.json")
    file.write_bytes(b"abc")
    os.utime(file, ns=(1, 1))
    cache.digest(file)
    (tmp_path / "g").write_bytes(b"abd")
    os.utime(tmp_path / "g", ns=(1, 1))
    os.replace(tmp_path / "g", file)
    assert cache.digest(file) == hashlib.sha256(b"abd").hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_damaged_digest_cache_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    (tmp_path / "d.json").write_text(content)
    assert DigestCache(tmp_path / "d.json").digest(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()
    assert len(DigestCache(tmp_path / "d.json")._read()) == 1


def test_two_digest_caches_keep_each_others_entries(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    first, second = DigestCache(tmp_path / "d.json"), DigestCache(tmp_path / "d.json")
    first.digest(tmp_path / "a")
    second.digest(tmp_path / "b")
    first.digest(tmp_path / "b")
    kept = DigestCache(tmp_path / "d.json")._read()
    assert set(kept.values()) == {hashlib.sha256(x).hexdigest() for x in (b"a", b"b")}


def test_digest_cache_adds_what_is_new_and_leaves_the_rest(tmp_path: Path) -> None:
    memory = tmp_path / "d.json"
    names = [tmp_path / name for name in "abc"]
    for file in names:
        file.write_text(file.name)
    # As it was written once: one object. Read, and added to.
    memory.write_text(json.dumps({module._identity(names[0]): "digest of a"}) + "\n")
    DigestCache(memory).remember({names[1]: "digest of b"})
    before = memory.read_bytes()
    one, two = DigestCache(memory), DigestCache(memory)
    one.remember({names[0]: "another digest of a"})
    two.remember({names[2]: "digest of c"})
    after = memory.read_bytes()
    assert after.startswith(before)
    assert len(after) - len(before) < 500
    assert [DigestCache(memory).digest(file) for file in names] == ["another digest of a", "digest of b", "digest of c"]


def test_digest_cache_survives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    memory = tmp_path / "d.json"
    for name in "ab":
        (tmp_path / name).write_text(name)
    DigestCache(memory).remember({tmp_path / "a": "digest of a"})
    DigestCache(memory).remember({tmp_path / "b": "digest of b"})
    os.truncate(memory, memory.stat().st_size - 5)
    DigestCache(memory).remember({tmp_path / "b": "digest of b"})
    assert [DigestCache(memory).digest(tmp_path / name) for name in "ab"] == ["digest of a", "digest of b"]


def test_digest_cache_is_written_anew_when_it_says_things_often(tmp_path: Path) -> None:
    memory = tmp_path / "d.json"
    (tmp_path / "a").write_text("a")
    for _ in range(module._SPARE_ENTRIES + 3):
        DigestCache(memory).remember({tmp_path / "a": "digest of a"})
    assert len(memory.read_bytes().splitlines()) > module._SPARE_ENTRIES
    assert DigestCache(memory).digest(tmp_path / "a") == "digest of a"
    assert list(read_json(memory).values()) == ["digest of a"]


def test_write_json_round_trip_and_no_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    write_json(path, {"ä": [1, 2.5, None]})
    write_json(path, {"ä": [1, 2.5, True]})
    assert read_json(path) == {"ä": [1, 2.5, True]}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("value", [{"a": math.nan}, {"a": object()}])
def test_write_json_leaves_the_old_file_when_serialisation_fails(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_write_text_leaves_the_old_file_when_the_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "x", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_link_or_copy_links_and_falls_back_to_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("a")
    link_or_copy(tmp_path / "a", tmp_path / "deep" / "linked")
    assert (tmp_path / "deep" / "linked").stat().st_ino == (tmp_path / "a").stat().st_ino

    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "copied")
    assert (tmp_path / "copied").read_text() == "a"
    assert (tmp_path / "copied").stat().st_ino != (tmp_path / "a").stat().st_ino
