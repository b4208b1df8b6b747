"""Runs that wandb kept on disk, read with its own protobuf classes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def records(log: Path) -> Iterator[Any]:
    """Every record of a ``.wandb`` file: LevelDB's log format behind seven bytes of W&B's own."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = log.read_bytes()
    assert content[:4] == b":W&B"
    place, parts = 7, b""
    while place < len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        assert place <= len(content), "the file ends within a record"
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""
    assert not parts, "the file ends within a record"


@dataclass
class Kept:
    """One run's folder: what its log says."""

    folder: Path
    all: list[Any]

    def of(self, kind: str) -> list[Any]:
        return [getattr(r, kind) for r in self.all if r.WhichOneof("record_type") == kind]

    @property
    def run(self) -> Any:
        return self.of("run")[0]

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for update in [self.run.config, *self.of("config")]:
            for item in update.update:
                place, names = found, [item.key] if item.key else list(item.nested_key)
                for name in names[:-1]:
                    place = place.setdefault(name, {})
                place[names[-1]] = json.loads(item.value_json)
        return found

    @property
    def history(self) -> list[dict[str, Any]]:
        return [_items(history.item) for history in self.of("history")]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for update in [*self.of("summary"), *(r.summary for r in self.of("run"))]:
            found |= _items(update.update)
        return found


def _items(items: Any) -> dict[str, Any]:
    return {"/".join(i.nested_key) if i.nested_key else i.key: json.loads(i.value_json) for i in items}


def kept(folder: Path) -> list[Kept]:
    """The runs under ``folder/wandb``, in the order in which they were begun."""
    logs = [p for p in (folder / "wandb").glob("*run-*/run-*.wandb") if not p.parent.is_symlink()]
    return [Kept(p.parent, list(records(p))) for p in sorted(logs, key=lambda p: p.stat().st_mtime_ns)]
