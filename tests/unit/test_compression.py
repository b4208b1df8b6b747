"""Importance against brute force, exact sparsity, and cuts that remove what they say and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from edgedistil.compression.curves import Scores
from edgedistil.compression.importance import FisherImportance, MagnitudeImportance, TaylorImportance
from edgedistil.compression.magnitude import prune_magnitude
from edgedistil.compression.structured import Kept, cut
from edgedistil.measurement.units import unit_weights
from edgedistil.models.layers import encoder_layers
from edgedistil.tasks.batching import collate

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])


def batches(sentence_ids: list[list[int]], size: int) -> list[dict[str, Tensor]]:
    rows = [(ids, [0] * len(ids), index % 2) for index, ids in enumerate(sentence_ids)]
    return [collate(rows[i : i + size], 0) for i in range(0, len(rows), size)]


def masked_gradients(model: Any, ids: list[int], label: int) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of one sentence's loss by explicit mask variables, one a head and one a neuron of each layer."""
    layers = encoder_layers(model)
    heads = [torch.ones(x.heads, requires_grad=True) for x in layers]
    neurons = [torch.ones(x.neurons, requires_grad=True) for x in layers]
    hooks = []
    for layer, head, neuron in zip(layers, heads, neurons, strict=True):
        widened = head.repeat_interleave(layer.head_size)
        hooks.append(layer.out.register_forward_pre_hook(lambda m, inputs, mask=widened: (inputs[0] * mask,)))
        hooks.append(layer.ffn_out.register_forward_pre_hook(lambda m, inputs, mask=neuron: (inputs[0] * mask,)))
    tokens = torch.tensor([ids])
    logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([label]))
    found = torch.autograd.grad(loss, heads + neurons)
    for hook in hooks:
        hook.remove()
    return list(found[: len(heads)]), list(found[len(heads) :])


@KINDS
@pytest.mark.parametrize(("importance", "reduce"),
                         [(FisherImportance(), lambda g: g.square() / 24), (TaylorImportance(), torch.abs)])
@pytest.mark.parametrize("uneven", [False, True])
def test_importance_equals_brute_force_sentence_by_sentence(
        kind: str, importance: Any, reduce: Callable[[Tensor], Tensor], uneven: bool, tiny_model: Callable[..., Any],
        sentence_ids: list[list[int]], uneven_cut: Callable[[Any], Any]) -> None:
    model = uneven_cut(tiny_model(kind)) if uneven else tiny_model(kind)
    found = importance(model, batches(sentence_ids, 5))
    wanted = Scores([torch.zeros_like(s) for s in found.heads], [torch.zeros_like(s) for s in found.neurons])
    for index, ids in enumerate(sentence_ids):
        heads, neurons = masked_gradients(model, ids, index % 2)
        for layer in range(2):
            wanted.heads[layer] += reduce(heads[layer])
            wanted.neurons[layer] += reduce(neurons[layer])
    for got, expected in zip(found.heads + found.neurons, wanted.heads + wanted.neurons, strict=True):
        assert expected.max() > 0
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


@KINDS
def test_importance_does_not_depend_on_batches_and_leaves_no_trace(kind: str, tiny_model: Callable[..., Any],
                                                                   sentence_ids: list[list[int]]) -> None:
    model = tiny_model(kind)
    one, many = (FisherImportance()(model, batches(sentence_ids, size)) for size in (1, 12))
    for a, b in zip(one.heads + one.neurons, many.heads + many.neurons, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.max()))
    assert all(p.grad is None for p in model.parameters())
    assert all(not m._forward_pre_hooks for m in model.modules())


def test_magnitude_importance_is_the_squared_norm_of_what_reads_a_unit(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("distilbert")
    scores = MagnitudeImportance()(model, [])
    out, ffn_out = (w.detach() for w in (encoder_layers(model)[1].out.weight, encoder_layers(model)[1].ffn_out.weight))
    assert float(scores.heads[1][2]) == pytest.approx(float(out[:, 16:24].pow(2).sum()), rel=1e-6)
    assert float(scores.neurons[1][7]) == pytest.approx(float(ffn_out[:, 7].pow(2).sum()), rel=1e-6)


@KINDS
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_magnitude_pruning_zeroes_exactly_the_smallest(kind: str, ratio: float, tiny_model: Callable[..., Any]) -> None:
    model, before = tiny_model(kind), tiny_model(kind)
    facts = prune_magnitude(model, ratio)
    names = {id(p): n for n, p in model.named_parameters()}
    pruned = {names[id(linear.weight)] for layer in encoder_layers(model)
              for linear in (layer.query, layer.key, layer.value, layer.out, layer.ffn_in, layer.ffn_out)}
    old = {n: p.detach() for n, p in before.named_parameters()}
    total = sum(old[n].numel() for n in pruned)
    assert total == 2 * (4 * 32 * 32 + 2 * 32 * 64)
    zeros = 0
    for name, parameter in model.named_parameters():
        if name not in pruned:
            assert torch.equal(parameter, old[name])
            continue
        gone = parameter == 0
        zeros += int(gone.sum())
        assert torch.equal(parameter[~gone], old[name][~gone])
        assert float(old[name][gone].abs().max()) <= facts["threshold"] < float(old[name][~gone].abs().min())
    assert zeros == int(ratio * total)
    assert facts["sparsity"] == zeros / total


def test_magnitude_ratio_too_small_for_one_weight_changes_nothing(tiny_model: Callable[..., Any]) -> None:
    assert prune_magnitude(tiny_model("bert"), 1e-6) == {"sparsity": 0.0, "threshold": 0.0}


def test_unit_weights_are_what_a_unit_owns(tiny_model: Callable[..., Any]) -> None:
    layer = encoder_layers(tiny_model("bert"))[0]
    assert unit_weights(layer.query.in_features, layer.head_size) == {"heads": 1048, "neurons": 65}


@KINDS
def test_cutting_units_that_nothing_reads_leaves_the_logits(kind: str, tiny_model: Callable[..., Any],
                                                            sentence_ids: list[list[int]]) -> None:
    model = tiny_model(kind)
    heads, neurons = [[1], [0, 3]], [list(range(3, 19)), [*range(40), 63]]
    with torch.no_grad():
        for layer, gone_heads, gone_neurons in zip(encoder_layers(model), heads, neurons, strict=True):
            for h in gone_heads:
                layer.out.weight[:, 8 * h : 8 * h + 8] = 0
            layer.ffn_out.weight[:, gone_neurons] = 0
    inputs = {k: v for k, v in batches(sentence_ids, 12)[0].items() if k in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        before = model(**inputs).logits
    removed = cut(model, [Kept([h for h in range(4) if h not in a], [n for n in range(64) if n not in b])
                          for a, b in zip(heads, neurons, strict=True)])
    assert removed == pytest.approx((3 * 1048 + 57 * 65) / (8 * 1048 + 128 * 65))
    with torch.inference_mode():
        after = model(**inputs).logits
    assert before.std() > 0.1
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)


@KINDS
def test_cut_model_still_learns(kind: str, tiny_model: Callable[..., Any], uneven_cut: Callable[[Any], Any],
                                sentence_ids: list[list[int]]) -> None:
    model = uneven_cut(tiny_model(kind))
    batch = batches(sentence_ids, 12)[0]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    torch.nn.functional.cross_entropy(logits, batch["labels"]).backward()
    for layer in encoder_layers(model):
        for linear in (layer.query, layer.value, layer.out, layer.ffn_in, layer.ffn_out):
            assert linear.weight.grad is not None
            assert float(linear.weight.grad.abs().sum()) > 0
