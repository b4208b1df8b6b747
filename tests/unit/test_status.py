"""How far a sweep is, read from files: every state, what is left, what stands in a terminal and elsewhere."""

import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tiny_records import leave, manifest

from edgedistil.__main__ import main
from edgedistil.errors import UserError
from edgedistil.reporting.estimate import Spent
from edgedistil.reporting.status import newest, others_running, read_sweep
from edgedistil.reporting.status_text import Live, duration, lines
from edgedistil.store import progress
from edgedistil.store.lock import holder, locked


def outcome(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "stage": "bench", "label": f"a {status} cell", "names": {}} | more


def artifact(store: Path, step: str, key: str, seconds: float, **inputs: str) -> None:
    folder = store / "artifacts" / step / key
    folder.mkdir(parents=True)
    needs = {name: {"step": at.split("/")[0], "fingerprint": at.split("/")[1]} for name, at in inputs.items()}
    (folder / "artifact.json").write_text(json.dumps({"seconds": seconds, "inputs": needs}))


def done(sweep: Path, store: Path, number: int, key: str) -> None:
    leave(sweep, number, outcome("done", step="bench", fingerprint=key, store=str(store), seconds=9.0))


def begun(sweep: Path, number: int, store: Path, *steps: str) -> None:
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    told = [{"step": s.split("/")[0], "fingerprint": s.split("/")[1], "label": f"label of {s}"} for s in steps]
    facts = {"label": f"cell {number}", "steps": told, "store": str(store), "process": 1, "host": "h"}
    (folder / "begun.json").write_text(json.dumps(facts))


@pytest.fixture
def hold() -> Iterator[Any]:
    """``hold(path)``: somebody holds a lock until the test ends."""
    with ExitStack() as held:
        yield lambda path: held.enter_context(locked(path))


@pytest.fixture
def running(tmp_path: Path, hold: Any) -> Path:
    """Six jobs: two done, one skipped, one that recovers now, two queued."""
    sweep, store = tmp_path / "sweep", tmp_path / "store"
    jobs = [[f"compression={c}", f"device={d}"] for d in ("cpu", "cuda") for c in ("a", "b", "c")]
    manifest(sweep, [*jobs[:3], jobs[3], ["compression=d", "device=cpu"], ["compression=d", "device=cuda"]])
    artifact(store, "train", "t", 1000.0)
    artifact(store, "bench", "one", 20.0, model="train/t")
    artifact(store, "bench", "two", 30.0, model="train/t")
    artifact(store, "recover", "elsewhere", 100.0)
    done(sweep, store, 0, "one")
    done(sweep, store, 1, "two")
    leave(sweep, 3, outcome("skipped", why="no GPU"))
    begun(sweep, 2, store, "train/t", "recover/r", "bench/three")
    hold(sweep / "running.lock")
    hold(sweep / "2" / "running.lock")
    hold(store / "locks" / "r.lock")
    work = store / "work" / "r"
    work.mkdir(parents=True)
    (work / "request.json").write_text(json.dumps({"attempt": time.time_ns() - 40 * 10**9}))
    return sweep


def test_every_state_of_a_running_sweep(running: Path) -> None:
    sweep = read_sweep(running)
    assert [job.state for job in sweep.jobs] == ["done", "done", "running", "skipped", "queued", "queued"]
    now = sweep.jobs[2].now
    assert now is not None
    assert (now.step, now.label, now.typical_s) == ("recover", "label of recover/r", 100.0)
    assert now.elapsed_s == pytest.approx(40, abs=1)
    assert sweep.running
    assert sweep.lacks == 3


def test_time_left_is_what_similar_cells_took_without_what_they_share(running: Path) -> None:
    left = read_sweep(running).left
    assert left is not None
    # 60 s of recovery, a bench's median of 25; d on cpu like a and b (20 and 30, not the 1000 of their training); d on
    # cuda like the cell that was skipped.
    assert left.seconds == pytest.approx(60 + 25 + 25 + 0, abs=1)
    assert not left.at_least


def test_what_a_step_says_itself_is_trusted_more(running: Path) -> None:
    work = running.parent / "store" / "work" / "r"
    (work / "progress.json").write_text(json.dumps({"done": 80, "total": 100, "unit": "steps"}))
    left = read_sweep(running).left
    assert left is not None
    assert left.seconds == pytest.approx(10 + 25 + 25, abs=1)
    assert "recover: label of recover/r: 40 s, 80 of 100 steps (80 %)" in "\n".join(lines(read_sweep(running)))


