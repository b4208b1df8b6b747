"""Sweeps whose jobs other processes run: one cell fails, one is killed, the others finish."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Cells are learning rates. With the first no number stays one; the step of the second is killed as it begins.
FAILS, KILLED = "1e30", "0.0123"
OTHERS = [f"0.0{n}" for n in (*range(21, 30), 31)]
NO_NUMBER = "try a lower optimizer.lr"

# In the processes of steps: which one is killed, that of the step or the job's; and what stands in for a training.
PREPARED = f"""
import json
import os
import shutil
import signal
import sys

if "edgedistil.stages.child" in sys.orig_argv:
    with open(sys.orig_argv[-1]) as file:
        request = json.load(file)
    rate = request["options"]["optimizer"]["lr"]
    if rate == {KILLED} and "KILLED" in os.environ:
        os.kill(os.getppid() if os.environ["KILLED"] == "job" else os.getpid(), signal.SIGKILL)
    made = os.environ.get("STANDS_IN")
    if made and rate == {FAILS}:
        with open(os.path.join(request["work"], "error.json"), "w") as file:
            json.dump({{"kind": "failed", "message": "the loss is nan: {NO_NUMBER}", "traceback": ""}}, file)
        os._exit(1)
    if made:
        shutil.copytree(made, request["output"], ignore=shutil.ignore_patterns("artifact.json"), dirs_exist_ok=True)
        with open(os.path.join(made, "artifact.json")) as file:
            facts = json.load(file)["facts"]
        with open(os.path.join(request["work"], "facts.json"), "w") as file:
            json.dump(facts, file)
        os._exit(0)
"""

PLUGINS = {
    "basic": (None, []),
    "joblib": ("hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    # All jobs of a batch start at once.
    "submitit_local": ("hydra_submitit_launcher", ["hydra.sweeper.max_batch_size=3"]),
    "ray": (
        "hydra_ray_launcher",
        ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
    ),
}


def launcher(name: str) -> list[str]:
    plugin, options = PLUGINS[name]
    # What is asked for is the package that the plugin lies in, which may not be there either.
    if plugin and importlib.util.find_spec("hydra_plugins") and not importlib.util.find_spec(f"hydra_plugins.{plugin}"):
        pytest.skip(f"{plugin} is not installed: pip install {plugin.replace('_', '-')} (docs/clusters.md)")
    return [f"hydra/launcher={name}", *options]


@pytest.fixture
def prepared(tmp_path: Path, trained: Any) -> Callable[..., dict[str, str]]:
    """``prepared("step")``, ``prepared("job")``: an environment in which that process is killed in the cell KILLED.

    With ``stand_in`` the steps train nothing: they take what was trained elsewhere for their own, and one says that it
    failed. Launchers are tried with many jobs, not with many trainings.
    """
    folder = tmp_path / "prepared"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(PREPARED)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    (made,) = trained.store.glob("artifacts/train/*")

    def environment(killed: str | None = None, stand_in: bool = True) -> dict[str, str]:
        variables = {"KILLED": killed, "STANDS_IN": str(made) if stand_in else None}
        return {"PYTHONPATH": path} | {key: value for key, value in variables.items() if value}

    return environment


def _made(store: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in store.glob("artifacts/train/*/artifact.json")}


def _logs(folder: Path) -> dict[float, str]:
    """What each job said, by its learning rate."""
    found = {}
    for job in (p for p in folder.iterdir() if p.name.isdigit()):
        (rate,) = (line for line in (job / ".hydra/overrides.yaml").read_text().splitlines() if "optimizer.lr=" in line)
        found[float(rate.split("=")[1])] = (job / "train.log").read_text()
    return found


def _check(name: str, others: list[str], tiny: list[str], run: Any, prepared: Any, root: Path, stand_in: bool) -> None:
    store = root / "store"
    rates = [*others[:1], FAILS, KILLED, *others[1:]]
    command = ["train.py", "-m", *launcher(name), *tiny, f"optimizer.lr={','.join(rates)}"]
    first = run(*command, cwd=root / "first", store=store, env=prepared("step", stand_in), timeout=900)
    assert first.code == 1, first.out + first.err
    counts = {"cells": len(rates), "done": len(others), "failed": 2, "cached": 0}
    assert {key: first.summary.get(key) for key in counts} == counts
    assert "Traceback" not in first.out + first.err
    folder = Path(first.summary["folder"])
    table = (folder / "table.md").read_text()
    assert NO_NUMBER in table
    assert "SIGKILL" in table
    logs = _logs(folder)
    assert NO_NUMBER in logs[float(FAILS)]
    assert "SIGKILL" in logs[float(KILLED)]
    assert all("done in" in logs[rate] and "failed" not in logs[rate] for rate in map(float, others))

    before = _made(store)
    assert len(before) == len(others)
    second = run(*command, cwd=root / "second", store=store, env=prepared(None, stand_in), timeout=900)
    assert second.code == 1
    counts = {"cells": len(rates), "done": len(others) + 1, "failed": 1, "cached": len(others)}
    assert {key: second.summary.get(key) for key in counts} == counts
    after = _made(store)
    assert before.items() <= after.items(), "what was there was made again"
    assert len(after) == len(before) + 1
    assert "done in" in _logs(Path(second.summary["folder"]))[float(KILLED)]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", PLUGINS)
def test_twelve_cells(name: str, tiny: list[str], run: Any, prepared: Any, tmp_path: Path) -> None:
    _check(name, OTHERS, tiny, run, prepared, tmp_path, stand_in=True)


def test_three_cells_side_by_side(tiny: list[str], run: Any, prepared: Any, tmp_path: Path) -> None:
    _check("joblib", OTHERS[:1], tiny, run, prepared, tmp_path, stand_in=False)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [name for name in PLUGINS if name != "basic"])
def test_a_job_that_is_killed_is_told_and_begun_again(
    name: str, tiny: list[str], run: Any, prepared: Any, tmp_path: Path
) -> None:
    command = ["train.py", "-m", *launcher(name), *tiny, f"optimizer.lr={OTHERS[0]},{KILLED}"]
    first = run(*command, cwd=tmp_path / "first", store=tmp_path / "store", env=prepared("job"), timeout=400)
    assert first.code == 1, first.out + first.err
    assert "Traceback" not in first.out + first.err
    assert "lost a job" in first.err
    second = run(*command, cwd=tmp_path / "second", store=tmp_path / "store", env=prepared(), timeout=400).ok()
    assert (second.summary["cells"], second.summary["done"]) == (2, 2)
