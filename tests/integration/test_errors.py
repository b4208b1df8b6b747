"""Bad input: one line on standard error, exit code 2, at once, and nothing is left behind."""

import json
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 2.0


def _fast(run: Any, *command: str, **places: Any) -> Any:
    """The faster of at most two runs, because this machine may be busy."""
    first = run(*command, **places)
    if first.seconds < LIMIT_S:
        return first
    second = run(*command, **places)
    return min(first, second, key=lambda r: r.seconds)


def _one_line(ran: Any) -> str:
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert ran.code == 2, (ran.code, ran.out, ran.err)
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: "), ran.err
    assert "Traceback" not in ran.err + ran.out
    return str(lines[0])


WRONG = {
    "unknown option": (["train.py", "task.limit_trian=3"], ["limit_trian", "did you mean 'limit_train'?"]),
    "unknown third-party option": (["train.py", "optimizer.learning_rate=1"], ["learning_rate", "weight_decay"]),
    "wrong type": (["train.py", "task.max_length=abc"], ["task.max_length", "'abc'", "Integer"]),
    "wrong type of a list": (["bench.py", "measurement.lengths=short"], ["measurement.lengths", "short"]),
    "unknown choice of a group": (["bench.py", "compression=nope"], ["compression/nope", "structured_50", "int8"]),
    "unknown task": (["train.py", "task=nope"], ["task/nope", "sst2", "reviews", "files"]),
    "unknown method": (
        ["compress.py", "compression.quantization.method=int9"],
        ["compression.quantization.method", "int9", "int8_dynamic"],
    ),
    "unknown group of options": (["train.py", "compression=int8"], ["compression"]),
    "broken override": (["train.py", "task.max_length=["], ["'['"]),
    "no override": (["train.py", "nonsense"], ["nonsense"]),
    "missing data file": (
        ["train.py", "task=files", "task.train=no.csv", "task.validation=no.csv"],
        ["task.train", "no.csv"],
    ),
    "no data file given": (["train.py", "task=files"], ["task.validation=FILE"]),
    "data of an unknown kind": (
        ["train.py", "task=files", "task.train=a.xlsx", "task.validation=a.xlsx"],
        ["a.xlsx", ".csv"],
    ),
    "missing data folder": (
        ["train.py", "task=sst2", "task.data_dir=nowhere"],
        ["task.data_dir", "nowhere", "train.parquet"],
    ),
    "ratio out of range": (
        ["compress.py", "compression=structured_50", "compression.pruning.ratio=1.5"],
        ["compression.pruning.ratio=1.5", "at least 0", "below 1"],
    ),
    "rank that is none": (
        ["compress.py", "compression/embeddings=low_rank", "compression.embeddings.rank=0"],
        ["compression.embeddings.rank=0", "at least 1"],
    ),
    "copies without any": (
        ["compress.py", "compression=structured_50", "compression.recovery.augmentation=true"],
        ["compression.recovery.augmentation=true", "augmentation=embedding_neighbours"],
    ),
    "hidden states that the file lacks": (
        ["compress.py","compression=int4", "compression/qat=distillation", "compression.qat.objective.hidden_weight=1"],
        ["compression.qat.objective.hidden_weight=1", "compares logits"],
    ),
    "seed that is no integer": (["train.py", "seed=abc"], ["seed='abc'", "seed=42"]),
    "hub model without revision": (
        ["train.py", "model=distilbert", "model.revision=null"],
        ["model.revision", "distilbert"],
    ),
    "model folder that is not there": (
        ["train.py", "model.origin=folder", "model.location=nowhere"],
        ["model.location='nowhere'", "folder"],
    ),
    "no model location": (["train.py", "model.origin=folder", "model.location=???"], ["model.location"]),
    "sweep that is not there": (["bench.py", "sweep=nope"], ["sweep/nope", "demo"]),
    "store that can't be made": (["train.py", "store.root=/proc/none"], ["/proc/none", "EDGEDISTIL_STORE"]),
}