def test_steps_that_nothing_is_known_of_are_at_least(running: Path) -> None:
    begun(running, 4, running.parent / "store", "unheard/of", "bench/four")
    left = read_sweep(running).left
    assert left is not None
    assert left.at_least
    assert "at least" in lines(read_sweep(running))[0]


def test_a_step_that_was_made_for_the_first_time_is_known_from_then_on(running: Path) -> None:
    store, spent = running.parent / "store", Spent()
    assert spent.typical("unheard", store) is None
    artifact(store, "unheard", "of", 60.0)
    assert spent.typical("unheard", store) == 60.0


def test_jobs_side_by_side_share_what_is_left(running: Path, hold: Any) -> None:
    begun(running, 4, running.parent / "store", "train/t", "recover/r", "bench/four")
    hold(running / "4" / "running.lock")
    left = read_sweep(running).left
    assert left is not None
    # The recovery that both need is made once.
    assert left.seconds == pytest.approx((60 + 25 + 25 + 0) / 2, abs=1)


def test_a_step_that_another_process_makes_is_waited_for(running: Path) -> None:
    now = read_sweep(running).jobs[2].now
    assert now is not None
    assert now.waits is not None
    assert now.waits.startswith("waits: process ")


def test_a_killed_sweep_says_what_is_left_and_how_to_go_on(tmp_path: Path) -> None:
    sweep, store = tmp_path / "sweep", tmp_path / "store"
    manifest(sweep, [["a=1"], ["a=2"], ["a=3"], ["a=4"]])
    artifact(store, "bench", "one", 20.0)
    done(sweep, store, 0, "one")
    begun(sweep, 1, store, "bench/two")
    (sweep / "2").mkdir()
    (sweep / "running.lock").write_text("process 1 on h")
    found = read_sweep(sweep)
    assert [job.state for job in found.jobs] == ["done", "interrupted", "interrupted", "queued"]
    assert found.left is None
    told = lines(found)
    assert told[0] == f"{sweep}: interrupted, 4 cells: 1 done, 1 never begun, 2 interrupted"
    assert told[-1] == (
        "  3 of 4 cells are left; what is done is read from the store. To go on: python bench.py -m 'task=a b'"
    )


