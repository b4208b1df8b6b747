"""SIGKILL at any moment costs time, never a result: the next run goes on, and nothing is left over."""

import json
import os
import resource
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

LOOSE = ["compression.quantization.max_rms=10", "compression.quantization.min_agreement=0"]
# Checkpoints every quarter of an epoch; long enough to be killed in the middle, short enough to finish.
LONG = [
    "task.generator.train=400",
    "trainer.max_epochs=4",
    "loader.batch_size=8",
    "~callbacks.early_stopping",
    # The weights that are kept are those of the end: the best by score may be older than the kill.
    "callbacks.checkpoint.monitor=step",
]


def _gone(pid: int) -> bool:
    """No such process, or one that has ended and waits for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _wait_for_end(pids: list[int], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not all(_gone(p) for p in pids):
        assert time.monotonic() < end, f"still alive after {seconds} s: {[p for p in pids if not _gone(p)]}"
        time.sleep(0.02)


def _leftovers(store: Path) -> list[str]:
    return [p.name for folder in ("work", "failures") for p in (store / folder).glob("*")]


def _weights(store: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(next(store.glob("artifacts/train/*/model.safetensors")))


@pytest.fixture(scope="module")
def command(tiny: list[str]) -> list[str]:
    """A training with dropout and shuffled texts."""
    return ["train.py", *tiny, *LONG]


@pytest.fixture(scope="module")
def untouched(command: list[str], run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same training without any fault: its run and its ``weights``."""
    root = tmp_path_factory.mktemp("untouched")
    ran = run(*command, cwd=root, store=root / "store").ok()
    assert "resuming" not in ran.err
    return SimpleNamespace(run=ran, weights=_weights(root / "store"))


def _assert_same_weights(found: dict[str, Any], expected: dict[str, Any]) -> None:
    import numpy as np

    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def _kill_parent(script: Any, store: Path) -> None:
    script.until(lambda: list(store.glob("work/*/checkpoints/last.ckpt")), "a checkpoint")
    children = script.kill()
    assert len(children) == 1
    _wait_for_end(children)
    assert not list(store.glob("artifacts/train/*"))
    assert list(store.glob("work/*/checkpoints/last.ckpt"))


def _kill_child(script: Any, store: Path) -> None:
    script.until(lambda: "resuming from step" in script.err, "a resumed run")
    os.kill(script.children()[0], signal.SIGKILL)
    ran = script.end()
    assert ran.code == 1
    assert ran.summary["status"] == "failed"
    assert "SIGKILL" in ran.summary["why"]
    assert "Traceback" not in ran.err + ran.out
    notes = [json.loads(p.read_text()) for p in (store / "failures").iterdir()]
    assert ["SIGKILL" in n["message"] for n in notes] == [True]
    assert list(store.glob("work/*/checkpoints/last.ckpt")), "the checkpoint is gone"


def _ended_as_untouched(ran: Any, store: Path, untouched: Any) -> None:
    assert "resuming from step" in ran.err
    assert ran.summary["facts"]["validation"] == untouched.run.summary["facts"]["validation"]
    _assert_same_weights(_weights(store), untouched.weights)
    assert _leftovers(store) == []


def test_training_killed_twice_ends_where_an_untouched_one_does(
    command: list[str], untouched: Any, start: Any, run: Any, artifacts: Any, tmp_path: Path
) -> None:
    store = tmp_path / "killed"
    _kill_parent(start(*command, cwd=tmp_path / "first", store=store), store)
    _kill_child(start(*command, cwd=tmp_path / "second", store=store), store)

    ran = run(*command, cwd=tmp_path / "third", store=store).ok()
    assert ran.computed == ["train"]
    assert ran.summary["facts"]["steps"] == 4 * 48
    assert {step: len(found) for step, found in artifacts(store).items()} == {"train": 1}
    _ended_as_untouched(ran, store, untouched)


