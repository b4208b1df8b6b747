"""Budgets through the commands: milliseconds from a table measured once, and steps that survive SIGKILL."""

import re
from pathlib import Path
from typing import Any

import pytest

from edgedistil.store.files import read_json

QUICK = ["compression.pruning.calibration_sentences=32", "compression.pruning.ffn_multiple=8"]
GRADUAL = ["compression/pruning=gradual", "compression.pruning.ratio=0.6", "compression.pruning.steps=4",
           "compression.pruning.between.steps=4", "compression.pruning.between.batch_size=8", *QUICK]  # fmt: skip


@pytest.fixture
def classifier(models: dict[str, Path], tiny: list[str]) -> list[str]:
    """Overrides: the tiny classifier as it is; nothing is trained."""
    return ["model=folder", f"model.location={models['distilbert']}", *tiny[3:]]


def _facts(store: Path, step: str) -> dict[str, Any]:
    return read_json(next(store.glob(f"artifacts/{step}/*/artifact.json")))["facts"]  # type: ignore[no-any-return]


@pytest.mark.long
def test_milliseconds_are_measured_once_and_kept_to_by_the_table(
    tmp_path: Path, run: Any, classifier: list[str], artifacts: Any
) -> None:
    store = tmp_path / "store"
    budget = ["compression/pruning=structured", "compression.pruning.budget=latency_ms", *QUICK]
    int8 = ["compression.pruning.profile_seconds=1", "compression/quantization=int8_dynamic",
            "compression.quantization.max_rms=10", "compression.quantization.min_agreement=0"]  # fmt: skip
    command = ["compress.py", *classifier, *budget, *int8]
    refused = run(*command, "compression.pruning.target=1e-6", cwd=tmp_path / "first", store=store)
    assert refused.code == 2
    nearest = re.search(r"target=1e-06 \(ms at 32 tokens\) can't be met: .* ([0-9.]+) is reached", refused.err)
    assert nearest, refused.err
    # What was measured stays, and what the message names can be had.
    target = float(nearest[1])
    ran = run(*command, f"compression.pruning.target={target}", cwd=tmp_path / "second", store=store).ok()
    assert "profile" not in ran.computed
    assert "prune" in ran.computed
    facts = _facts(store, "prune")
    assert facts["cost"]["reached"] <= target
    # A pooled table may say that more neurons take no longer; then they stay.
    assert facts["removed_share"] > 0
    profiled = _facts(store, "profile")
    # Tiny graphs are all overhead: the sums are of the right size.
    assert profiled["largest_error"] < 0.6
    table = read_json(next(store.glob("artifacts/profile/*/latency_table.json")))
    for values in table["parts"].values():
        rising = [values[n] for n in sorted(values, key=int)]
        assert rising == sorted(rising)
    assert table["device"] == {"kind": "cpu", "threads": 1}
    assert {name: len(keys) for name, keys in artifacts(store).items() if name in ("profile", "prune")} == {
        "profile": 1, "prune": 1}  # fmt: skip


@pytest.mark.long
def test_gradual_pruning_killed_between_steps_ends_with_the_same_bits(
    tmp_path: Path, start: Any, run: Any, classifier: list[str]
) -> None:
    store, untouched = tmp_path / "killed", tmp_path / "untouched"
    command = ["compress.py", *classifier, *GRADUAL]
    script = start(*command, cwd=tmp_path / "first", store=store)
    script.until(lambda: list(store.glob("work/*/steps/0002")), "two steps")
    script.kill()
    assert not list(store.glob("artifacts/prune_gradually/*"))
    ran = run(*command, cwd=tmp_path / "second", store=store).ok()
    assert re.search(r"resuming behind step [23] of 4", ran.err)
    calm = run(*command, cwd=tmp_path / "third", store=untouched).ok()
    assert "resuming" not in calm.err
    weights = [next(s.glob("artifacts/prune_gradually/*/model.safetensors")).read_bytes() for s in (store, untouched)]
    assert weights[0] == weights[1]
    facts = _facts(store, "prune_gradually")
    assert [p["step"] for p in facts["path"]] == [1, 2, 3, 4]
    assert facts["cost"]["reached"] <= 0.4
    assert list((store / "work").iterdir()) == []
