"""Equal work has one name: options that do not apply leave the cell's identity."""

from copy import deepcopy
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest

from edgedistil.config.canonical import (
    UNTIL,
    canonical_compression,
    canonical_measurement,
    compression_label,
)
from edgedistil.config.compatibility import why_impossible
from edgedistil.config.schemas import Compression, Pruning, Quantization, Recovery

FISHER = {"_target_": "edgedistil.compression.importance.FisherImportance"}


def compression(pruning: str = "none", ratio: float = 0.5, recovery: str = "none", steps: int = 600,
                quantization: str = "none", **options: Any) -> dict[str, Any]:
    cut = Pruning(pruning, ratio, importance=FISHER, reconstruction="least_squares")
    return asdict(Compression(cut, Recovery(recovery, steps=steps), Quantization(quantization, **options)))


def test_a_ridge_that_nothing_reads_makes_no_other_cell() -> None:
    cells = [compression("structured"), compression("structured")]
    cells[1]["pruning"]["ridge"] = 0.5
    assert canonical_compression(cells[0]) != canonical_compression(cells[1])
    for cell in cells:
        cell["pruning"]["reconstruction"] = "none"
    assert canonical_compression(cells[0]) == canonical_compression(cells[1])


def test_unpruned_at_three_ratios_is_one_cell() -> None:
    cells = [canonical_compression(compression("none", ratio)) for ratio in (0.3, 0.4, 0.5)]
    assert cells[0] == cells[1] == cells[2] == {
        "pruning": {"method": "none"}, "recovery": {"method": "none"}, "quantization": {"method": "none"},
        "graph": {"padding": True}}


def test_a_trimmed_vocabulary_is_another_cell_and_a_whole_one_is_not() -> None:
    whole, trimmed = compression(), compression()
    trimmed["vocabulary"]["method"] = "trimmed"
    assert "vocabulary" not in canonical_compression(whole)
    assert canonical_compression(trimmed)["vocabulary"]["method"] == "trimmed"
    assert compression_label(canonical_compression(trimmed)) == "dense · vocabulary · FP32"


def whole_chain(**changes: Any) -> dict[str, Any]:
    chosen = compression("structured", recovery="distillation", quantization="int8_dynamic")
    chosen["vocabulary"]["method"] = "trimmed"
    return chosen | changes


def test_a_chain_stops_where_it_is_told_to() -> None:
    rows = {last: canonical_compression(whole_chain(until=last)) for last in UNTIL}
    assert [compression_label(rows[last]) for last in UNTIL] == [
        "dense · FP32",
        "structured 50 % · FP32",
        "structured 50 % + recovery · FP32",
        "structured 50 % + recovery · FP32",
        "structured 50 % + recovery · vocabulary · FP32",
        *["structured 50 % + recovery · vocabulary · INT8"] * 3,
    ]
    # Where it stops says nothing more than what was done: the cells are those of chains that ask for no more.
    assert all("until" not in row for row in rows.values())
    assert rows["dense"] == canonical_compression(compression())
    assert rows["pruning"] == canonical_compression(compression("structured"))
    assert rows["all"] == canonical_compression(whole_chain())
    plain = whole_chain()
    del plain["until"]
    assert canonical_compression(plain) == rows["all"]


def test_before_its_end_a_chain_has_an_eight_bit_table() -> None:
    chosen = compression(quantization="int8_dynamic", embeddings="int4")
    assert canonical_compression(chosen | {"until": "quantization"})["quantization"]["embeddings"] is True
    assert canonical_compression(chosen | {"until": "all"})["quantization"]["embeddings"] == "int4"


def test_a_measurement_of_quality_alone_reads_no_counts() -> None:
    timed = {"mode": "quick", "rounds": 32, "repeat": 1}
    assert canonical_measurement(timed) == timed
    assert canonical_measurement(timed | {"mode": "quality"}) == {"mode": "quality", "repeat": 1}


@pytest.mark.parametrize("method", ["structured", "magnitude"])
def test_ratio_zero_is_the_dense_cell(method: str) -> None:
    assert canonical_compression(compression(method, 0.0, "distillation")) == canonical_compression(compression())


def test_recovery_is_dropped_when_nothing_was_cut() -> None:
    assert canonical_compression(compression("none", recovery="distillation"))["recovery"] == {"method": "none"}


def test_recovery_of_no_steps_is_none() -> None:
    with_none = canonical_compression(compression("structured", recovery="none"))
    assert canonical_compression(compression("structured", recovery="distillation", steps=0)) == with_none


