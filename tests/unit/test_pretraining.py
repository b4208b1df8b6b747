"""The triple loss by hand, what padding and company may not change, and the modules under a real Trainer."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from edgedistil.learning.losses import (
    cosine_loss,
    logit_loss,
    masked_token_loss,
    sliced_soft_target_loss,
    soft_target_loss,
)
from edgedistil.learning.masking import NO_TARGET, DynamicMasking, Vocabulary
from edgedistil.learning.pretraining import MaskedLanguageModelling, perplexity
from edgedistil.learning.pretraining_distillation import PretrainingDistillation
from edgedistil.learning.schedules import linear_warmup
from edgedistil.models.masked_lm import encode_tokens, token_logits
from edgedistil.models.student import student_of

LOG3 = math.log(3)


def test_masked_token_loss_by_hand() -> None:
    logits = torch.tensor([[LOG3, 0.0], [0.0, 0.0]])
    # −ln(3/4) and −ln(1/2)
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert float(masked_token_loss(logits, torch.tensor([0, 1]))) == pytest.approx(expected, rel=1e-6)
    assert float(masked_token_loss(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))) == 0.0


def test_cosine_loss_by_hand() -> None:
    student = torch.tensor([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    teacher = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert float(cosine_loss(student, teacher)) == pytest.approx((0 + 1 - math.sqrt(0.5) + 2) / 3, rel=1e-6)


def test_logit_loss_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    assert float(logit_loss(student, teacher)) == pytest.approx((5 + 9) / 2)


@pytest.mark.parametrize("rows", [1, 128, 300])
def test_slices_change_neither_value_nor_gradient_of_the_soft_targets(rows: int) -> None:
    chance = torch.Generator().manual_seed(rows)
    teacher = 3 * torch.randn(rows, 11, generator=chance)
    start = 3 * torch.randn(rows, 11, generator=chance)
    values, gradients = [], []
    for loss in (soft_target_loss, sliced_soft_target_loss):
        student = start.clone().requires_grad_()
        value = loss(student, teacher, 2.0)
        (5 * value).backward()
        values.append(value.item())
        gradients.append(student.grad)
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7, rtol=1e-4)


def test_sliced_soft_targets_by_hand() -> None:
    # T = 2 turns logits (2 ln 4, 0) into (0.8, 0.2), against (0.5, 0.5): KL · 4.
    teacher = torch.tensor([[2 * math.log(4), 0.0]])
    expected = 4 * (0.8 * math.log(1.6) + 0.2 * math.log(0.4))
    assert sliced_soft_target_loss(torch.zeros(1, 2), teacher, 2.0).item() == pytest.approx(expected, rel=1e-6)


def test_a_token_mean_does_not_see_how_a_batch_is_composed() -> None:
    chance = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(12, 7, generator=chance) for _ in range(2))
    tokens = torch.arange(12) % 7
    for loss in (partial(sliced_soft_target_loss, temperature=2.0), cosine_loss, logit_loss):
        whole = float(loss(student, teacher))
        parts = [(5, float(loss(student[:5], teacher[:5]))), (7, float(loss(student[5:], teacher[5:])))]
        assert whole == pytest.approx(sum(n * value for n, value in parts) / 12, rel=1e-5)
    whole = float(masked_token_loss(student, tokens))
    halves = [float(masked_token_loss(student[i::2], tokens[i::2])) for i in (0, 1)]
    assert whole == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_perplexity() -> None:
    assert perplexity(math.log(30522)) == pytest.approx(30522)
    assert perplexity(1e4) == math.inf


@pytest.fixture
def masked_lm(tiny_model: Callable[..., Any]) -> Callable[..., Any]:
    """Factory of a tiny masked language model with the encoder of ``tiny_model``."""

    def make(kind: str = "distilbert", seed: int = 0, **changes: Any) -> Any:
        from transformers import AutoModelForMaskedLM

        torch.manual_seed(seed)
        return AutoModelForMaskedLM.from_config(tiny_model(kind, seed, **changes).config).eval()

    return make


def parts(size: int, special: tuple[int, ...] = (0, 1, 2, 3, 4)) -> dict[str, Any]:
    return {
        "optimizer": partial(torch.optim.SGD, lr=0.05),
        "scheduler": partial(linear_warmup, warmup_fraction=0.0),
        "masking": DynamicMasking,
        "vocabulary": Vocabulary(torch.ones(size, dtype=torch.int64), 4, special),
        "seed": 1,
    }


def a_batch(size: int, rows: int = 3, tokens: int = 9, seed: int = 0) -> dict[str, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, size, (rows, tokens), generator=chance)
    ids[:, 0], ids[:, -1] = 2, 3
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def distilling(masked_lm: Any, **options: Any) -> PretrainingDistillation:
    teacher = masked_lm(seed=1)
    return PretrainingDistillation(masked_lm(seed=2), teacher, **parts(teacher.config.vocab_size), **options)


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_encoder_and_head_taken_apart_are_the_model(masked_lm: Any, kind: str) -> None:
    model = masked_lm(kind)
    batch = a_batch(model.config.vocab_size)
    with torch.no_grad():
        whole = model(**batch).logits
        apart = token_logits(model, encode_tokens(model, batch["input_ids"], batch["attention_mask"]))
    assert torch.allclose(whole, apart, atol=1e-5)


@pytest.mark.parametrize("masked_only", [False, True])
def test_each_loss_is_what_whole_models_give(masked_lm: Any, masked_only: bool) -> None:
    module = distilling(masked_lm, masked_only=masked_only).eval()
    batch = a_batch(module.network.config.vocab_size)
    batch["attention_mask"][1, 6:] = 0
    labels = torch.full_like(batch["input_ids"], NO_TARGET)
    labels[0, 2], labels[1, 3], labels[2, 4] = 11, 12, 13
    real, target = batch["attention_mask"].bool(), labels != NO_TARGET
    with torch.no_grad():
        found = module.losses(batch["input_ids"], batch["attention_mask"], labels)
        student = module.network(**batch, output_hidden_states=True)
        teacher = module._teacher[0](**batch, output_hidden_states=True)
    rows = target if masked_only else real
    assert {k: n for k, (_, n) in found.items()} == {
        "mlm_loss": 3,
        "teacher_mlm_loss": 3,
        "cosine_loss": 24,
        "soft_target_loss": 3 if masked_only else 24,
    }
    expected = {
        "mlm_loss": torch.nn.functional.cross_entropy(student.logits[target], labels[target]),
        "teacher_mlm_loss": torch.nn.functional.cross_entropy(teacher.logits[target], labels[target]),
        "soft_target_loss": soft_target_loss(student.logits[rows], teacher.logits[rows], 2.0),
        "cosine_loss": cosine_loss(student.hidden_states[-1][real], teacher.hidden_states[-1][real]),
    }
    for name, value in expected.items():
        assert float(found[name][0]) == pytest.approx(float(value), rel=1e-4), name
    total = module.combine({**found, "logit_loss": (torch.tensor(0.0), 1)})
    by_hand = 5 * expected["soft_target_loss"] + 2 * expected["mlm_loss"] + expected["cosine_loss"]
    assert float(total) == pytest.approx(float(by_hand), rel=1e-4)


def test_padding_changes_no_loss(masked_lm: Any) -> None:
    module = distilling(masked_lm, logit_weight=1.0)
    module.network.eval()
    batch = a_batch(module.network.config.vocab_size)
    labels = torch.full_like(batch["input_ids"], NO_TARGET)
    labels[0, 2] = labels[2, 4] = 11
    with torch.no_grad():
        plain = module.losses(batch["input_ids"], batch["attention_mask"], labels)
        padded = module.losses(
            torch.nn.functional.pad(batch["input_ids"], (0, 7)),
            torch.nn.functional.pad(batch["attention_mask"], (0, 7)),
            torch.nn.functional.pad(labels, (0, 7), value=NO_TARGET),
        )
    assert set(plain) == {"mlm_loss", "soft_target_loss", "cosine_loss", "logit_loss"}
    for name, (value, rows) in plain.items():
        assert padded[name][1] == rows
        assert float(padded[name][0]) == pytest.approx(float(value), rel=1e-4), name


def test_a_loss_of_weight_zero_is_left_out_of_training_and_of_the_sum(masked_lm: Any) -> None:
    module = distilling(masked_lm, soft_target_weight=0.0, cosine_weight=0.0)
    batch = a_batch(module.network.config.vocab_size)
    labels = torch.full_like(batch["input_ids"], NO_TARGET)
    labels[0, 2] = 11
    found = module.losses(batch["input_ids"], batch["attention_mask"], labels)
    assert set(found) == {"mlm_loss"}
    assert module.combine(found).item() == pytest.approx(2 * found["mlm_loss"][0].item())


def test_widths_that_differ_get_a_projection_that_learns(masked_lm: Any) -> None:
    teacher = masked_lm()
    student = student_of(
        teacher,
        {
            "init": "random",
            "layers": None,
            "depth": 1,
            "vocab_transform": False,
            "architecture": {"dim": 16, "n_heads": 2, "hidden_dim": 32},
        },
    )
    module = PretrainingDistillation(student, teacher, **parts(teacher.config.vocab_size))
    assert tuple(module.projection.weight.shape) == (32, 16)
    before = module.projection.weight.detach().clone()
    fitted(module, [a_batch(teacher.config.vocab_size)])
    assert not torch.equal(module.projection.weight, before)
    assert not any("teacher" in name for name in module.state_dict())
    assert "projection.weight" not in dict(module.network.named_parameters())


def fitted(module: Any, batches: list[dict[str, torch.Tensor]], **options: Any) -> lightning.Trainer:
    trainer = lightning.Trainer(
        **{
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "accelerator": "cpu",
            "enable_model_summary": False,
            **options,
        }
    )
    data = DataLoader(batches, batch_size=None)
    trainer.fit(module, data, data)
    return trainer


def test_training_lowers_the_loss_and_leaves_the_teacher_alone(masked_lm: Any) -> None:
    module = distilling(masked_lm)
    teacher = {k: v.clone() for k, v in module._teacher[0].state_dict().items()}
    batches = [a_batch(module.network.config.vocab_size, rows=8, seed=i) for i in range(6)]
    trainer = fitted(module, batches, max_epochs=1)
    first = {k: float(v) for k, v in trainer.callback_metrics.items()}
    trainer = fitted(module, batches, max_epochs=8)
    last = {k: float(v) for k, v in trainer.callback_metrics.items()}
    assert last["held_out/soft_target_loss"] < first["held_out/soft_target_loss"]
    assert last["held_out/teacher_mlm_loss"] == pytest.approx(first["held_out/teacher_mlm_loss"], rel=1e-6)
    assert last["held_out/perplexity"] == pytest.approx(math.exp(last["held_out/mlm_loss"]), rel=1e-4)
    assert {"train/mlm_loss", "train/soft_target_loss", "train/cosine_loss", "train/loss"} <= set(last)
    assert all(torch.equal(v, teacher[k]) for k, v in module._teacher[0].state_dict().items())
    assert not module._teacher[0].training
    assert module.totals["tokens_seen"] == 9 * 6 * 8 * 9


def test_validation_masks_are_the_same_whatever_the_seed(masked_lm: Any) -> None:
    model = masked_lm()
    losses = []
    for seed in (1, 2):
        module = MaskedLanguageModelling(model, **parts(model.config.vocab_size) | {"seed": seed})
        trainer = lightning.Trainer(
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            accelerator="cpu",
            enable_model_summary=False,
        )
        data = DataLoader([a_batch(model.config.vocab_size, seed=i) for i in range(3)], batch_size=None)
        losses.append(trainer.validate(module, data, verbose=False)[0])
    assert losses[0] == losses[1]


def test_a_loss_that_is_no_number_stops_with_step_and_learning_rate(masked_lm: Any) -> None:
    model = masked_lm()
    module = MaskedLanguageModelling(model, **parts(model.config.vocab_size))
    with torch.no_grad():
        model.vocab_projector.bias.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"nan at step 0, learning rate 0\.05.*last\.ckpt"):
        fitted(module, [a_batch(model.config.vocab_size)], num_sanity_val_steps=0)


class Noting(MaskedLanguageModelling):
    """Notes the masked batches that it is given."""

    def losses(self, ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> Any:
        if self.training:
            self.seen.append((ids.clone(), labels.clone()))
        return super().losses(ids, attention_mask, labels)


def test_a_resumed_run_sees_the_masked_batches_that_the_killed_one_had_not(masked_lm: Any, tmp_path: Any) -> None:
    import numpy as np

    from edgedistil.tasks.corpus_data import CorpusDataModule

    class Texts:
        def __init__(self) -> None:
            chance = np.random.default_rng(0)
            self._rows = [np.array([2, *chance.integers(5, 80, n), 3]) for n in chance.integers(4, 20, 40)]

        def __len__(self) -> int:
            return len(self._rows)

        def __getitem__(self, index: int) -> Any:
            return self._rows[index]

        def lengths(self) -> Any:
            return np.array([len(r) for r in self._rows], np.int32)

    def learn(steps: int, name: str, resume: str | None = None) -> Noting:
        model = masked_lm()
        module = Noting(model.train(), **parts(model.config.vocab_size))
        module.seen = []
        data = CorpusDataModule(Texts(), Texts(), 0, 4, True, seed=3)
        saving = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path / name, every_n_train_steps=1, save_last=True)
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=-1,
            limit_val_batches=0,
            logger=False,
            callbacks=[saving],
            enable_progress_bar=False,
            accelerator="cpu",
            enable_model_summary=False,
        )
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        return module

    whole, first = learn(16, "whole"), learn(7, "first")
    second = learn(16, "second", str(tmp_path / "first" / "last.ckpt"))
    # 10 batches an epoch: the kill fell into the first epoch, and the second epoch is reached.
    assert (len(whole.seen), len(first.seen), len(second.seen)) == (16, 7, 9)
    for expected, found in zip(whole.seen, first.seen + second.seen, strict=True):
        assert torch.equal(expected[0], found[0])
        assert torch.equal(expected[1], found[1])
    assert second.totals["tokens_seen"] == whole.totals["tokens_seen"]
