"""Pruning in steps: falling budgets, resumption behind the last finished step, refusals before the first one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedistil.errors import UserError
from edgedistil.models.reference import write_reference
from edgedistil.models.shrunken import load_classifier, structure_of
from edgedistil.stages import gradual
from edgedistil.stages.compress import prune
from edgedistil.stages.gradual import prune_gradually
from edgedistil.tasks.source import Source

BETWEEN = {"method": "distillation", "steps": 3, "batch_size": 8, "warmup_fraction": 0.1,
           "objective": {"_target_": "edgedistil.learning.distillation.LogitDistillation"},
           "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-3}}
WORDS = ["the", "film", "story", "plot", "cast", "is", "was", "very", "good", "bad", "dull", "funny", "fresh", "weak",
         "superb", "witty"]
PRUNING = {"method": "structured", "ratio": 0.7, "calibration_sentences": 24, "labels": False, "ffn_multiple": 8,
           "importance": {"_target_": "edgedistil.compression.importance.FisherImportance"},
           "reconstruction": "least_squares", "ridge": 1e-3, "rounds": 1, "steps": 3, "between": BETWEEN}


@pytest.fixture
def source(tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]) -> Path:
    folder = tiny_folder("distilbert", "source")
    write_reference(load_classifier(folder), folder, sentence_ids, [[0] * len(row) for row in sentence_ids], seed=0)
    return folder


@pytest.fixture
def request_of(tmp_path: Path, source: Path, task_group: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    lines = [f"{' '.join(WORDS[(i * k + 3 * k) % 16] for k in range(1, 3 + i % 9))},{i % 2}" for i in range(80)]
    (tmp_path / "train.csv").write_text("sentence,label\n" + "\n".join(lines) + "\n")

    def make(name: str, options: dict[str, Any] | None = None, **pruning: Any) -> dict[str, Any]:
        task = task_group(max_length=32, held_out=0.2, labels=["negative", "positive"])
        data = Source({"files": {"train": "0" * 64}}, {"train": str(tmp_path / "train.csv")})
        chosen = PRUNING | pruning
        if "target" in chosen:
            del chosen["ratio"]
        return {"options": {"pruning": chosen, "task": task, "data": data.identity, "seed": 3,
                            "trainer": {"accelerator": "cpu", "gradient_clip_val": 1.0},
                            "scheduler": {"_target_": "edgedistil.learning.schedules.linear_warmup", "_partial_": True,
                                          "warmup_fraction": 0.1}} | (options or {}),
                "inputs": {"model": str(source)}, "output": str(tmp_path / name),
                "work": str(tmp_path / f"{name}_work"), "label": name,
                "fingerprint": "0" * 64, "runtime": {"files": data.files, "progress": False}}

    return make


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_budgets_fall_step_by_step_and_the_path_says_what_was_left(request_of: Any, tmp_path: Path) -> None:
    facts = prune_gradually(request_of("cut"))
    assert json.loads(json.dumps(facts)) == facts
    path = facts["path"]
    assert [p["step"] for p in path] == [1, 2, 3]
    assert [p["budget"] for p in path] == pytest.approx([0.3 ** (1 / 3), 0.3 ** (2 / 3), 0.3])
    for before, step in zip([{"cost": 1.0}, *path], path, strict=False):
        assert step["cost"] <= step["budget"] + 1e-9
        assert step["cost"] < before["cost"]
        assert 0 <= step["held_out"]["agreement"] <= 1
        # A short training changed what the cut had left.
        assert step["held_out"]["divergence"] != step["held_out_after_cut"]["divergence"]
    assert path[-1]["layers"] == facts["layers"] == structure_of(load_classifier(tmp_path / "cut"))["layers"]
    assert facts["cost"]["reached"] == path[-1]["cost"]
    assert (facts["parameters_before"] - facts["parameters"]) / 16704 == pytest.approx(1 - path[-1]["cost"])
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    assert [p["ratio"] for p in config["edgedistil_parents"]] == [0.7]


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_a_run_killed_in_a_step_ends_with_the_same_weights(finished: int, request_of: Any, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    untouched = prune_gradually(request_of("untouched"))
    taught = gradual._taught

    class Killed(BaseException):
        pass

    def dies(network: Any, dense: Any, request: Any, texts: Any, index: int) -> Any:
        loss = taught(network, dense, request, texts, index)
        if index == finished:
            raise Killed
        return loss

    request = request_of("killed")
    with monkeypatch.context() as patched:
        patched.setattr(gradual, "_taught", dies)
        with pytest.raises(Killed):
            prune_gradually(request)
    # What a kill while a state is written leaves: not a step.
    (Path(request["work"]) / "steps" / ".new").mkdir(parents=True)
    kept = [p.name for p in (Path(request["work"]) / "steps").glob("[0-9]*")]
    assert kept == ([f"{finished:04d}"] if finished else [])
    steps = []
    real = gradual._step
    monkeypatch.setattr(gradual, "_step", lambda *a: (steps.append(a[5]), real(*a))[1])
    resumed = prune_gradually(request)
    assert steps == list(range(finished, 3))
    assert weights(tmp_path / "killed") == weights(tmp_path / "untouched")

    def timeless(facts: dict[str, Any]) -> list[dict[str, Any]]:
        return [{k: v for k, v in step.items() if k != "seconds"} for step in facts["path"]]

    assert timeless(resumed) == timeless(untouched)


def test_another_seed_is_another_model(request_of: Any, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        prune_gradually(request_of(name, {"seed": seed}))
    assert weights(tmp_path / "one") != weights(tmp_path / "two")


def test_steps_without_training_are_cuts_alone(request_of: Any) -> None:
    facts = prune_gradually(request_of("cut", between={"method": "none"}))
    assert all(p["held_out"] == p["held_out_after_cut"] for p in facts["path"])
    assert "loss" not in facts["path"][0]


def test_a_loss_that_is_no_number_stops_and_keeps_the_step_before(request_of: Any) -> None:
    wild = BETWEEN | {"optimizer": BETWEEN["optimizer"] | {"lr": 1e30}}
    request = request_of("wild", between=wild)
    with pytest.raises(FloatingPointError, match=r"compression\.pruning\.between\.optimizer\.lr"):
        prune_gradually(request)
    assert not list((Path(request["work"]) / "steps").glob("[0-9]*"))


@pytest.mark.parametrize("step", [prune, prune_gradually])
def test_a_target_beyond_the_smallest_structure_is_said_before_anything_is_cut(step: Any, request_of: Any) -> None:
    request = request_of("cut", budget="parameters", target=100.0)
    with pytest.raises(UserError, match=r"compression\.pruning\.target=100 \(parameters\) can't be met: .* is reached"):
        step(request)
    assert not (Path(request["work"]) / "steps").exists()


@pytest.mark.parametrize(("budget", "share"), [("parameters", 0.6), ("gflops", 0.5), ("size_mb", 0.8)])
def test_one_cut_keeps_within_the_budget_that_its_options_name(budget: str, share: float, request_of: Any) -> None:
    quantization = {"method": "int8_dynamic", "embeddings": True, "weights": "s8"}
    from edgedistil.stages.budgeted import cost_here

    request = request_of("cut", {"quantization": quantization}, budget=budget, tokens=9, target=1.0)
    target = share * cost_here(request).total([(4, 64), (4, 64)])
    request["options"]["pruning"]["target"] = target
    facts = prune(request)
    assert 0.8 * target < facts["cost"]["reached"] <= target
    assert sum(layer["ffn"] for layer in facts["layers"]) < 128
