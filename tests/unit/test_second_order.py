"""OBS against the closed form and brute force, duplicates, and damages that grow."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from edgedistil.compression.least_squares import Normal, solve_psd
from edgedistil.compression.objective import Batch
from edgedistil.compression.second_order import SecondOrderImportance, remove_one_by_one
from edgedistil.compression.sublayers import sublayers
from edgedistil.tasks.batching import collate


def problem(columns: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    inputs = torch.randn(200, columns, generator=chance, dtype=torch.float64)
    inputs = inputs @ torch.randn(columns, columns, generator=chance, dtype=torch.float64)
    return inputs, torch.randn(5, columns, generator=chance, dtype=torch.float64), inputs.T @ inputs


def error_without(inputs: Tensor, weight: Tensor, gone: list[int]) -> float:
    """The squared output error of the best linear map of the columns that stay, by plain least squares."""
    stay = [c for c in range(inputs.shape[1]) if c not in gone]
    target = inputs @ weight.T
    best = torch.linalg.lstsq(inputs[:, stay], target).solution
    return float(((inputs[:, stay] @ best - target) ** 2).sum())


def test_the_first_column_goes_by_the_closed_form() -> None:
    _, weight, moment = problem(12)
    inverse = torch.linalg.inv(moment)
    wanted = (weight**2).sum(0) / inverse.diagonal()
    order, damage = remove_one_by_one(weight, moment, 1)
    assert order[0] == int(wanted.argmin())
    assert damage[1] == pytest.approx(float(wanted.min()), rel=1e-9)


@pytest.mark.parametrize("size", [1, 3])
def test_every_damage_is_the_error_of_the_best_map_of_what_stays(size: int) -> None:
    inputs, weight, moment = problem(24)
    order, damage = remove_one_by_one(weight, moment, size)
    assert sorted(order) == list(range(24 // size))
    for count in (1, 2, 5, 24 // size - 1):
        gone = [unit * size + i for unit in order[:count] for i in range(size)]
        assert damage[count] == pytest.approx(error_without(inputs, weight, gone), rel=1e-8)
    assert damage[-1] == pytest.approx(float(((inputs @ weight.T) ** 2).sum()), rel=1e-8)
    assert damage == sorted(damage)


def test_the_first_group_is_the_best_of_all() -> None:
    inputs, weight, moment = problem(12, seed=3)
    order, damage = remove_one_by_one(weight, moment, 3)
    errors = [error_without(inputs, weight, list(range(3 * g, 3 * g + 3))) for g in range(4)]
    assert order[0] == errors.index(min(errors))
    assert damage[1] == pytest.approx(min(errors), rel=1e-8)


def batches(sentence_ids: list[list[int]]) -> list[Batch]:
    rows = [(ids, [0] * len(ids), index % 2) for index, ids in enumerate(sentence_ids)]
    found = [collate(rows[i : i + 5], 0) for i in range(0, len(rows), 5)]
    for batch in found:
        del batch["labels"]
    return found


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_a_neurons_duplicate_costs_nothing(kind: str, tiny_model: Callable[..., Any],
                                           sentence_ids: list[list[int]]) -> None:
    model = tiny_model(kind)
    first = sublayers(model)[1]
    with torch.no_grad():
        for twin, unit in ((9, 3), (40, 21)):
            first.residual.weight[twin] = first.residual.weight[unit]
            first.residual.bias[twin] = first.residual.bias[unit]
    curve = SecondOrderImportance(damping=1e-9)(model, batches(sentence_ids))[1]
    assert {frozenset((9, 3)), frozenset((40, 21))} == {
        frozenset(p) for p in ((9, 3), (40, 21)) for gone in p if gone in curve.order[:2]}
    assert curve.damage[2] < 1e-6 * curve.damage[-1]
    assert curve.damage[40] > 1e-3 * curve.damage[-1]
    # The one that stays does the work of both.
    kept = curve.kept(62)
    weight = curve.refit(kept)  # type: ignore[misc]
    for twin, unit in ((9, 3), (40, 21)):
        stays = twin if twin in kept else unit
        both = (first.linear.weight[:, twin] + first.linear.weight[:, unit]).detach().double()
        torch.testing.assert_close(weight[:, kept.index(stays)], both, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("weighted", [True, False])
def test_curves_start_at_nothing_and_grow(weighted: bool, tiny_model: Callable[..., Any],
                                          sentence_ids: list[list[int]]) -> None:
    model = tiny_model("bert")
    for curve, part in zip(SecondOrderImportance(weighted=weighted)(model, batches(sentence_ids)), sublayers(model),
                           strict=True):
        assert len(curve.damage) == part.units + 1
        assert curve.damage[0] == 0.0
        assert all(a <= b for a, b in itertools.pairwise(curve.damage))
        assert curve.damage[-1] > 0


def test_padding_changes_no_damage(tiny_model: Callable[..., Any], sentence_ids: list[list[int]]) -> None:
    model = tiny_model("bert")
    rows = [(ids, [0] * len(ids), 0) for ids in sentence_ids]
    alone = [{k: v for k, v in collate([row], 0).items() if k != "labels"} for row in rows]
    together = [{k: v for k, v in collate(rows, 0).items() if k != "labels"}]
    for a, b in zip(*(SecondOrderImportance()(model, some) for some in (alone, together)), strict=True):
        assert a.damage[-1] == pytest.approx(b.damage[-1], rel=1e-3)


def test_least_squares_with_weights_and_bias_is_exact() -> None:
    inputs, weight, _ = problem(6)
    bias = torch.arange(5.0, dtype=torch.float64)
    found = Normal(6, 5)
    counts = torch.rand(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for some in (slice(0, 150), slice(150, 200)):
        found.add(inputs[some], inputs[some] @ weight.T + bias, counts[some])
    # A wrong row that does not count.
    found.add(torch.full((1, 6), 100.0), torch.full((1, 5), -100.0), torch.zeros(1))
    solved, offset = found.solve(torch.zeros(5, 6), 0.0)
    torch.testing.assert_close(solved, weight, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(offset, bias, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 1e-6])
def test_inputs_that_depend_on_each_other_are_solved_all_the_same(ridge: float) -> None:
    inputs, weight, _ = problem(6)
    wide = torch.cat([inputs, inputs[:, :3] * 2, torch.zeros(200, 2)], 1)
    start = torch.randn(5, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = Normal(11, 5)
    found.add(wide, inputs @ weight.T, torch.ones(200))
    solved, _ = found.solve(start, ridge)
    assert bool(solved.isfinite().all())
    torch.testing.assert_close(wide @ solved.T, inputs @ weight.T, rtol=1e-3, atol=1e-3)
    # What no input shows stays as it was.
    torch.testing.assert_close(solved[:, 9:], start[:, 9:])


def test_nothing_but_zeros_leaves_the_start() -> None:
    found = Normal(3, 2)
    found.add(torch.zeros(4, 3), torch.ones(4, 2), torch.ones(4))
    solved, bias = found.solve(torch.full((2, 3), 7.0), 0.0)
    torch.testing.assert_close(solved, torch.full((2, 3), 7.0, dtype=torch.float64))
    torch.testing.assert_close(bias, torch.ones(2, dtype=torch.float64))
    nothing = torch.zeros(3, 3, dtype=torch.float64)
    assert bool((solve_psd(nothing, torch.ones(3, 2, dtype=torch.float64), 0.0) == 0).all())