@pytest.mark.parametrize(("command", "needles"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_one_line_at_once(run: Any, tmp_path: Path, command: list[str], needles: list[str]) -> None:
    cwd = tmp_path / "cwd"
    ran = _fast(run, *command, cwd=cwd, store=tmp_path / "store")
    line = _one_line(ran)
    for needle in needles:
        assert needle in line
    assert list(cwd.iterdir()) == []
    assert ran.seconds < LIMIT_S


@pytest.mark.parametrize("name", ["pytorch_model.bin", "nothing"])
def test_folder_without_safetensors(run: Any, models: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text((models["bert"] / "config.json").read_text())
    (folder / "tokenizer.json").write_text((models["bert"] / "tokenizer.json").read_text())
    if name != "nothing":
        (folder / name).write_bytes(b"\x80\x04.")
    cwd = tmp_path / "cwd"
    ran = _fast(
        run, "bench.py", "model.origin=folder", f"model.location={folder}", cwd=cwd, store=tmp_path / "store"
    )
    line = _one_line(ran)
    assert "save_pretrained" in line
    assert (name if name != "nothing" else "model.safetensors missing") in line
    assert list(cwd.iterdir()) == []
    assert ran.seconds < LIMIT_S


def test_unsupported_architecture(run: Any, models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "gpt"
    folder.mkdir()
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).write_bytes((models["bert"] / name).read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    ran = _fast(
        run, "train.py", "model.origin=folder", f"model.location={folder}", cwd=tmp_path / "cwd", store=tmp_path / "s"
    )
    line = _one_line(ran)
    assert "gpt2" in line
    assert "distilbert" in line
    assert ran.seconds < LIMIT_S


@pytest.mark.parametrize("command", [["task.limit_trian=3"], ["compression=nope,int8"]])
def test_sweep_that_can_not_be_composed_leaves_nothing(run: Any, tmp_path: Path, command: list[str]) -> None:
    cwd = tmp_path / "cwd"
    _one_line(run("bench.py", "-m", *command, cwd=cwd, store=tmp_path / "store"))
    assert [p for p in cwd.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("script", ["train.py", "compress.py", "bench.py"])
def test_help_is_quick(run: Any, tmp_path: Path, script: str) -> None:
    ran = _fast(run, script, "--help", cwd=tmp_path / "cwd", store=tmp_path / "store")
    assert ran.code == 0
    assert ran.err == ""
    assert "compression" in ran.out or script == "train.py"
    assert "reviews" in ran.out
    assert list((tmp_path / "cwd").iterdir()) == []
    assert ran.seconds < LIMIT_S


@pytest.mark.parametrize("command", [["--help"], ["plan=true"]])
def test_parent_never_imports_torch(run: Any, tiny: list[str], tmp_path: Path, command: list[str]) -> None:
    model = [] if command == ["--help"] else [*tiny, "measurement.lengths=[16]"]
    program = ["-X", "importtime", "bench.py", *command, *model]
    ran = run(*program, cwd=tmp_path / "cwd", store=tmp_path / "store").ok()
    imported = {line.rsplit("|", 1)[-1].strip() for line in ran.err.splitlines() if line.startswith("import time:")}
    assert "hydra" in imported
    assert not {"torch", "numpy", "transformers", "lightning", "onnxruntime", "pandas"} & imported


def test_wrong_key_of_a_third_party_class(
    run: Any, tiny: list[str], tmp_path: Path, children_noted: Any, artifacts: Any
) -> None:
    environment, children = children_noted
    store, cwd = tmp_path / "store", tmp_path / "cwd"
    ran = run("train.py", *tiny, "+optimizer.learning_rate=1", cwd=cwd, store=store, env=environment)
    line = _one_line(ran)
    assert "optimizer.learning_rate" in line
    assert "torch.optim.AdamW" in line
    assert "weight_decay" in line
    assert ran.seconds < 20
    # The control of test_second_run_computes_nothing too: the sentinel sees the one child.
    assert len(children()) == 1
    assert list(cwd.iterdir()) == []
    assert artifacts(store) == {}


def test_wrong_input_found_by_a_step_leaves_no_work(run: Any, models: dict[str, Path], tmp_path: Path) -> None:
    csv = tmp_path / "dev.csv"
    csv.write_text("text,label\na film,good\na plot,negative\n")
    command = ["model.origin=folder", f"model.location={models['bert']}", "task=files", f"task.validation={csv}"]
    ran = run("compress.py", *command, cwd=tmp_path / "cwd", store=tmp_path / "store")
    line = _one_line(ran)
    assert "row 1" in line
    assert "'good'" in line
    assert "negative, positive" in line
    assert list((tmp_path / "cwd").iterdir()) == []
    assert list((tmp_path / "store" / "work").iterdir()) == []


def test_full_error_is_there_for_those_who_ask(run: Any, tmp_path: Path) -> None:
    ran = run("train.py", "task.limit_trian=3", cwd=tmp_path, store=tmp_path / "s", env={"HYDRA_FULL_ERROR": "1"})
    assert ran.code != 0
    assert "Traceback" in ran.err
