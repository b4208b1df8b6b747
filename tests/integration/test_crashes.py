"""Whatever stops a run and whenever: the next one goes on, and all ends as if nothing had happened.

``make crash-test`` runs the long form and prints its table; EDGEDISTIL_CRASHES and EDGEDISTIL_CRASH_SEED change it.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest
from crash_campaign import DISK, FOLDERS, KILLS, LIMITS, Ground, crash, small_disk

KINDS = (*KILLS, *LIMITS, *FOLDERS)
MATRIX = ["bench.py", "-m", "compression/pruning=structured"]


def test_three_faults_one_after_another(
    start: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Scores alone, which ask no worker: what is timed takes most of the time, and the long form has it. This seed's
    # moments are neither at the start nor near the end.
    ground = Ground(start, [*MATRIX, *tiny, *rapid, "measurement=quality"], copied, tmp_path)
    found = crash(ground, seed=121, faults=3, kinds=("kill parent", "kill stage", "file-size limit"))
    print(found.table())
    assert found.wrong == [], found.table()
    assert found.struck.total() == 3, "too few of them met the run"


@pytest.mark.long
@pytest.mark.timeout(0)
def test_campaign(
    start: Any, tiny: list[str], rapid: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("EDGEDISTIL_CRASH_SEED") or random.randrange(10**6))
    faults = int(os.environ.get("EDGEDISTIL_CRASHES") or 100)
    (tmp_path / "nothing").mkdir()
    cells = ["compression/pruning=none,structured", "compression/quantization=int8_dynamic"]
    with small_disk(tmp_path / "disk") as disk:
        command = ["bench.py", "-m", *tiny, *rapid, *cells]
        ground = Ground(start, command, tmp_path / "nothing", tmp_path, disk)
        found = crash(ground, seed, faults, KINDS + (DISK if disk else ()))
    with capsys.disabled():
        print(f"\n{found.table()}")
        if not disk:
            print("disk full was left out: this user may not mount a file system")
    assert found.wrong == [], found.table()
