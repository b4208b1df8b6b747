"""Each reason against times is said when it holds, and only then."""

from typing import Any

import pytest

from edgedistil.measurement.validity import machine_drift, reasons_against, switches_per_s, waiting_share

STEADY = [1.0] * 9
CALM = {
    "mode": "rapid",
    "cores": 1,
    "busy_cores_before": 0.5,
    "busy_cores_after": 0.5,
    "unsteady": [],
    "meanwhile": {"others_cores": 0.5, "others_on_our_cores": 0.1, "steal_cores": 0.02},
    "calibration_before": {"fp32_gops_per_s": 60.0, "int8_gops_per_s": 180.0},
    "calibration_after": {"fp32_gops_per_s": 51.5, "int8_gops_per_s": 250.0},
}


def rounds_of(*values: float, cpu: float = 1.0, switches: int = 0, generations: int = 3) -> list[dict[str, Any]]:
    return [
        {
            "generation": i * generations // len(values),
            "wall_ms": [v] * 8,
            "cpu_ms": [v * cpu] * 8,
            "involuntary_switches": switches,
        }
        for i, v in enumerate(values)
    ]


def reasons(*candidate: float, changes: dict[str, Any] | None = None, **rounds: Any) -> list[str]:
    samples = {
        "candidate": {"tokens_16": rounds_of(*(candidate or STEADY), **rounds)},
        "parent": {"tokens_16": rounds_of(*STEADY)},
    }
    return reasons_against(samples, CALM | (changes or {}))


def test_a_calm_run_has_no_reason_against_it() -> None:
    assert reasons(1, 1, 1, 1, 1.25, 1.25, 1.25, 1.25, cpu=0.9) == []


def test_too_few() -> None:
    assert reasons(*[1.0] * 7) == ["56 calls a scenario, fewer than 64"]
    assert reasons(changes={"mode": "quick"}) == ["72 calls a scenario, fewer than 128"]
    assert reasons(changes={"mode": "full"}) == ["72 calls a scenario, fewer than 1024"]
    assert reasons(generations=2) == ["2 generations of processes, fewer than 3"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"busy_cores_before": 0.61}, "others kept 0.61 cores busy before the run"),
        ({"busy_cores_after": 0.7}, "others kept 0.70 cores busy after the run"),
        ({"meanwhile": CALM["meanwhile"] | {"others_cores": 1.0}}, "others kept 1.00 cores busy during the run"),
        (
            {"meanwhile": CALM["meanwhile"] | {"others_on_our_cores": 0.3}},
            "others used 0.30 of our 1 cores during the run",
        ),
        (
            {"meanwhile": CALM["meanwhile"] | {"steal_cores": 0.1}},
            "the hypervisor took 0.10 of our 1 cores during the run",
        ),
        (
            {"calibration_after": {"fp32_gops_per_s": 45.0, "int8_gops_per_s": 170.0}},
            "the calibration product fp32 fell by 25%",
        ),
        ({"unsteady": ["real on a", "real on a"]}, "the warm-up of real on a never settled"),
    ],
)
def test_what_the_machine_did(changes: dict[str, Any], said: str) -> None:
    assert reasons(changes=changes) == [said]


def test_what_the_kernel_does_not_say_is_no_reason() -> None:
    assert reasons(changes={"meanwhile": dict.fromkeys(CALM["meanwhile"])}) == []


def test_a_worker_that_was_kept_waiting() -> None:
    assert reasons(cpu=0.8) == ["candidate waited for the processor for 20% of its time"]
    # 9 rounds of 8 ms, one switch in each: 125 a second
    assert reasons(switches=1) == ["the processor was taken from candidate 125 times a second"]
    samples = {"w": {"a": rounds_of(2.0, cpu=2.0), "b": rounds_of(2.0, cpu=0.5, switches=4)}}
    assert waiting_share(samples, "w") == 0.0
    assert switches_per_s(samples, "w") == 125.0


def test_a_worker_that_drifts_alone() -> None:
    assert reasons(*[1.0] * 4, *[1.5] * 4) == ["tokens_16 on candidate moved by +50% between the halves of the run"]


def test_drift_that_all_share_is_the_machines() -> None:
    fast, slow = [1.0] * 4 + [1.5] * 4, [2.0] * 4 + [3.2] * 4
    samples = {"candidate": {"tokens_16": rounds_of(*fast)}, "parent": {"tokens_16": rounds_of(*slow)}}
    assert machine_drift(samples, "tokens_16") == pytest.approx(0.5)
    assert reasons_against(samples, CALM) == [
        "tokens_16 moved by +50% on all workers between the halves of the run: machine"
    ]


def test_halves_of_real_sentences_may_differ_because_the_sentences_do() -> None:
    samples = {"candidate": {"real": rounds_of(*[1.0] * 5, *[3.0] * 4)}}
    assert reasons_against(samples, CALM) == []
