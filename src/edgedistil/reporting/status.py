"""How far a sweep is, from files alone: its manifest, what its jobs left, and the locks and work of its store.

So any launcher's jobs are seen, from any terminal, and a sweep that was killed says so: locks are the kernel's, and go
with their holder.
"""

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import read_json
from ..store.lock import holder
from ..store.progress import told
from ..store.store import ARTIFACT_FILE
from .estimate import Estimate, Spent, time_left
from .forms import text, texts, wrong_form
from .outcomes import BEGUN_FILE, CELL_FILE, LOCK_FILE, MANIFEST_FILE, jobs_folders

ENDED = ("done", "skipped", "failed", "planned")
STATES = ("done", "running", "queued", "skipped", "failed", "planned", "interrupted", "unreadable")
_WAITS = "waits for its device, or for another process that makes it"


@dataclass(frozen=True)
class Now:
    """The step that a job is at."""

    step: str
    label: str
    elapsed_s: float | None = None
    # What its process last said: done, total, unit
    told: dict[str, Any] | None = None
    waits: str | None = None
    # What such a step takes, in the median of those in the store
    typical_s: float | None = None


@dataclass
class Job:
    """One job of a sweep, by its number.

    Attributes:
        state: one of :data:`STATES`; ``queued`` of a sweep that no longer runs is a cell that was never begun.
        to_do: (step, fingerprint) of the steps that the store lacks, of a job that has begun.
    """

    number: int
    state: str
    label: str = ""
    why: str | None = None
    seconds: float | None = None
    cached: bool = False
    overrides: tuple[str, ...] = ()
    now: Now | None = None
    to_do: list[tuple[str, str]] = field(default_factory=list)
    goal: tuple[str, str] | None = None
    store: Path | None = None


@dataclass
class Sweep:
    """A sweep's folder as it is now; ``left`` is None for one that does not run."""

    folder: Path
    jobs: list[Job]
    running: bool
    command: str | None
    problems: list[str]
    left: Estimate | None = None

    def count(self, state: str) -> int:
        """How many jobs are in a state."""
        return sum(job.state == state for job in self.jobs)

    @property
    def lacks(self) -> int:
        """How many cells have no outcome."""
        return sum(job.state not in ENDED for job in self.jobs)


