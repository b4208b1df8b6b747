"""Masked language modelling and its distillation from the command line, on a tiny model and a tiny text."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

LEARN = ["optimizer=distilbert", "optimizer.lr=1e-2", "scheduler=distilbert", "callbacks=last", "loader.batch_size=16",
         "trainer=distilbert", "trainer.max_epochs=-1", "trainer.max_steps=30", "trainer.accumulate_grad_batches=1"]
SHORT = ["task.max_length=16", "task.drop_up_to=4"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``train.txt`` and ``validation.txt`` in the words of the tiny tokenizer."""
    from edgedistil.tasks.generated import generate

    folder = tmp_path_factory.mktemp("texts")
    # Both from the generator's training split: its validation split holds words that the other lacks, on purpose.
    for split, seed in (("train", 1), ("validation", 2)):
        made = generate("train", "reviews", 400, 100, seed, 0.0)["sentence"]
        (folder / f"{split}.txt").write_text("\n".join(["", *made]) + "\n")
    return folder


@pytest.fixture(scope="module")
def taught(
    run: Any, models: dict[str, Path], texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """``store`` with a teacher trained on a headless encoder (``teacher``) and a student taught by it (``student``)."""
    root = tmp_path_factory.mktemp("pretraining")
    task = ["task=texts", f"task.train={texts / 'train.txt'}", f"task.validation={texts / 'validation.txt'}", *SHORT]
    model = ["model=folder", f"model.location={models['distilbert_encoder']}"]
    teacher = run("train.py", "objective=masked_language_modelling", *task, *model, *LEARN, cwd=root,
                  store=root / "store").ok()
    folder = teacher.summary["folder"]
    command = ["train.py", "objective=pretraining_distillation", *task, "model@teacher=folder",
               f"teacher.location={folder}", "student.depth=1", *LEARN]
    student = run(*command, cwd=root, store=root / "store").ok()
    return SimpleNamespace(store=root / "store", cwd=root, teacher=teacher, student=student, command=command,
                           task=task)


def test_a_head_is_trained_on_an_encoder_that_has_none(taught: Any) -> None:
    facts = taught.teacher.summary["facts"]
    assert taught.teacher.computed == ["corpus", "corpus", "pretrain"]
    assert facts["steps"] == 30
    assert facts["validation"]["mlm_loss"] < facts["before"]["mlm_loss"]
    assert facts["validation"]["perplexity"] < facts["before"]["perplexity"]
    assert facts["tokens_seen"] > 30 * 16 * 5
    config = json.loads((Path(taught.teacher.summary["folder"]) / "config.json").read_text())
    assert config["architectures"] == ["DistilBertForMaskedLM"]


def test_a_student_is_taught_on_the_same_corpora(taught: Any) -> None:
    facts = taught.student.summary["facts"]
    assert taught.student.computed == ["pretrain"]
    assert facts["student"]["layers"] == [0]
    assert set(facts["validation"]) == {"mlm_loss", "soft_target_loss", "cosine_loss", "teacher_mlm_loss",
                                        "perplexity"}
    assert facts["validation"]["soft_target_loss"] < facts["before"]["soft_target_loss"]
    # The same masks on the same texts: the teacher's own row.
    own = taught.teacher.summary["facts"]["validation"]["mlm_loss"]
    assert facts["validation"]["teacher_mlm_loss"] == pytest.approx(own, rel=1e-3)


def test_second_run_reads_the_store(run: Any, taught: Any) -> None:
    again = run(*taught.command, cwd=taught.cwd, store=taught.store).ok()
    assert again.summary["cached"] == 1
    assert again.computed == []


def test_the_students_folder_is_fine_tuned_like_any_other(run: Any, taught: Any, tmp_path: Path) -> None:
    command = ["model=folder", f"model.location={taught.student.summary['folder']}", "plan=true"]
    ran = run("train.py", *command, cwd=tmp_path, store=tmp_path / "store").ok()
    assert "would run train" in ran.out


def _refused(run: Any, command: list[str], tmp_path: Path, store: Path) -> str:
    ran = run(*command, cwd=tmp_path / "cwd", store=store)
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert ran.code == 2, (ran.out, ran.err)
    assert len(lines) == 1, ran.err
    assert "Traceback" not in ran.err
    return str(lines[0])


@pytest.mark.parametrize(("changes", "needle"), [
    (["student.layers=[0,2]", "student.depth=null"], "names layer 2, but the teacher has layers 0 to 1"),
    (["student.depth=3"], "student.depth=3 is deeper than the teacher, which has 2"),
    (["student.depth=3", "student.layers=[0,1]"], "student.depth=3 but student.layers names 2"),
    (["task.train=no.txt"], "no.txt"),
    (["~model@teacher"], "needs a teacher"),
    (["objective=fine_tuning"], "is of kind masked_language_modelling"),
])
def test_wrong_options_are_one_line(
    run: Any, taught: Any, tmp_path: Path, changes: list[str], needle: str
) -> None:
    command = [c for c in taught.command if not ("~model@teacher" in changes and "teacher" in c)]
    if "~model@teacher" in changes:
        changes = []
    assert needle in _refused(run, [*command, *changes], tmp_path, tmp_path / "store")


@pytest.mark.parametrize(("content", "needle"), [
    (b"", "is empty"), (b"caf\xe9\n", "line 1 is not UTF-8"), (b"x" * (5 << 20), "line 1 has no end within"),
], ids=["empty", "not UTF-8", "endless line"])
def test_bad_texts_are_one_line(run: Any, taught: Any, tmp_path: Path, content: bytes, needle: str) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(content)
    line = _refused(run, [*taught.command, f"task.train={bad}"], tmp_path, tmp_path / "store")
    assert needle in line
    assert "bad.txt" in line


def test_a_student_of_another_vocabulary_is_refused(
    run: Any, taught: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(models["distilbert_encoder"], other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = list(vocabulary)[-2:]
    vocabulary[words[0]], vocabulary[words[1]] = vocabulary[words[1]], vocabulary[words[0]]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    changes = ["student=model", "~student.depth", "model=folder", f"model.location={other}"]
    command = [c for c in taught.command if c != "student.depth=1"]
    changes.remove("~student.depth")
    line = _refused(run, [*command, *changes], tmp_path, tmp_path / "store")
    assert "different vocabularies" in line


def test_a_teacher_without_a_head_is_refused(
    run: Any, taught: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    changes = [f"teacher.location={models['distilbert_encoder']}"]
    line = _refused(run, [*taught.command, *changes], tmp_path, tmp_path / "store")
    assert "no masked-language-modelling head" in line


def test_a_loss_that_is_no_number_stops_the_run(run: Any, taught: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(taught.store, store)
    ran = run(*taught.command, "optimizer.lr=1e30", "trainer.gradient_clip_val=null", cwd=tmp_path, store=store)
    assert ran.code == 1
    assert "the loss is nan at step" in ran.summary["why"]
    assert "learning rate" in ran.summary["why"]
    assert len(list(store.glob("artifacts/pretrain/*"))) == len(list(taught.store.glob("artifacts/pretrain/*")))


def test_weights_that_are_no_numbers_from_the_start_are_wrong_input(run: Any, taught: Any, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    poisoned, store = tmp_path / "poisoned", tmp_path / "store"
    shutil.copytree(taught.teacher.summary["folder"], poisoned)
    shutil.copytree(taught.store, store)
    weights = load_file(poisoned / "model.safetensors")
    weights["vocab_layer_norm.bias"][0] = float("nan")
    save_file(weights, poisoned / "model.safetensors", metadata={"format": "pt"})
    line = _refused(run, [*taught.command, f"teacher.location={poisoned}"], tmp_path, store)
    assert "is nan before any training: weights of the model or of its teacher are no numbers" in line
    assert not list((store / "work").glob("*")), "work is left of a run that could never start"


POISON = """
import math

from torch.optim.lr_scheduler import LambdaLR


def poison(optimizer, total_steps, after):
    return LambdaLR(optimizer, lambda step: math.inf if step >= after else 1.0)
"""


def test_weights_that_are_no_numbers_never_replace_the_last_good_checkpoint(
    run: Any, taught: Any, tmp_path: Path
) -> None:
    import torch

    (tmp_path / "own" / "scheduler").mkdir(parents=True)
    (tmp_path / "own" / "scheduler" / "poison.yaml").write_text(
        "_target_: poison_schedule.poison\n_partial_: true\nafter: 5\n"
    )
    (tmp_path / "poison_schedule.py").write_text(POISON)
    store = tmp_path / "store"
    shutil.copytree(taught.store, store)
    # Step 6 is the first with an infinite rate; a checkpoint is due before any loss could show it.
    command = ["train.py", "--config-dir", str(tmp_path / "own"), *taught.command[1:], "scheduler=poison",
               "callbacks.checkpoint.every_n_train_steps=2"]
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = run(*command, cwd=tmp_path, store=store, env={"PYTHONPATH": path})
    assert ran.code == 1, ran.err
    assert "no numbers any more after step 6, learning rate" in ran.summary["why"]
    assert "the checkpoint saved before it is kept" in ran.summary["why"]
    assert "Traceback" not in ran.err + ran.out
    (last,) = store.glob("work/*/checkpoints/last.ckpt")
    kept = torch.load(last, weights_only=True)
    assert kept["global_step"] == 4
    assert all(bool(value.isfinite().all()) for value in kept["state_dict"].values())
    assert len(list(store.glob("artifacts/pretrain/*"))) == len(list(taught.store.glob("artifacts/pretrain/*")))


@pytest.mark.long
def test_the_ablation_of_the_triple_loss_is_a_table(run: Any, taught: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(taught.store, store)
    command = ["train.py", "-m", *taught.command[1:], "trainer.max_steps=2", "sweep=loss_ablation"]
    ran = run(*command, cwd=tmp_path, store=store).ok()
    assert ran.summary["done"] == 6
    assert ran.computed == ["pretrain"] * 6
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in ran.out.splitlines() if line.startswith("|")]
    head, rows = lines[0], {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}
    assert head[0] == "removed"
    assert list(rows) == [
        "nothing removed", "− L_ce (soft targets)", "− L_mlm (masked tokens)", "− L_cos (hidden states)",
        "triple loss + random initialisation", "− L_ce (soft targets) − L_cos (hidden states): masked tokens alone",
    ]
    published = dict(zip(list(rows)[1:], ["−2.96", "−0.31", "−1.46", "−3.69"], strict=False))
    for name, row in rows.items():
        assert row["paper: Δ GLUE points"] == published.get(name, ""), name
        assert all(row[column] for column in head if column != "paper: Δ GLUE points"), row
    facts = {json.loads((p / "artifact.json").read_text())["fingerprint"]: json.loads((p / "artifact.json").read_text())
             for p in store.glob("artifacts/pretrain/*")}
    cells = [json.loads((Path(ran.summary["folder"]) / str(i) / "cell.json").read_text()) for i in range(6)]
    losses = [facts[c["fingerprint"]]["facts"]["validation"]["mlm_loss"] for c in cells]
    assert len(set(losses)) == 6
    for name, loss in zip(rows, losses, strict=True):
        assert rows[name]["MLM loss"].endswith(f"→ {loss:.4f}")
        assert rows[name]["Δ MLM loss"] == f"{loss - losses[0]:+.4f}"
    again = run(*command, cwd=tmp_path, store=store).ok()
    assert (again.computed, again.summary["cached"]) == ([], 6)
    for name in ("table.md", "results.csv"):
        assert (Path(again.summary["folder"]) / name).read_bytes() == (Path(ran.summary["folder"]) / name).read_bytes()
