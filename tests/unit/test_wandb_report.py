"""What of a sweep goes into W&B: names, figures, tables of charts."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgedistil.reporting import wandb_report
from edgedistil.reporting.quality import Scale
from edgedistil.reporting.wandb_artifacts import _name, kind_of
from edgedistil.reporting.wandb_log import flatten, marker_of, run_of, tags
from edgedistil.stages.sweep import sweep_name


def test_figures_become_flat_names_without_what_is_not_there() -> None:
    nested = {"a": {"b": 1, "c": {"d": "x"}}, "list": [1, 2], "none": None, "e": 0.5}
    assert flatten(nested) == {"a/b": 1, "a/c/d": "x", "e": 0.5}


@pytest.mark.parametrize(
    ("label", "names", "found"),
    [
        ("distil_minilm on sst2", None, ["distil_minilm", "sst2"]),
        ("a taught by b on c on sst2", None, ["a taught by b on c", "sst2"]),
        ("distil_minilm on sst2: structured 50 % + recovery · INT8", None,
         ["distil_minilm", "sst2", "structured 50 % + recovery", "INT8"]),
        ("answers of m on t: dense · FP32", None, ["m", "t", "dense", "FP32"]),
        ("anything", {"model": "m" * 70, "task": "t", "compression": "dense · FP32", "device": "cpu"},
         ["m" * 64, "t", "dense", "FP32", "cpu"]),
    ],
)  # fmt: skip
def test_tags(label: str, names: dict[str, str] | None, found: list[str]) -> None:
    options = {"names": names} if names else {}
    assert [t for t in tags({"label": label, "options": options})] == found


def test_a_run_is_its_step() -> None:
    step = {"step": "train", "label": "m on t", "fingerprint": "ab" * 32, "options": {}}
    assert run_of(step, "sweep") == {
        "id": "ab" * 16, "name": "m on t", "group": "sweep", "job_type": "train", "tags": ["m", "t"],
    }  # fmt: skip


def test_sweeps_and_artifacts_by_name() -> None:
    assert sweep_name(Path("multirun/2026-11-22/10-20-30-123456")) == "2026-11-22_10-20-30-123456"
    assert sweep_name(Path("somewhere/mine")) == "mine"
    assert _name("prune-m on t: structured 50 % (x)") == "prune-m-on-t-structured-50-pct-x"
    assert len(_name("y" * 300)) == 128
    assert [kind_of(s) for s in ("train", "export", "bench", "predict")] == ["model", "model", "record", None]


def test_projects_of_two_owners_are_told_apart(tmp_path: Path) -> None:
    mine, theirs = ({"project": "p", "entity": entity} for entity in (None, "team"))
    assert marker_of(tmp_path, mine, "k") == tmp_path / "wandb" / "p" / "k.json"
    assert marker_of(tmp_path, theirs, "k") == tmp_path / "wandb" / "team" / "p" / "k.json"


def _row(compression: str, accuracy: float, p50: float, size: float, **more: Any) -> dict[str, Any]:
    bounds = {"accuracy_ci95_low": accuracy - 0.02, "accuracy_ci95_high": accuracy + 0.02}
    return {"status": "done", "model": "m", "task": "t", "device": "cpu", "threads": 1, "seed": 1, "valid": True,
            "quantization": "none", "compression": compression, "accuracy": accuracy, **bounds,
            "tokens_32_latency_ms_p50": p50, "size_model_mb": size, **more}  # fmt: skip


def test_points_of_a_chart_are_the_cells_with_their_place_on_the_front() -> None:
    rows = [_row("dense", 0.9, 5.0, 90.0), _row("worse", 0.8, 6.0, 95.0), _row("small", 0.85, 2.0, 20.0),
            {"status": "skipped", "why": "no phone", "model": "m"}, _row("emulated", 0.9, 1.0, 1.0, emulated=True)]
    (whose, group), = wandb_report.fronts_of(rows).items()
    assert whose == ""
    head, body = wandb_report.points_of(group, "size_model_mb", Scale("accuracy"))
    assert head == ["cell", "precision", "size_model_mb", "score", "score_low", "score_high", "front"]
    assert body == [
        ["m · small", "none", 20.0, 85.0, 83.0, 87.0, "speed, size"],
        ["m · dense", "none", 90.0, 90.0, 88.0, 92.0, "speed, size"],
        ["m · worse", "none", 95.0, 80.0, 78.0, 82.0, ""],
    ]
    # What was not done is in the matrix with its reason.
    columns, lines = wandb_report.matrix_of(rows)
    assert [dict(zip(columns, line, strict=True))["why"] for line in lines] == [None, None, None, "no phone", None]


def test_a_front_of_spans_and_one_of_losses() -> None:
    def scored(compression: str, size: float, **scores: float) -> dict[str, Any]:
        return {k: v for k, v in _row(compression, 0.0, size, size).items() if "accuracy" not in k} | scores

    spans = [scored("dense", 90.0, f1=0.8, exact_match=0.7), scored("small", 20.0, f1=0.7, exact_match=0.6),
             scored("beaten", 95.0, f1=0.75, exact_match=0.74)]  # fmt: skip
    (group,) = wandb_report.fronts_of(spans).values()
    _, body = wandb_report.points_of(group, "size_model_mb", Scale("f1"))
    assert [line[2:] for line in body] == [
        [20.0, 70.0, None, None, "speed, size"], [90.0, 80.0, None, None, "speed, size"], [95.0, 75.0, None, None, ""]]
    # Of a loss less is better.
    losses = [scored("dense", 90.0, mlm_loss=2.5), scored("small", 20.0, mlm_loss=3.0),
              scored("beaten", 95.0, mlm_loss=2.6)]  # fmt: skip
    (group,) = wandb_report.fronts_of(losses).values()
    assert [(r["compression"], r["front"]) for r in group] == [
        ("dense", "speed, size"), ("small", "speed, size"), ("beaten", "")]


def test_devices_have_a_front_each() -> None:
    rows = [_row("dense", 0.9, 5.0, 90.0), _row("dense", 0.9, 50.0, 90.0) | {"device": "phone"}]
    assert sorted(wandb_report.fronts_of(rows)) == ["/t_cpu_1", "/t_phone_1"]


def test_a_chain_of_techniques_is_a_table_of_its_figures(tmp_path: Path) -> None:
    cut = {"pruning": {"method": "structured", "ratio": 0.5}}
    steps = [({}, 0.90, 90.0), (cut, 0.89, 60.0), (cut | {"quantization": {"method": "int8_dynamic"}}, 0.88, 15.0)]
    outcomes = []
    for number, (compression, accuracy, size) in enumerate(steps):
        folder = tmp_path / str(number)
        folder.mkdir()
        record = {"names": {"model": "m", "task": "t", "compression": f"part {number}", "device": "cpu"}, "seed": 1,
                  "compression": compression, "fingerprint": str(number), "device": {"threads": 1}, "environment": {},
                  "quality": {"accuracy": accuracy}, "size": {"model_mb": size}, "timed": False, "schema_version": 3,
                  "model": {}}  # fmt: skip
        (folder / "record.json").write_text(json.dumps(record))
        outcomes.append({"status": "done", "step": "bench", "folder": str(folder)})
    ((head, body),) = wandb_report.ablations_of(outcomes)
    assert head == ["technique", "accuracy_pct", "p50_ms_at_32", "times_faster_than_eager", "model_mb", "peak_rss_mb"]
    assert body == [["part 0", 90.0, None, None, 90.0, None], ["part 1", 89.0, None, None, 60.0, None],
                    ["part 2", 88.0, None, None, 15.0, None]]
    assert wandb_report.ablations_of(outcomes[:2]) == []
