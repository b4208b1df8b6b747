"""``pytest --device``: tests for a GPU are skipped with a reason, or asked for and then it must be there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("options", "code", "said"), [
    ([], 0, "cuda: needs a GPU and --device cuda"),
    (["--device", "cuda"], 4, "--device cuda: no CUDA device: there is no nvidia-smi here"),
    (["--device", "gpu"], 4, "invalid choice: 'gpu'")])
def test_tests_for_a_gpu(options: list[str], code: int, said: str, repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options,
               "tests/cuda/test_cuda_calibration.py"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": str(tmp_path)} | {"CUDA_VISIBLE_DEVICES": "0"})
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
