"""What a sweep's remaining cells will take, from what similar ones took.

A finished cell's own cost is what its steps took (``seconds`` in each ``artifact.json``), without those that other
cells of the sweep use too: they are made once. A cell that has not begun is taken to cost the median of the finished
cells whose overrides differ least from its own; a cell that has, what its missing steps took elsewhere.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..store.files import read_json
from ..store.store import ARTIFACT_FILE

if TYPE_CHECKING:
    from .status import Job

# Of a step's artifacts in the store, the newest so many say what it takes.
_NEWEST = 50
# A share of a step that says how long the rest of it takes.
_ENOUGH = 0.05


@dataclass(frozen=True)
class Estimate:
    """Seconds to the end; ``at_least``: something in it is not known, and counts nothing."""

    seconds: float
    at_least: bool


def time_left(jobs: Sequence["Job"], spent: "Spent") -> Estimate:
    """Seconds until the last of a running sweep's jobs is through; jobs that run side by side share what is left."""
    ancestry = {job.number: dict(spent.ancestry(job)) for job in jobs if job.goal and job.store}
    uses: dict[str, int] = {}
    for steps in ancestry.values():
        for key in steps:
            uses[key] = uses.get(key, 0) + 1
    own: dict[int, float] = {}
    for job in jobs:
        if job.number in ancestry:
            last = job.goal[1] if job.goal else ""
            # The last step is the cell: two jobs of one cell share all. Of one alone nobody knows what is shared.
            alone = len(ancestry) == 1
            own[job.number] = sum(
                s for key, s in ancestry[job.number].items() if key == last or (uses[key] == 1 and not alone)
            )
        elif job.state == "skipped":
            own[job.number] = 0.0
    left = [job.overrides for job in jobs if job.state in ("running", "queued")]
    like = _Like([(job.overrides, own[job.number]) for job in jobs if job.number in own], left)
    queued = any(job.state == "queued" for job in jobs)
    at_least, total, parallel = queued and len(ancestry) < 2, 0.0, 0
    shared: set[str] = set()
    # Until a cell has ended: what its last step takes, at least.
    last_steps = max((spent.typical(j.to_do[-1][0], j.store) or 0.0 for j in jobs if j.to_do), default=0.0)
    for job in jobs:
        parallel += job.state == "running"
        if job.state == "running" and job.to_do:
            seconds, known = _rest(job, spent, shared)
        elif job.state in ("running", "queued"):
            # Of a running job the plan is not told yet.
            cost = like.cost(job.overrides)
            seconds, known = last_steps if cost is None else cost, cost is not None
        else:
            continue
        total += seconds
        at_least |= not known
    return Estimate(total / max(1, parallel), at_least)


class _Like:
    """What jobs cost that differ least in their overrides from a given one.

    Where all jobs set the same options, as those of one product do, the jobs that differ in one of them are looked up;
    only where there is none is a job set beside all that have ended. Overrides are bits then, but for those that only
    one side has: they are as far from everything on the other, and jobs that are the same without them share an answer.

    Args:
        ended: (overrides, seconds) of each job that has ended.
        asked: overrides of those that have not.
    """

    def __init__(self, ended: Sequence[tuple[Sequence[str], float]], asked: Sequence[Sequence[str]]) -> None:
        every = [*asked, *(overrides for overrides, _ in ended)]
        product = len({tuple(sorted(o.split("=", 1)[0] for o in job)) for job in every}) == 1
        common = {o for job in asked for o in job} & {o for job, _ in ended for o in job}
        self._bits = {override: 1 << place for place, override in enumerate(sorted(common))}
        # (what both sides have, how many others): costs; overrides without one of them: costs
        self._ended: dict[tuple[int, int], list[float]] = {}
        self._but_one: dict[frozenset[str], list[float]] = {}
        self._known: dict[int, float] = {}
        for overrides, cost in ended:
            own, bits = frozenset(overrides), self._of(overrides)
            self._ended.setdefault((bits, len(own) - bits.bit_count()), []).append(cost)
            for override in own if product else ():
                self._but_one.setdefault(own - {override}, []).append(cost)

    def cost(self, overrides: Sequence[str]) -> float | None:
        """The median cost of the nearest jobs; None where none has ended."""
        own, mine = frozenset(overrides), self._of(overrides)
        same = self._ended.get((mine, 0)) if mine.bit_count() == len(own) else None
        alike = same or [c for override in own for c in self._but_one.get(own - {override}, ())]
        if alike or not self._ended:
            return statistics.median(alike) if alike else None
        if mine not in self._known:
            far = [(mine ^ bits).bit_count() + more for bits, more in self._ended]
            nearest = min(far)
            costs = [c for d, some in zip(far, self._ended.values(), strict=True) if d == nearest for c in some]
            self._known[mine] = statistics.median(costs)
        return self._known[mine]

    def _of(self, overrides: Sequence[str]) -> int:
        bits = 0
        for override in overrides:
            bits |= self._bits.get(override, 0)
        return bits


def _rest(job: "Job", spent: "Spent", shared: set[str]) -> tuple[float, bool]:
    """Seconds of a begun job's missing steps, each step of the sweep once, and whether all are known."""
    total, known = 0.0, True
    for name, key in job.to_do:
        if key in shared:
            continue
        shared.add(key)
        typical = spent.typical(name, job.store)
        now = job.now if job.now and job.now.step == name and job.now.elapsed_s is not None else None
        share = now.told["done"] / now.told["total"] if now and now.told and now.told["total"] else 0.0
        if now and now.elapsed_s is not None and share >= _ENOUGH:
            total += now.elapsed_s * (1 - share) / share
        elif typical is None:
            known = False
        else:
            total += max(0.0, typical - (now.elapsed_s or 0.0 if now else 0.0))
    return total, known


class Spent:
    """What steps took, as the store says; finished artifacts do not change, so every file is read once."""

    def __init__(self) -> None:
        self._facts: dict[Path, dict[str, Any]] = {}
        self._typical: dict[tuple[Path, str], float] = {}

    def ancestry(self, job: "Job") -> Iterator[tuple[str, float]]:
        """(fingerprint, seconds) of every step behind a job's artifact, as far as the store still has them."""
        assert job.goal
        waiting, seen = [job.goal], set()
        while waiting:
            name, key = waiting.pop()
            facts = None if key in seen or not job.store else self._read(job.store / "artifacts" / name / key)
            seen.add(key)
            if facts is None:
                continue
            yield key, _number(facts.get("seconds"))
            inputs = facts.get("inputs")
            for source in inputs.values() if isinstance(inputs, dict) else ():
                waiting.append((str(source.get("step")), str(source.get("fingerprint"))))

    def typical(self, step: str, store: Path | None) -> float | None:
        """The median seconds of the newest artifacts of a step; None where the store has none."""
        if store is None:
            return None
        if (store, step) not in self._typical:
            folders = sorted((store / "artifacts" / step).glob("*"), key=_age)[:_NEWEST]
            times = [_number(facts.get("seconds")) for facts in map(self._read, folders) if facts]
            if not times:
                # There may be one the next time.
                return None
            self._typical[store, step] = statistics.median(times)
        return self._typical[store, step]

    def _read(self, folder: Path) -> dict[str, Any] | None:
        if folder not in self._facts:
            try:
                found = read_json(folder / ARTIFACT_FILE)
            except (OSError, ValueError):
                return None
            if not isinstance(found, dict):
                return None
            self._facts[folder] = found
        return self._facts[folder]


def _age(folder: Path) -> float:
    try:
        return -folder.stat().st_mtime
    except OSError:
        return 0.0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
