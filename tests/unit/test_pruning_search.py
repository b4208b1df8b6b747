"""The budgeted search against brute force, and what it says when a budget can't be met."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgedistil.compression.curves import Curve, Scores, curves_of
from edgedistil.compression.search import Budget, Part, parameter_budget, parts_of, search
from edgedistil.errors import UserError


def budget(limit: float) -> Budget:
    return Budget(lambda kind, layer, kept: 0.0, limit, "tests.limit=1", lambda reached: f"{reached:g}")


def random_parts(seed: int, whole: bool) -> list[Part]:
    chance = random.Random(seed)
    parts = []
    for layer in range(4):
        count = chance.randint(2, 6)
        # Neither damages nor costs are monotone: latency tables are not either.
        cost = [chance.randint(1, 40) if whole else chance.uniform(1, 40) for _ in range(count)]
        damage = [0.0] + [chance.uniform(0, 10) for _ in range(count - 1)]
        parts.append(Part(layer, "neurons", list(range(count, 0, -1)), damage, cost))
    return parts


def brute_force(parts: list[Part], limit: float) -> float:
    return min(sum(p.damage[i] for p, i in zip(parts, levels, strict=True))
               for levels in itertools.product(*(range(len(p.levels)) for p in parts))
               if sum(p.cost[i] for p, i in zip(parts, levels, strict=True)) <= limit)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("whole", [True, False])
def test_search_finds_what_brute_force_finds(seed: int, whole: bool) -> None:
    parts = random_parts(seed, whole)
    least, most = sum(min(p.cost) for p in parts), sum(max(p.cost) for p in parts)
    for share in (0.0, 0.1, 0.35, 0.6, 1.0):
        limit = least + share * (most - least)
        found = search(parts, budget(limit))
        levels = [list(p.levels).index(kept) for p, kept in zip(parts, found, strict=True)]
        assert sum(p.cost[i] for p, i in zip(parts, levels, strict=True)) <= limit + 1e-6
        assert sum(p.damage[i] for p, i in zip(parts, levels, strict=True)) == pytest.approx(brute_force(parts, limit))
        assert search(parts, budget(limit)) == found


def test_rounding_of_costs_never_breaks_the_budget() -> None:
    parts = random_parts(3, whole=False)
    for limit in (26.0, 45.3, 71.7):
        found = search(parts, budget(limit), steps=7)
        levels = [list(p.levels).index(kept) for p, kept in zip(parts, found, strict=True)]
        assert sum(p.cost[i] for p, i in zip(parts, levels, strict=True)) <= limit


def test_a_budget_that_cannot_be_met_names_the_nearest() -> None:
    parts = random_parts(1, whole=True)
    least = sum(min(p.cost) for p in parts)
    with pytest.raises(UserError) as caught:
        search(parts, budget(least - 1))
    assert "tests.limit=1 can't be met" in str(caught.value)
    assert f" {least:g} is reached" in str(caught.value)
    found = search(parts, budget(least))
    assert sum(p.cost[list(p.levels).index(k)] for p, k in zip(parts, found, strict=True)) == least


def scores(model: Any, seed: int) -> list[Curve]:
    chance = torch.Generator().manual_seed(seed)
    return curves_of(model, Scores([torch.rand(4, generator=chance) for _ in range(2)],
                                   [torch.rand(64, generator=chance) for _ in range(2)]))


def test_scores_become_curves_that_add_up(tiny_model: Callable[..., Any]) -> None:
    found = curves_of(tiny_model("bert"), Scores([torch.tensor([3.0, 1.0, 2.0, 5.0]), torch.zeros(4)],
                                                 [torch.arange(64.0), torch.zeros(64)]))
    assert [(c.layer, c.kind) for c in found] == [(0, "heads"), (0, "neurons"), (1, "heads"), (1, "neurons")]
    assert found[0].order == [1, 2, 0, 3]
    assert found[0].damage == [0.0, 1.0, 3.0, 6.0, 11.0]
    assert found[0].kept(2) == [0, 3]
    assert found[1].damage[-1] == 63 * 64 / 2


def test_levels_are_multiples_or_all_and_one_at_least(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("bert")
    cost = parameter_budget(model, 0.5).cost
    parts = parts_of(scores(model, 0), cost, 24)
    assert list(parts[0].levels) == [4, 3, 2, 1]
    assert list(parts[1].levels) == [64, 48, 24]
    assert parts[0].cost[2] == 2 * 1048
    assert parts[1].cost[1] == 48 * 65
    assert list(parts_of(scores(model, 0), cost, 100)[1].levels) == [64]


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.7])
def test_ratio_is_the_least_share_of_weights_that_goes(ratio: float, tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("distilbert")
    limit = parameter_budget(model, ratio)
    parts = parts_of(scores(model, 1), limit.cost, 8)
    counts = search(parts, limit)
    total = 2 * (4 * 1048 + 64 * 65)
    kept = sum(limit.cost(p.kind, p.layer, k) for p, k in zip(parts, counts, strict=True))
    assert total * (1 - ratio) - 8 * 65 < kept <= total * (1 - ratio)


def test_a_ratio_beyond_the_smallest_layers_names_the_ratio_that_can_be_had(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("bert")
    limit = parameter_budget(model, 0.9)
    parts = parts_of(scores(model, 0), limit.cost, 16)
    # 1 − 2 × (1048 + 16 × 65) / 16704
    with pytest.raises(UserError, match=r"compression.pruning.ratio=0.9 can't be met: .* 0.75 is reached"):
        search(parts, limit)
    assert search(parts, parameter_budget(model, 0.75)) == [1, 16, 1, 16]
