"""Two runs that want the same new cell at the same moment share the work."""

import ctypes
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest


def test_each_step_is_computed_once(
    start: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path, artifacts: Any
) -> None:
    command = ["bench.py", *tiny, *rapid, "compression/pruning=structured", "compression/quantization=int8_dynamic"]
    both = [start(*command, cwd=tmp_path / name, store=copied) for name in ("one", "two")]
    ran = [script.end().ok() for script in both]
    assert [r.summary["status"] for r in ran] == ["done", "done"]
    assert ran[0].summary["folder"] == ran[1].summary["folder"]
    assert Counter(ran[0].computed + ran[1].computed) == {"prune": 1, "export": 2, "predict": 2, "bench": 1}
    assert "waiting for" in ran[0].out + ran[1].out
    found = {step: len(keys) for step, keys in artifacts(copied).items()}
    assert found == {"train": 1, "prune": 1, "export": 2, "predict": 2, "bench": 1, "report": 1}
    assert list((copied / "work").iterdir()) == []
    assert list((copied / "failures").glob("*")) == []


@pytest.mark.long
def test_two_different_cells_share_their_parent(
    start: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path
) -> None:
    """One device: the two measurements take turns."""
    both = [
        start("bench.py", *tiny, *rapid, f"compression/quantization={method}", cwd=tmp_path / method, store=copied)
        for method in ("int8_dynamic", "int4_ort")
    ]
    ran = [script.end().ok() for script in both]
    assert Counter(ran[0].computed + ran[1].computed) == {"export": 3, "predict": 3, "bench": 2}
    assert ran[0].summary["fingerprint"] != ran[1].summary["fingerprint"]


CLOCK = """
import os
import time

_time, _time_ns, _ahead = time.time, time.time_ns, float(os.environ["CLOCK_AHEAD_S"])
time.time = lambda: _time() + _ahead
time.time_ns = lambda: _time_ns() + int(_ahead * 1e9)
"""
_NEW_HOST_NAME = 0x04000000


def _as_host(name: str) -> Callable[[], None]:
    """What makes a process of root see itself on a machine of another name; nothing for other users."""

    def before() -> None:
        if os.geteuid() == 0:
            system = ctypes.CDLL(None)
            assert system.unshare(_NEW_HOST_NAME) == 0
            assert system.sethostname(name.encode(), len(name)) == 0

    return before


def _measured(out: str, ahead_s: float) -> list[tuple[float, float]]:
    """(begin, end) of each measurement by its log lines, in seconds of the true clock: each is told under the lock."""
    line = r"^\[([\d-]+ [\d:]+),(\d+)\]\[edgedistil\]\[INFO\] - bench: (.*?)(: done in [\d.]+ s)?$"
    lines = re.findall(line, out, re.MULTILINE)
    begun: dict[str, float] = {}
    spans = []
    for moment, milliseconds, label, done in lines:
        at = datetime.strptime(moment, "%Y-%m-%d %H:%M:%S").timestamp() + int(milliseconds) / 1e3 - ahead_s
        if done:
            spans.append((begun.pop(label), at))
        else:
            begun[label] = at
    return spans


@pytest.mark.long
@pytest.mark.timeout(0)
def test_eight_processes_on_two_machines_an_hour_apart_compute_each_artifact_once(
    start: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path, artifacts: Any
) -> None:
    """One kernel stands for both machines: what a network file system makes of ``flock`` is not tried here."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join(filter(None, [str(tmp_path / "clock"), os.environ.get("PYTHONPATH")]))
    hosts = {"first-machine": -1800.0, "second-machine": 1800.0}
    # Each of the four cells is asked for by two processes of each machine.
    asked = [(p, q) for p in ("none", "structured") for q in ("none,int8_dynamic",)]
    asked += [("none,structured", q) for q in ("none", "int8_dynamic")]
    scripts = {
        (host, number): start(
            "bench.py", "-m", *tiny, *rapid, f"compression/pruning={pruning}", f"compression/quantization={method}",
            f"hydra.sweep.dir={tmp_path / host / str(number)}", cwd=tmp_path / f"{host}_{number}", store=copied,
            env={"CLOCK_AHEAD_S": str(ahead), "PYTHONPATH": path}, before=_as_host(host))
        for host, ahead in hosts.items() for number, (pruning, method) in enumerate(asked)
    }  # fmt: skip
    ran = {key: script.end(1500).ok() for key, script in scripts.items()}
    machines = 2 if os.geteuid() == 0 else 1
    computed = sum((Counter(r.computed) for r in ran.values()), Counter())
    assert computed == {"prune": 1, "export": 4, "predict": 4, "bench": 4 * machines}
    found = {step: len(keys) for step, keys in artifacts(copied).items()}
    found.pop("report")
    assert found == {"train": 1, **computed}
    for host, ahead in hosts.items() if machines == 2 else [("", None)]:
        spans = sorted(
            span for (name, _), r in ran.items() if name.startswith(host)
            for span in _measured(r.out, hosts[name] if ahead is None else ahead))  # fmt: skip
        assert len(spans) == 4
        for (_, ended), (begun, _) in pairwise(spans):
            assert ended <= begun, "two measurements of one device at once"
    assert list((copied / "work").iterdir()) == []
    records = [json.loads(p.read_text()) for p in copied.glob("artifacts/bench/*/record.json")]
    assert {r["environment"]["host"] for r in records} == (set(hosts) if machines == 2 else {os.uname().nodename})
    # No clock decides anything: nothing that is an hour old, or made an hour from now, is taken for left behind.
    holders = [lock.read_text() for lock in copied.glob("locks/device-*.lock")]
    assert len(holders) == machines