def test_files_that_can_not_be_used_are_told_and_stop_nothing(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    manifest(sweep, [["a=1"], ["a=2"], ["a=3"]])
    leave(sweep, 0, outcome("failed", why="it broke"))
    leave(sweep, 1, {"status": "splendid"})
    leave(sweep, 2, {})
    (sweep / "2" / "cell.json").write_text('{"status": "do')
    (sweep / "2" / "begun.json").write_text("[]")
    found = read_sweep(sweep)
    assert [job.state for job in found.jobs] == ["failed", "unreadable", "unreadable"]
    assert [p.split(": ")[0] for p in found.problems] == [
        str(sweep / "1" / "cell.json"), str(sweep / "2" / "cell.json"), str(sweep / "2" / "begun.json")
    ]
    told = "\n".join(lines(found))
    assert "failed: a failed cell: it broke" in told
    assert "'splendid' is no status of ours" in told


def test_a_broken_manifest_is_a_problem_and_the_cells_are_read(tmp_path: Path) -> None:
    leave(tmp_path, 0, outcome("failed", why="it broke"))
    (tmp_path / "sweep.json").write_text("{")
    found = read_sweep(tmp_path)
    assert [job.state for job in found.jobs] == ["failed"]
    assert len(found.problems) == 1


def test_a_single_run_that_was_killed(tmp_path: Path) -> None:
    begun(tmp_path, 0, tmp_path / "store", "train/t")
    file = tmp_path / "0" / "begun.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"command": ["train.py", "a=1"], "directory": "/else"}))
    told = lines(read_sweep(tmp_path / "0"))
    assert "interrupted, 1 cell: 1 interrupted" in told[0]
    assert told[-1].endswith("To go on: cd /else && python train.py a=1")


def test_another_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder of a run \(it has no sweep.json\)"):
        read_sweep(tmp_path)


def test_the_newest_sweep_and_those_that_run(tmp_path: Path, hold: Any) -> None:
    root = tmp_path / "multirun"
    with pytest.raises(UserError, match="no sweep under"):
        newest(root)
    for name in ("2026-01-02/10", "2026-01-02/11", "2026-01-01/12"):
        manifest(root / name, [["a=1"]])
        time.sleep(0.01)
    hold(root / "2026-01-02" / "10" / "running.lock")
    assert newest(root) == root / "2026-01-01" / "12"
    assert others_running(root, [newest(root)]) == [root / "2026-01-02" / "10"]


def test_the_command_prints_text_or_json(
    running: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["status", str(running)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{running}: running, 6 cells: 2 done, 1 running, 2 queued, 1 skipped; about 110 s left\n")
    assert "\x1b" not in said
    assert "\r" not in said
    assert main(["status", str(running), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["done"], told["queued"], told["cells_left"]) == ("running", 2, 2, 3)
    assert told["now"][0]["step"] == "recover"
    monkeypatch.chdir(running.parent)
    for command in ("status", "report"):
        assert main([command]) == 2
        assert "no sweep under multirun/" in capsys.readouterr().err


def test_watching_a_sweep_that_has_ended_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest(tmp_path, [["a=1"], ["a=2"]])
    leave(tmp_path, 0, outcome("done", seconds=3.0))
    leave(tmp_path, 1, outcome("failed", why="no"))
    assert main(["status", str(tmp_path), "--watch", "0.1"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "cell 1 of 2 done after 3 s: a done cell (0 left)", "cell 2 of 2 failed: a failed cell: no (0 left)"
    ]


@pytest.mark.parametrize(("words", "said"), [
    (["--watch", "0"], "--watch=0 is no number of seconds"), (["--watch", "nan"], "--watch=nan"),
    (["--watch", "inf"], "--watch=inf is no number of seconds above 0, up to a day"),
    (["--watch", "--json"], "leave one out"),
])  # fmt: skip
def test_what_can_not_be_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    manifest(tmp_path, [["a=1"]])
    assert main(["status", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


def test_lines_without_a_terminal_tell_each_event_once(running: Path) -> None:
    stream = io.StringIO()
    live = Live(stream)
    plan = running / "2" / "begun.json"
    text = plan.read_text()
    plan.unlink()
    live.show(read_sweep(running))
    plan.write_text(text)
    live.show(read_sweep(running))
    live.show(read_sweep(running))
    leave(running, 4, outcome("done", cached=True, seconds=0.0))
    live.show(read_sweep(running))
    said = stream.getvalue()
    assert [line.split(" (")[0] for line in said.splitlines()] == [
        "cell 1 of 6 done after 9 s: a done cell",
        "cell 2 of 6 done after 9 s: a done cell",
        "cell 4 of 6 skipped: a skipped cell: no GPU",
        "cell 3 of 6 begun: cell 2",
        "1 of 6 cells read from the store",
    ]
    assert "\x1b" not in said
    assert "\r" not in said


def test_bars_in_a_terminal(running: Path) -> None:
    (running.parent / "store" / "work" / "r" / "progress.json").write_text(
        json.dumps({"done": 3, "total": 4, "unit": "steps"})
    )
    stream = io.StringIO()
    live = Live(stream, bars=True)
    live.show(read_sweep(running))
    said = stream.getvalue()
    assert "cells 3 of 6  50 %|" in said
    assert "recover  75 %|" in said
    live.close()
    quiet = io.StringIO()
    Live(quiet, bars=True, own_bars=("recover",)).show(read_sweep(running))
    assert "%|" not in quiet.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (121, "2 min"), (7260, "2 h 1 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_lock_tells_its_holder_and_is_left_alone(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    assert holder(lock) is None
    assert not lock.exists()
    with locked(lock):
        assert str(holder(lock)).startswith("process ")
    assert holder(lock) is None


def test_progress_is_told_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_mine", {})
    progress.tell(1, 10, "steps")
    assert progress.told(tmp_path) is None
    progress.begin(tmp_path)
    progress.tell(1, 10, "steps")
    progress.tell(2, 10, "steps")
    assert progress.told(tmp_path) == {"done": 1, "total": 10, "unit": "steps"}
    progress.tell(10, 10, "steps")
    assert progress.told(tmp_path) == {"done": 10, "total": 10, "unit": "steps"}
    (tmp_path / "progress.json").write_text("{")
    assert progress.told(tmp_path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["progress.json"]
