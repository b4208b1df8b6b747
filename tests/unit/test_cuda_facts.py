"""What nvidia-smi says, from canned text and from a program of that name, and every reason why there is no GPU."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedistil.devices import cuda

FACTS = "NVIDIA H200, GPU-8d1, 570.86.15, 9.0, 143771, 1980, 3201, 700.00, Enabled, Disabled"
STATE = "GPU-8d1, 345, 3201, 76.42, 31, 0x0000000000000001, 0, 1"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A program ``nvidia-smi`` with this body (sh), alone on the path but for the shell's own."""

    def make(body: str) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        program = tmp_path / "bin" / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return make


def answering(facts: str = FACTS, state: str = STATE, processes: str = "") -> str:
    return (f'case "$1" in *name*) echo "{facts}";; *temperature*) echo "{state}";; '
            f'*compute-apps*) echo "{processes}";; esac')


def test_facts_and_state_of_a_gpu(nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi(answering())
    assert cuda.gpus() == [{
        "name": "NVIDIA H200", "uuid": "GPU-8d1", "driver": "570.86.15", "compute_capability": "9.0",
        "memory_total_mb": 150755, "clock_sm_max_mhz": 1980.0, "clock_memory_max_mhz": 3201.0,
        "power_limit_w": 700.0, "persistence_mode": "Enabled", "mig_mode": "Disabled"}]
    assert cuda.gpu_state() == [{
        "uuid": "GPU-8d1", "clock_sm_mhz": 345.0, "clock_memory_mhz": 3201.0, "power_w": 76.42, "temperature_c": 31.0,
        "throttle_reasons": ["idle"], "utilization_percent": 0.0, "memory_used_mb": 1}]


@pytest.mark.parametrize("unknown", ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "[GPU requires reset]"])
def test_what_the_driver_does_not_say_is_none(unknown: str, nvidia_smi: Callable[[str], None]) -> None:
    facts = f"Tesla T4, GPU-1, 450.1, 7.5, 15109, {unknown}, {unknown}, {unknown}, {unknown}, {unknown}"
    nvidia_smi(answering(facts, f"GPU-1, {unknown}, 405, {unknown}, 40, {unknown}, {unknown}, 10"))
    (found,) = cuda.gpus()
    assert {name for name, value in found.items() if value is None} == {
        "clock_sm_max_mhz", "clock_memory_max_mhz", "power_limit_w", "persistence_mode", "mig_mode"}
    (state,) = cuda.gpu_state()
    assert {name for name, value in state.items() if value is None} == {
        "clock_sm_mhz", "power_w", "throttle_reasons", "utilization_percent"}


def test_two_gpus_and_a_name_with_a_comma(nvidia_smi: Callable[[str], None]) -> None:
    second = FACTS.replace("NVIDIA H200", '\\"NVIDIA Some, Thing\\"').replace("8d1", "9e2")
    nvidia_smi(answering(f"{FACTS}\n{second}"))
    assert [(g["name"], g["uuid"]) for g in cuda.gpus()] == [
        ("NVIDIA H200", "GPU-8d1"), ("NVIDIA Some, Thing", "GPU-9e2")]


def test_a_field_that_this_driver_does_not_know_costs_that_field_alone(nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi('case "$1" in *mig.mode*) echo \'Field "mig.mode.current" is not a valid field to query.\'; exit 2;; '
               f'*) echo "{FACTS.rpartition(",")[0]}";; esac')
    (found,) = cuda.gpus()
    assert found["mig_mode"] is None
    assert found["persistence_mode"] == "Enabled"


@pytest.mark.parametrize(("mask", "words"), [
    ("0x0000000000000000", []), ("0x0000000000000005", ["idle", "power cap"]),
    ("0x00000000000000E8", ["hardware slowdown", "software thermal slowdown", "hardware thermal slowdown",
                            "hardware power brake"]),
    ("0x0000000000000202", ["clocks set by an application", "0x200"]), ("none", None)])
def test_throttle_reasons_in_words(mask: str, words: list[str] | None) -> None:
    assert cuda.throttle_reasons(mask) == words
    assert not {"idle", "clocks set by an application"} & cuda.SLOWED
    assert {"power cap", "hardware thermal slowdown"} <= cuda.SLOWED


def test_memory_of_one_process(nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi(answering(processes="GPU-8d1, 77, 500\nGPU-9e2, 77, 20\nGPU-8d1, 78, 900\nGPU-8d1, 79, [N/A]"))
    assert cuda.process_memory_mb(77, "GPU-8d1") == pytest.approx(500 * 1.048576)
    assert cuda.process_memory_mb(77) == pytest.approx(520 * 1.048576)
    assert cuda.process_memory_mb(79) is None
    assert cuda.process_memory_mb(80) is None


def test_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cuda.why_no_gpu() == "no CUDA device: there is no nvidia-smi here"
    assert cuda.gpus() == cuda.gpu_state() == []
    assert cuda.process_memory_mb(1) is None


@pytest.mark.parametrize("hidden", ["", "-1", " "])
def test_hidden_by_the_environment(hidden: str, nvidia_smi: Callable[[str], None],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(answering())
    monkeypatch.setattr(cuda, "why_build_has_no_cuda", lambda: None)
    assert cuda.why_no_gpu() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert cuda.why_no_gpu() == f"no CUDA device: CUDA_VISIBLE_DEVICES={hidden!r} hides them all"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert cuda.why_no_gpu() is None


def test_none_listed_and_a_driver_that_fails(nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi("true")
    assert cuda.why_no_gpu() == "no CUDA device: nvidia-smi lists none"
    nvidia_smi("echo 'NVIDIA-SMI has failed because it could not\nreach the driver.'; exit 9")
    assert cuda.why_no_gpu() == (
        "no CUDA device: nvidia-smi failed (NVIDIA-SMI has failed because it could not reach the driver.)")


@pytest.mark.parametrize(("text", "version"), [
    ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n", None), ("cuda: Optional[str] = '12.8'\n", "12.8"),
    ("cuda = '11.8'\n", "11.8"), ("cuda = None\nhip = '6.1'\n", None), ("", None)])
def test_what_torch_was_built_for(text: str, version: str | None) -> None:
    assert cuda.built_for(text) == version


@pytest.mark.parametrize(("engine", "package", "expected"), [
    ("torch", "torch/version.py", "this PyTorch is a CPU build (pip install torch from the CUDA index)"),
    ("onnxruntime", "onnxruntime/capi/libonnxruntime.so",
     "this ONNX Runtime is a CPU build (pip install onnxruntime-gpu in its place)")])
def test_the_build_is_told_without_importing_it(
    engine: str, package: str, expected: str, nvidia_smi: Callable[[str], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvidia_smi(answering())
    file = tmp_path / "site" / package
    file.parent.mkdir(parents=True)
    file.write_text("cuda: str = None\n")
    (tmp_path / "site" / engine / "__init__.py").write_text("raise RuntimeError('imported')\n")
    program = f"from edgedistil.devices.cuda import why_no_gpu; print(why_no_gpu({engine!r}))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {program}"]

    def told() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert told() == f"no CUDA device: {expected}"
    file.write_text("cuda: str = '12.8'\n")
    file.with_name("libonnxruntime_providers_cuda.so").touch()
    assert told() == "None"


def test_a_missing_package_is_a_reason(nvidia_smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(answering())
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    assert cuda.why_no_gpu() == "no CUDA device: PyTorch is not installed"
    assert cuda.why_no_gpu("onnxruntime") == "no CUDA device: ONNX Runtime is not installed"
