"""Two processes on a CPU train what one process trains that accumulates over the same micro-batches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
BATCHES, BATCH, STEPS = 12, 16, 15
LEARN = [
    "optimizer=distilbert", "optimizer.lr=1e-2", "scheduler=distilbert", "callbacks=last", f"loader.batch_size={BATCH}",
    "trainer=distilbert", "trainer.max_epochs=-1", f"trainer.max_steps={STEPS}",
]  # fmt: skip
ALONE = ["trainer.accumulate_grad_batches=2"]
TWO = ["trainer.accumulate_grad_batches=1", "+trainer.devices=2", "+trainer.strategy=ddp"]


@pytest.fixture(scope="module")
def place(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Texts that fill 12 batches (so 6 steps an epoch), an encoder without dropout, a store."""
    from edgedistil.tasks.generated import generate

    root = tmp_path_factory.mktemp("distributed")
    for split, seed in (("train", 1), ("validation", 2)):
        made = generate("train", "reviews", BATCHES * BATCH, 100, seed, 0.0)["sentence"]
        (root / f"{split}.txt").write_text("\n".join(made) + "\n")
    model = root / "model"
    shutil.copytree(models["distilbert_encoder"], model)
    config = json.loads((model / "config.json").read_text())
    dropout = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    (model / "config.json").write_text(json.dumps(config | dropout))
    task = [
        "task=texts", f"task.train={root / 'train.txt'}", f"task.validation={root / 'validation.txt'}",
        "task.max_length=64", "task.drop_up_to=2",
    ]  # fmt: skip
    chosen = ["model=folder", f"model.location={model}"]
    return SimpleNamespace(root=root, store=root / "store", model=chosen, task=task)


@pytest.fixture(scope="module")
def teacher(run: Callable[..., Any], place: Any) -> Any:
    command = ["train.py", "objective=masked_language_modelling", *place.task, *place.model, *LEARN]
    return run(*command, *ALONE, cwd=place.root / "alone", store=place.store).ok(), command


def weights(summary: dict[str, Any]) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(Path(summary["folder"]) / "model.safetensors")


def assert_same_training(one: dict[str, Any], two: dict[str, Any], tolerance: float = 1e-5) -> None:
    import torch

    assert one["fingerprint"] != two["fingerprint"]
    assert one["facts"]["validation"] == pytest.approx(two["facts"]["validation"], rel=tolerance)
    assert one["facts"]["steps"] == two["facts"]["steps"]
    # Each text once an epoch, over both processes: the corpus holds so many tokens.
    assert one["facts"]["tokens_seen"] == two["facts"]["tokens_seen"]
    ours, theirs = weights(one), weights(two)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-5)


def test_two_processes_make_the_losses_of_one_that_accumulates(run: Any, place: Any, teacher: Any) -> None:
    alone, command = teacher
    assert alone.summary["facts"]["train_texts"] == BATCHES * BATCH
    assert alone.summary["facts"]["steps"] == STEPS
    both = run(*command, *TWO, cwd=place.root / "both", store=place.store).ok()
    assert both.computed == ["pretrain"]
    assert_same_training(alone.summary, both.summary)


@pytest.mark.long
def test_torchrun_teaches_a_student_and_only_the_first_process_speaks(run: Any, place: Any, teacher: Any) -> None:
    taught = [
        "objective=pretraining_distillation", *place.task, "model@teacher=folder",
        f"teacher.location={teacher[0].summary['folder']}", "student.depth=1", *LEARN,
    ]  # fmt: skip
    alone = run("train.py", *taught, *ALONE, cwd=place.root / "student", store=place.store).ok()
    cwd = place.root / "torchrun"
    both = run(*TORCHRUN, "train.py", *taught, TWO[0], cwd=cwd, store=place.store).ok()
    assert_same_training(alone.summary, both.summary)
    assert both.computed == ["pretrain"]
    assert len(list((cwd / "outputs").glob("*/*"))) == 1
    assert both.out.count('"fingerprint"') == 1
    again = run(*TORCHRUN, "train.py", *taught, TWO[0], cwd=cwd, store=place.store).ok()
    assert again.computed == []
    assert again.summary["cached"]


@pytest.mark.long
def test_a_classifier_too_and_steps_of_one_process_under_torchrun(run: Any, place: Any) -> None:
    task = ["task=reviews", "task.generator.train=160", "task.generator.validation=80", "task.held_out=0.2"]
    common = [*task, *place.model, "loader.batch_size=8", "trainer.max_epochs=2", "optimizer.lr=1e-3"]
    once = ["trainer.val_check_interval=1.0", "~callbacks.early_stopping"]
    alone = run(
        "train.py", *common, *once, "+trainer.accumulate_grad_batches=2", cwd=place.root / "one", store=place.store
    ).ok()
    both = run("train.py", *common, *once, "trainer=ddp", cwd=place.root / "two", store=place.store).ok()
    assert_same_training(alone.summary, both.summary)
    # Exporting and measuring are for one process, training is for both.
    cell = ["+trainer.strategy=ddp", "compression=none", "measurement=rapid", "device.baselines=[onnxruntime_fp32]"]
    few = ["rounds=2", "burst=2", "cold_starts=1", "warmup_calls=1", "batch_rounds=1", "lengths=[16]", "batches=[2]"]
    few += ["generations=1", "seconds=0", "warmup_limit=2"]
    measured = run(
        *TORCHRUN, "bench.py", *common, *once, *cell, *(f"measurement.{f}" for f in few),
        cwd=place.root / "cell", store=place.store,
    ).ok()  # fmt: skip
    assert measured.computed == ["export", "predict", "bench"]


@pytest.mark.long
def test_a_loss_that_is_no_number_ends_both_with_one_line(run: Any, place: Any, teacher: Any) -> None:
    _, command = teacher
    wild = [c for c in command if not c.startswith("optimizer.lr")] + ["optimizer.lr=1e30"]
    failed = run(*wild, *TWO, cwd=place.root / "wild", store=place.store)
    assert failed.code == 1
    lines = [line for line in failed.out.splitlines() if "the loss is" in line]
    assert lines
    assert all("at step" in line and "learning rate" in line for line in lines)
    assert "Traceback" not in failed.out + failed.err
    launched = run(*TORCHRUN, *wild, TWO[0], cwd=place.root / "wilder", store=place.store)
    assert launched.code == 1
    assert "the loss is" in launched.out + launched.err


def test_processes_that_do_not_fit_are_refused(run: Any, place: Any, teacher: Any) -> None:
    _, command = teacher
    for wrong, words in (
        ("+trainer.devices=zwei", "trainer.devices='zwei'"),
        ("+trainer.num_nodes=2", "torchrun"),
        ("+trainer.strategy=fsdp", "trainer.strategy='fsdp'"),
    ):
        refused = run(*command, *ALONE, wrong, cwd=place.root / "refused", store=place.store)
        assert (refused.code, words in refused.err) == (2, True), refused.err
    other = run(*TORCHRUN, *command, *ALONE, "+trainer.devices=3", cwd=place.root / "refused", store=place.store)
    assert other.code == 1
    assert "torchrun started 2 processes, but trainer.devices asks for 3" in other.err
