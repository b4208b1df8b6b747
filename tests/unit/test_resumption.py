"""A training stopped at any of its checkpoints and resumed ends with the weights of an uninterrupted one, bit-equal."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from edgedistil.learning.fine_tuning import FineTuning
from edgedistil.learning.finite import FiniteWeights
from edgedistil.learning.random_state import KEY, RandomState, generator_states, restore_generators
from edgedistil.learning.schedules import linear_warmup
from edgedistil.tasks.datamodule import TextDataModule
from edgedistil.tasks.encode import load_tokenizer
from edgedistil.tasks.examples import Examples

CPU = torch.device("cpu")
# 8 batches an epoch
EPOCHS, TEXTS, BATCH = 2, 16, 2


class Noisy(FineTuning):
    """Draws from Python and NumPy too, as a loss of a user's own may."""

    def loss(self, batch: Any) -> Any:
        loss, logits = super().loss(batch)
        return (loss * (1 + random.random() + np.random.random()) if self.training else loss), logits


@pytest.fixture
def fit(tmp_path: Path, tiny_model: Callable[..., Any], tokenizer_file: Path) -> Callable[..., dict[str, torch.Tensor]]:
    """``fit(checkpoint callback, resume from, trainer arguments)``: the weights after a training with dropout 0.1."""
    tokenizer = load_tokenizer(tokenizer_file.parent, 16)
    words = [w for w in tokenizer.get_vocab() if w.isalpha()]
    chance = random.Random(5)
    texts = [(" ".join(chance.choices(sorted(words), k=chance.randint(1, 9))),) for _ in range(TEXTS + 4)]
    examples = Examples(texts, [i % 2 for i in range(len(texts))], ["no", "yes"])

    def run(callbacks: list[Any], resume: Path | None = None, **arguments: Any) -> dict[str, torch.Tensor]:
        lightning.seed_everything(3, verbose=False)
        network = tiny_model("distilbert", dropout=0.1, attention_dropout=0.1, seq_classif_dropout=0.1).train()
        lightning.seed_everything(4 if resume is None else 1234, verbose=False)
        parts = (examples.take(list(range(TEXTS))), examples.take(list(range(TEXTS, TEXTS + 4))))
        data = TextDataModule(tokenizer, *parts, 0, BATCH, True, seed=1)

        def optimizer(parameters: Any) -> Any:
            return torch.optim.AdamW(parameters, lr=1e-3)

        def scheduler(optimizer: Any, total: int) -> Any:
            return linear_warmup(optimizer, total, 0.1)

        module = Noisy(network, optimizer, scheduler, ["accuracy"])
        trainer = lightning.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=tmp_path, callbacks=[*callbacks, RandomState()], **{"max_epochs": EPOCHS} | arguments,
        )
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        return {name: value.clone() for name, value in module.network.state_dict().items()}

    return run


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("when", "arguments", "saved"),
    [
        # after a validation, inside an epoch and at its end
        ({}, {"val_check_interval": 0.5}, [4, 8, 12]),
        # the same with steps after batches 3, 6 and 8, so that gradients wait in the middle
        ({}, {"val_check_interval": 0.5, "accumulate_grad_batches": 3}, [1, 3, 4]),
        # after a batch, inside an epoch and its last
        ({"every_n_train_steps": 4}, {"limit_val_batches": 0}, [4, 8, 12]),
        ({"every_n_train_steps": 1}, {"limit_val_batches": 0, "accumulate_grad_batches": 3}, [1, 2, 3, 4, 5]),
        # as recovery trains: by steps, never by epochs
        ({"every_n_train_steps": 4}, {"limit_val_batches": 0, "max_epochs": -1, "max_steps": 15}, [4, 8, 12]),
        # after an epoch
        ({"save_on_train_epoch_end": True}, {"limit_val_batches": 0}, [8]),
    ],
    ids=["validations", "accumulating", "batches", "accumulated", "steps", "epochs"],
)
def test_resumed_at_any_checkpoint(
    fit: Any, tmp_path: Path, when: dict[str, Any], arguments: dict[str, Any], saved: list[int]
) -> None:
    keep = ModelCheckpoint(tmp_path / "all", filename="{step}", save_top_k=-1, **when)
    expected = fit([keep], **arguments)
    for step in saved:
        file = tmp_path / "all" / f"step={step}.ckpt"
        found = fit([], resume=file, **arguments)
        assert same(expected, found), step
    waiting = {step: torch.load(tmp_path / "all" / f"step={step}.ckpt", weights_only=True)[KEY]["gradients"]
               for step in saved}
    inside = "val_check_interval" in arguments and "accumulate_grad_batches" in arguments
    assert [step for step, gradients in waiting.items() if gradients] == ([1, 4] if inside else [])


