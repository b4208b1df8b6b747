"""Budgets and steps of pruning as options: their names, what goes together, and which steps a cell is made of."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from edgedistil.config.canonical import canonical_compression, compression_label
from edgedistil.config.compatibility import why_impossible
from edgedistil.config.schemas import register
from edgedistil.config.validation import validate
from edgedistil.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"
CPU = {"engine": "onnxruntime"}


@pytest.fixture(autouse=True)
def hydra_conf():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def chosen(*overrides: str) -> dict[str, Any]:
    cfg = compose("compress", list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        del cfg.hydra
    return validate(cfg)["compression"]  # type: ignore[no-any-return]


def canonical(*overrides: str) -> dict[str, Any]:
    return canonical_compression(chosen("compression/pruning=structured", *overrides))


def budget(name: str, target: str, *more: str) -> tuple[str, ...]:
    return (f"compression.pruning.budget={name}", f"compression.pruning.target={target}", *more)


@pytest.mark.parametrize(("overrides", "label"), [
    (("compression.pruning.ratio=0.8",), "structured 80 % · FP32"),
    (budget("latency_ms", "2.5"), "structured 2.5 ms · FP32"),
    (budget("latency_ms", "2.5", "compression.pruning.tokens=128"), "structured 2.5 ms at 128 tokens · FP32"),
    (budget("gflops", "0.2"), "structured 0.2 GFLOP · FP32"),
    (budget("size_mb", "9", "compression/quantization=int8_dynamic"), "structured 9 MB · INT8"),
    (budget("parameters", "15.5e6", "compression/recovery=distillation"),
     "structured 15.5 M parameters + recovery · FP32"),
    (("compression/pruning=gradual", "compression.pruning.ratio=0.8"), "structured 80 % in 8 steps · FP32"),
    (("compression/pruning/importance=taylor",), "structured 50 % (taylor) · FP32"),
    (("compression/pruning/importance=fisher_rearranged", "compression.pruning.reconstruction=none"),
     "structured 50 % (rearranged, not reconstructed) · FP32"),
    (("compression/vocabulary=trimmed", "compression.vocabulary.min_count=20"),
     "structured 50 % · vocabulary from 20 on · FP32"),
    (("compression/quantization=int8_dynamic", "compression.quantization.embeddings=false"),
     "structured 50 % · INT8, FP32 table"),
])
def test_cells_of_different_budgets_have_different_names(overrides: tuple[str, ...], label: str) -> None:
    assert compression_label(canonical(*overrides)) == label


def test_options_that_a_budget_does_not_read_leave_its_identity() -> None:
    assert canonical("compression.pruning.tokens=64", "compression.pruning.profile_seconds=9") == canonical()
    assert not {"budget", "target", "tokens", "profile_seconds", "steps", "between"} & set(canonical()["pruning"])
    by_size = budget("size_mb", "9")
    assert canonical(*by_size, "compression.pruning.ratio=0.1") == canonical(*by_size, "compression.pruning.ratio=0.9")
    assert canonical(*by_size, "compression.pruning.tokens=64") == canonical(*by_size)
    by_time = budget("latency_ms", "2")
    assert canonical(*by_time, "compression.pruning.tokens=64") != canonical(*by_time)
    assert canonical(*by_time, "compression.pruning.ratio=0")["pruning"]["target"] == 2


def test_one_step_is_the_cut_at_once_and_several_without_training_keep_no_recipe() -> None:
    assert canonical("compression/pruning=gradual", "compression.pruning.steps=1",
                     "compression.pruning.ratio=0.5") == canonical("compression.pruning.ratio=0.5")
    alone = canonical("compression/pruning=gradual", "compression.pruning.between.steps=0")["pruning"]
    assert alone["between"] == {"method": "none"}
    assert alone == canonical("compression.pruning.steps=8")["pruning"]


@pytest.mark.parametrize(("overrides", "message"), [
    (("compression.pruning.budget=latency_ms",),
     r"budget=latency_ms needs a target, e\.g\. compression\.pruning\.target=2\.5 \(milliseconds of one text\)"),
    (("compression.pruning.target=3",), r"target=3 has no unit: say which with compression\.pruning\.budget=param"),
    (budget("latency", "3"), r"budget='latency' is unknown; allowed: .*did you mean 'latency_ms'"),
    (budget("size_mb", "0"), r"compression\.pruning\.target=0 is out of range"),
    (("compression/pruning=magnitude", *budget("size_mb", "3")), r"budget=size_mb does not go with magnitude"),
    (("compression/pruning=magnitude", "compression.pruning.steps=4"), r"steps=4 does not go with magnitude"),
    (("compression.pruning.steps=0",), r"compression\.pruning\.steps=0 is out of range"),
])
def test_what_does_not_go_together_is_one_line(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        canonical(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["size_mb", "latency_ms"])
def test_budgets_of_a_file_need_one(name: str) -> None:
    cell = canonical(*budget(name, "3"), "compression/quantization=nf4")
    assert f"budget={name} is of ONNX files" in str(why_impossible(cell, {"engine": "torch"}, False))
    assert why_impossible(canonical(*budget(name, "3")), CPU, False) is None
    assert why_impossible(canonical(*budget("parameters", "3e6"), "compression/quantization=nf4"),
                          {"engine": "torch"}, False) is None


@pytest.mark.parametrize(("name", "more", "where"), [
    ("size_mb", ("compression/quantization=int8_dynamic", "compression.quantization.exclude=[table.words]"),
     "compression.quantization.exclude"),
    ("latency_ms", ("compression/quantization=int8_dynamic", "compression.quantization.smooth=0.5"),
     "compression.quantization.smooth"),
    ("parameters", ("compression/embeddings=low_rank",), "compression.embeddings"),
])
def test_what_a_budget_would_miscount_is_refused(name: str, more: tuple[str, ...], where: str) -> None:
    device = {"engine": "onnxruntime"}
    assert why_impossible(canonical(*budget(name, "9")), device, bare_onnx=False) is None
    why = why_impossible(canonical(*budget(name, "9", *more)), device, bare_onnx=False)
    assert why is not None
    assert f"compression.pruning.budget={name} does not count what {where} changes" in why


def test_rows_of_an_ablation_are_cut_alike_or_refused() -> None:
    chosen("compression/pruning=structured", "compression.until=pruning")
    with pytest.raises(UserError, match=r"compression.until=pruning leaves out what .*budget=size_mb counts"):
        chosen("compression/pruning=structured", *budget("size_mb", "9"), "compression.until=pruning")


def test_training_between_cuts_needs_to_know_how() -> None:
    chosen("compression/pruning=gradual")
    with pytest.raises(UserError, match=r"between.method=distillation has no objective.*compression/pruning=gradual"):
        chosen("compression/pruning=structured", "compression.pruning.between.method=distillation")
