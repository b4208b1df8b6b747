"""What a load request may ask of a worker, and what it says where there is no GPU."""

import re
from typing import Any

import pytest

from edgedistil.errors import UserError
from edgedistil.workers.client import Worker, WorkerError
from edgedistil.workers.cuda_placement import Placement, read_placement


@pytest.mark.parametrize("request_", [{}, {"placement": None}, {"placement": {}}, {"placement": {"device": "cpu"}},
                                      {"placement": {"device": "cpu", "graphs": False, "tf32": False}}])
def test_without_a_placement_it_is_the_processor(request_: dict[str, Any]) -> None:
    assert read_placement(request_) == Placement()
    assert read_placement(request_).is_plain


def test_a_placement_is_read() -> None:
    found = read_placement({"placement": {"device": "cuda", "tf32": True, "compile": True, "graphs": True,
                                          "unpadded": True}})
    assert found == Placement("cuda", True, True, True, True)
    assert not found.is_plain
    assert not read_placement({"placement": {"unpadded": True}}).is_plain


@pytest.mark.parametrize(("asked", "said"), [
    ({"device": "gpu"}, "placement.device='gpu'; allowed: cpu, cuda"),
    ({"device": "cuda", "graph": True}, "placement.graph is unknown; known: device, tf32, compile, graphs, unpadded"),
    ({"device": "cuda", "tf32": "yes"}, "placement.tf32='yes' is neither true nor false"),
    ({"device": "cpu", "graphs": True}, "placement.graphs=true needs placement.device=cuda"),
    ({"tf32": True}, "placement.tf32=true needs placement.device=cuda")])
def test_a_placement_that_can_not_be(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        read_placement({"placement": asked})


@pytest.mark.parametrize("engine", ["torch", "edgedistil.workers.cuda_gemm", "onnxruntime"])
def test_cuda_without_a_gpu_is_an_error_and_never_a_run_on_the_processor(
    engine: str, tiny_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with Worker(engine, 1) as worker:
        with pytest.raises(WorkerError, match="could not load: UserError: no CUDA device: "):
            worker.load(tiny_folder("bert"), 64, ("the film",), placement={"device": "cuda"})
        with pytest.raises(WorkerError, match=r"could not predict|reads no texts"):
            worker.ask("predict", texts=[["the film"]])


def test_a_precision_that_pytorch_does_not_have(tiny_folder: Any) -> None:
    with Worker("torch", 1) as worker, pytest.raises(
            WorkerError, match="quantization='fp8' is not PyTorch's; allowed: none, fp16, bf16, nf4, llm_int8"):
        worker.load(tiny_folder("bert"), 64, ("the film",), quantization="fp8")
