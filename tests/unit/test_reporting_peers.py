"""The peers' table says what the record says, and nothing where it says nothing."""

from typing import Any

from edgedistil.config.allowed import LIST_CHOICES
from edgedistil.peers.registry import PEERS
from edgedistil.reporting.peers import peers_table
from edgedistil.reporting.rows import row
from edgedistil.reporting.table import matrix, notes
from edgedistil.stages.measuring import OWN_BASELINES


def ratio(value: float, verdict: str) -> dict[str, Any]:
    return {"ratio": value, "ci95_low": value - 0.1, "ci95_high": value + 0.1, "verdict": verdict}


def record(**changes: Any) -> dict[str, Any]:
    latency = {"tokens_16": {"latency_ms_p50": 3.14}, "tokens_128": {"latency_ms_p50": 20.0}, "real": {}}
    memory = {"after_load": {"peak_rss_mb": 90.0}, "batch_1": {"peak_rss_mb": 101.4}}
    cold = {"cold_start_ms_p50": {"total": 250.4}}
    return {
        "names": {"compression": "dense · INT8"}, "latency": latency, "quality": {"accuracy": 0.885},
        "throughput": {"batch_8": {"sentences_per_s": 61.7}}, "cold_start": cold, "memory": memory,
        "baselines": {"openvino_int8": {k: {"latency_ms_p50": 40.0} for k in latency}},
        "baseline_quality": {"openvino_int8": {"accuracy": 0.8772}},
        "speedup": {"openvino_int8": {"tokens_16": ratio(2.0, "faster"), "tokens_128": ratio(1.05, "no difference")}},
        "throughput_speedup": {"openvino_int8": {"batch_8": ratio(0.9, "slower")}},
        "baseline_cold_start": {"openvino_int8": cold}, "baseline_memory": {"openvino_int8": memory},
        "engines": {"openvino_int8": {"engine": "x", "versions": {"openvino": "2026.4.1", "nncf": None},
                                      "session": "LATENCY"}},
    } | changes


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_engine_is_a_line_with_its_ratios_and_marks() -> None:
    head, _, own, peer, *rest = peers_table(record()).splitlines()
    assert cells(head) == ["engine", "accuracy %", "cell × faster at 16 tokens", "cell × faster at 128 tokens",
                           "batch 8", "p50 ms at 16 / 128 tokens", "cold start ms", "peak RSS MB"]
    assert cells(own) == ["**dense · INT8** (the cell)", "88.50", "", "", "62/s", "3.1 / 20.0", "250", "101"]
    assert cells(peer) == ["openvino_int8", "87.72", "2.00 [1.90, 2.10]", "1.05 [0.95, 1.15] =", "0.90 [0.80, 1.00]",
                           "40.0 / 40.0", "250", "101"]
    assert rest == ["", "- openvino_int8: openvino 2026.4.1; LATENCY"]


def test_random_weights_have_no_accuracy() -> None:
    made = peers_table(record(quality=None, baseline_quality={"openvino_int8": None})).splitlines()
    assert [cells(line)[1] for line in made[2:4]] == ["-", "-"]


def test_a_row_without_answers_reads_as_random_weights() -> None:
    flat = row({"status": "skipped", "why": "because", "names": {"compression": "dense · FP32"}})
    assert "accuracy" not in flat
    done = {"status": "done", "compression": "dense · INT8", "model": "m", "task": "t", "device": "cpu", "n": None,
            "threads": 1, "isa": "avx2", "quantization": "int8_dynamic", "size_model_mb": 67.3, "valid": True,
            "peak_rss_mb_batch_1": 120.0, "cold_start_total_ms_p50": 250.0}
    assert "- (random weights)" in matrix([done])
    assert notes([done])[0].startswith("random weights: speed and size only; 1 thread(s)")


def test_the_allowed_baselines_are_ours_and_the_peers() -> None:
    assert sorted(LIST_CHOICES["device.baselines"]) == sorted([*OWN_BASELINES, *PEERS])
