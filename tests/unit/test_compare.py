"""What differs between two runs, of records whose answers are known, and when a gate closes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.tiny_records import HOST, leave, record, sweep_of

from edgedistil.__main__ import main
from edgedistil.errors import UserError
from edgedistil.reporting.compare import Difference, verdict
from edgedistil.reporting.intervals import Figure, apart
from edgedistil.reporting.tolerance import parse


def compared(capsys: pytest.CaptureFixture[str], *words: Any, code: int = 0) -> dict[str, Any]:
    assert main(["compare", *map(str, words), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def one_cell(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    [cell] = found["cells"]
    return {d["figure"]: d for d in cell["differences"]}


@pytest.fixture
def differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """``differ(first, second, *options, code=0)``: figures by name of two runs of one cell each."""

    def go(first: dict[str, Any], second: dict[str, Any], *options: Any, code: int = 0, **answers: Any) -> Any:
        a = sweep_of(tmp_path / "a", first, answers=answers.get("one"))
        b = sweep_of(tmp_path / "b", second, answers=answers.get("two"))
        return one_cell(compared(capsys, a, b, *options, code=code))

    return go


def test_the_same_run_twice_is_within_noise_everywhere(differ: Any) -> None:
    found = differ(record(), record())
    assert set(found) == {"accuracy_points", "speed", "latency", "size", "memory", "cold_start"}
    assert {d["verdict"] for d in found.values()} == {"within noise"}
    assert {d["worse_by"] for d in found.values()} == {0.0}


def test_differences_of_independent_estimates() -> None:
    # Newcombe 1998, table II, (a): 56/70 and 48/80 by Wilson's intervals: 0.20 with [0.0524, 0.3339]
    first, second = Figure(56 / 70, 0.6918, 0.8769), Figure(48 / 80, 0.4906, 0.7003)
    found = apart(second, first)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=2e-4)
    assert apart(Figure(1.0), second) == Figure(48 / 80 - 1)


def test_verdicts() -> None:
    assert [verdict(Figure(1, *ends)) for ends in ((0.1, 2), (-1, 3), (-2, -1), (None, None))] == [
        "worse", "within noise", "better", "no interval"
    ]
    assert verdict(Figure(0.0)) == "within noise"


def test_accuracy_by_intervals_where_no_answers_are_known(differ: Any) -> None:
    points = differ(record(right=900), record(right=850))["accuracy_points"]
    assert (points["first"], points["second"], points["worse_by"]) == pytest.approx((90.0, 85.0, 5.0))
    half = 1.96 * math.sqrt(100 * 100 * (0.9 * 0.1 + 0.85 * 0.15) / 1000)
    assert points["worse_by_ci95"] == pytest.approx([5 - half, 5 + half])
    assert (points["verdict"], points["how"]) == ("worse", "by intervals")


def test_accuracy_paired_where_both_answered_the_same_sentences(differ: Any) -> None:
    right = np.ones(1000, bool)
    right[:100] = False
    worse = right.copy()
    worse[100:112] = False
    worse[:2] = True
    first, second = record(right=900, key="f"), record(right=890, key="s")
    points = differ(first, second, one={"f": right}, two={"s": worse})["accuracy_points"]
    assert points["how"] == "the same sentences, paired"
    # 12 lost and 2 gained of 1000: Bonett and Price. By intervals it would be within noise.
    centre = 100 * 10 / 1002
    error = 100 * math.sqrt((13 + 3 - 10 * 10 / 1002) / 1002**2)
    assert points["worse_by"] == pytest.approx(1.0)
    assert points["worse_by_ci95"] == pytest.approx([centre - 1.96 * error, centre + 1.96 * error], abs=1e-3)
    assert points["verdict"] == "worse"


def test_answers_to_other_sentences_are_not_paired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = record(right=3, n=4, key="f"), record(right=2, n=4, key="s")
    a = sweep_of(tmp_path / "a", first, answers={"f": np.array([True, True, True, False])})
    b = sweep_of(tmp_path / "b", second, answers={"s": np.array([True, True, False, False])})
    assert one_cell(compared(capsys, a, b))["accuracy_points"]["how"] == "the same sentences, paired"
    file = b / "store" / "artifacts" / "predict" / "answers-s" / "artifact.json"
    content = json.loads(file.read_text())
    content["options"]["data"] = "other"
    file.write_text(json.dumps(content))
    assert one_cell(compared(capsys, a, b))["accuracy_points"]["how"] == "by intervals"


def test_speed_is_a_ratio_of_ratios_on_any_machine(differ: Any) -> None:
    elsewhere = record(faster=2.0, spread=0.02, environment=HOST | {"host": "elsewhere"})
    speed = differ(record(faster=3.0, spread=0.02), elsewhere)["speed"]
    assert (speed["first"], speed["second"], speed["worse_by"]) == pytest.approx((3.0, 2.0, 1 / 3))
    half = math.sqrt(2) * math.log(1.02)
    assert speed["worse_by_ci95"] == pytest.approx([1 - 2 / 3 * math.exp(half), 1 - 2 / 3 * math.exp(-half)])
    assert speed["verdict"] == "worse"


def test_latency_on_one_host_allows_for_what_the_parent_moved(differ: Any) -> None:
    # 20 % slower and the parent beside it 15 %: the machine
    latency = differ(record(ms=10.0, parent_ms=20.0), record(ms=12.0, parent_ms=23.0))["latency"]
    half = math.sqrt(2) * math.log(1.02) + math.log(23 / 20)
    assert latency["worse_by"] == pytest.approx(0.2)
    assert latency["worse_by_ci95"] == pytest.approx([1.2 * math.exp(-half) - 1, 1.2 * math.exp(half) - 1])
    assert latency["verdict"] == "worse"
    assert differ(record(ms=10.0), record(ms=12.0, parent_ms=24.0))["latency"]["verdict"] == "within noise"


def test_latency_on_other_hosts_by_the_calibration_product(differ: Any) -> None:
    def rates(before: float, after: float) -> dict[str, Any]:
        return {"before": {"fp32_gops_per_s": before}, "after": {"fp32_gops_per_s": after}}

    twice = {"environment": HOST | {"host": "elsewhere"}, "calibration": rates(200.0, 200.0)}
    latency = differ(record(ms=10.0), record(ms=5.0, **twice))["latency"]
    # Half the time where products take half as long is nothing.
    assert latency["worse_by"] == pytest.approx(0.0)
    assert latency["verdict"] == "within noise"
    wide = {"environment": HOST | {"host": "elsewhere"}, "calibration": rates(100.0, 400.0)}
    latency = differ(record(ms=10.0), record(ms=7.0, **wide))["latency"]
    assert (latency["worse_by"], latency["verdict"]) == (pytest.approx(0.4), "within noise")
    none = {"environment": HOST | {"host": "elsewhere"}, "calibration": {}}
    latency = differ(record(ms=10.0), record(ms=7.0, **none))["latency"]
    assert (latency["verdict"], latency["how"]) == ("not judged", "other hosts, and no calibration to compare by")


def test_size_memory_and_cold_start(differ: Any) -> None:
    found = differ(
        record(mb=90.0, peak=100.0, own=60.0, starts=(200.0, 200.0, 200.0)),
        record(mb=95.0, peak=120.0, own=60.5, starts=(300.0, 310.0, 320.0)),
    )
    assert (found["size"]["worse_by"], found["size"]["verdict"]) == (pytest.approx(5 / 90), "worse")
    # The peak is pages of files.
    assert (found["memory"]["worse_by"], found["memory"]["verdict"]) == (pytest.approx(0.2), "within noise")
    assert (found["cold_start"]["worse_by"], found["cold_start"]["verdict"]) == (pytest.approx(0.55), "worse")
    assert differ(record(), record(peak=130.0, own=80.0))["memory"]["verdict"] == "worse"
    assert differ(record(), record(peak=100.5, own=80.0))["memory"]["verdict"] == "within noise"
    assert differ(record(), record(mb=90.3))["size"]["verdict"] == "within noise"
    assert differ(record(), record(mb=80.0))["size"]["verdict"] == "better"


def test_a_cold_start_is_set_against_the_parents_of_its_run(differ: Any) -> None:
    slow = {"cold_start_ms_p50": {"total": 800.0}, "cold_start_ms_all": [800.0, 800.0, 800.0]}
    twice = record(starts=(400.0, 400.0, 400.0), baseline_cold_start={"onnxruntime_fp32": slow})
    found = differ(record(starts=(200.0, 200.0, 200.0)), twice)["cold_start"]
    assert (found["first"], found["second"], found["worse_by"]) == (200.0, 400.0, pytest.approx(0.0))


@pytest.mark.parametrize("which", ["first", "second"])
def test_times_of_an_invalid_run_are_not_judged(differ: Any, which: str) -> None:
    good, bad = record(), record(ms=50.0, faster=0.5, valid=False, invalid_because=["busy"])
    pair = (bad, good) if which == "first" else (good, bad)
    found = differ(*pair, "--tolerance", "speed=1%", "latency=1%", code=1)
    assert {found[f]["verdict"] for f in ("speed", "latency", "cold_start")} == {"not judged"}
    assert found["speed"]["how"] == f"the {which} is INVALID"


def test_a_gate_that_looked_at_nothing_is_not_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = sweep_of(tmp_path / "a", record("dense"), record("int8"))
    b = sweep_of(tmp_path / "b", record("dense", valid=False, invalid_because=["busy"]))
    past = compared(capsys, a, b, "--tolerance", "speed=1%", "f1_points=1", "size=1%", code=1)["past"]
    assert past == [
        "m · sst2 · int8 · cpu · seed 1: only in the first run",
        "m · sst2 · dense · cpu · seed 1: speed could not be judged (the second is INVALID), "
        "so speed=1% is not shown to hold",
        "m · sst2 · dense · cpu · seed 1: f1_points could not be judged (it is not in both), "
        "so f1_points=1 is not shown to hold",
    ]
    allowed = compared(capsys, a, b, "--tolerance", "speed=1%", "f1_points=1", "--allow-missing")
    assert allowed["past"] == []
    assert compared(capsys, a, b)["past"] == []


def test_cells_are_matched_by_names_then_by_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cut(sentences: int, right: int) -> dict[str, Any]:
        pruning = {"method": "structured", "ratio": 0.5, "calibration_sentences": sentences}
        changes: dict[str, Any] = {"compression": record()["compression"] | {"pruning": pruning}}
        return record("structured 50 %", right=right, key=f"{sentences}-{right}", **changes)

    a = sweep_of(tmp_path / "a", record("dense"), cut(64, 900), cut(512, 910), record("gone"))
    b = sweep_of(tmp_path / "b", cut(512, 912), cut(64, 902), record("dense"), record("new", device="phone"))
    found = compared(capsys, a, b)
    pairs = {(c["first"].split("/")[-1], c["second"].split("/")[-1]) for c in found["cells"]}
    assert pairs == {("64-900", "64-902"), ("512-910", "512-912"), (record("dense")["fingerprint"],) * 2}
    assert (found["only_first"], found["only_second"]) == (["m · sst2 · gone · cpu · seed 1"],
                                                           ["m · sst2 · new · phone · seed 1"])


def test_repetitions_of_one_measurement_are_matched_by_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def repeated(number: int, mb: float) -> dict[str, Any]:
        return record(key=f"r{number}", mb=mb, measurement={"repeat": number})

    a = sweep_of(tmp_path / "a", repeated(0, 90.0), repeated(1, 80.0))
    b = sweep_of(tmp_path / "b", repeated(1, 80.0), repeated(0, 90.0))
    found = compared(capsys, a, b)
    sizes = [d["worse_by"] for c in found["cells"] for d in c["differences"] if d["figure"] == "size"]
    assert sizes == [0.0, 0.0]


def test_seeds_are_matched_and_another_seed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = sweep_of(tmp_path / "a", record(seed=1, right=900), record(seed=2, right=910))
    b = sweep_of(tmp_path / "b", record(seed=2, right=911), record(seed=1, right=901))
    firsts = [c["differences"][0]["first"] for c in compared(capsys, a, b)["cells"]]
    seconds = [c["differences"][0]["second"] for c in compared(capsys, a, b)["cells"]]
    assert (firsts, seconds) == (pytest.approx([90.0, 91.0]), pytest.approx([90.1, 91.1]))
    other = sweep_of(tmp_path / "c", record(seed=3))
    single = sweep_of(tmp_path / "d", record(seed=1))
    assert main(["compare", str(single), str(other)]) == 0
    assert "dense · seeds 1 and 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tolerance", "code"),
    [
        (["accuracy_points=4"], 1), (["accuracy_points=5.1"], 0), (["quality=4"], 1),
        (["speed=33%"], 1), (["speed=34%"], 0), (["latency=15%"], 1), (["latency=25%"], 0),
        (["latency=1.9"], 1), (["latency=2.1"], 0), (["size=5%"], 1), (["size=6%"], 0), (["size=4"], 1),
        (["memory=10%"], 0), (["cold_start=50%"], 1), (["cold_start=120"], 0), (["size=6%", "quality=1"], 1),
    ],
)  # fmt: skip
def test_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str], tolerance: list[str], code: int) -> None:
    a = sweep_of(tmp_path / "a", record(right=900, faster=3.0, ms=10.0, mb=90.0))
    b = sweep_of(tmp_path / "b", record(right=850, faster=2.0, ms=12.0, mb=95.0, peak=120.0,
                                        starts=(300.0, 310.0, 320.0)))  # fmt: skip
    assert main(["compare", str(a), str(b), "--tolerance", *tolerance]) == code
    said = capsys.readouterr().out
    assert ("past its tolerance: " in said) == (code == 1)
    assert ("within all tolerances" in said) == (code == 0)
    assert main(["compare", str(b), str(a), "--tolerance", *tolerance]) == 0, "what is better closes no gate"
    assert main(["compare", str(a), str(b)]) == 0, "without tolerances there is no gate"


def test_noise_closes_the_gate_only_when_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = sweep_of(tmp_path / "a", record(right=900)), sweep_of(tmp_path / "b", record(right=890))
    compared(capsys, a, b, "--tolerance", "accuracy_points=0.5")
    past = compared(capsys, a, b, "--tolerance", "accuracy_points=0.5", "--strict", code=1)["past"]
    assert past == [
        "m · sst2 · dense · cpu · seed 1: accuracy_points 90.00 % → 89.00 %, -1.00 [-3.69, +1.69]: past "
        "accuracy_points=0.5"
    ]


def test_without_an_interval_the_estimate_closes_the_gate() -> None:
    [tolerance] = parse(["accuracy_points=0.5"])
    found = Difference("accuracy_points", 90.0, 89.0, Figure(1.0), "no interval", "")
    assert tolerance.closes(found)
    assert not tolerance.closes(Difference("accuracy_points", 90.0, 89.6, Figure(0.4), "no interval", ""))
    assert not tolerance.closes(Difference("latency", 90.0, 80.0, Figure(1.0), "worse", ""))


@pytest.mark.parametrize(
    ("word", "said"),
    [("speed=3", "compared in percent"), ("colour=3", "no such figure"), ("size", "no number from 0 on"),
     ("size=-1%", "no number from 0 on"), ("size=nan", "no number"), ("accuracy_points=5%", "no shares")],
)  # fmt: skip
def test_tolerances_that_are_none(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse([word])


def test_a_gate_of_quality_holds_for_a_task_that_is_ranked_by_a_correlation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cola(matthews: float) -> dict[str, Any]:
        made = record(task="cola")
        made["quality"]["matthews_correlation"] = matthews
        return made

    a, b = sweep_of(tmp_path / "a", cola(0.27)), sweep_of(tmp_path / "b", cola(0.23))
    past = compared(capsys, a, b, "--tolerance", "quality=1", code=1)["past"]
    assert len(past) == 1
    assert "matthews_correlation_points" in past[0]
    assert "-4.00" in past[0]
    assert compared(capsys, b, a, "--tolerance", "quality=1")["past"] == []
    assert compared(capsys, a, b, "--tolerance", "matthews_correlation_points=4.5")["past"] == []


def test_cells_that_the_second_run_lost_close_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = sweep_of(tmp_path / "a", record("dense"), record("int8"))
    b = sweep_of(tmp_path / "b", record("dense"))
    names = {"model": "m", "task": "sst2", "compression": "int8", "device": "cpu"}
    leave(b, 1, {"status": "failed", "stage": "bench", "why": "it broke", "names": names, "overrides": []})
    leave(b, 2, {})
    (b / "2" / "cell.json").write_text("{")
    found = compared(capsys, a, b)
    assert found["lost"] == ["m · sst2 · int8 · cpu"]
    assert len(found["problems"]) == 1
    past = compared(capsys, a, b, "--tolerance", "size=1%", code=1)["past"]
    assert past[0] == "m · sst2 · int8 · cpu: done in the first run, failed in the second: it broke"
    assert past[1].startswith(f"of the second run: {b}/2/cell.json: JSONDecodeError")
    assert len(past) == 2
    assert compared(capsys, a, b, "--tolerance", "size=1%", "--allow-missing")["past"] == []


def test_a_cell_that_had_failed_before_is_not_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"model": "m", "task": "sst2", "compression": "dense", "device": "cpu"}
    failed = {"status": "failed", "stage": "bench", "why": "it broke", "names": names}
    a = sweep_of(tmp_path / "a", record("dense", seed=1))
    leave(a, 1, failed | {"overrides": ["seed=2"]})
    assert compared(capsys, a, a, "--tolerance", "size=1%")["lost"] == []
    b = sweep_of(tmp_path / "b", record("dense", seed=1), record("dense", seed=2))
    assert compared(capsys, b, a)["lost"] == ["m · sst2 · dense · cpu · seed 2"]
    assert len(compared(capsys, b, a, "--tolerance", "size=1%", code=1)["past"]) == 1


def test_runs_without_a_common_cell_are_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = sweep_of(tmp_path / "a", record("dense")), sweep_of(tmp_path / "b", record("int8"))
    assert main(["compare", str(a), str(b)]) == 2
    assert "no cell that is done in both" in capsys.readouterr().err
    assert main(["compare", str(a), str(tmp_path / "nowhere")]) == 2


def test_a_table_and_records_of_the_first_schema_are_compared_as_far_as_they_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgedistil.reporting.report import as_csv
    from edgedistil.reporting.rows import record_row

    old = record(schema_version=1)
    for key in ("seed", "parent_size", "baseline_cold_start", "baseline_memory", "calibration"):
        del old[key]
    for side in ("low", "high"):
        del old["latency"]["tokens_32"][f"latency_ms_p50_ci95_{side}"]
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "old.json").write_text(json.dumps(old))
    table = tmp_path / "results.csv"
    table.write_text(as_csv([record_row(record(ms=12.0, mb=99.0), tmp_path / "x.json")]))
    found = one_cell(compared(capsys, tmp_path, table))
    assert found["size"]["verdict"] == "worse"
    assert found["accuracy_points"]["verdict"] == "within noise"
    assert found["latency"]["verdict"] == "not judged"


def test_other_machines_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = sweep_of(tmp_path / "a", record())
    b = sweep_of(tmp_path / "b", record(environment=HOST | {"isa": ["avx2", "avx512"]}))
    assert main(["compare", str(a), str(b)]) == 0
    assert 'other isa: ["avx2"] → ["avx2", "avx512"]' in capsys.readouterr().out


def test_losses_of_a_language_model_have_no_interval_of_their_own(differ: Any) -> None:
    def loss(value: float) -> dict[str, Any]:
        return {"mlm_loss": value, "perplexity": 1.0, "n": 10, "sample": False}

    found = differ(record(quality=loss(3.0)), record(quality=loss(3.2)), "--tolerance", "mlm_loss=0.1", code=1)
    assert (found["mlm_loss"]["worse_by"], found["mlm_loss"]["verdict"]) == (pytest.approx(0.2), "no interval")


def test_cells_without_times_are_compared_by_score_and_size(differ: Any) -> None:
    untimed = record(timed=False)
    for key in ("latency", "memory", "cold_start", "throughput", "speedup", "baselines", "calibration"):
        del untimed[key]
    assert set(differ(untimed, untimed)) == {"accuracy_points", "size"}
    assert set(differ(untimed, record())) == {"accuracy_points", "size"}


def test_a_pair_of_odd_records_is_a_problem_and_alone_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = record("odd", cold_start={"cold_start_ms_p50": {"total": 200.0}, "cold_start_ms_all": "many"})
    a, b = (sweep_of(tmp_path / name, odd, record("dense")) for name in "ab")
    found = compared(capsys, a, b)
    assert len(found["cells"]) == 1
    assert [p.split(": ")[1] for p in found["problems"]] == ["can't be compared"]
    alone = sweep_of(tmp_path / "c", odd)
    assert main(["compare", str(alone), str(a)]) == 2
    assert "can be compared: m · sst2 · odd · cpu" in capsys.readouterr().err


def test_a_reader_that_goes_ends_the_command_quietly(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = str(sweep_of(tmp_path, record()))
    command = [sys.executable, "-m", "edgedistil", "compare", folder, folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
    assert process.wait() == 141