def _stop(script: Any, store: Path) -> None:
    """SIGTERM to the script, as schedulers send it, in the middle of an epoch's batches."""
    script.until(lambda: list(store.glob("work/*/progress.json")), "progress")
    script.process.send_signal(signal.SIGTERM)
    ran = script.end()
    assert ran.code == 75, ran.err
    assert ran.err.splitlines()[-1].startswith("stopped by SIGTERM in train (")
    assert "(exit code 75)" in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err + ran.out
    assert not list(store.glob("failures/*")), "asking for the machine is no failure"
    assert list(store.glob("work/*/checkpoints/last.ckpt"))


def _fill(script: Any, store: Path) -> None:
    """No file of the step may grow beyond a few kB from now on: the next checkpoint does not fit."""
    script.until(lambda: "resuming from step" in script.err, "a resumed run")
    (kept,) = store.glob("work/*/checkpoints/last.ckpt")
    before = kept.read_bytes()
    resource.prlimit(script.children()[0], resource.RLIMIT_FSIZE, (20_000, 20_000))
    ran = script.end()
    assert ran.code == 1
    assert "a checkpoint of 0.4 MB could not be written" in ran.summary["why"]
    assert kept.read_bytes() == before
    assert [p.name for p in kept.parent.glob(".*")] == []


