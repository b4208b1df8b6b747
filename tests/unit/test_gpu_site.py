"""A run of a GPU's site, on the processor under its name: who is placed how, its gauge, its batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedistil.config.compatibility import why_impossible
from edgedistil.config.device import canonical_device, measured_as, why_not_on
from edgedistil.config.device_schemas import Device, Gpu, Phone
from edgedistil.devices import cuda
from edgedistil.stages.gpu_site import OnGpu, placement_of
from edgedistil.stages.site import Place
from edgedistil.stages.timing import run

MODE = {"generations": 1, "restart_within_s": 600, "rounds": 2, "burst": 2, "seconds": 0, "seconds_of": "run",
        "warmup_calls": 1, "warmup_limit": 2, "lengths": [8], "batches": [2], "batch_rounds": 2,
        "exact_batches": ["4x8"]}


def device(**changes: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(Device(name="cuda", kind="cuda", engine="torch", gpu=Gpu(), phone=Phone())) | changes


@pytest.fixture
def options() -> dict[str, Any]:
    return {"measurement": MODE, "device": device(gpu={"tf32": False, "compile": False, "graphs": False,
            "unpadded": True}), "seed": 1, "host": {}, "task": {"max_length": 16}, "compression": None}


def test_candidate_and_parent_stand_side_by_side(
    options: dict[str, Any], tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]
) -> None:
    folder = tiny_folder("bert")
    stand = {"candidate": Place("torch", folder, "bf16", candidate=True), "torch_fp32": Place("torch", folder)}
    site = OnGpu(options, device="cpu", product_size=64)
    found = run(options, site, stand, [("the film is good",)], sentence_ids, None)
    assert set(found.samples) == {"candidate", "torch_fp32"}
    assert set(found.batches["candidate"]) == {"batch_2", "sorted_2", "tokens_8_batch_4"}
    assert set(found.calibration_before) == {"fp32_gops_per_s", "fp16_gops_per_s", "bf16_gops_per_s"}
    assert found.saturates == {}
    assert found.out_of_memory == {}
    assert set(site.facts()) == {"gpu_before", "gpu_meanwhile", "gpu_after"}
    assert site.reasons_against() == []


def test_how_the_candidate_is_placed_and_how_its_parent(
    options: dict[str, Any], tiny_folder: Callable[..., Path]
) -> None:
    folder, site, seen = tiny_folder("bert"), OnGpu(options, device="cpu"), []

    class Asked:
        def load(self, *arguments: Any, **more: Any) -> dict[str, Any]:
            seen.append(more["placement"])
            return {}

    for place in (Place("torch", folder, candidate=True), Place("torch", folder)):
        site.load(Asked(), place, ("x",))  # type: ignore[arg-type]
    assert seen == [{"device": "cpu", "tf32": False, "compile": False, "graphs": False, "unpadded": True},
                    {"device": "cpu"}]
    assert placement_of(options["device"])["device"] == "cuda"


MEMORY = '''
import time
STARTED_NS = time.monotonic_ns()
from edgedistil.workers.cuda_capacity import OutOfMemory
from edgedistil.workers.loop import serve


class Engine:
    def load(self, request):
        return {"imported": time.monotonic_ns()}

    def pack(self, rows):
        return rows

    def run(self, packed):
        if len(packed) > 5:
            raise OutOfMemory("5 rows are all that fit")

    def tokenize(self, text):
        return text


serve(Engine(), STARTED_NS)
'''


def test_batches_that_do_not_fit_are_an_outcome(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sentence_ids: list[list[int]]
) -> None:
    import os

    (tmp_path / "five_rows.py").write_text(MEMORY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    options["measurement"] = MODE | {"batches": [2, 8], "exact_batches": ["12x8"]}
    stand = {"candidate": Place("five_rows", tmp_path, candidate=True)}
    found = run(options, OnGpu(options, device="cpu", product_size=64), stand, [("a",)], sentence_ids, None)
    assert set(found.batches["candidate"]) == {"batch_2", "sorted_2"}
    assert set(found.out_of_memory) == {"batch_8", "sorted_8", "tokens_8_batch_12"}
    for outcome in found.out_of_memory.values():
        assert list(outcome) == ["candidate"]
        assert outcome["candidate"]["largest_batch_that_fits"] == 5
        assert "OutOfMemory: 5 rows are all that fit" in outcome["candidate"]["why"]


def test_clocks_that_were_held_back_make_a_run_invalid(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [{"uuid": "GPU-a", "throttle_reasons": ["hardware slowdown"]},
              {"uuid": "GPU-b", "throttle_reasons": ["idle", "power cap"]}]
    monkeypatch.setattr(cuda, "gpu_state", lambda: states)
    site = OnGpu(options | {"host": {"gpu": {"uuid": "GPU-b"}}})
    assert site.reasons_against() == []
    site.after_generation()
    # Another GPU's trouble is none of ours.
    assert site.reasons_against() == ["the GPU was slowed during the run: power cap"]
    states[1]["throttle_reasons"] = None
    other = OnGpu(options | {"host": {"gpu": {"uuid": "GPU-b"}}})
    other.after_generation()
    assert other.reasons_against() == []


def test_the_gpu_that_is_measured_is_the_visible_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistil.errors import UserError

    listed = [{"uuid": "GPU-aa", "name": "T4", "persistence_mode": "On"}, {"uuid": "GPU-bb", "name": "H200"}]
    monkeypatch.setattr(cuda, "gpus", lambda: listed)
    for visible, name in ((None, "T4"), ("", "T4"), ("1", "H200"), ("GPU-bb", "H200"), ("1,0", "H200")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
        assert cuda.used_gpu()["name"] == name
    assert "persistence_mode" not in cuda.used_gpu()
    assert cuda.worker_variables(listed[1]) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-bb"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES names '7', and nvidia-smi lists 2 GPUs"):
        cuda.used_gpu()


@pytest.mark.parametrize(
    ("kind", "baseline", "allowed"),
    [("cuda", "torch_dynamic_int8", "torch_fp32"), ("cuda", "onnxruntime_fp32", "torch_fp32"),
     ("android", "torch_fp32", "onnxruntime_fp32"), ("android", "optimum_int8", "onnxruntime_fp32")],
)
def test_a_baseline_of_another_device_is_refused(kind: str, baseline: str, allowed: str) -> None:
    engine = "torch" if kind == "cuda" else "onnxruntime"
    found = why_not_on(device(kind=kind, engine=engine, baselines=[baseline]), "none")
    assert found == f"device.baselines holds {baseline}, and beside a cell on {kind} there is {allowed} alone"
    assert why_not_on(device(kind=kind, engine=engine, baselines=[allowed]), "none") is None
    assert why_not_on(device(kind="cpu", engine=engine, baselines=[baseline]), "none") is None


def test_equal_cells_of_a_gpu_have_one_name() -> None:
    four, only = canonical_device(device(), "nf4"), canonical_device(device(name="cuda_4bit", only=["int4"]), "nf4")
    assert four == only
    assert four["name"] == "cuda_4bit"
    assert canonical_device(device(), "fp16")["name"] == "cuda"
    # A processor's cells are named as they were before there were other devices.
    cpu = canonical_device(device(kind="cpu", name="cpu", engine="onnxruntime"), "none")
    assert set(cpu) == {"name", "kind", "engine", "threads", "int8_weights", "baselines"}
    assert set(canonical_device(device(kind="android"), "none")["phone"]) == {"cores", "max_thermal_status"}


@pytest.mark.parametrize(
    ("changes", "method", "reason"),
    [
        ({"only": ["int4"], "name": "cuda_4bit"}, "none", "device=cuda_4bit measures int4 alone, and this is fp32"),
        ({"kind": "android"}, "none", "a phone runs ONNX Runtime only, not device.engine=torch"),
        ({"kind": "cpu"}, "fp16", "fp16 in PyTorch needs a GPU"),
        ({"kind": "cpu"}, "bf16", "bf16 in PyTorch needs a GPU"),
        ({"engine": "onnxruntime"}, "int8_dynamic", "ONNX Runtime has no CUDA kernels for the products of"),
        ({}, "nf4", None), ({}, "fp16", None), ({"kind": "cpu", "engine": "onnxruntime"}, "fp16", None),
    ],
)
def test_what_a_device_takes(changes: dict[str, Any], method: str, reason: str | None) -> None:
    found = why_not_on(device(**changes), method)
    assert found is None if reason is None else str(found).startswith(reason)


def test_a_latency_budget_is_of_this_processor() -> None:
    compression = {"pruning": {"method": "structured", "budget": "latency_ms"}, "recovery": {"method": "none"},
                   "quantization": {"method": "none"}, "graph": {"padding": True}}
    assert "is counted by this machine's processor" in str(why_impossible(compression, device(), False))


def test_an_emulated_phone_is_measured_just_once() -> None:
    phone = {"phone": {"emulated_cpu": "cortex-a76"}}
    least = measured_as(MODE | {"lengths": [16, 32, 64]}, phone)
    assert (least["rounds"], least["generations"], least["lengths"], least["batches"]) == (2, 1, [32], [])
    assert measured_as(MODE | {"lengths": [64, 16]}, phone)["lengths"] == [16]
    assert measured_as(MODE, {"phone": {"cores": "big"}}) is MODE
    assert measured_as({"mode": "quality", "repeat": 0}, phone) == {"mode": "quality", "repeat": 0}

