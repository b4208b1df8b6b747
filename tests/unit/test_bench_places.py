"""Who stands in the interleaved run: described by data, or by the two names that we know."""

from pathlib import Path
from typing import Any

import pytest

from edgedistil.measurement.inputs import batch_scenarios, length_facts, scenarios
from edgedistil.stages.site import Here, Place
from edgedistil.stages.timing import places
from edgedistil.workers.client import WorkerError

INPUTS = {"candidate": "/c", "parent": "/p", "torch_parent": "/t", "peer": "/x"}


def request(engine: str = "onnxruntime", interpreters: dict[str, str] | None = None, **workers: Any) -> dict[str, Any]:
    options = {"device": {"engine": engine}, "engine": {"engine": engine},
               "compression": {"quantization": {"method": "nf4"}}, "baseline_workers": workers}
    return {"inputs": INPUTS, "options": options, "runtime": {"interpreters": interpreters or {}}}


def test_the_candidate_comes_first_and_takes_its_own_method() -> None:
    assert places(request()) == {"candidate": Place("onnxruntime", Path("/c"), candidate=True)}
    assert places(request("torch"))["candidate"].quantization == "nf4"


def test_any_number_of_peers_by_data() -> None:
    peer = {"engine": "some.module", "input": "peer", "quantization": "none"}
    plain = {"engine": "torch", "input": "torch_parent", "quantization": "none"}
    found = places(request(interpreters={"peer": "/other/python", "plain": None}, peer=peer, plain=plain))
    assert list(found) == ["candidate", "peer", "plain"]
    assert found["peer"] == Place("some.module", Path("/x"), "none", "/other/python")
    assert found["plain"] == Place("torch", Path("/t"), "none", None)


def test_a_peer_that_cannot_start_is_an_error_not_a_gap(tmp_path: Path) -> None:
    place, here = Place("no_such_module", tmp_path), Here({"device": {"threads": 1}, "task": {"max_length": 8}})
    with pytest.raises(WorkerError, match="no_such_module"):
        here.load(here.start(place, None).__enter__(), place, ("x",))


IDS = [[2, 10, 11, 3], [2, 12, 3], [2, 13, 14, 15, 3]]


def test_exact_lengths_are_real_tokens_between_the_markers() -> None:
    real, *exact = scenarios(IDS, [3, 16], seed=1)
    assert sorted(row for (row,) in real.batches) == sorted(IDS)
    for scenario, length in zip(exact, (3, 16), strict=True):
        assert scenario.name == f"tokens_{length}"
        rows = [row for (row,) in scenario.batches]
        assert {len(row) for row in rows} == {length}
        assert {(row[0], row[-1]) for row in rows} == {(2, 3)}
        assert {token for row in rows for token in row[1:-1]} <= set(range(10, 16))


def test_batches_go_on_through_the_sentences_and_none_is_larger_than_they_are() -> None:
    found = batch_scenarios(IDS, [1, 2, 4], rounds=3, seed=1)
    assert [s.name for s in found] == ["batch_1", "batch_2", "sorted_2"]
    assert sorted(row for batch in found[0].batches for row in batch) == sorted(IDS)
    assert [len(batch) for batch in found[1].batches] == [2, 2, 2]


def test_sorted_batches_hold_neighbours_in_length_and_every_sentence_once() -> None:
    ids = [[2, *[10] * n, 3] for n in (5, 1, 4, 2, 6, 3)]
    (_, found) = batch_scenarios(ids, [2], rounds=3, seed=1)
    assert sorted([len(row) for row in batch] for batch in found.batches) == [[3, 4], [5, 6], [7, 8]]
    assert batch_scenarios(IDS, [1, 2], rounds=0, seed=1) == []


def test_histogram_of_lengths_by_hand() -> None:
    assert length_facts([*IDS, [2, 9, 3]]) == {"mean": 3.75, "max": 5, "histogram": {"3": 2, "4": 1, "5": 1}}
