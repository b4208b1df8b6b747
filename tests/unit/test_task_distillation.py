"""Task distillation: every term by hand, layers and projections, and what can't be matched."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgedistil.errors import UserError
from edgedistil.learning.attention import AttentionScores
from edgedistil.learning.base import decay_groups
from edgedistil.learning.layer_map import layer_pairs
from edgedistil.learning.losses import attention_loss, hidden_state_loss, soft_target_loss
from edgedistil.learning.schedules import linear_warmup
from edgedistil.learning.task_distillation import TaskDistillation
from edgedistil.stages.teaching import compute_logits
from edgedistil.tasks.batching import collate

Rows = list[tuple[list[int], list[int], int]]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.fixture
def data(sentence_ids: list[list[int]]) -> Rows:
    return [(ids, [0] * len(ids), index % 2) for index, ids in enumerate(sentence_ids)]


def distil(student: Any, teacher: Any, **options: Any) -> TaskDistillation:
    return TaskDistillation(student, sgd, linear_warmup, ["accuracy"], teacher, **options)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def step(module: TaskDistillation, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
    logged: dict[str, float] = {}
    module.log = lambda name, value, **options: logged.update({name: float(value)})  # type: ignore[method-assign]
    return module.training_step(batch, 0), logged


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_loss_is_the_weighted_sum_of_its_logged_terms(kind: str, tiny_model: Callable[..., Any], data: Rows) -> None:
    student, teacher = tiny_model(kind, seed=1), tiny_model(kind, seed=2)
    weights = {"soft_weight": 0.3, "hard_weight": 0.7, "hidden_weight": 2.0, "attention_weight": 0.1}
    module, batch = distil(student, teacher, temperature=3.0, **weights), collate(data, 0)
    loss, logged = step(module, batch)
    inputs = module.inputs(batch)
    ours, theirs = (m(**inputs, output_hidden_states=True) for m in (student, teacher))
    mask = batch["attention_mask"]
    expected = {
        "soft_target": float(soft_target_loss(ours.logits, theirs.logits, 3.0)),
        "hard_label": float(torch.nn.functional.cross_entropy(ours.logits, batch["labels"])),
        # as deep as the teacher: embeddings and both layers, each with its own
        "hidden_state": float(
            hidden_state_loss(torch.stack(ours.hidden_states), torch.stack(theirs.hidden_states), mask)
        ),
    }
    for name, value in expected.items():
        assert logged[f"train/{name}_loss"] == pytest.approx(value, rel=1e-5)
    total = sum(
        float(weights[w]) * logged[f"train/{n}_loss"]
        for w, n in zip(weights, ("soft_target", "hard_label", "hidden_state", "attention"), strict=True)
    )
    assert float(loss) == logged["train/loss"] == pytest.approx(total, rel=1e-5)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert student.classifier.weight.grad.abs().sum() > 0


def test_terms_of_weight_0_are_neither_computed_nor_logged(tiny_model: Callable[..., Any], data: Rows) -> None:
    module = distil(tiny_model("bert"), tiny_model("bert", seed=2), hard_weight=0.0)
    assert set(step(module, collate(data, 0))[1]) == {"train/soft_target_loss", "train/loss"}


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_padding_changes_no_term(kind: str, tiny_model: Callable[..., Any], data: Rows) -> None:
    module = distil(tiny_model(kind, seed=1), tiny_model(kind, seed=2), hidden_weight=1.0, attention_weight=1.0)
    batch = collate(data[:4], 0)
    wider = {
        name: torch.nn.functional.pad(value, (0, 9)) if value.ndim == 2 else value for name, value in batch.items()
    }
    plain, padded = module.terms(batch), module.terms(wider)
    for name, value in plain.items():
        assert float(padded[name]) == pytest.approx(float(value), rel=1e-4), name


def test_attention_loss_by_hand() -> None:
    teacher = torch.zeros(1, 1, 2, 3, 3)
    student = teacher.clone()
    student[0, 0, 0, 0, 1], student[0, 0, 1, 1, 1] = 3.0, 1.0
    # 9 + 1 over 2 heads and 3 x 3 pairs of tokens
    assert float(attention_loss(student, teacher, torch.ones(1, 3))) == pytest.approx(10 / 18)
    student[0, 0, :, 2], student[0, 0, :, :, 2] = 1e3, -1e3
    # the third token is padding: 2 heads, 2 x 2 pairs
    assert float(attention_loss(student, teacher, torch.tensor([[1, 1, 0]]))) == pytest.approx(10 / 8)


def test_caught_scores_are_what_the_model_itself_puts_into_its_softmax(
    tiny_model: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    for kind in ("bert", "distilbert"):
        model = tiny_model(kind, attn_implementation="eager")
        scores = AttentionScores(model, [1, 2])
        ids = torch.tensor([sentence_ids[0]])
        theirs = model(input_ids=ids, output_attentions=True).attentions
        for ours, expected in zip(scores.take(), theirs, strict=True):
            torch.testing.assert_close(ours.softmax(-1), expected, atol=1e-5, rtol=1e-4)


def test_projections_only_where_widths_differ(tiny_model: Callable[..., Any], data: Rows) -> None:
    teacher, batch = tiny_model("bert", seed=2), collate(data, 0)
    same = distil(tiny_model("bert", num_hidden_layers=1), teacher, hidden_weight=1.0)
    assert len(same._projections) == 0
    narrow = tiny_model("distilbert", dim=16, n_layers=1, n_heads=2)
    module = distil(narrow, teacher, hidden_weight=1.0)
    assert [tuple(p.weight.shape) for p in module._projections] == [(32, 16), (32, 16)]
    terms = module.terms(batch)
    ours = narrow(**module.inputs(batch), output_hidden_states=True).hidden_states
    theirs = teacher(**module.inputs(batch, teacher), output_hidden_states=True).hidden_states
    projected = torch.stack([ours[i] @ module._projections[i].weight.T for i in range(2)])
    expected = hidden_state_loss(projected, torch.stack([theirs[0], theirs[2]]), batch["attention_mask"])
    assert float(terms["hidden_state"]) == pytest.approx(float(expected), rel=1e-5)
    terms["hidden_state"].backward()
    assert all(p.weight.grad.abs().sum() > 0 for p in module._projections)
    # learnt with the student, and no part of it
    learnt = {id(p) for group in decay_groups(module) for p in group["params"]}
    assert {id(p) for p in module._projections.parameters()} <= learnt
    assert not any("projection" in name for name in narrow.state_dict())


def test_teacher_is_frozen_and_in_no_checkpoint(tiny_model: Callable[..., Any]) -> None:
    teacher = tiny_model("bert", seed=2).train()
    module = distil(tiny_model("bert"), teacher).train()
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert len(module.state_dict()) == len(teacher.state_dict())


def test_layers_are_spread_evenly_unless_named() -> None:
    assert layer_pairs(None, 4, 12) == [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]
    assert layer_pairs(None, 3, 6) == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert layer_pairs(None, 4, 6) == [(0, 0), (1, 2), (2, 3), (3, 5), (4, 6)]
    assert layer_pairs([[3, 6], [1, 1]], 3, 6) == [(3, 6), (1, 1)]


@pytest.mark.parametrize(
    ("layer_map", "words"),
    [
        ([[1, 7]], "names layer 7 of the teacher, which has layers 1 to 6"),
        ([[4, 6]], "names layer 4 of the student, which has layers 1 to 3"),
        ([[-1, 2]], "names layer -1 of the student"),
        ([[1]], r"holds \[1\]; each entry is"),
        ([1, 2], "holds 1; each entry is"),
        ([["a", 2]], "each entry is"),
        ([], "is empty"),
    ],
)
def test_layer_map_that_fits_no_model(layer_map: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        layer_pairs(layer_map, 3, 6)


def test_attention_of_other_heads_is_refused(tiny_model: Callable[..., Any]) -> None:
    student, teacher = tiny_model("bert", num_attention_heads=2), tiny_model("bert")
    said = refusal(lambda: distil(student, teacher, attention_weight=1.0))
    assert "layer 1 of the student has 2 heads and layer 1 of the teacher 4" in said
    distil(student, teacher, hidden_weight=1.0)
    said = refusal(lambda: distil(student, teacher, attention_weight=1.0, layer_map=[[0, 0]]))
    assert "needs a layer from 1" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0.0}, "objective.temperature=0 is out of range"),
        ({"hard_weight": -1.0}, "objective.hard_weight=-1 is out of range"),
        ({"soft_weight": 0.0, "hard_weight": 0.0}, "every weight of the objective is 0"),
    ],
)
def test_numbers_that_make_no_loss(options: Any, words: str, tiny_model: Callable[..., Any]) -> None:
    assert words in refusal(lambda: distil(tiny_model("bert"), tiny_model("bert"), **options))


def test_layers_can_not_be_matched_with_cached_logits(tiny_model: Callable[..., Any]) -> None:
    assert "need a teacher that runs along" in refusal(lambda: distil(tiny_model("bert"), None, hidden_weight=1.0))


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_cached_logits_teach_like_live_ones(kind: str, tiny_model: Callable[..., Any], data: Rows) -> None:
    student, teacher = tiny_model("bert", seed=1), tiny_model(kind, seed=2)
    cached = compute_logits(teacher, data, torch.device("cpu"))
    alone = torch.cat([teacher(input_ids=torch.tensor([ids])).logits for ids, _, _ in data])
    torch.testing.assert_close(cached, alone, atol=1e-4, rtol=1e-4)
    live = distil(student, teacher).terms(collate(data, 0))
    kept = distil(student, None).terms(collate([(*row, logits) for row, logits in zip(data, cached, strict=True)], 0))
    assert live.keys() == kept.keys()
    for name, value in live.items():
        assert float(kept[name]) == pytest.approx(float(value), rel=1e-4), name


def test_loss_that_is_no_number_stops_with_step_and_learning_rate(tiny_model: Callable[..., Any], data: Rows) -> None:
    student = tiny_model("bert")
    with torch.no_grad():
        student.classifier.weight.fill_(float("nan"))
    module = distil(student, tiny_model("bert"))
    module.log = lambda name, value, **options: None  # type: ignore[method-assign]

    class Trainer:
        global_step = 7
        optimizers = [sgd(student.parameters())]  # noqa: RUF012

    module._trainer = Trainer()  # type: ignore[assignment]
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 7, learning rate 0\.1: try a lower optim"):
        module.training_step(collate(data, 0), 0)
