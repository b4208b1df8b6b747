"""A file of the store that is not what was published is never used: it is named, and computed again on request."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgedistil.store.integrity import damage
from edgedistil.store.store import Store


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.unlink()
    file.write_bytes(data)


def _rewrite(file: Path, data: bytes) -> None:
    # Not through a hard link: only this artifact is harmed.
    file.unlink()
    file.write_bytes(data)


HARMS: dict[str, Callable[[Path, bytes], None]] = {
    "truncated": lambda file, _: _rewrite(file, file.read_bytes()[:-3]),
    "emptied": lambda file, _: _rewrite(file, b""),
    "a bit flipped": lambda file, _: _flip(file),
    "of another artifact": lambda file, other: _rewrite(file, other),
    "gone": lambda file, _: file.unlink(),
}


def test_harm_to_each_file_of_each_kind_of_artifact_is_found_and_named(
    run: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path
) -> None:
    chosen = ["compression/pruning=structured", "compression/recovery=distillation", "compression.recovery.steps=2"]
    command = ["bench.py", *tiny, *rapid, *chosen, "measurement=quality"]
    first = run(*command, cwd=tmp_path, store=copied).ok()
    store, tried = Store(copied), set()
    for manifest in sorted(copied.glob("artifacts/*/*/artifact.json")):
        folder = manifest.parent
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            whole = file.read_bytes()
            for name, harm in HARMS.items():
                if (name == "emptied" and not whole) or (name == "gone" and file == manifest):
                    continue
                harm(file, b"#!" + whole[2:])
                assert str(file) in str(damage(store, folder)), f"{file} {name} was not found"
                _rewrite(file, whole) if file.exists() else file.write_bytes(whole)
            assert damage(store, folder) is None
            tried.add((folder.parent.name, file.name))
    assert {step for step, _ in tried} == {"train", "prune", "recover", "export", "predict", "bench", "report"}
    assert len(tried) > 30

    record = next(copied.glob("artifacts/bench/*/record.json"))
    answers = copied / "artifacts" / "predict"
    kept = {p.parent.name: p.read_bytes() for p in answers.glob("*/predictions.safetensors")}
    _flip(record)
    for file in answers.glob("*/predictions.safetensors"):
        _flip(file)
    stopped = run(*command, cwd=tmp_path, store=copied)
    assert stopped.code == 2
    assert f"is damaged: {record} is not what was published (sha256 " in stopped.err
    assert "store.repair=true" in stopped.err
    assert "Traceback" not in stopped.err + stopped.out
    assert stopped.computed == []
    mended = run(*command, "store.repair=true", cwd=tmp_path, store=copied).ok()
    assert sorted(mended.computed) == ["bench", "predict", "predict"]
    assert mended.summary["fingerprint"] == first.summary["fingerprint"]
    assert {p.parent.name: p.read_bytes() for p in answers.glob("*/predictions.safetensors")} == kept
    assert not list((copied / "trash").iterdir())
    shutil.rmtree(tmp_path / "outputs", ignore_errors=True)