def test_recovery_after_a_cut_keeps_its_options() -> None:
    kept = canonical_compression(compression("structured", recovery="distillation", steps=60))["recovery"]
    assert (kept["method"], kept["steps"], kept["batch_size"]) == ("distillation", 60, 64)


def test_different_ratios_of_a_cut_stay_different() -> None:
    cells = [canonical_compression(compression("structured", ratio)) for ratio in (0.3, 0.4, 0.5)]
    assert all(a != b for a, b in pairwise(cells))


def test_magnitude_reads_its_ratio_only() -> None:
    assert canonical_compression(compression("magnitude", 0.5))["pruning"] == {"method": "magnitude", "ratio": 0.5}


def test_int8_ignores_block_size_and_4_bit_does_not() -> None:
    int8 = [canonical_compression(compression(quantization="int8_dynamic", block_size=b, accuracy_level=a))
            for b, a in ((32, 4), (64, 0))]
    int4 = [canonical_compression(compression(quantization="int4_ort", block_size=b)) for b in (32, 64)]
    assert int8[0] == int8[1]
    assert set(int8[0]["quantization"]) == {"method", "embeddings", "weights", "max_rms", "min_agreement"}
    assert int4[0] != int4[1]


@pytest.mark.parametrize("method", ["none", "nf4", "llm_int8"])
def test_load_time_and_no_quantization_have_no_options(method: str) -> None:
    assert canonical_compression(compression(quantization=method, max_rms=0.3))["quantization"] == {"method": method}


def test_canonical_form_is_a_fixed_point_and_leaves_its_input_alone() -> None:
    given = compression("structured", 0.4, "distillation", quantization="int4_ort")
    before = deepcopy(given)
    once = canonical_compression(given)
    assert given == before
    assert canonical_compression(once) == once
    dense = canonical_compression(compression("none", 0.4, "distillation"))
    assert canonical_compression(dense) == dense


@pytest.mark.parametrize(("cell", "label"), [
    (compression(), "dense · FP32"),
    (compression(quantization="int8_dynamic"), "dense · INT8"),
    (compression("magnitude", 0.5), "magnitude 50 % · FP32"),
    (compression("structured", 0.325, "distillation", quantization="int4_ort"), "structured 32.5 % + recovery · 4-bit"),
    (compression("structured", 0.3, quantization="nf4"), "structured 30 % · NF4"),
    (compression("structured", 0.0, "distillation", quantization="llm_int8"), "dense · LLM.int8"),
])
def test_label(cell: dict[str, Any], label: str) -> None:
    assert compression_label(canonical_compression(cell)) == label


@pytest.mark.parametrize(("method", "engines"), [
    ("none", {"onnxruntime", "torch"}), ("int8_dynamic", {"onnxruntime"}), ("int4_ort", {"onnxruntime"}),
    ("nf4", {"torch"}), ("llm_int8", {"torch"}),
])
def test_engines_of_each_quantization(method: str, engines: set[str]) -> None:
    for engine in ("onnxruntime", "torch"):
        cell = canonical_compression(compression(quantization=method))
        why = why_impossible(cell, {"engine": engine}, bare_onnx=False)
        if engine in engines:
            assert why is None
        else:
            assert why is not None
            assert why.startswith(method)
            assert f"device.engine={next(iter(engines))}" in why


def test_bare_onnx_is_measured_as_it_is() -> None:
    dense = canonical_compression(compression())
    assert why_impossible(dense, {"engine": "onnxruntime"}, bare_onnx=True) is None
    assert "runs on ONNX Runtime only" in str(why_impossible(dense, {"engine": "torch"}, bare_onnx=True))
    for cell in (compression("structured"), compression(quantization="int8_dynamic")):
        why = why_impossible(canonical_compression(cell), {"engine": "onnxruntime"}, bare_onnx=True)
        assert why == "a bare ONNX file is measured as it is: compression needs a Hugging Face folder"


def test_recovery_after_magnitude_pruning_is_refused_because_it_would_fill_the_zeros() -> None:
    compression = {
        "pruning": {"method": "magnitude", "ratio": 0.5}, "recovery": {"method": "distillation"},
        "quantization": {"method": "none"},
    }
    device = {"engine": "onnxruntime"}
    assert "fill the zeros" in (why_impossible(compression, device, bare_onnx=False) or "")
    assert why_impossible(compression | {"recovery": {"method": "none"}}, device, bare_onnx=False) is None
