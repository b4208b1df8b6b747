"""Which cell is recommended within limits, of records whose answers are known."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tiny_records import HOST, leave, record, sweep_of

from edgedistil.__main__ import main


def recommended(capsys: pytest.CaptureFixture[str], *words: Any, code: int = 0) -> dict[str, Any]:
    assert main(["recommend", *map(str, words), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def best(found: dict[str, Any]) -> str | None:
    return found["best"]["compression"] if found["best"] else None


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Dense is best and slow, cut is fast and worse, small is smallest, noisy is fastest and INVALID."""
    return sweep_of(
        tmp_path / "sweep",
        record("dense", right=930, ms=10.0, mb=90.0),
        record("int8", right=925, lost=8, gained=3, ms=4.0, mb=23.0, starts=(150.0, 160.0, 170.0)),
        record("small", right=915, lost=25, gained=10, ms=3.0, mb=9.0, peak=70.0),
        record("noisy", right=928, ms=1.0, mb=40.0, valid=False, invalid_because=["the machine was busy"]),
        record("untimed", right=929, mb=50.0, timed=False),
    )


def test_the_best_quality_within_no_limit_and_its_runner_up(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recommended(capsys, sweep)
    assert (best(found), found["runner_up"]["compression"]) == ("dense", "untimed")
    assert found["best"]["figures"]["quality"]["value"] == pytest.approx(93.0)
    assert found["best"]["commands"] == ["python bench.py task=sst2 compression=dense hydra.mode=RUN"]
    assert found["best"]["folders"][0].endswith(f"artifacts/bench/{record('dense', right=930)['fingerprint']}")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (["--max-latency-ms", "5"], "int8"),
        (["--max-latency-ms", "3"], "small"),
        (["--max-size-mb", "20"], "small"),
        (["--max-size-mb", "23"], "int8"),
        (["--max-memory-mb", "80"], "small"),
        (["--max-cold-start-ms", "160"], "int8"),
        (["--max-drop", "0", "--max-latency-ms", "20"], "dense"),
        (["--max-drop", "0.5", "--max-latency-ms", "5"], "int8"),
        (["--prefer", "latency"], "small"),
        (["--prefer", "latency", "--min-quality", "92"], "int8"),
        (["--prefer", "latency", "--min-quality", "0.92"], "int8"),
        (["--prefer", "size"], "small"),
        (["--prefer", "size", "--min-quality", "92.8"], "noisy"),
    ],
)
def test_limits_and_preferences(
    sweep: Path, capsys: pytest.CaptureFixture[str], limits: list[str], expected: str
) -> None:
    assert best(recommended(capsys, sweep, *limits)) == expected


