"""One pass over a task's validation texts, two tiny models in turns, as a user asks for it."""

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long


@pytest.mark.parametrize(("engine", "generations", "bursts", "more"), [
    ("torch", 1, [10, 10, 4], ["--pad-to", "32"]),
    ("onnxruntime", 2, [10, 2, 10, 2], []),
])
def test_two_models_answer_the_same_texts_in_turns(
    engine: str, generations: int, bursts: list[int], more: list[str], run: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    command = ["--models", str(models["bert"]), str(models["distilbert"]), "--task", "reviews", "--texts", "24",
               "--engine", engine, "--generations", str(generations), *more, "--output", str(tmp_path / "pass.json")]
    ran = run("-m", "edgedistil", "pass-time", *command, cwd=tmp_path, store=tmp_path / "store").ok()
    rows = [line for line in ran.out.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["bert", "distilbert"]
    record = json.loads((tmp_path / "pass.json").read_text())
    assert (record["schema_version"], record["kind"], record["texts"]) == (1, "pass_time", 24)
    assert record["all_texts"] > 24
    assert "a part of" in ran.out
    for name in ("bert", "distilbert"):
        model = record["models"][name]
        assert model["n"] == 24
        assert model["random_weights"] is False
        assert [len(burst["wall_ms"]) for burst in record["samples"][name]] == bursts
        assert {burst["generation"] for burst in record["samples"][name]} == set(range(generations))
        total = sum(sum(burst["wall_ms"]) for burst in record["samples"][name]) / 1000
        assert model["pass_s"] == pytest.approx(total, abs=1e-4)
    ratio = record["ratios"]["distilbert"]
    longer, shorter = (record["models"][name]["pass_s"] for name in ("bert", "distilbert"))
    assert ratio["ratio"] == pytest.approx(longer / shorter, rel=0.02)
    assert ratio["of"] == "bert"
    assert (ratio["ci95_low"] is None) == (generations == 1)
    assert f"{ratio['ratio']:.2f} [" in rows[3]
    assert record["measurement"]["engine"] == engine
    assert record["valid"] is False, "24 calls are no measurement"
    assert "24 calls a scenario" in record["invalid_because"][0]
    assert not list((tmp_path / "store").glob("artifacts/*"))
