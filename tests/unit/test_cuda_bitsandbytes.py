"""Where bitsandbytes' layers are made: on the device that was asked for, also when the machine has another."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgedistil.models.bitsandbytes import quantise_linears


@pytest.mark.parametrize("method", ["nf4", "llm_int8"])
def test_a_model_stays_on_the_processor_when_the_machine_has_a_gpu(
    method: str, tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Imported first: it looks for a GPU by itself.
    pytest.importorskip("bitsandbytes")
    model = tiny_model("bert", hidden_size=64)
    asked: list[Any] = []
    move = type(model).to
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(type(model), "to", lambda self, *a, **k: (asked.append(a[0]), move(self, "cpu"))[1])
    model = quantise_linears(model, method)
    assert asked == ["cpu"]
    assert {p.device.type for p in model.parameters()} == {"cpu"}


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_in_half_precision_only_the_heads_keep_full_precision(kind: str, tiny_model: Callable[..., Any]) -> None:
    width = {"bert": {"hidden_size": 64}, "distilbert": {"dim": 64}}[kind] | {"initializer_range": 0.15}
    full, half = (tiny_model(kind, seed=3, **width) for _ in range(2))
    heads = {"bert": {"bert.pooler.dense", "classifier"}, "distilbert": {"pre_classifier", "classifier"}}[kind]
    full = quantise_linears(full, "nf4")
    half = quantise_linears(half, "nf4", rest=torch.float16)
    for name, parameter in half.named_parameters():
        if name.rpartition(".")[0] in heads:
            assert torch.equal(parameter, full.get_parameter(name)), name
        else:
            assert parameter.dtype in (torch.float16, torch.uint8), name
    ids = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 6, 14, 3]])
    with torch.inference_mode():
        expected, found = full(ids).logits, half(ids).logits
    assert found.dtype == torch.float32
    # Rounding to 11 bits moves a weight to the neighbouring code here and there.
    assert (found - expected).abs().max() < 0.2 * (expected[0] - expected[1]).abs().max()
