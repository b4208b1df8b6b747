"""A step's gradient is the mean over its tokens, and a step's work is what its products cost."""

from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from edgedistil.learning.base import TrainingModule
from edgedistil.learning.token_mean import TokenMean
from edgedistil.learning.work import TRAINED, encoder_flops, head_flops


class Slope(TokenMean):
    """Loss: weight × mean of the values; its gradient is that mean."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))
        self.steps: list[float] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.weighted(self.slope.sum() * batch.mean(), len(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1.0)

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps.append(-float(self.slope))


def fit(module: lightning.LightningModule, batches: list[Any], **options: Any) -> lightning.Trainer:
    trainer = lightning.Trainer(
        **{
            "max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
            "accelerator": "cpu", "enable_model_summary": False, **options,
        }
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return trainer


BATCHES = [torch.tensor(v) for v in ([1.0], [2.0, 4.0, 6.0], [3.0, 5.0], [10.0])]


@pytest.mark.parametrize(
    ("accumulate", "steps"),
    # Of two micro-batches: (1 + 2 + 4 + 6) / 4, then + (3 + 5 + 10) / 3. Of three: (1 + 12 + 8) / 6; the last is alone.
    [(1, [1, 5, 9, 19]), (2, [0, 3.25, 3.25, 9.25]), (3, [0, 0, 3.5, 13.5])],
)
def test_tokens_weigh_alike_whatever_batch_they_are_in(accumulate: int, steps: list[float]) -> None:
    module = Slope()
    fit(module, BATCHES, accumulate_grad_batches=accumulate)
    assert module.steps == pytest.approx(steps)


def test_gradients_are_clipped_as_means() -> None:
    module = Slope()
    fit(module, BATCHES, accumulate_grad_batches=2, gradient_clip_val=4.0)
    assert module.steps == pytest.approx([0, 3.25, 3.25, 7.25])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("fused", [False, True])
def test_gradients_are_clipped_at_every_precision_that_scales_none(precision: Any, fused: bool) -> None:
    """Of 1, 13 / 4 and 10 the last is above 4. Lightning refuses a fused optimiser where its own loss scaling could
    be, also in bf16, which has none: every default training on AVX512-BF16 or a GPU ended there."""

    class Fused(Slope):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1.0, fused=fused)

    module = Fused()
    fit(module, BATCHES, accumulate_grad_batches=2, gradient_clip_val=4.0, precision=precision)
    assert module.steps == pytest.approx([0, 3.25, 3.25, 7.25], rel=1e-2)


def test_a_checkpoint_keeps_what_waits() -> None:
    module, second = Slope(), Slope()
    module._trainer = second._trainer = lightning.Trainer(accelerator="cpu", logger=False, accumulate_grad_batches=2)
    module.weighted(torch.zeros(()), 7)
    saved: dict[str, Any] = {}
    module.on_save_checkpoint(saved)
    second.on_load_checkpoint(saved)
    assert second._weight == 7


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_work_is_that_of_the_products(kind: str, tiny_model: Callable[..., Any]) -> None:
    """Width 32, 2 layers, feed-forward 64; texts of 3 and 5 tokens."""
    model, lengths = tiny_model(kind), torch.tensor([3, 5])
    layer = 8 * (4 * 32 * 32 + 2 * 32 * 64) + (9 + 25) * 2 * 32
    assert encoder_flops(model, lengths) == 2 * 2 * layer
    # Dense layer (BERT calls it pooler) and classifier, a row for each text.
    assert head_flops(model, 2) == 2 * 2 * (32 * 32 + 32 * 2)


def test_work_agrees_with_torch_own_counter(tiny_model: Callable[..., Any]) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = tiny_model("distilbert", attn_implementation="eager")
    ids = torch.randint(5, 20, (2, 9))
    with FlopCounterMode(display=False) as counter:
        model(ids, attention_mask=torch.ones_like(ids))
    lengths = torch.tensor([9, 9])
    assert encoder_flops(model, lengths) + head_flops(model, 2) == counter.get_total_flops()
    assert TRAINED == 3


class Counting(TrainingModule):
    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.note_work(10, 4_000_000)
        return (self.network.weight * 0).sum()


def test_speed_leaves_the_first_batch_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of half a second a batch: 3 batches of 10 tokens in 1.5 s."""
    now = iter(x / 2 for x in range(100))
    monkeypatch.setattr("edgedistil.learning.base.time.monotonic", lambda: next(now))
    module = Counting(
        torch.nn.Linear(1, 1), lambda p: torch.optim.SGD(p, 0.1), lambda o, n: torch.optim.lr_scheduler.ConstantLR(o)
    )
    fit(module, [torch.zeros(1)] * 4)
    assert module.totals == {"tokens_seen": 40, "tokens_per_s": 20.0, "gflop_per_s": 0.008}
