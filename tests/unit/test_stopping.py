"""SIGTERM, a full disk and a full GPU in the middle of a training: what is kept, and what is said."""

import errno
import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from edgedistil.errors import Stopped
from edgedistil.learning.fine_tuning import FineTuning
from edgedistil.learning.random_state import RandomState
from edgedistil.learning.schedules import linear_warmup
from edgedistil.learning.stopping import StopsAtSigterm
from edgedistil.stages.advice import described
from edgedistil.stages.whole_checkpoints import WholeCheckpoints
from edgedistil.tasks.datamodule import TextDataModule
from edgedistil.tasks.encode import load_tokenizer
from edgedistil.tasks.examples import Examples

# 8 batches an epoch
EPOCHS, TEXTS, BATCH = 2, 16, 2
BATCHES = EPOCHS * TEXTS // BATCH


class SigtermIn(lightning.Callback):
    """Sends this process the signal in one batch, counted over all epochs."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_before_backward(self, trainer: Any, *_: Any) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batch:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def fit(tmp_path: Path, tiny_model: Callable[..., Any], tokenizer_file: Path) -> Callable[..., dict[str, torch.Tensor]]:
    """``fit(folder, more callbacks, trainer arguments)``: the weights after a training that goes on from its folder;
    without ``keeps`` it saves nothing when it is stopped."""
    tokenizer = load_tokenizer(tokenizer_file.parent, 16)
    words = sorted(w for w in tokenizer.get_vocab() if w.isalpha())
    chance = random.Random(5)
    texts = [(" ".join(chance.choices(words, k=chance.randint(1, 9))),) for _ in range(TEXTS + 4)]
    examples = Examples(texts, [i % 2 for i in range(len(texts))], ["no", "yes"])

    def run(folder: str, callbacks: list[Any], keeps: bool = True, **arguments: Any) -> dict[str, torch.Tensor]:
        last = tmp_path / folder / "last.ckpt"
        lightning.seed_everything(3, verbose=False)
        network = tiny_model("distilbert", dropout=0.1, attention_dropout=0.1, seq_classif_dropout=0.1).train()
        parts = (examples.take(list(range(TEXTS))), examples.take(list(range(TEXTS, TEXTS + 4))))
        data = TextDataModule(tokenizer, *parts, 0, BATCH, True, seed=1)
        module = FineTuning(
            network,
            lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
            lambda optimizer, total: linear_warmup(optimizer, total, 0.1),
            ["accuracy"],
        )
        keep = ModelCheckpoint(last.parent, save_last=True, every_n_train_steps=3)
        trainer = lightning.Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            max_epochs=EPOCHS, plugins=[WholeCheckpoints()],
            callbacks=[keep, *callbacks, RandomState(), StopsAtSigterm(last if keeps else None)], **arguments,
        )
        trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
        return {name: value.clone() for name, value in module.network.state_dict().items()}

    return run


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


EVERY = list(range(BATCHES))


@pytest.mark.parametrize(
    ("arguments", "batches"),
    [
        # before, in and behind the batch with a validation, and the ends of both epochs
        ({"val_check_interval": 0.5, "accumulate_grad_batches": 3}, [2, 3, 7, 15]),
        pytest.param({"val_check_interval": 0.5}, EVERY, marks=pytest.mark.long),
        pytest.param({"val_check_interval": 0.5, "accumulate_grad_batches": 3}, EVERY, marks=pytest.mark.long),
        pytest.param({"limit_val_batches": 0, "accumulate_grad_batches": 3}, EVERY, marks=pytest.mark.long),
        pytest.param({"val_check_interval": 3, "check_val_every_n_epoch": None}, EVERY, marks=pytest.mark.long),
    ],
    ids=["some", "validations", "accumulating", "no_validation", "across_epochs"],
)
def test_stopped_in_any_batch_it_goes_on_as_if_nothing_had_been(
    fit: Any, tmp_path: Path, arguments: dict[str, Any], batches: list[int]
) -> None:
    expected = fit("calm", [], **arguments)
    stopped = []
    for batch in batches:
        before = signal.getsignal(signal.SIGTERM)
        try:
            fit(f"at_{batch}", [SigtermIn(batch)], **arguments)
        except Stopped:
            assert (tmp_path / f"at_{batch}" / "last.ckpt").is_file()
            stopped.append(batch)
            # The signal is not sent again: the batch is done.
            assert same(expected, fit(f"at_{batch}", [SigtermIn(batch)], **arguments)), batch
            # One file to go on from, not a second one beside it.
            assert not list((tmp_path / f"at_{batch}").glob("last-*"))
        assert signal.getsignal(signal.SIGTERM) == before
    # What comes in the last batch needs no stop.
    assert stopped == [batch for batch in batches if batch < BATCHES - 1]


def test_a_training_that_keeps_no_checkpoints_just_ends(fit: Any, tmp_path: Path) -> None:
    with pytest.raises(Stopped) as end:
        fit("none", [SigtermIn(1)], keeps=False, limit_val_batches=0)
    assert end.value.code == 75
    assert not (tmp_path / "none" / "last.ckpt").exists()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    place, keeper = tmp_path / "last.ckpt", WholeCheckpoints()
    keeper.save_checkpoint({"step": torch.tensor(1), "weights": torch.zeros(100_000)}, place)
    (tmp_path / ".last.ckpt.left").write_bytes(b"of a process that was killed")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OSError, match=r"a checkpoint of 0\.4 MB could not be written; the one before") as full:
            keeper.save_checkpoint({"step": torch.tensor(2), "weights": torch.zeros(100_000)}, place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.value.errno == errno.EFBIG
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert int(torch.load(place, weights_only=True)["step"]) == 1
    said = described(full.value, {"step": "train", "options": {}})
    assert said.startswith("OSError: ")
    assert str(place) in said
    assert "store gc" in said


def test_checkpoints_are_written_beside_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file system for temporary files would make the last move a copy, which a kill leaves half done."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    moved: list[tuple[Any, Any]] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (moved.append((a, b)), replace(a, b)))
    WholeCheckpoints().save_checkpoint({"step": torch.tensor(1)}, tmp_path / "new" / "last.ckpt")
    ((source, target),) = moved
    assert Path(source).parent == Path(target).parent == tmp_path / "new"


def _training(step: str = "train", **options: Any) -> dict[str, Any]:
    return {"step": step, "options": {"task": {"max_length": 128}, "loader": {"batch_size": 32}, **options}}


def test_out_of_memory_names_the_batch_and_what_to_try() -> None:
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which ..."
    error = torch.cuda.OutOfMemoryError(text)
    assert described(error, _training(trainer={"accumulate_grad_batches": 3})) == (
        "out of memory on the GPU with loader.batch_size=32: try loader.batch_size=16 trainer.accumulate_grad_batches=6"
        " (about the same training), trainer.precision=bf16-mixed, a task.max_length below 128, end what else holds "
        "memory there (nvidia-smi). PyTorch: CUDA out of memory"
    )
    said = described(error, _training("qat", qat={"batch_size": 64}, trainer={"precision": "bf16-mixed"}))
    assert "with compression.qat.batch_size=64: try compression.qat.batch_size=32, a task.max_length" in said
    between = _training("prune_gradually", pruning={"between": {"batch_size": 1}})
    assert "compression.pruning.between.batch_size=1: try trainer.precision" in described(error, between)
    assert "batch_size" not in described(error, _training("predict"))


def test_other_errors_are_said_as_they_are() -> None:
    assert described(ValueError("a\n  b"), SimpleNamespace()) == "ValueError: a b"  # type: ignore[arg-type]
    assert described(RuntimeError(), {}) == "RuntimeError: no message"