def test_times_of_invalid_and_untimed_cells_never_qualify(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recommended(capsys, sweep, "--max-latency-ms", "5")
    missed = {m["cell"].split(" · ")[2]: m["lacks"] for m in found["missed"]}
    assert missed["noisy"] == ["--max-latency-ms: INVALID: the machine was busy"]
    assert missed["untimed"] == ["--max-latency-ms: not timed (measurement=quality)"]
    assert missed["dense"] == ["--max-latency-ms: 10 > 5 (100.0 % off)"]


def test_emulated_cells_never_qualify_on_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emulated = record("int8", ms=1.0, environment=HOST | {"emulated": True})
    folder = sweep_of(tmp_path, emulated)
    found = recommended(capsys, folder, "--max-latency-ms", "5", code=1)
    assert found["missed"][0]["lacks"] == ["--max-latency-ms: an emulated device: its times mean nothing"]
    assert best(recommended(capsys, folder, "--max-size-mb", "100")) == "int8"


def test_the_limit_that_binds_is_named(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recommended(capsys, sweep, "--max-latency-ms", "5", "--max-size-mb", "95")
    assert found["binding"] == {"--max-latency-ms": "m · sst2 · dense · cpu"}
    both = recommended(capsys, sweep, "--max-latency-ms", "5", "--max-size-mb", "10")
    assert both["binding"] == {"--max-size-mb": "m · sst2 · int8 · cpu"}


def test_what_the_nearest_miss_lacked(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recommended(capsys, sweep, "--max-latency-ms", "2.5", "--max-size-mb", "10", code=1)
    assert found["best"] is None
    assert found["missed"][0] == {"cell": "m · sst2 · small · cpu", "lacks": ["--max-latency-ms: 3 > 2.5 (20.0 % off)"]}
    assert main(["recommend", str(sweep), "--max-latency-ms", "2.5", "--max-size-mb", "10"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("no cell qualifies\nnearest miss: m · sst2 · small · cpu\n  lacks --max-latency-ms: 3 > 2.5")


def test_cautious_holds_the_intervals_end_against_the_limit(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 4 ms with an interval up to 4.08
    assert best(recommended(capsys, sweep, "--max-latency-ms", "4")) == "int8"
    assert best(recommended(capsys, sweep, "--max-latency-ms", "4", "--cautious")) == "small"
    assert best(recommended(capsys, sweep, "--max-latency-ms", "4.1", "--cautious")) == "int8"
    # 8 lost and 3 gained of 1000 are 0.5 points, with an interval that reaches beyond 1
    assert best(recommended(capsys, sweep, "--max-drop", "0.6", "--max-latency-ms", "5")) == "int8"
    found = recommended(capsys, sweep, "--max-drop", "0.6", "--max-latency-ms", "5", "--cautious", code=1)
    assert found["missed"][0]["lacks"][0].startswith("--max-drop: the interval's end 1.204 > 0.6")


def test_what_it_costs_against_the_parent(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recommended(capsys, sweep, "--max-latency-ms", "5")
    costs = found["best"]["against_parent"]
    assert costs["within_noise"] is True
    assert costs["faster"]["onnxruntime_fp32"]["value"] == 2.0
    assert costs["size"] == pytest.approx(90 / 23)
    assert costs["memory"] == pytest.approx(1.5)
    assert costs["cold_start"] == pytest.approx(160 / 400)
    drop = found["best"]["figures"]["drop"]
    # Bonett and Price: 5 / 1002 ± 1.96 sqrt((9 + 4 - 5 · 5 / 1002) / 1002²)
    assert drop["value"] == pytest.approx(0.5)
    assert (drop["ci95_low"], drop["ci95_high"]) == pytest.approx((-0.206, 1.204), abs=0.002)


def test_seeds_are_one_cell_the_mean_quality_and_the_worst_of_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = sweep_of(tmp_path / "1", record("int8", seed=1, right=900, ms=4.0), record(seed=1, right=905, ms=9.0))
    two = sweep_of(tmp_path / "2", record("int8", seed=2, right=920, ms=5.0), record(seed=2, right=910, ms=9.0))
    found = recommended(capsys, one, two)
    assert found["best"]["cell"] == "m · sst2 · int8 · cpu · seeds 1, 2"
    quality = found["best"]["figures"]["quality"]
    assert quality["value"] == pytest.approx(91.0)
    # What holds the intervals of both seeds is not called a 95 % interval of their mean.
    assert sorted(quality) == ["envelope_of_seeds_high", "envelope_of_seeds_low", "value"]
    assert quality["envelope_of_seeds_low"] < 90.0 < 92.0 < quality["envelope_of_seeds_high"]
    assert found["best"]["figures"]["latency"]["value"] == 5.0
    assert len(found["best"]["commands"]) == 2


def test_a_cell_measured_twice_counts_once_as_the_valid_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sweep_of(tmp_path / "1", record("int8", ms=4.0))
    bad = sweep_of(tmp_path / "2", record("int8", ms=2.0, valid=False, invalid_because=["busy"]))
    found = recommended(capsys, good, bad)
    assert found["qualify"] == ["m · sst2 · int8 · cpu"]
    assert found["best"]["figures"]["latency"]["value"] == 4.0


def test_the_test_part_is_preferred_where_all_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def tested(share: float) -> dict[str, Any]:
        against = {"accuracy_points": -1.0, "lost": 15, "gained": 5, "mcnemar_p": 0.04, "flips": 20}
        return {"test_quality": {"accuracy": share, "n": 1000, "right": int(1000 * share), "accuracy_ci95_low": share,
                                 "accuracy_ci95_high": share, "against_parent": against}}

    a, b = record("a", right=950, **tested(0.8)), record("b", right=900, **tested(0.9))
    found = recommended(capsys, sweep_of(tmp_path / "both", a, b))
    assert (best(found), found["quality_is"]) == ("b", "test accuracy %")
    assert found["best"]["figures"]["drop"]["value"] == pytest.approx(1.0)
    found = recommended(capsys, sweep_of(tmp_path / "one", a, record("c", right=900)))
    assert (best(found), found["quality_is"]) == ("a", "accuracy %")


@pytest.mark.parametrize(
    ("quality", "name", "option", "at", "drop"),
    [
        ({"exact_match": 0.7, "f1": 0.8, "f1_ci95_low": 0.78, "f1_ci95_high": 0.82, "n": 10, "sample": False,
          "against_parent": {"exact_match_points": -1.0, "f1_points": -2.0, "f1_points_ci95_low": -3.0,
                             "f1_points_ci95_high": -1.0, "mcnemar_p": 0.5}},
         "F1", "--min-quality", 80.0, (2.0, 1.0, 3.0)),
        ({"pearson": 0.6, "pearson_ci95_low": 0.5, "pearson_ci95_high": 0.7, "n": 10, "sample": False,
          "against_parent": {"pearson_points": -1.96, "permutation_p": 0.05}},
         "Pearson × 100", "--min-quality", 60.0, (1.96, 0.0, 3.92)),
        ({"mlm_loss": 3.5, "perplexity": 33.1, "n": 10, "sample": False,
          "against_parent": {"mlm_loss_difference": 0.1, "mlm_loss_difference_ci95_low": 0.05,
                             "mlm_loss_difference_ci95_high": 0.15}}, "MLM loss", "--max-loss", 3.5, (0.1, 0.05, 0.15)),
    ],
    ids=["spans", "numbers", "losses"],
)  # fmt: skip
def test_each_kind_of_task_by_its_own_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quality: dict[str, Any], name: str, option: str, at: float,
    drop: tuple[float, float, float],
) -> None:  # fmt: skip
    folder = sweep_of(tmp_path, record("int8", quality=quality))
    found = recommended(capsys, folder, option, at)
    assert (best(found), found["quality_is"]) == ("int8", name)
    figure = found["best"]["figures"]["drop"]
    assert (figure["value"], figure["ci95_low"], figure["ci95_high"]) == pytest.approx(drop, abs=1e-3)
    beyond = at + 0.1 if option == "--min-quality" else at - 0.1
    assert best(recommended(capsys, folder, option, beyond, code=1)) is None
    other = "--max-loss" if option == "--min-quality" else "--min-quality"
    assert main(["recommend", str(folder), other, "1"]) == 2


def test_smaller_losses_are_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def loss(value: float) -> dict[str, Any]:
        return {"mlm_loss": value, "perplexity": 1.0, "n": 10, "sample": False}

    found = recommended(capsys, sweep_of(tmp_path, record("a", quality=loss(3.0)), record("b", quality=loss(2.0))))
    assert best(found) == "b"


def test_cells_that_can_not_be_used_are_named_and_stop_nothing(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"model": "m", "task": "sst2", "compression": "broken", "device": "cpu"}
    leave(sweep, 7, {"status": "failed", "stage": "bench", "why": "out of memory", "names": names, "overrides": []})
    leave(sweep, 8, {"status": "skipped", "stage": "bench", "why": "no GPU", "names": names, "overrides": []})
    leave(sweep, 9, {})
    (sweep / "9" / "cell.json").write_text('{"status": ')
    leave(sweep, 10, {"somebody": "else's"})
    odd = record("odd", key="odd", environment={"host": "x"})
    place = sweep / "store" / "artifacts" / "bench" / "odd"
    place.mkdir()
    (place / "record.json").write_text(json.dumps(odd))
    leave(sweep, 11, {"status": "done", "stage": "bench", "step": "bench", "folder": str(place), "names": names})
    problems = recommended(capsys, sweep)["problems"]
    assert len(problems) == 5
    for part in ("9/cell.json: JSONDecodeError", "10/cell.json: it is no outcome", "a record without 'isa'",
                 "failed: out of memory", "skipped: no GPU"):
        assert sum(part in p for p in problems) == 1, part
    assert main(["recommend", str(sweep)]) == 0
    assert "left out: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "phone"], "--device='phone' has no cell that is done; there are: cpu"),
        (["--max-latency-ms", "nan"], "--max-latency-ms=nan is no number to hold a model to"),
        (["--min-quality", "inf"], "--min-quality=inf is no number"),
        (["--scenario", "tokens_7"], "--scenario='tokens_7' was not measured; there are: tokens_32"),
    ],
)
def test_bad_input(sweep: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["recommend", str(sweep), *words]) == 2
    assert said in capsys.readouterr().err


def test_several_devices_or_tasks_have_to_be_chosen_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep_of(tmp_path, record("a"), record("b", device="phone"), record("c", device="phone", task="cola"))
    assert main(["recommend", str(folder)]) == 2
    assert "several devices" in capsys.readouterr().err
    assert main(["recommend", str(folder), "--device", "phone"]) == 2
    assert "several tasks" in capsys.readouterr().err
    assert best(recommended(capsys, folder, "--device", "phone", "--task", "cola")) == "c"


def test_folders_of_records_and_tables_serve_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgedistil.reporting.report import as_csv
    from edgedistil.reporting.rows import record_row

    made = [record("a", right=900, lost=9, gained=4), record("b", right=910, lost=9, gained=4)]
    records = tmp_path / "results" / "records"
    records.mkdir(parents=True)
    for one in made:
        (records / f"{one['names']['compression']}.json").write_text(json.dumps(one))
    (records / "other.json").write_text(json.dumps({"speed": 3}))
    found = recommended(capsys, tmp_path / "results")
    assert (best(found), found["best"]["folders"]) == ("b", [str(records / "b.json")])
    assert ["no record of this project" in p for p in found["problems"]] == [True]
    table = tmp_path / "results.csv"
    table.write_text(as_csv([record_row(one, tmp_path / "x.json") for one in made]))
    by_table = recommended(capsys, table)
    assert best(by_table) == "b"
    assert by_table["best"]["figures"]["drop"] == pytest.approx(found["best"]["figures"]["drop"])
    assert main(["recommend", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["recommend", str(tmp_path / "empty")]) == 2
