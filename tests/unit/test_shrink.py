"""One-shot cuts: reconstruction, no labels needed, what is refused, and models that come back bit for bit."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edgedistil.compression.objective import answered, compare, curvature
from edgedistil.compression.reconstruction import reconstruct
from edgedistil.compression.search import Budget, parameter_cost
from edgedistil.compression.shrink import shrink
from edgedistil.compression.structured import Kept, cut
from edgedistil.compression.sublayers import sublayers
from edgedistil.errors import UserError
from edgedistil.models.folder import count_parameters
from edgedistil.models.layers import encoder_layers
from edgedistil.models.shrunken import load_classifier, structure_of
from edgedistil.tasks.batching import collate

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
NODES = {
    "fisher": {"_target_": "edgedistil.compression.importance.FisherImportance"},
    "rearranged": {"_target_": "edgedistil.compression.importance.FisherImportance", "rearrange": True},
    "taylor": {"_target_": "edgedistil.compression.importance.TaylorImportance"},
    "magnitude": {"_target_": "edgedistil.compression.importance.MagnitudeImportance"},
    "random": {"_target_": "edgedistil.compression.importance.RandomImportance"},
    "second_order": {"_target_": "edgedistil.compression.second_order.SecondOrderImportance"},
}


def texts(sentence_ids: list[list[int]], size: int = 5) -> list[dict[str, Tensor]]:
    rows = [(ids, [0] * len(ids), index % 2) for index, ids in enumerate(sentence_ids)]
    return [collate(rows[i : i + size], 0) for i in range(0, len(rows), size)]


def options(importance: str = "fisher", **changes: Any) -> dict[str, Any]:
    return {"method": "structured", "ratio": 0.4, "importance": NODES[importance], "labels": False, "ffn_multiple": 8,
            "reconstruction": "least_squares", "ridge": 1e-4, "rounds": 1} | changes


def with_copies(model: Any) -> list[Kept]:
    """Makes of some units linear combinations of others; what stays when just those are taken out."""
    with torch.no_grad():
        for layer in encoder_layers(model):
            # A head's context is linear in its values; like queries and keys make like attention.
            for name in ("query", "key", "value"):
                linear = getattr(layer, name)
                linear.weight[24:32], linear.bias[24:32] = linear.weight[8:16], linear.bias[8:16]
            layer.value.weight[24:32] *= -0.7
            layer.value.bias[24:32] *= -0.7
            layer.ffn_in.weight[50:60] = layer.ffn_in.weight[10:20]
            layer.ffn_in.bias[50:60] = layer.ffn_in.bias[10:20]
    return [Kept([0, 1, 2], [*range(50), *range(60, 64)]) for _ in encoder_layers(model)]


@KINDS
def test_reconstruction_is_exact_where_others_can_do_the_work(kind: str, tiny_model: Callable[..., Any],
                                                              sentence_ids: list[list[int]]) -> None:
    dense = tiny_model(kind)
    kept = with_copies(dense)
    network = copy.deepcopy(dense)
    cut(network, kept)
    held = answered(dense, texts(sentence_ids))
    assert compare(network, held)["divergence"] > 1e-3
    reconstruct(network, dense, texts([*sentence_ids, *(ids[::-1] for ids in sentence_ids)]), 1e-9)
    assert compare(network, held) == {"agreement": 1.0, "divergence": pytest.approx(0.0, abs=1e-5)}


@KINDS
def test_reconstruction_corrects_what_layers_before_did_wrong(kind: str, tiny_model: Callable[..., Any],
                                                              sentence_ids: list[list[int]]) -> None:
    dense = tiny_model(kind)
    network = copy.deepcopy(dense)
    with torch.no_grad():
        # A shift behind the first layer's heads: the bias in the same place takes it back.
        encoder_layers(network)[0].out.bias[::3] += 1.5
    held = answered(dense, texts(sentence_ids))
    before = compare(network, held)["divergence"]
    reconstruct(network, dense, texts(sentence_ids), 1e-6)
    assert compare(network, held)["divergence"] < 1e-4 * before


def test_reconstruction_does_not_see_padding(tiny_model: Callable[..., Any], sentence_ids: list[list[int]]) -> None:
    dense = tiny_model("bert")
    found = []
    for size in (1, 12):
        network = copy.deepcopy(dense)
        cut(network, [Kept([0, 2], list(range(32)))] * 2)
        reconstruct(network, dense, texts(sentence_ids, size), 1e-2)
        found.append([p.linear.weight.detach() for p in sublayers(network)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@KINDS
@pytest.mark.parametrize("importance", sorted(NODES))
def test_a_cut_without_labels(kind: str, importance: str, tiny_model: Callable[..., Any],
                              sentence_ids: list[list[int]]) -> None:
    dense = tiny_model(kind)
    found = []
    for labels in ([0] * 12, [1, 0] * 6):
        batches = [b | {"labels": torch.tensor(labels[: len(b["input_ids"])])} for b in texts(sentence_ids)]
        network = copy.deepcopy(dense)
        torch.manual_seed(0)
        facts = shrink(network, dense, batches, options(importance))
        found.append(network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(found[0].values(), found[1].values(), strict=True))
    assert 0.4 <= facts["removed_share"] < 0.5
    assert facts["layers"] == structure_of(network)["layers"]
    for curve in facts["curves"]:
        assert curve["damage"][0] == 0
        assert curve["damage"] == sorted(curve["damage"])
    assert json.loads(json.dumps(facts)) == facts


@KINDS
def test_reconstruction_brings_the_answers_nearer(kind: str, tiny_model: Callable[..., Any],
                                                  sentence_ids: list[list[int]]) -> None:
    left = {"none": 0.0, "least_squares": 0.0}
    for seed in range(3):
        dense = tiny_model(kind, seed=seed)
        held = answered(dense, texts(sentence_ids))
        for method in left:
            network = copy.deepcopy(dense)
            shrink(network, dense, texts(sentence_ids), options(ratio=0.2, reconstruction=method, ridge=1e-3))
            left[method] += compare(network, held)["divergence"]
    assert left["least_squares"] < 0.7 * left["none"]


def test_labels_where_they_are_wanted(tiny_model: Callable[..., Any], sentence_ids: list[list[int]]) -> None:
    dense = tiny_model("bert")
    curves = []
    for labels in (0, 1):
        batches = [b | {"labels": torch.full((len(b["input_ids"]),), labels)} for b in texts(sentence_ids)]
        curves.append(shrink(copy.deepcopy(dense), dense, batches, options(labels=True))["curves"])
    assert curves[0] != curves[1]


def test_no_cut_changes_nothing(tiny_model: Callable[..., Any], sentence_ids: list[list[int]]) -> None:
    dense = tiny_model("bert")
    network = copy.deepcopy(dense)
    facts = shrink(network, dense, texts(sentence_ids), options(ratio=0.0, reconstruction="none"))
    assert facts["removed_share"] == 0
    assert facts["expected_damage"] == 0
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), dense.state_dict().values(),
                                                 strict=True))


def test_rounds_end_at_the_same_budget(tiny_model: Callable[..., Any], sentence_ids: list[list[int]]) -> None:
    dense = tiny_model("distilbert")
    for rounds in (1, 3):
        network = copy.deepcopy(dense)
        facts = shrink(network, dense, texts(sentence_ids), options(ratio=0.5, rounds=rounds))
        total = 2 * (4 * 1048 + 64 * 65)
        assert facts["removed_share"] == pytest.approx((count_parameters(dense) - count_parameters(network)) / total)
        assert 0.5 <= facts["removed_share"] < 0.56


def test_a_budget_of_another_measure_and_a_second_cut(tiny_model: Callable[..., Any],
                                                      sentence_ids: list[list[int]]) -> None:
    dense = tiny_model("bert")
    network = copy.deepcopy(dense)
    # Heads alone cost: all go down to what is allowed, no neuron does.
    budget = Budget(lambda kind, layer, kept: kept if kind == "heads" else 0, 5.0, "tests.heads=5", str)
    facts = shrink(network, dense, texts(sentence_ids), options(), budget)
    assert sum(x["heads"] for x in facts["layers"]) == 5
    assert [x["ffn"] for x in facts["layers"]] == [64, 64]
    again = shrink(network, dense, texts(sentence_ids), options(ratio=0.3))
    assert 0.3 <= again["removed_share"] < 0.45
    assert parameter_cost(network)("heads", 0, 2) == 2 * 1048
    with pytest.raises(UserError, match=r"tests.heads=5 can't be met: .* 2 is reached"):
        shrink(network, dense, texts(sentence_ids), options(),
               Budget(budget.cost, 1.0, budget.option, lambda reached: f"{reached:g}"))


ANSWER = """
import sys, torch
from edgedistil.models.shrunken import load_classifier
torch.set_num_threads(1)
model = load_classifier(sys.argv[1])
ids = torch.tensor([[2, 9, 14, 30, 3]])
with torch.inference_mode():
    print(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy().tobytes().hex())
