"""Every parser of our own under a coverage-guided fuzzer, one after the other, and one table of what was found.

``python -m tests.fuzz --minutes 60`` needs the extra ``fuzz``. Exit code 1 when anything broke a promise: the inputs
are under ``build/fuzz/TARGET/crashes``, and become tests (``tests/unit/test_fuzzed.py``) when the parser is mended.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgedistil.errors import OneLineParser, UserError, error_line
from edgedistil.reporting.table import markdown

from .all_targets import MODULES, TARGETS

_OUTPUT = Path("build/fuzz")
# A process that dies (too slow, too large, a crash of the interpreter) is started again for the rest of its time.
_STARTS = 10
_COVERED = re.compile(r"cov: (\d+) .*?corp: (\d+)")


def main() -> int:
    parser = OneLineParser("python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="for all targets together (60)")
    parser.add_argument("--targets", nargs="+", choices=sorted(TARGETS), default=list(TARGETS), metavar="NAME",
                        help=f"some of: {', '.join(TARGETS)}")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help=f"inputs that were kept ({_OUTPUT})")
    chosen = parser.parse_args()
    try:
        return fuzz(chosen.targets, chosen.minutes, chosen.output)
    except UserError as error:
        print(error_line(error), file=sys.stderr)
        return 2


def fuzz(names: list[str], minutes: float, output: Path) -> int:
    """Prints the table.

    Raises:
        UserError: no fuzzer, or no time.
    """
    if find_spec("atheris") is None:
        raise UserError("the fuzzer (atheris) is not installed: pip install --constraint constraints.txt -e '.[fuzz]'")
    each = int(minutes * 60 / len(names))
    if each < 1:
        raise UserError(f"--minutes={minutes:g} leaves each of {len(names)} targets less than a second: --minutes 10")
    versions = _versions("atheris", "edgedistil", "pyarrow")
    print(f"Python {platform.python_version()}, {versions}; {each} s a target", flush=True)
    lines = []
    for name in names:
        lines.append(_campaign(name, each, output / name))
        print(" ".join(lines[-1]), file=sys.stderr, flush=True)
    sums = [sum(int(line[i].replace(",", "")) for line in lines) for i in (1, 2, 5)]
    head = ["target", "executions", "seconds", "branches reached", "inputs kept", "crashes"]
    print(markdown(head, [*lines, ["all", f"{sums[0]:,}", f"{sums[1]:,}", "", "", str(sums[2])]]))
    return 1 if sums[2] else 0


def _campaign(name: str, seconds: int, folder: Path) -> list[str]:
    """One line of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / "crashes").glob("*"):
        old.unlink()
    end = time.monotonic() + seconds
    executions, spent, covered, crashes = 0, 0.0, ("0", "0"), set()
    for start in range(_STARTS):
        rest = round(end - time.monotonic())
        if rest < 1:
            break
        (folder / "told.json").unlink(missing_ok=True)
        code, log = _run(name, rest, folder)
        said = _told(folder)
        executions, spent = executions + said["executions"], spent + said["seconds"]
        crashes |= set(said["crashes"])
        found = _COVERED.findall(log)
        covered = found[-1] if found else covered
        if code:
            crashes.add(f"process {start} ended with {code}")
            (folder / "crashes" / f"process-{start}.txt").write_text(log[-20_000:], errors="replace")
    return [name, f"{executions:,}", f"{spent:.0f}", covered[0], covered[1], str(len(crashes))]


def _run(name: str, seconds: int, folder: Path) -> tuple[int, str]:
    """(exit code, what it said)."""
    # Files are written for every input: in memory, where there is a place for that.
    memory = Path("/dev/shm")
    place = str(memory) if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as scratch, tempfile.TemporaryFile("w+", errors="replace") as log:
        command = [sys.executable, "-m", "tests.fuzz.one", MODULES[name], name, str(seconds), str(folder)]
        code = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=log, check=False, env={**os.environ, "TMPDIR": scratch}
        ).returncode
        log.seek(0)
        return code, log.read()


def _told(folder: Path) -> dict[str, Any]:
    file = folder / "told.json"
    nothing: dict[str, Any] = {"executions": 0, "seconds": 0.0, "crashes": {}}
    return json.loads(file.read_text()) if file.is_file() else nothing


def _versions(*packages: str) -> str:
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} as it lies here")
    return ", ".join(found)


if __name__ == "__main__":
    sys.exit(main())