@pytest.mark.long
def test_stopped_then_out_of_disk_it_ends_where_an_untouched_one_does(
    command: list[str], untouched: Any, start: Any, run: Any, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    _stop(start(*command, cwd=tmp_path / "first", store=store), store)
    _fill(start(*command, cwd=tmp_path / "second", store=store), store)
    _ended_as_untouched(run(*command, cwd=tmp_path / "third", store=store).ok(), store, untouched)


@pytest.mark.long
@pytest.mark.parametrize(("code", "name"), [(75, "SIGTERM"), (130, "Ctrl-C")])
def test_a_stopped_sweep_begins_no_other_cell(
    command: list[str], start: Any, run: Any, tmp_path: Path, code: int, name: str
) -> None:
    store = tmp_path / "store"

    def as_a_terminal_does() -> None:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    script = start(
        command[0], "-m", *command[1:], "seed=1,2", cwd=tmp_path / "first", store=store, before=as_a_terminal_does
    )
    script.until(lambda: list(store.glob("work/*/progress.json")), "progress")
    # Ctrl-C goes to every process of a terminal, what schedulers send to the command alone.
    if name == "Ctrl-C":
        os.killpg(script.process.pid, signal.SIGINT)
    else:
        script.process.send_signal(signal.SIGTERM)
    ran = script.end()
    assert ran.code == code
    assert ran.err.splitlines()[-1].startswith(f"stopped by {name} in train (")
    assert "Traceback" not in ran.err
    (folder,) = (tmp_path / "first").glob("multirun/*/*")
    assert not list(folder.glob("*/cell.json"))
    assert not (folder / "1").exists()
    again = run(command[0], "-m", *command[1:], "seed=1,2", cwd=tmp_path / "second", store=store).ok()
    assert again.err.count("resuming from step") == 1
    assert again.summary["done"] == 2


@pytest.mark.long
def test_masking_and_accumulation_killed_at_any_step_end_as_if_untouched(
    models: dict[str, Path], start: Any, run: Any, tmp_path: Path
) -> None:
    """Pre-training: masks drawn anew each epoch, dropout, three batches a step; killed, then stopped."""
    from safetensors.numpy import load_file

    from edgedistil.tasks.generated import generate

    for split, seed in (("train", 1), ("validation", 2)):
        lines = generate("train", "reviews", 600, 100, seed, 0.0)["sentence"]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    command = [
        "train.py", "objective=masked_language_modelling", "task=texts", f"task.train={tmp_path / 'train.txt'}",
        f"task.validation={tmp_path / 'validation.txt'}", "task.max_length=32", "task.drop_up_to=2", "model=folder",
        f"model.location={models['distilbert_encoder']}", "optimizer=distilbert", "scheduler=distilbert",
        "callbacks=last", "callbacks.checkpoint.every_n_train_steps=20", "trainer=distilbert", "loader.batch_size=4",
        "trainer.accumulate_grad_batches=3", "trainer.max_epochs=4",
    ]  # fmt: skip
    store = tmp_path / "store"
    script = start(*command, cwd=tmp_path / "first", store=store)
    script.until(lambda: list(store.glob("work/*/checkpoints/last.ckpt")), "a checkpoint")
    _wait_for_end(script.kill())
    script = start(*command, cwd=tmp_path / "second", store=store)
    script.until(lambda: "resuming from step" in script.err, "a resumed run")
    script.process.send_signal(signal.SIGTERM)
    assert script.end().code == 75
    ran = run(*command, cwd=tmp_path / "third", store=store).ok()
    assert "resuming from step" in ran.err
    calm = run(*command, cwd=tmp_path / "fourth", store=tmp_path / "untouched").ok()
    learnt, expected = ({k: v for k, v in r.summary["facts"].items() if not k.endswith("_per_s")} for r in (ran, calm))
    assert learnt == expected
    (folder,), (other,) = store.glob("artifacts/pretrain/*"), (tmp_path / "untouched").glob("artifacts/pretrain/*")
    _assert_same_weights(load_file(folder / "model.safetensors"), load_file(other / "model.safetensors"))


@pytest.mark.long
@pytest.mark.parametrize("group", ["recovery", "qat"])
def test_a_training_by_the_parent_killed_half_way_ends_where_an_untouched_one_does(
    group: str, copied: Path, tmp_path: Path, start: Any, run: Any, tiny: list[str]
) -> None:
    """Recovery with the parent along, and quantisation-aware training from its cached answers."""
    import shutil

    import numpy as np
    from safetensors.numpy import load_file

    step = {"recovery": "recover", "qat": "qat"}[group]
    parts = {"recovery": "compression/pruning=structured", "qat": "compression/quantization=int8_dynamic"}
    command = ["compress.py", *tiny, *LOOSE, parts[group], f"compression/{group}=distillation",
               f"compression.{group}.steps=400", f"compression.{group}.batch_size=8"]  # fmt: skip
    untouched = tmp_path / "untouched"
    shutil.copytree(copied, untouched)
    script = start(*command, cwd=tmp_path / "first", store=copied)
    script.until(lambda: list(copied.glob("work/*/checkpoints/last.ckpt")), "a checkpoint")
    _wait_for_end(script.kill())
    assert not list(copied.glob(f"artifacts/{step}/*")), "too late to prove anything"

    ran = run(*command, cwd=tmp_path / "second", store=copied).ok()
    assert "resuming from step" in ran.err
    assert "resuming" not in run(*command, cwd=tmp_path / "third", store=untouched).ok().err
    facts, weights = [], []
    for store in (copied, untouched):
        (folder,) = store.glob(f"artifacts/{step}/*")
        facts.append(json.loads((folder / "artifact.json").read_text())["facts"])
        weights.append(load_file(folder / "model.safetensors"))
    assert facts[0]["steps"] == facts[1]["steps"] == 400
    assert facts[0]["held_out"] == facts[1]["held_out"]
    for name, value in weights[1].items():
        np.testing.assert_array_equal(weights[0][name], value, err_msg=name)


def _kill_in(step: str, script: Any) -> None:
    """Kill the script once the child of ``step`` is there, and its worker where it has one."""
    processes = 2 if step in ("predict", "bench") else 1
    script.until(lambda: f" - {step}: " in script.out and len(script.children()) >= processes, step)
    _wait_for_end(script.kill())


@pytest.mark.long
def test_later_steps_killed_one_after_another(
    copied: Path, tmp_path: Path, start: Any, run: Any, tiny: list[str], rapid: list[str], artifacts: Any
) -> None:
    chosen = ["compression/pruning=structured", "compression/recovery=distillation", "compression.recovery.steps=4"]
    command = ["bench.py", *tiny, *rapid, *chosen, "compression/quantization=int8_dynamic"]
    for step in ("prune", "recover", "export", "predict", "bench"):
        _kill_in(step, start(*command, cwd=tmp_path / step, store=copied))
        # The step that was killed left its work, the one before has cleaned up.
        assert len(list((copied / "work").iterdir())) == 1, step
    ran = run(*command, cwd=tmp_path / "last", store=copied).ok()
    assert ran.summary["status"] == "done"
    found = artifacts(copied)
    found.pop("report")
    assert {name: len(keys) for name, keys in found.items()} == {
        "train": 1, "prune": 1, "recover": 1, "export": 2, "predict": 2, "bench": 1,
    }
    assert _leftovers(copied) == []


@pytest.mark.long
def test_tokenising_killed_half_way_goes_on_after_its_finished_chunks(
    models: dict[str, Path], start: Any, run: Any, tmp_path: Path
) -> None:
    from edgedistil.tasks.generated import generate

    lines = generate("train", "reviews", 400, 100, 1, 0.0)["sentence"]
    (tmp_path / "train.txt").write_text("".join(f"{line}\n" for _ in range(600) for line in lines))
    (tmp_path / "validation.txt").write_text("".join(f"{line}\n" for line in lines[:50]))
    command = [
        "train.py", "objective=masked_language_modelling", "task=texts", f"task.data_dir={tmp_path}",
        "task.max_length=16", "task.drop_up_to=4", "model=folder", f"model.location={models['distilbert_encoder']}",
        "callbacks=last", "trainer=distilbert", "trainer.max_epochs=-1", "trainer.max_steps=1",
        "trainer.accumulate_grad_batches=1", "store.threads=2",
    ]  # fmt: skip
    killed, untouched = tmp_path / "killed", tmp_path / "untouched"
    script = start(*command, cwd=tmp_path / "first", store=killed)
    script.until(lambda: len(list(killed.glob("work/*/chunks/*.npz"))) > 5, "some chunks")
    children = script.children()
    os.kill(children[0], signal.SIGKILL)
    assert script.end().summary["why"].endswith("the kernel may have been out of memory)")
    # The processes that tokenise end with the step.
    _wait_for_end(children)
    assert not list(killed.glob("artifacts/*/*")), "something half-made was published"
    chunks = {p.name: p.stat().st_mtime_ns for p in killed.glob("work/*/chunks/*.npz")}
    assert 5 < len(chunks) < 240_000 // 4096, "the kill came too late to prove anything"

    ran = run(*command, cwd=tmp_path / "second", store=killed).ok()
    assert f"going on after {len(chunks)} finished chunks of a run that was stopped" in ran.err
    assert "going on" not in run(*command, cwd=tmp_path / "third", store=untouched).ok().err
    for name in ("ids.npy", "offsets.npy", "counts.npy"):
        expected = {p.parent.name: p.read_bytes() for p in untouched.glob(f"artifacts/corpus/*/{name}")}
        assert {p.parent.name: p.read_bytes() for p in killed.glob(f"artifacts/corpus/*/{name}")} == expected
        assert len(expected) == 2
    assert _leftovers(killed) == []


def test_a_sweep_tells_how_far_it_is_and_when_it_was_killed(
    tiny: list[str], start: Any, run: Any, tmp_path: Path
) -> None:
    from edgedistil.reporting.status import read_sweep

    store = tmp_path / "store"
    script = start("train.py", "-m", *tiny, *LONG, "seed=1,2", cwd=tmp_path, store=store)
    script.until(lambda: list(store.glob("work/*/progress.json")), "progress")
    (folder,) = tmp_path.glob("multirun/*/*")
    sweep = read_sweep(folder)
    assert [job.state for job in sweep.jobs] == ["running", "queued"]
    now = sweep.jobs[0].now
    assert now is not None
    assert (now.step, now.waits) == ("train", None)
    assert now.told is not None
    assert (now.told["total"], now.told["unit"]) == (4 * 48, "steps")
    _wait_for_end(script.kill())
    said = run("-m", "edgedistil", "status", cwd=tmp_path, store=store).ok().out
    assert f"{folder.relative_to(tmp_path)}: interrupted, 2 cells: 1 never begun, 1 interrupted" in said
    assert "2 of 2 cells are left" in said
    assert " -m " in said.splitlines()[-1]
    assert "seed=1,2" in said.splitlines()[-1]