"""


@KINDS
def test_a_shrunken_model_answers_the_same_in_a_fresh_process(kind: str, tiny_model: Callable[..., Any],
                                                              sentence_ids: list[list[int]],
                                                              tiny_folder: Callable[..., Path]) -> None:
    network = tiny_model(kind)
    facts = shrink(network, copy.deepcopy(network), texts(sentence_ids), options(ratio=0.6))
    assert facts["layers"][0] != facts["layers"][1]
    folder = tiny_folder(network)
    done = subprocess.run([sys.executable, "-c", ANSWER, str(folder)], capture_output=True, text=True, check=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    ids = torch.tensor([[2, 9, 14, 30, 3]])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            logits = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    finally:
        torch.set_num_threads(threads)
    assert done.stdout.strip() == logits.numpy().tobytes().hex()
    assert structure_of(load_classifier(folder))["layers"] == facts["layers"]


def test_curvature_of_two_classes_is_that_of_many(tiny_model: Callable[..., Any],
                                                  sentence_ids: list[list[int]]) -> None:
    """One row for two classes: its square is pᵀ-weighted, as a row a class gives."""
    model = tiny_model("bert", num_labels=3)
    batch = {k: v for k, v in texts(sentence_ids, 4)[0].items() if k != "labels"}
    for network, rows in ((model, 3), (tiny_model("bert"), 1)):
        found = curvature(network, batch)
        assert len(found) == rows
        weight = network.classifier.weight
        total = sum(float((torch.autograd.grad(row[2], weight, retain_graph=True)[0] ** 2).sum()) for row in found)
        log_p = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[2].log_softmax(-1)
        fisher = sum(float(p.detach().exp()) * float((torch.autograd.grad(p, weight, retain_graph=True)[0] ** 2).sum())
                     for p in log_p)
        assert total == pytest.approx(fisher, rel=1e-4)
