"""Labels that are numbers: how they are read, learnt, scored and held against the parent's."""

from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics import PearsonCorrCoef, SpearmanCorrCoef
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from edgedistil.compression import objective
from edgedistil.config.regression import check_regression
from edgedistil.errors import UserError
from edgedistil.export.parity import centred_spread
from edgedistil.learning.answers import Number, answers_of
from edgedistil.learning.fine_tuning import FineTuning
from edgedistil.measurement.regression_quality import regression_against_parent, regression_quality
from edgedistil.tasks.metrics import decided, score


def tiny(outputs: int = 1) -> Any:
    torch.manual_seed(0)
    shape = {"vocab_size": 50, "dim": 16, "n_heads": 2, "hidden_dim": 32, "n_layers": 1, "num_labels": outputs}
    return DistilBertForSequenceClassification(DistilBertConfig(**shape)).eval()


def batch(labels: list[float]) -> dict[str, torch.Tensor]:
    ids = torch.arange(3 * len(labels)).reshape(len(labels), 3) % 50
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor(labels)}


@pytest.mark.parametrize("seed", range(5))
def test_correlations_equal_torchmetrics_with_ties_too(seed: int) -> None:
    chance = np.random.default_rng(seed)
    own, other = chance.normal(size=60), chance.integers(0, 6, size=60).astype(float)
    for name, metric in (("pearson", PearsonCorrCoef()), ("spearman", SpearmanCorrCoef())):
        assert score(name, own, other) == pytest.approx(float(metric(torch.tensor(own), torch.tensor(other))), abs=1e-6)


def test_a_constant_answer_correlates_with_nothing() -> None:
    assert score("pearson", np.ones(5), np.arange(5.0)) == 0
    assert score("spearman", np.ones(5), np.arange(5.0)) == 0


def test_a_single_output_is_the_answer_itself_and_two_are_classes() -> None:
    assert decided(np.array([[0.5], [3.0]], np.float32)).tolist() == [0.5, 3.0]
    assert decided(np.array([[0.5, 1.0], [3.0, 1.0]], np.float32)).tolist() == [1, 0]


def test_fine_tuning_learns_by_squared_error_and_scores_correlations() -> None:
    network = tiny()
    module = FineTuning(network, torch.optim.AdamW, lambda *a: None, ["pearson", "spearman"])
    some = batch([0.0, 2.5, 5.0])
    loss, logits = module.loss(some)
    assert loss.item() == pytest.approx(float(((logits[:, 0] - some["labels"]) ** 2).mean()), rel=1e-6)
    told: dict[str, float] = {}
    module.log = lambda name, value, **_: told.update({name: float(value.detach())})  # type: ignore[method-assign]
    module.validation_step(some, 0)
    module.on_validation_epoch_end()
    expected = np.corrcoef(logits[:, 0].detach().numpy(), some["labels"].numpy())[0, 1]
    assert told["held_out/pearson"] == pytest.approx(expected, abs=1e-5) == told["held_out/score"]


def test_a_teachers_number_is_learnt_by_squared_error_at_any_temperature() -> None:
    assert isinstance(answers_of(tiny()), Number)
    assert not isinstance(answers_of(tiny(2)), Number)
    ours, theirs = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    for temperature in (1.0, 4.0):
        assert Number().distance(ours, theirs, {}, temperature).item() == pytest.approx(2.5)


def test_curvature_and_loss_of_a_number_are_a_gaussians() -> None:
    network, some = tiny(), batch([0.0, 2.5])
    (row,) = objective.curvature(network, {k: v for k, v in some.items() if k != "labels"})
    logits = network(some["input_ids"], some["attention_mask"]).logits[:, 0]
    assert torch.allclose(row, logits)
    assert torch.allclose(objective.losses(network, some), 0.5 * (logits - some["labels"]) ** 2)
    assert torch.allclose(objective.kl(logits[:, None] + 2, logits[:, None]), torch.full((2,), 2.0))


def test_spread_of_single_outputs_is_over_texts() -> None:
    assert centred_spread(np.array([[1.0], [3.0]])) == pytest.approx(1.0)
    assert centred_spread(np.array([[1.0, 3.0], [3.0, 5.0]])) == pytest.approx(1.0)


def test_the_interval_is_fishers() -> None:
    expected = np.arange(103.0)
    chance = np.random.default_rng(3)
    found = regression_quality(expected + 30 * chance.normal(size=103), expected, ["pearson"])
    z, half = np.arctanh(found["pearson"]), 1.959964 / 10
    assert found["pearson_ci95_low"] == pytest.approx(np.tanh(z - half), abs=1e-5)
    assert found["pearson_ci95_high"] == pytest.approx(np.tanh(z + half), abs=1e-5)
    assert found["n"] == 103


def test_the_parents_own_answers_in_other_units_are_no_difference() -> None:
    chance = np.random.default_rng(0)
    expected = chance.normal(size=80)
    parent = expected + chance.normal(size=80)
    found = regression_against_parent(3 * parent + 7, parent, expected, ["pearson", "spearman"])
    assert found["pearson_points"] == found["spearman_points"] == 0
    assert found["permutation_p"] == 1
    assert found["max_logit_drift"] == pytest.approx(np.abs(2 * parent + 7).max(), abs=1e-5)


def test_a_clear_loss_is_found_whatever_the_units() -> None:
    chance = np.random.default_rng(0)
    expected = chance.normal(size=400)
    parent, own = expected + 0.3 * chance.normal(size=400), expected + 1.5 * chance.normal(size=400)
    for scale in (1.0, 10.0):
        found = regression_against_parent(scale * own - 4, parent, expected, ["pearson"])
        assert found["permutation_p"] < 0.01
        assert found["pearson_points_ci95_high"] < 0 > found["pearson_points"]


def plain(**task: Any) -> dict[str, Any]:
    return {"task": {"kind": "sequence_classification", "regression": True, "labels": None,
                     "metrics": ["pearson"], **task}}


@pytest.mark.parametrize(("wrong", "said"), [
    ({"metrics": ["accuracy"]}, "task.metrics holds accuracy"),
    ({"labels": ["a", "b"]}, "task.labels"),
    ({"kind": "question_answering"}, "task.kind=question_answering"),
    ({"regression": False, "metrics": ["spearman"]}, "set task.regression=true"),
])
def test_what_does_not_fit_numbers_is_refused(wrong: dict[str, Any], said: str) -> None:
    check_regression(plain())
    with pytest.raises(UserError, match=said):
        check_regression(plain(**wrong))


@pytest.mark.parametrize("option", [{"max_drop": 0.5, "sensitivity": False}, {"max_drop": None, "sensitivity": True}])
def test_what_counts_right_answers_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="counts right answers"):
        check_regression(plain() | {"compression": {"quantization": option}})
