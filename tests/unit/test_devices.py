"""Quiet cores, what others did meanwhile, and files that leave the page cache, with known loads and known files."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedistil.devices import page_cache
from edgedistil.devices.cores import Watch, core_times, quietest_cores

CORES = sorted(os.sched_getaffinity(0))
BURN = "import os, sys; os.sched_setaffinity(0, [int(sys.argv[1])]); print('on', flush=True)\nwhile True: pass"


@pytest.fixture
def burnt() -> Iterator[int]:
    """A core that another process keeps busy."""
    with subprocess.Popen([sys.executable, "-c", BURN, str(CORES[-1])], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield CORES[-1]
        process.kill()


def test_a_burning_core_is_seen(burnt: int) -> None:
    watch = Watch([burnt])
    time.sleep(0.5)
    found = watch.stop(own_cpu_s=0.0, asking_cpu_s=0.0)
    assert found["others_on_our_cores"] == pytest.approx(1.0, abs=0.2)
    assert found["others_cores"] >= found["others_on_our_cores"]
    assert Watch([burnt]).stop(own_cpu_s=1e6, asking_cpu_s=0.0)["others_cores"] == 0.0


def test_more_threads_than_cores_are_not_pinned() -> None:
    cores, why = quietest_cores(len(CORES) + 1, seconds=0.01)
    assert cores is None
    assert why == f"{len(CORES) + 1} threads on {len(CORES)} cores"
    assert quietest_cores(len(CORES), seconds=0.01) == (CORES, None)


def test_times_of_all_our_cores_go_up() -> None:
    before = core_times()
    time.sleep(0.1)
    after = core_times()
    assert set(CORES) <= set(before)
    assert all(after[c].all_s > before[c].all_s for c in CORES)
    assert all(after[c].busy_s <= after[c].all_s for c in CORES)


def test_the_quietest_are_those_with_the_least_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistil.devices import cores

    states = iter(
        [
            {c: cores.CoreTimes(0, 0, 0) for c in range(4)},
            {c: cores.CoreTimes(b, 0, 1) for c, b in enumerate((0.9, 0.1, 0.5, 0.0))},
        ]
    )
    monkeypatch.setattr(cores, "core_times", lambda: next(states))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert quietest_cores(2, seconds=0) == ([1, 2], None)


def test_files_leave_the_page_cache_and_come_back(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(8_000_000))
    assert page_cache.cached_share(file) == 1.0
    why = page_cache.drop([file])
    if why:
        # A file system in memory has nowhere else to keep it, and says so.
        assert page_cache.cached_share(file) > 0
        assert "stayed cached" in why
    else:
        assert page_cache.cached_share(file) < 0.05
    page_cache.warm([file])
    assert page_cache.cached_share(file) == 1.0


def test_a_mapped_file_stays_and_that_is_said(tmp_path: Path) -> None:
    import mmap

    file = tmp_path / "weights"
    file.write_bytes(os.urandom(1_000_000))
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        assert sum(view[::4096]) > 0
        assert page_cache.drop([file]) == "100% of weights stayed cached"
