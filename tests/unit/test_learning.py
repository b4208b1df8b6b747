"""Losses against values worked out by hand, parameter groups, and the shape of the schedule."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgedistil.errors import UserError
from edgedistil.learning.base import decay_groups
from edgedistil.learning.distillation import LogitDistillation
from edgedistil.learning.fine_tuning import FineTuning
from edgedistil.learning.losses import hidden_state_loss, soft_target_loss
from edgedistil.learning.schedules import linear_warmup
from edgedistil.tasks.batching import collate

HARD = torch.tensor([[1.0, 0.0], [0.0, 3.0]])


def kl(teacher: list[float], student: list[float]) -> float:
    return sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))


def test_soft_target_loss_by_hand() -> None:
    student = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    teacher = torch.tensor([[math.log(4), 0.0], [0.0, math.log(3)]])
    expected = (kl([0.8, 0.2], [0.5, 0.5]) + kl([0.25, 0.75], [0.75, 0.25])) / 2
    assert float(soft_target_loss(student, teacher, 1.0)) == pytest.approx(expected, rel=1e-6)


def test_temperature_softens_both_sides_and_multiplies_by_its_square() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(4), 0.0]])
    expected = 4 * kl([0.8, 0.2], [0.5, 0.5])
    assert float(soft_target_loss(student, teacher, 2.0)) == pytest.approx(expected, rel=1e-6)


def test_square_of_the_temperature_keeps_the_gradients_size() -> None:
    sizes = []
    for temperature in (20.0, 40.0):
        student = torch.zeros(1, 2, requires_grad=True)
        soft_target_loss(student, torch.tensor([[1.0, 0.0]]), temperature).backward()
        sizes.append(float(student.grad.abs().max()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    assert sizes[0] == pytest.approx(0.25, rel=0.01)


def test_soft_target_loss_vanishes_only_at_the_teachers_distribution() -> None:
    assert float(soft_target_loss(HARD, HARD + 5.0, 2.0)) == pytest.approx(0.0, abs=1e-6)
    assert float(soft_target_loss(HARD, HARD.flip(1), 2.0)) > 0.1


def test_hidden_state_loss_by_hand() -> None:
    teacher = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[2.0, 0.0], [0.0, 2.0]]]])
    student = teacher.clone()
    student[0, 0, 0, 0] += 3.0
    student[1, 0, 1, 1] -= 1.0
    # Layers: 9 / 30 and 1 / 8
    assert float(hidden_state_loss(student, teacher, torch.ones(1, 2))) == pytest.approx((9 / 30 + 1 / 8) / 2)
    # Without the second token: 9 / 5 and 0 / 4
    assert float(hidden_state_loss(student, teacher, torch.tensor([[1, 0]]))) == pytest.approx(9 / 5 / 2)


def test_padding_changes_nothing_in_the_hidden_state_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(2))
    plain = hidden_state_loss(student, teacher, torch.ones(3, 5))
    padded = [torch.cat([x, torch.full((2, 3, 7, 4), 1e3 * sign)], dim=2) for x, sign in ((student, 1), (teacher, -1))]
    mask = torch.cat([torch.ones(3, 5), torch.zeros(3, 7)], dim=1)
    assert float(hidden_state_loss(*padded, mask)) == pytest.approx(float(plain), rel=1e-6)
    assert float(hidden_state_loss(teacher, teacher, torch.ones(3, 5))) == 0.0


def test_hidden_state_loss_is_relative_to_the_teachers_size() -> None:
    teacher = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    small = hidden_state_loss(1.1 * teacher, teacher, torch.ones(2, 3))
    large = hidden_state_loss(110 * teacher, 100 * teacher, torch.ones(2, 3))
    assert float(small) == pytest.approx(0.01, rel=1e-4)
    assert float(large) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_matrices_decay_and_biases_and_norms_do_not(kind: str, tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(kind)
    frozen = next(model.parameters()).requires_grad_(False)
    names = {id(p): name for name, p in model.named_parameters()}
    matrices, rest = decay_groups(model)
    assert "weight_decay" not in matrices
    assert rest["weight_decay"] == 0.0
    assert all(p.ndim == 2 for p in matrices["params"])
    assert all(names[id(p)].endswith(".bias") or "orm" in names[id(p)] for p in rest["params"])
    everything = [id(p) for p in matrices["params"] + rest["params"]]
    assert len(everything) == len(set(everything))
    assert set(everything) == set(names) - {id(frozen)}


def test_linear_warmup_starts_at_0_peaks_and_ends_at_0() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = linear_warmup(optimizer, total_steps=100, warmup_fraction=0.1)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0.0
    assert rates[5] == pytest.approx(1.0)
    assert rates[10] == max(rates) == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[100] == 0.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_no_warmup_starts_at_the_peak() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    linear_warmup(optimizer, total_steps=10, warmup_fraction=0.0)
    assert optimizer.param_groups[0]["lr"] == 2.0


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_fine_tuning_loss_is_mean_cross_entropy_and_padding_moves_nothing(kind: str, tiny_model: Callable[..., Any],
                                                                          sentence_ids: list[list[int]]) -> None:
    module = FineTuning(tiny_model(kind), sgd, linear_warmup, ["accuracy", "f1", "matthews_correlation"]).eval()
    rows = [(ids, [0] * len(ids), index % 2) for index, ids in enumerate(sentence_ids)]
    loss, logits = module.loss(collate(rows, 0))
    alone = torch.cat([module.loss(collate([row], 0))[1] for row in rows])
    torch.testing.assert_close(logits, alone, atol=1e-4, rtol=1e-4)
    labels = torch.tensor([row[2] for row in rows])
    assert float(loss) == pytest.approx(float(-alone.log_softmax(-1)[range(12), labels].mean()), rel=1e-4)


@pytest.mark.parametrize("hidden_weight", [0.0, 0.5])
def test_distillation_step_adds_its_two_losses(hidden_weight: float, tiny_model: Callable[..., Any],
                                               sentence_ids: list[list[int]]) -> None:
    student, teacher = tiny_model("bert", seed=1), tiny_model("bert", seed=2)
    module = LogitDistillation(student, teacher, sgd, linear_warmup, temperature=2.0, hidden_weight=hidden_weight)
    logged: dict[str, float] = {}
    module.log = lambda name, value, **options: logged.update({name: float(value)})  # type: ignore[method-assign]
    batch = collate([(ids, [0] * len(ids), 0) for ids in sentence_ids], 0)
    loss = module.training_step(batch, 0)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask", "token_type_ids")}
    ours, theirs = (m(**inputs, output_hidden_states=True) for m in (student, teacher))
    soft = float(soft_target_loss(ours.logits, theirs.logits, 2.0))
    hidden = float(hidden_state_loss(torch.stack(ours.hidden_states[1:]), torch.stack(theirs.hidden_states[1:]),
                                     batch["attention_mask"]))
    assert logged["train/soft_target_loss"] == pytest.approx(soft, rel=1e-5)
    assert float(loss) == pytest.approx(soft + hidden_weight * hidden, rel=1e-5)
    assert ("train/hidden_state_loss" in logged) == (hidden_weight > 0)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert student.classifier.weight.grad.abs().sum() > 0


def recovery_terms(module: LogitDistillation, batch: dict[str, torch.Tensor]) -> tuple[float, dict[str, float]]:
    logged: dict[str, float] = {}
    module.log = lambda name, value, **options: logged.update({name: float(value)})  # type: ignore[method-assign]
    return float(module.training_step(batch, 0)), logged


def test_recovery_from_cached_answers_needs_no_parent(tiny_model: Callable[..., Any],
                                                      sentence_ids: list[list[int]]) -> None:
    student, teacher = tiny_model("bert", seed=1), tiny_model("bert", seed=2)
    batch = collate([(ids, [0] * len(ids), i % 2) for i, ids in enumerate(sentence_ids)], 0)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        cached = {**batch, "teacher_logits": teacher(**inputs).logits}
    alone = LogitDistillation(student, None, sgd, linear_warmup, hidden_weight=0.0)
    along = LogitDistillation(student, teacher, sgd, linear_warmup, hidden_weight=0.0)
    assert recovery_terms(alone, cached)[0] == pytest.approx(recovery_terms(along, batch)[0], rel=1e-5)
    with pytest.raises(UserError, match=r"^objective\.hidden_weight and "):
        LogitDistillation(student, None, sgd, linear_warmup)


def test_labels_are_a_third_term_and_layers_can_be_chosen(tiny_model: Callable[..., Any],
                                                          sentence_ids: list[list[int]]) -> None:
    student, teacher = tiny_model("bert", seed=1), tiny_model("bert", seed=2)
    batch = collate([(ids, [0] * len(ids), i % 2) for i, ids in enumerate(sentence_ids)], 0)
    module = LogitDistillation(student, teacher, sgd, linear_warmup, hidden_weight=0.5, hard_weight=0.3,
                               layer_map=[[2, 2]])
    loss, logged = recovery_terms(module, batch)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        ours, theirs = (m(**inputs, output_hidden_states=True) for m in (student, teacher))
        hard = float(torch.nn.functional.cross_entropy(ours.logits, batch["labels"]))
        last = float(hidden_state_loss(ours.hidden_states[2][None], theirs.hidden_states[2][None],
                                       batch["attention_mask"]))
    assert logged["train/hard_label_loss"] == pytest.approx(hard, rel=1e-5)
    assert logged["train/hidden_state_loss"] == pytest.approx(last, rel=1e-5)
    assert loss == pytest.approx(logged["train/soft_target_loss"] + 0.5 * last + 0.3 * hard, rel=1e-5)
    with pytest.raises(UserError, match=r"^objective\.layer_map=\[\[3, 2\]\] names layer 3"):
        LogitDistillation(student, teacher, sgd, linear_warmup, layer_map=[[3, 2]])


def test_a_parent_with_more_word_pieces_is_asked_in_its_own_ids(tiny_model: Callable[..., Any],
                                                                sentence_ids: list[list[int]]) -> None:
    """A trimmed copy of the parent, whose ids are others, has nothing to learn from it."""
    from edgedistil.compression.vocabulary import trim_embeddings

    parent, student = tiny_model("bert"), tiny_model("bert")
    kept = sorted({i for row in sentence_ids for i in row} | {0, 1, 4})
    trim_embeddings(student, kept, None)
    batch = collate([([kept.index(i) for i in ids], [0] * len(ids), 0) for ids in sentence_ids], 0)
    module = LogitDistillation(student, parent, sgd, linear_warmup, teacher_ids=torch.tensor(kept))
    assert recovery_terms(module, batch)[0] < 1e-8
    # A parent that runs along for its layers, and answers that were made on its own pieces.
    other = {**batch, "teacher_logits": torch.full((12, 2), 1.0) * torch.tensor([3.0, -3.0])}
    loss, logged = recovery_terms(module, other)
    assert (loss > 0.1, logged["train/hidden_state_loss"] < 1e-8) == (True, True)
    wrong = LogitDistillation(student, parent, sgd, linear_warmup)
    assert recovery_terms(wrong, batch)[0] > 0.1


def test_teacher_is_frozen_and_in_no_checkpoint_of_the_student(tiny_model: Callable[..., Any]) -> None:
    teacher = tiny_model("bert", seed=2).train()
    module = LogitDistillation(tiny_model("bert"), teacher, sgd, linear_warmup).train()
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert len(module.state_dict()) == len(teacher.state_dict())


def test_loss_that_is_no_number_stops_with_advice(tiny_model: Callable[..., Any]) -> None:
    student = tiny_model("bert")
    with torch.no_grad():
        student.classifier.weight.fill_(float("nan"))
    module = LogitDistillation(student, tiny_model("bert"), sgd, linear_warmup)
    module.log = lambda name, value, **options: None  # type: ignore[method-assign]
    module._trainer = None
    with pytest.raises(FloatingPointError, match=r"the loss is nan .*try a lower optimizer\.lr"):
        module.training_step(collate([([2, 9, 3], [0, 0, 0], 0)], 0), 0)


def test_a_training_by_the_parent_names_the_options_of_its_group(tiny_model: Callable[..., Any]) -> None:
    from edgedistil.errors import UserError
    from edgedistil.stages import teaching

    chosen = {"objective": {"_target_": "edgedistil.learning.distillation.LogitDistillation", "temperature": 0},
              "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-3}}
    scheduler = {"_target_": "edgedistil.learning.schedules.linear_warmup", "_partial_": True}
    models = {"network": tiny_model("distilbert"), "teacher": tiny_model("distilbert")}
    with pytest.raises(UserError, match=r"^compression\.qat\.objective\.temperature=0 is out of range"):
        teaching.training_module("compression.qat", chosen, scheduler, **models)
    chosen["objective"]["temperature"] = 2.0
    made = teaching.training_module("compression.qat", chosen, scheduler, **models)
    assert made.rate_option == "compression.qat.optimizer.lr"