def test_without_the_callback_dropout_would_differ(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above would miss if the models in them had nothing random."""
    keep = ModelCheckpoint(tmp_path / "all", filename="{step}", save_top_k=-1)
    expected = fit([keep], val_check_interval=0.5)
    assert same(expected, fit([], val_check_interval=0.5)), "the same training twice"
    monkeypatch.setattr(RandomState, "on_load_checkpoint", lambda *_: None)
    assert not same(expected, fit([], resume=tmp_path / "all" / "step=8.ckpt", val_check_interval=0.5))


def test_generators_go_on_where_they_were() -> None:
    def draw() -> list[float]:
        return [float(torch.rand(())), random.random(), random.gauss(0, 1), np.random.random(), np.random.normal()]

    # an odd number of normal deviates: Python and NumPy keep the second of a pair
    draw()
    states = generator_states(CPU)
    assert all(isinstance(value, torch.Tensor) for value in states.values())
    expected = [draw() for _ in range(3)]
    draw()
    restore_generators(states, CPU)
    assert [draw() for _ in range(3)] == expected


def test_a_checkpoint_without_random_state_is_not_gone_on_from(tmp_path: Path) -> None:
    from edgedistil.stages.train import _is_whole

    torch.save({"global_step": 1, KEY: {}}, tmp_path / "new.ckpt")
    torch.save({"global_step": 1}, tmp_path / "old.ckpt")
    (tmp_path / "half.ckpt").write_bytes((tmp_path / "new.ckpt").read_bytes()[:100])
    assert [_is_whole(tmp_path / f"{name}.ckpt") for name in ("new", "old", "half", "none")] == [True] + [False] * 3


class Diverging(Noisy):
    """Its weights are no numbers from the given step on; no loss comes after the last one."""

    bad_step, done = 0, 0

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.done += 1
        if self.done == self.bad_step:
            with torch.no_grad():
                self.network.classifier.bias.fill_(float("nan"))


@pytest.mark.parametrize(("bad_step", "words"), [(2, "the checkpoint saved before it is kept"),
                                                 (3, "nothing is published")])
def test_weights_that_are_no_numbers_are_not_kept(
    tmp_path: Path, tiny_model: Callable[..., Any], bad_step: int, words: str
) -> None:
    batch = {"input_ids": torch.tensor([[2, 7, 8, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64),
             "labels": torch.tensor([1])}
    module = Diverging(tiny_model("distilbert").train(), lambda p: torch.optim.AdamW(p, lr=1e-3),
                       lambda o, total: linear_warmup(o, total, 0.1), ["accuracy"])
    module.bad_step = bad_step
    saved = ModelCheckpoint(dirpath=tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1 if words[0] == "t"
                            else 100, save_on_train_epoch_end=False)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, max_steps=3,
                                enable_model_summary=False, callbacks=[saved, FiniteWeights()])
    with pytest.raises(FloatingPointError, match=rf"after step {bad_step}, learning rate [\d.e-]+; {words}"):
        trainer.fit(module, torch.utils.data.DataLoader([batch] * 3, batch_size=None))
    assert [p.name for p in tmp_path.iterdir()] == (["step=1.ckpt"] if bad_step == 2 else [])
