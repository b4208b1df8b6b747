"""What is told as cached is what was there before and was not made again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.tiny_step import TinyStep

from edgedistil.stages import job, runner
from edgedistil.store.store import Store


class Goal(TinyStep):
    name = "bench"


def test_a_cell_that_a_repair_made_again_is_not_cached(own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(own_store)

    def computed(*_: Any) -> Path:
        with store.lock("k1"):
            (store.open_work("k1") / "output" / "record.json").write_text("{}")
            return store.publish("bench", "k1", {"label": "mine", "inputs": {}})

    def cached(repair: bool) -> Any:
        cell: Any = SimpleNamespace(names={}, label="mine", impossible=None, steps={"record": Goal()})
        return job._make("bench", cell, store, {"logger": None, "store": {"repair": repair}}, None)["cached"]

    monkeypatch.setattr(runner, "_computed", computed)
    monkeypatch.setattr(job, "wandb_node", lambda _: None)
    assert [cached(False), cached(False), cached(True)] == [False, True, True]
    (store.path("bench", "k1") / "record.json").write_text("[]")
    assert [cached(True), cached(True), cached(False)] == [False, True, True]