def read_sweep(folder: Path, spent: Spent | None = None) -> Sweep:
    """The state of a sweep's folder, or of a single run's.

    Args:
        spent: what was read of the store the last time, for those who look again and again.

    Raises:
        UserError: it is no folder of a run.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a sweep's folder under multirun/, or none for the newest")
    problems: list[str] = []
    manifest = _json(folder / MANIFEST_FILE, problems) or {}
    single = (folder / CELL_FILE).is_file() or (folder / BEGUN_FILE).is_file()
    numbers = list(jobs_folders(folder))
    if not (manifest or single or problems):
        raise UserError(
            f"{folder} is no folder of a run (it has no {MANIFEST_FILE}); give one under multirun/, or none for "
            "the newest"
        )
    running = holder(folder / LOCK_FILE) is not None
    if single and not manifest:
        jobs = [_job(0, folder, (), running, problems)]
        manifest = _json(folder / BEGUN_FILE, []) or {}
    else:
        planned = manifest.get("jobs")
        told_jobs: list[Any] = planned if isinstance(planned, list) else []
        jobs = [
            _job(n, folder / str(n), _overrides(told_jobs, n), running, problems)
            for n in sorted({*range(len(told_jobs)), *numbers})
        ]
    running |= any(job.state == "running" for job in jobs)
    sweep = Sweep(folder, jobs, running, _command(manifest), problems)
    spent = spent or Spent()
    sweep.left = time_left(jobs, spent) if running else None
    for job in jobs:
        if job.now:
            job.now = replace(job.now, typical_s=spent.typical(job.now.step, job.store))
    return sweep


def newest(root: Path) -> Path:
    """The newest sweep under ``root`` (``multirun``).

    Raises:
        UserError: there is none.
    """
    found = sorted(_sweeps(root), key=lambda p: (p / MANIFEST_FILE).stat().st_mtime)
    if not found:
        raise UserError(f"no sweep under {root}/; start one (python bench.py -m ...), or give a sweep's folder")
    return found[-1]


def others_running(root: Path, but: list[Path]) -> list[Path]:
    """Sweeps under ``root`` that are running now, without those named."""
    known = {path.resolve() for path in but}
    return [p for p in sorted(_sweeps(root)) if p.resolve() not in known and holder(p / LOCK_FILE) is not None]


def _sweeps(root: Path) -> Iterator[Path]:
    # Hydra's day and time.
    for pattern in (f"*/{MANIFEST_FILE}", f"*/*/{MANIFEST_FILE}"):
        yield from (p.parent for p in root.glob(pattern))


def _job(number: int, folder: Path, overrides: tuple[str, ...], running: bool, problems: list[str]) -> Job:
    held = holder(folder / LOCK_FILE) is not None
    cell = None if held else _json(folder / CELL_FILE, problems)
    begun = _json(folder / BEGUN_FILE, problems) or {}
    if wrong := wrong_form(begun):
        problems.append(f"{folder / BEGUN_FILE}: {wrong}; another project's file?")
        begun = {}
    if not held and cell is not None:
        state = cell.get("status")
        wrong = wrong_form(cell)
        if state not in ENDED or wrong:
            wrong = wrong or f"{state!r} is no status of ours"
            problems.append(f"{folder / CELL_FILE}: {wrong}; another project's file?")
            return Job(number, "unreadable", overrides=overrides)
        goal = (str(cell.get("step")), str(cell.get("fingerprint"))) if state == "done" else None
        return Job(
            number,
            state,
            str(cell.get("label", "")),
            cell.get("why"),
            cell.get("seconds"),
            bool(cell.get("cached")),
            overrides or tuple(cell.get("overrides", ())),
            goal=goal,
            store=Path(cell["store"]) if "store" in cell else None,
        )
    if (folder / CELL_FILE).is_file() and not held:
        return Job(number, "unreadable", overrides=overrides)
    if not begun:
        # Its folder is made a moment before its plan is.
        return Job(
            number, ("running" if running else "interrupted") if folder.is_dir() else "queued", overrides=overrides
        )
    state = "running" if held or running else "interrupted"
    job = Job(number, state, str(begun.get("label", "")), overrides=overrides, store=Path(str(begun.get("store", ""))))
    _look_at_steps(job, begun)
    return job


def _look_at_steps(job: Job, begun: dict[str, Any]) -> None:
    """What a begun job has to do yet, and what it is at."""
    assert job.store is not None
    for step in begun.get("steps", []):
        name, key, label = (str(step.get(k)) for k in ("step", "fingerprint", "label"))
        if (job.store / "artifacts" / name / key / ARTIFACT_FILE).is_file():
            continue
        job.to_do.append((name, key))
        if job.now or job.state != "running" or not (who := holder(job.store / "locks" / f"{key}.lock")):
            continue
        work = job.store / "work" / key
        request = _json(work / "request.json", []) or {}
        started = request.get("attempt")
        if not isinstance(started, int):
            job.now = Now(name, label, waits=_WAITS)
            continue
        mine = who == f"process {begun.get('process')} on {begun.get('host')}"
        elapsed = max(0.0, time.time() - started / 1e9)
        job.now = Now(name, label, elapsed, told(work), None if mine else f"waits: {who} makes it")


def _command(manifest: dict[str, Any]) -> str | None:
    """What starts the sweep again; what is in the store already is only read then."""
    words, directory = manifest.get("command"), manifest.get("directory")
    if not texts(words) or not words or not (directory is None or text(directory)):
        return None
    typed = shlex.join(["python", *words])
    return typed if directory in (None, str(Path.cwd())) else f"cd {shlex.quote(directory)} && {typed}"


def _overrides(jobs: list[Any], number: int) -> tuple[str, ...]:
    found = jobs[number] if number < len(jobs) else ()
    return tuple(found) if texts(found) else ()


def _json(file: Path, problems: list[str]) -> dict[str, Any] | None:
    """The object in a file; None where there is none, and a line for a file that holds no object of ours."""
    try:
        found = read_json(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        problems.append(f"{file}: not to be read ({type(error).__name__}: {str(error).splitlines()[0]})")
        return None
    if not isinstance(found, dict):
        problems.append(f"{file}: no object; another project's file?")
        return None
    return found
