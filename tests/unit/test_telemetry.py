"""Reports of libraries to their makers: off in every process of ours, unless the user wants them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgedistil.telemetry import OFF, no_reports, turn_off


@pytest.mark.parametrize("module", ["edgedistil.workers.onnx", "edgedistil.stages.app", "edgedistil.__main__"])
def test_every_process_of_ours_has_them_off_before_a_library_is_imported(module: str) -> None:
    program = (
        "import json, os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('onnxruntime', 'huggingface_hub', 'datasets', 'transformers', 'wandb', 'ray'):\n"
        "            assert os.environ.get('ORT_DISABLE_TELEMETRY'), name\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {module}\n"
        f"print(json.dumps({{name: os.environ.get(name) for name in {list(OFF)}}}))"
    )
    variables = {k: v for k, v in os.environ.items() if k not in OFF}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == OFF


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OFF:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    turn_off()
    assert {name: os.environ[name] for name in OFF} == OFF | {"ORT_DISABLE_TELEMETRY": "0"}


def test_the_hubs_libraries_know_the_switches() -> None:
    program = (
        "import edgedistil\n"
        "import huggingface_hub.constants, datasets.config\n"
        "print(huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY, datasets.config.HF_UPDATE_DOWNLOAD_COUNTS)"
    )
    variables = {k: v for k, v in os.environ.items() if k not in OFF}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_onnxruntime_makes_no_device_id(tmp_path: Path) -> None:
    # Imported alone, the official build of 1.31 leaves .cache/Microsoft there, and asks a name server within a minute.
    variables = {k: v for k, v in os.environ.items() if k not in OFF and not k.startswith("XDG_")}
    program = "import edgedistil, onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run([sys.executable, "-c", program], env=variables | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_openvino_is_imported_as_in_a_job_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("NNCF_CI", "mine")
    with no_reports():
        assert (os.environ["CI"], os.environ["NNCF_CI"]) == ("true", "1")
    assert ("CI" in os.environ, os.environ["NNCF_CI"]) == (False, "mine")
