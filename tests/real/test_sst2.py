"""SST-2 with the embedded encoder: a short training on real sentences, and what INT8 does to it.

``EDGEDISTIL_DATA`` holds ``sst2/train.parquet`` and ``sst2/validation.parquet``; ``make embedded-model`` has run.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]
REPOSITORY = Path(__file__).resolve().parents[2]
OVERRIDES = [
    "model=distil_minilm",
    "task=sst2",
    "task.limit_train=3000",
    "trainer.max_epochs=1",
    "loader.batch_size=32",
    "measurement=rapid",
    "device.baselines=[onnxruntime_fp32]",
    "compression/quantization=none,int8_dynamic",
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """By method of quantisation, the rows of a sweep over FP32 and INT8."""
    if not os.environ.get("EDGEDISTIL_DATA"):
        pytest.skip("EDGEDISTIL_DATA is not set")
    root = tmp_path_factory.mktemp("sst2")
    environment = {**os.environ, "EDGEDISTIL_STORE": str(root / "store"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(REPOSITORY / "bench.py"), "-m", *OVERRIDES]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    (results,) = root.glob("multirun/*/*/results.csv")
    with open(results, newline="") as stream:
        return {r["quantization"]: r for r in csv.DictReader(stream)}


def test_all_validation_sentences_count(rows: dict[str, dict[str, str]]) -> None:
    assert {r["n"] for r in rows.values()} == {"872"}
    assert {r["sample"] for r in rows.values()} == {"False"}


def test_model_learns(rows: dict[str, dict[str, str]]) -> None:
    """The larger class is 444 of 872 (0.509)."""
    assert float(rows["none"]["accuracy"]) > 0.7


def test_int8_keeps_the_answers(rows: dict[str, dict[str, str]]) -> None:
    points = 100 * (float(rows["int8_dynamic"]["accuracy"]) - float(rows["none"]["accuracy"]))
    assert abs(points) <= 2
    assert float(rows["int8_dynamic"]["parent_accuracy_points"]) == pytest.approx(points, abs=1e-3)
    assert int(rows["int8_dynamic"]["parent_flips"]) <= 0.03 * 872


def test_int8_is_almost_four_times_smaller(rows: dict[str, dict[str, str]]) -> None:
    assert float(rows["none"]["size_model_mb"]) > 3.8 * float(rows["int8_dynamic"]["size_model_mb"])


def test_fp32_is_exact(rows: dict[str, dict[str, str]]) -> None:
    assert float(rows["none"]["parity_max_abs_difference"]) <= 1e-4
