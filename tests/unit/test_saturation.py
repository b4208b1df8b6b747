"""What products of 8-bit numbers are on this processor, and the heads that stay in full precision."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgedistil.devices.host import saturates_int8
from edgedistil.measurement.calibration import saturation, saturation_warning
from edgedistil.workers.client import Worker


@pytest.fixture(scope="module")
def measured() -> dict[str, bool]:
    with Worker("edgedistil.workers.gemm", 1) as gauge:
        return saturation(gauge)


def test_weights_of_seven_bits_and_unsigned_ones_never_saturate(measured: dict[str, bool]) -> None:
    assert measured == {"s8": measured["s8"], "s8_7bit": False, "u8": False}


def test_what_is_measured_is_what_the_instruction_set_says(measured: dict[str, bool]) -> None:
    assert measured["s8"] is saturates_int8()


def test_only_the_calibration_worker_probes() -> None:
    from edgedistil.workers.loop import Conversation

    said = Conversation(object(), 0).reply(b'{"op": "probe"}')  # type: ignore[arg-type]
    assert "measures nothing of the processor" in json.loads(said or "")["error"]


@pytest.mark.parametrize(("quantization", "saturates", "warned"), [
    ({"method": "int8_dynamic", "weights": "s8"}, True, True), ({"method": "int8_static", "weights": "s8"}, True, True),
    ({"method": "int8_dynamic", "weights": "s8"}, False, False),
    ({"method": "int8_dynamic", "weights": "s8_7bit"}, True, False), ({"method": "none"}, True, False),
    ({"method": "int4_ort", "weights": "s8"}, True, False)])
def test_a_warning_says_what_to_do(quantization: dict[str, str], saturates: bool, warned: bool) -> None:
    found = saturation_warning(quantization, {"s8": saturates, "s8_7bit": False, "u8": False})
    if warned:
        assert found is not None
        assert "weights=s8_7bit (as fast) or u8 (exact)" in found
    else:
        assert found is None


@pytest.mark.parametrize("method", ["nf4", "llm_int8"])
@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_heads_stay_linear_layers_in_float(method: str, kind: str, tiny_model: Callable[..., Any],
                                           tiny_folder: Callable[..., Path]) -> None:
    import bitsandbytes as bnb

    from edgedistil.models.bitsandbytes import quantise_linears
    from edgedistil.models.shrunken import load_model

    model = quantise_linears(load_model(tiny_folder(tiny_model(kind, dim=64) if kind == "distilbert"
                                                    else tiny_model(kind, hidden_size=64))), method)
    quantised = {"nf4": bnb.nn.Linear4bit, "llm_int8": bnb.nn.Linear8bitLt}[method]
    heads = {"distilbert": {"pre_classifier", "classifier"}, "bert": {"bert.pooler.dense", "classifier"}}[kind]
    linears = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert {name for name, m in linears.items() if type(m) is torch.nn.Linear} == heads
    assert all(linears[name].weight.dtype == torch.float32 for name in heads)
    # two layers of query, key, value, output and the two of the FFN
    assert sum(isinstance(m, quantised) for m in linears.values()) == 12 == len(linears) - len(heads)
    stored = {"nf4": torch.uint8, "llm_int8": torch.int8}[method]
    assert {linears[name].weight.dtype for name in set(linears) - heads} == {stored}
