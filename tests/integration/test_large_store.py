"""Ten thousand records and a thousand artifacts in one store: what each command takes, and that nothing is left out
unsaid. The long form prints the table of docs/results: pytest --long -k ten_thousand on this file.
"""

import csv
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from large_store import Large, finished, half_done, large_store

from edgedistil.reporting.page.listing import MOST_CELLS
from edgedistil.stages.runner import ensure
from edgedistil.store.lock import locked
from edgedistil.store.store import Store

# Of processor time, at full size, on the machine of docs/results/2026-11-22-scale.
GOAL_S = 5.0
CELLS = 60
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Took:
    """What a command took: processor and wall seconds, MB of memory at its peak."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    out: str = ""

    def line(self, what: str, large: Large) -> str:
        figures = f"{self.cpu_s:.1f} | {self.wall_s:.1f} | {self.peak_mb:.0f}"
        return f"| {what} | {len(large.steps):,} | {large.artifacts:,} | {figures} |"


def took(root: Path, *command: str, code: int = 0) -> Took:
    """Run ``command`` in a store below ``root`` to its end."""
    script = [str(REPOSITORY / c) if c == "bench.py" else c for c in command]
    with (root / "out.txt").open("w") as out, (root / "err.txt").open("w") as err:
        environment = {**os.environ, "EDGEDISTIL_STORE": str(root / "store"), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        child = subprocess.Popen([sys.executable, *script], cwd=root, env=environment, stdout=out, stderr=err)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == code, (root / "err.txt").read_text()
    wall = time.monotonic() - began
    return Took(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1e3, (root / "out.txt").read_text())


def edgedistil(root: Path, *command: Any, code: int = 0) -> Took:
    return took(root, "-m", "edgedistil", *map(str, command), code=code)


def reading_s(large: Large) -> float:
    """Processor seconds to read, hash and parse every record once: what no report of them can do without."""
    began = time.process_time()
    for step in large.steps:
        content = (large.store / "artifacts" / "bench" / step.fingerprint / "record.json").read_bytes()
        hashlib.sha256(content).hexdigest()
        json.loads(content)
    return time.process_time() - began


def deciding(large: Large) -> Took:
    """Whether each record is there and whole, as a sweep that is started again asks before it computes anything."""
    store = Store(large.store)
    began, cpu = time.monotonic(), time.process_time()
    for step in large.steps:
        assert ensure(step, store) == store.path("bench", step.fingerprint)
    return Took(time.process_time() - cpu, time.monotonic() - began, 0.0)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Large:
    """1,200 records, 100 artifacts, one sweep."""
    return large_store(tmp_path_factory.mktemp("large"), 100, 1200)


def test_nothing_generated_is_damaged(thousand: Large) -> None:
    told = edgedistil(thousand.store.parent, "store", "verify").out
    assert f"1300 artifacts, 0 damaged, in {thousand.store}" in told


def test_a_status_reads_no_record(thousand: Large) -> None:
    (sweep,) = thousand.sweeps
    status = edgedistil(thousand.store.parent, "status", sweep, "--json")
    assert json.loads(status.out)["done"] == 1200
    # 0.5 ms a cell are 5 s of ten thousand; the rest is the start of a process, on a slow machine.
    assert status.cpu_s < 2 + 1200 * GOAL_S / 10_000


def test_what_is_finished_is_seen_in_milliseconds(thousand: Large) -> None:
    assert deciding(thousand).cpu_s < 1200 * 2 * GOAL_S / 10_000


def test_a_report_reads_every_record_once_and_lists_what_a_page_can_hold(thousand: Large) -> None:
    (sweep,) = thousand.sweeps
    once = reading_s(thousand)
    made = edgedistil(thousand.store.parent, "report", sweep)
    again = edgedistil(thousand.store.parent, "report", sweep)
    assert again.out == made.out
    # Five seconds are starting, drawing and the page, which lists 1,000 cells; twice that on a busy machine.
    assert made.cpu_s < 10 + 10 * once
    assert again.cpu_s < 3 + 5 * once
    rows = list(csv.DictReader((sweep / "results.csv").open()))
    assert [r["status"] for r in rows] == ["done"] * 1200
    assert len({r["fingerprint"] for r in rows}) == 1200
    page = (sweep / "report.html").read_text()
    assert len(page.encode()) < 10e6
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(data["cells"]) == len(data["figures"]["rows"]) == MOST_CELLS
    assert f"{MOST_CELLS} of 1200 cells are listed on this page" in page
    assert "python -m edgedistil report FOLDER --only task=sst2 device=cpu model=model0 --output DIR" in page
    assert "1200 cells: 1200 done" in page


def test_a_part_of_a_sweep_has_a_page_of_its_own(thousand: Large, tmp_path: Path) -> None:
    (sweep,) = thousand.sweeps
    root = thousand.store.parent
    made = edgedistil(root, "report", sweep, "--only", "device=android_emulated", "seed=1", "--output", tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert {(r["device"], r["seed"]) for r in rows} == {("android_emulated", "1")}
    page = (tmp_path / "report.html").read_text()
    assert all(f"#cell-{r['fingerprint'][:12]}" in page for r in rows)
    assert "cells are listed on this page" not in page
    assert made.out.startswith("**Emulated devices**")
    edgedistil(root, "report", sweep, "--only", "seed=99", code=2)
    assert "no cell is of it; there are: 0, 1, 2" in (root / "err.txt").read_text()
    edgedistil(root, "report", sweep, "--only", "colour=red", code=2)
    assert "--only holds 'colour=red'; give NAME=VALUE with one of model, task" in (root / "err.txt").read_text()


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_ten_thousand_records_and_a_thousand_artifacts(
    tmp_path: Path, tiny: list[str], rapid: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    large = large_store(tmp_path, 1000, 10_000)
    (sweep,) = large.sweeps
    lines = ["| command | records | artifacts | processor s | wall s | peak MB |", "|---|---|---|---|---|---|"]
    table: dict[str, Took] = {}

    def note(what: str, one: Took) -> None:
        table[what] = one
        lines.append(one.line(what, large))

    note("`status`", edgedistil(tmp_path, "status", sweep))
    note("`report`, first", edgedistil(tmp_path, "report", sweep))
    note("`report`, again", edgedistil(tmp_path, "report", sweep))
    only = ("--only", "device=cpu", "task=sst2", "model=model0", "--output", tmp_path)
    note("`report --only device=cpu task=sst2 model=model0`", edgedistil(tmp_path, "report", sweep, *only))
    chosen = ("--device", "cpu", "--task", "sst2")
    note("`recommend --device cpu --task sst2`", edgedistil(tmp_path, "recommend", sweep, *chosen))
    note("`compare` with itself", edgedistil(tmp_path, "compare", sweep, sweep))
    note("is it done? 10,000 times", deciding(large))
    for action in ("ls", "size", "gc", "verify"):
        note(f"`store {action}`", edgedistil(tmp_path, "store", action))
    half = half_done(sweep)
    with locked(half / "running.lock"):
        note("`status` of a sweep that runs, half done", edgedistil(tmp_path, "status", half))
    alone = tmp_path / "alone"
    alone.mkdir()
    few, cells = (finished_cells(root, [*tiny, *rapid], CELLS) for root in (alone, tmp_path))
    for store, one in ((f"{CELLS} | 0", few), (f"{10_000 + CELLS:,} | 1,000", cells)):
        figures = f"{one.cpu_s:.1f} | {one.wall_s:.1f} | {one.peak_mb:.0f}"
        lines.append(f"| `bench.py -m` of {CELLS} cells that are done | {store} | {figures} |")
    for store, root in (("0 | 0", tmp_path / "empty"), ("10,000 | 1,000", large.store)):
        one = publishing(Store(root))
        lines.append(f"| a step of 3 files is published | {store} | {one.cpu_s:.3f} | {one.wall_s:.3f} | |")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert table["`status`"].cpu_s < GOAL_S
    assert table["`status` of a sweep that runs, half done"].cpu_s < 2 * GOAL_S
    assert table["is it done? 10,000 times"].cpu_s < GOAL_S
    assert table["`report`, again"].cpu_s < 2 * GOAL_S
    # A cell that is done costs the same in a store that is fifty times as large.
    assert cells.cpu_s < 1.5 * few.cpu_s + 3


def publishing(store: Store) -> Took:
    """What one step of three small files takes, the median of nine, with every flush to disk."""
    found = []
    for number in range(9):
        key = hashlib.sha256(str(number).encode()).hexdigest()
        output = store.open_work(key) / "output"
        for name in ("config.json", "model.onnx", "model.safetensors"):
            (output / name).write_bytes(os.urandom(1000))
        began, cpu = time.monotonic(), time.process_time()
        store.publish("export", key, {"label": "published", "inputs": {}, "facts": {}, "options": {}})
        found.append((time.process_time() - cpu, time.monotonic() - began))
    return Took(statistics.median(cpu for cpu, _ in found), statistics.median(wall for _, wall in found), 0.0)


def finished_cells(root: Path, overrides: list[str], count: int) -> Took:
    """What a sweep of so many cells takes that the store has already."""
    sweep = ["bench.py", "-m", *overrides, f"seed=range(0,{count})"]
    planned = took(root, *sweep, "plan=true")
    folder = Path(json.loads(planned.out.strip().splitlines()[-1])["folder"])
    keys = [json.loads((folder / str(n) / "cell.json").read_text())["fingerprint"] for n in range(count)]
    finished(root / "store", keys)
    done = took(root, *sweep)
    assert json.loads(done.out.strip().splitlines()[-1])["cached"] == count
    return done
