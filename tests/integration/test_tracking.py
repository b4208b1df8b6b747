"""W&B without an account: what is kept on disk, what a server gets of it; and an absent server changes nothing."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loopback_wandb import KEY, LoopbackWandb, Run, loopback_wandb
from wandb_logs import kept

from edgedistil.reporting import wandb_session

TRAINING = [
    "task.generator.train=300", "trainer.max_epochs=2", "loader.batch_size=8", "~callbacks.early_stopping",
    "callbacks.checkpoint.monitor=step", "trainer.log_every_n_steps=1",
]  # fmt: skip
STEPS = 2 * 36
# Two of the six cells of the fixture ``swept``.
CELLS = ["compression/pruning=none", "compression/quantization=none,int8_dynamic"]


def somebody(home: Path, **more: str) -> dict[str, str]:
    """The environment of somebody without an account, with nothing of who runs the tests."""
    home.mkdir(parents=True, exist_ok=True)
    places = {f"WANDB_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "CACHE", "DATA")}
    return {**places, "HOME": str(home), "NETRC": str(home / "netrc"), **more}


def sync(server: LoopbackWandb, home: Path, folders: list[Path]) -> None:
    """``wandb sync FOLDER...``."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    env |= somebody(home, **server.environment())
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, folders)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of this file are run by somebody without an account."""
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture(scope="module")
def training(root: Path, tiny: list[str], run: Any) -> Any:
    """A training that was killed, and run again by somebody whose server fails: what the killed one ``said``, the run
    ``again``, its ``store`` and ``folder``."""
    from conftest import Started

    command = ["train.py", *tiny, *TRAINING, "logger=[wandb,tensorboard]", "logger.wandb.wait_s=2"]
    store = root / "store"
    killed = Started(command, root, store, somebody(root / "home"))
    try:
        killed.until(lambda: list(store.glob("work/*/checkpoints/last.ckpt")), "a checkpoint")
        # Past the checkpoint, so that something is done twice.
        time.sleep(0.3)
        killed.kill()
    finally:
        killed.close()
    assert not list(store.glob("artifacts/train/*"))
    with loopback_wandb() as failing:
        failing.mood = "failing"
        again = run(*command, cwd=root, store=store, env=somebody(root / "home", **failing.environment())).ok()
        assert failing.asked
    assert "resuming from step" in again.err
    folder = Path(again.summary["folder"])
    return SimpleNamespace(said=killed.out + killed.err, again=again, store=store, folder=folder)


@pytest.fixture(scope="module")
def sweep(root: Path, training: Any, swept: Any, run: Any) -> Any:
    """Cells that were measured before, read with W&B: the run ``read``, its ``folder``, ``store`` and ``command``."""
    store = root / "swept"
    shutil.copytree(swept.store, store)
    overrides = [o for o in swept.overrides if not o.startswith(("compression/pruning", "compression/quantization"))]
    command = ["bench.py", *overrides, *CELLS, "logger=wandb", "logger.wandb.project=matrices"]
    read = run(*command, cwd=root, store=store, env=somebody(root / "home")).ok()
    return SimpleNamespace(read=read, folder=Path(read.summary["folder"]), store=store, command=command)


@pytest.fixture(scope="module")
def server(root: Path, training: Any, sweep: Any) -> Iterator[LoopbackWandb]:
    """A server that got everything by ``wandb sync``."""
    with loopback_wandb() as here:
        runs = kept(root)
        # Parts of one run, of which some were begun with an entity and some without, must not be sent at once.
        for part in [k.folder for k in runs if k.run.project == "edgedistil"]:
            sync(here, root / "home", [part])
        sync(here, root / "home", [k.folder for k in runs if k.run.project == "matrices"])
        yield here


def _of(server: LoopbackWandb, project: str) -> list[Run]:
    return [run for run in server.runs.values() if run.project == project]


def test_without_an_account_one_line_says_where_the_runs_are(root: Path, training: Any, sweep: Any) -> None:
    for told in (training.said, sweep.read.out + sweep.read.err):
        assert told.count("W&B:") == 1
        assert "no account found" in told
        assert f"`{wandb_session.upload_command(str(root / 'wandb'))}`" in told
        assert "wandb: " not in told


def test_a_server_that_fails_costs_one_line(root: Path, training: Any) -> None:
    told = training.again.out + training.again.err
    assert told.count("W&B:") == 1
    assert "gave no answer" in told
    assert "HTTP 500" in told
    assert f"`{wandb_session.upload_command(str(root / 'wandb'))}`" in told
    assert not [line for line in told.splitlines() if line.startswith("wandb: ")]
    assert "Traceback" not in told


def test_the_files_hold_both_parts_of_a_killed_training_under_one_id(root: Path, training: Any) -> None:
    first, second, final = (k for k in kept(root) if k.run.project == "edgedistil")
    assert {k.run.run_id for k in (first, second, final)} == {training.folder.name[:32]}
    assert {(k.run.job_type, k.run.display_name) for k in (first, second, final)} == {
        ("train", "distilbert_encoder on reviews")
    }
    assert list(first.run.tags) == ["distilbert_encoder", "reviews"]
    assert (first.of("exit"), [e.exit_code for e in second.of("exit")]) == ([], [0])
    one, other = ([h["trainer/global_step"] for h in k.history if "train/loss" in h] for k in (first, second))
    assert one == list(range(len(one)))
    assert other == list(range(other[0], STEPS))
    assert 0 < other[0] <= len(one)
    assert final.summary["validation/n"] == 80
    assert first.config["optimizer"]["lr"] == second.config["optimizer"]["lr"] == 5e-5


def test_a_killed_training_is_one_run_with_its_whole_history(training: Any, server: LoopbackWandb) -> None:
    (run,) = _of(server, "edgedistil")
    steps = [h["trainer/global_step"] for h in run.history if "train/loss" in h]
    assert set(steps) == set(range(STEPS))
    assert [h["_step"] for h in run.history] == list(range(len(run.history)))
    losses: dict[int, set[float]] = {}
    for h in run.history:
        if "train/loss" in h:
            losses.setdefault(h["trainer/global_step"], set()).add(h["train/loss"])
    # What was done twice, from the last checkpoint on, came out the same.
    assert all(len(found) == 1 for found in losses.values())
    assert run.config["trainer"]["max_epochs"] == 2
    assert run.summary["validation/n"] == 80
    assert run.summary["trainer/global_step"] == STEPS - 1
    assert any(k.startswith("system.") for h in run.system for k in h)
    assert run.ended[-1] == 0


def test_a_server_gets_one_run_a_step_and_a_cell(sweep: Any, server: LoopbackWandb) -> None:
    runs = {r.name: r for r in _of(server, "matrices")}
    assert sorted(r.last("jobType") for r in runs.values()) == [
        "bench", "bench", "export", "export", "predict", "predict", "report", "train",
    ]  # fmt: skip
    assert {r.last("groupName") for r in runs.values()} == {f"{sweep.folder.parent.name}_{sweep.folder.name}"}
    cells = [r for r in runs.values() if r.last("jobType") == "bench"]
    for cell in cells:
        record = json.loads(next(sweep.store.glob(f"artifacts/bench/{cell.name}*/record.json")).read_text())
        names = record["names"]
        assert cell.last("displayName") == " · ".join(names[k] for k in ("model", "task", "compression", "device"))
        compression, precision = names["compression"].split(" · ")
        assert cell.last("tags") == [names["model"], names["task"], compression, precision, "cpu"]
        assert cell.config["seed"] == record["seed"] == 42
        assert cell.config["compression"] == record["compression"]
        assert cell.summary["quality/accuracy"] == record["quality"]["accuracy"]
        assert cell.summary["judged/score"] == pytest.approx(100 * record["quality"]["accuracy"])
        assert cell.summary["judged/by"] == "accuracy %"
        assert cell.summary["size/model_mb"] == record["size"]["model_mb"]
        assert cell.ended == [0]
    assert sorted(cell.last("tags")[3] for cell in cells) == ["FP32", "INT8"]
    assert server.unknown == []


def test_the_report_is_a_run_with_the_matrix_and_its_charts(sweep: Any, server: LoopbackWandb) -> None:
    (report,) = server.of_type("report")
    with open(sweep.folder / "results.csv", newline="") as stream:
        expected = list(csv.DictReader(stream))
    matrix = _table(report, "matrix")
    assert [r["fingerprint"] for r in matrix] == [r["fingerprint"] for r in expected]
    assert [r["accuracy"] for r in matrix] == [float(r["accuracy"]) for r in expected]
    assert sorted(report.charts) == ["pareto/latency", "pareto/size"]
    for cost, column in (("latency", "tokens_32_latency_ms_p50"), ("size", "size_model_mb")):
        settings = report.charts[f"pareto/{cost}"]["panel_config"]
        assert settings["panelDefId"] == "wandb/scatter/v0"
        assert settings["fieldSettings"] == {"x": column, "y": "score"}
        points = _table(report, f"pareto/{cost}_table")
        assert [p[column] for p in points] == sorted(float(r[column]) for r in expected)
    assert (report.summary["cells"], report.summary["done"]) == (2, 2)


def _table(run: Run, key: str) -> list[dict[str, Any]]:
    found = json.loads(run.files[next(h for h in run.history if key in h)[key]["path"]])
    return [dict(zip(found["columns"], line, strict=True)) for line in found["data"]]


def test_artifacts_lead_from_the_model_to_the_record_and_the_report(sweep: Any, server: LoopbackWandb) -> None:
    here = [a for a in server.artifacts if a.told["projectName"] == "matrices"]
    assert all(a.committed for a in here)
    found = {(a.metadata["step"], a.metadata["fingerprint"]): a for a in here if a.type in ("model", "record")}
    assert sorted(step for step, _ in found) == ["bench", "bench", "export", "export", "train"]
    edges = 0
    for (step, key), artifact in found.items():
        # Runs are synced in any order, and one that takes an artifact may say first that it is there.
        assert artifact.by in (key[:32], None)
        manifest = json.loads((sweep.store / "artifacts" / step / key / "artifact.json").read_text())
        for source in manifest["inputs"].values():
            if taken := found.get((source["step"], source["fingerprint"])):
                assert key[:32] in taken.used_by
                edges += 1
    assert edges >= 6
    (report,) = (a for a in here if a.type == "report")
    assert set(report.files) >= {"results.csv", "table.md"}
    assert all(report.by in a.used_by for (step, _), a in found.items() if step == "bench")


def test_of_models_only_names_sizes_and_digests_are_sent(sweep: Any, server: LoopbackWandb) -> None:
    here = [a for a in server.artifacts if a.told["projectName"] == "matrices"]
    (model,) = (a for a in here if a.metadata.get("step") == "train")
    weights = next(sweep.store.glob("artifacts/train/*")) / "model.safetensors"
    assert model.entries["model.safetensors"]["ref"] == weights.as_uri()
    assert model.entries["model.safetensors"]["size"] == weights.stat().st_size
    assert model.files == {}


@pytest.mark.long
def test_a_sweep_that_is_read_again_makes_no_run(root: Path, sweep: Any, run: Any) -> None:
    before = len(kept(root))
    command = [*sweep.command, f"hydra.sweep.dir={sweep.folder}"]
    run(*command, cwd=root, store=sweep.store, env=somebody(root / "home")).ok()
    assert len(kept(root)) == before


def test_tensorboard_has_the_curves_too(training: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps: list[int] = []
    for folder in sorted({p.parent for p in (training.folder / "logs").rglob("events*")}):
        steps += [e.step for e in EventAccumulator(str(folder)).Reload().Scalars("train/loss")]
    assert set(steps) == set(range(STEPS))
    assert list(training.folder.glob("logs/*/metrics.csv"))


def test_no_key_is_written_anywhere(root: Path, server: LoopbackWandb) -> None:
    # So that a search that finds none can be believed.
    planted = root / "planted.txt"
    planted.write_text(KEY)
    assert [p for p in root.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()] == [planted]
    assert not any(KEY.encode() in body for body in server.bodies)


@pytest.mark.parametrize("times", [pytest.param(1, id="once"), pytest.param(2, id="twice", marks=pytest.mark.long)])
def test_one_command_makes_the_workspace_and_the_report_and_brings_them_up_to_date(
    times: int, tmp_path: Path, run: Any
) -> None:
    with loopback_wandb() as here:
        env = somebody(tmp_path / "home", **here.environment())
        command = ["-m", "edgedistil", "dashboard", "matrices", "--sweep", "group_of_sweep"]
        said = {run(*command, cwd=tmp_path, store=tmp_path / "store", env=env).ok().out for _ in range(times)}
    assert len(said) == 1
    assert here.unknown == []
    workspace, report = here.views.values()
    told = said.pop()
    assert f"workspace: {here.url}/someone/matrices?nw={workspace['name'][3:-2]}" in told
    assert f"report: {here.url}/someone/matrices/reports/" in told
    assert (workspace["type"], report["type"]) == ("project-view", "runs")
    assert {v["displayName"] for v in (workspace, report)} == {"edgedistil: group_of_sweep"}
    for view, panels in ((workspace, 11), (report, 11)):
        spec = json.loads(view["spec"])
        assert "group_of_sweep" in json.dumps(spec)
        found = list(_dictionaries(spec))
        kinds = [d["viewType"] for d in found if "viewType" in d]
        assert len(kinds) == panels, kinds
        axes = {(d["xAxis"], d["yAxis"]) for d in found if "yAxis" in d}
        assert axes == {
            ("summary:latency/tokens_32/latency_ms_p50", "summary:judged/score"),
            ("summary:size/model_mb", "summary:judged/score"),
        }
    assert not any(KEY.encode() in body for body in here.bodies)


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dictionaries(child)


def test_a_dashboard_without_an_account_or_a_server_is_one_line(tmp_path: Path, run: Any) -> None:
    command = ["-m", "edgedistil", "dashboard"]
    lost = run(*command, "matrices", cwd=tmp_path, store=tmp_path / "store", env=somebody(tmp_path / "home"))
    assert (lost.code, lost.out) == (2, "")
    assert lost.err.startswith("error: no account found for ")
    assert len(lost.err.splitlines()) == 1


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, tiny: list[str], run: Any) -> Path:
    """The folder of the same training without W&B."""
    root = tmp_path_factory.mktemp("untouched")
    ran = run("train.py", *tiny, *TRAINING, cwd=root, store=root / "store", env=somebody(root / "home")).ok()
    return Path(ran.summary["folder"])


@pytest.mark.long
@pytest.mark.parametrize("mood", ["fine", "closed", "slow", "gone", "later"])
def test_whatever_the_server_does_the_model_is_the_same(
    mood: str, untouched: Path, tmp_path: Path, tiny: list[str], start: Any
) -> None:
    """``later``: it answers until the training has begun, and then fails."""
    import numpy as np
    from safetensors.numpy import load_file

    store = tmp_path / "store"
    command = ["train.py", *tiny, *TRAINING, "logger=wandb", "logger.wandb.wait_s=3"]
    with loopback_wandb() as here:
        env = somebody(tmp_path / "home", **here.environment())
        if mood == "closed":
            env["WANDB_BASE_URL"] = "http://127.0.0.1:9"
        here.wait_s = 60 if mood == "slow" else 0
        script = start(*command, cwd=tmp_path, store=store, env=env)
        if mood in ("gone", "later"):
            script.until(lambda: any("UpsertBucket" in asked for asked in here.asked), "a run")
            here.mood = "gone" if mood == "gone" else "failing"
        ran = script.end(seconds=280).ok()
        told = ran.out + ran.err
        folder = Path(ran.summary["folder"])
        for name, value in load_file(untouched / "model.safetensors").items():
            np.testing.assert_array_equal(load_file(folder / "model.safetensors")[name], value, err_msg=name)
        assert told.count("W&B:") == (0 if mood == "fine" else 1), told
        assert not [line for line in told.splitlines() if line.startswith("wandb: ")]
        if mood == "fine":
            assert here.unknown == []
        else:
            # What did not arrive then arrives now.
            here.mood, here.wait_s = "ok", 0
            here.runs.clear()
            here.artifacts.clear()
            for one in kept(tmp_path):
                sync(here, tmp_path / "home", [one.folder])
        (made,) = here.of_type("train")
        assert [h["trainer/global_step"] for h in made.history if "train/loss" in h] == list(range(STEPS))
        assert made.summary["validation/n"] == 80
        assert made.ended[-1] == 0
        assert [a.by for a in here.artifacts if a.type == "model"] == [made.name]
    assert [p for p in tmp_path.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()] == []
