"""A sweep's state for people: a few lines, or bars that move where the output is a terminal."""

from collections.abc import Sequence
from typing import Any, TextIO

from .status import ENDED, STATES, Job, Now, Sweep

# Cells whose reasons are told one by one; of more the first ones.
_TOLD = 12


def lines(sweep: Sweep) -> list[str]:
    """What ``python -m edgedistil status`` prints."""
    found = [f"{sweep.folder}: {headline(sweep)}"]
    width = len(sweep.jobs)
    for job in sweep.jobs:
        if job.state == "running":
            found.append(f"  cell {job.number + 1} of {width}: {job.label or 'being planned'}")
            found += [f"    {now_text(job.now)}"] if job.now else []
    found += _reasons(sweep.jobs, "failed") + _reasons(sweep.jobs, "skipped") + _reasons(sweep.jobs, "interrupted")
    found += [f"  problem: {problem}" for problem in sweep.problems]
    if not sweep.running and sweep.lacks:
        again = f" To go on: {sweep.command}" if sweep.command else ""
        found.append(f"  {sweep.lacks} of {width} cells are left; what is done is read from the store.{again}")
    return found


def headline(sweep: Sweep) -> str:
    """``running, 12 cells: 3 done, 1 running, 8 queued; about 4 min left``."""
    state = "running" if sweep.running else ("interrupted" if sweep.lacks else "finished")
    counts = {s: sweep.count(s) for s in STATES}
    names = {} if sweep.running else {"queued": "never begun"}
    told = ", ".join(f"{n} {names.get(s, s)}" for s, n in counts.items() if n)
    cached = sum(job.cached for job in sweep.jobs)
    told += f" ({cached} read from the store)" if cached else ""
    cells = f"{len(sweep.jobs)} cell{'s' if len(sweep.jobs) != 1 else ''}"
    return f"{state}, {cells}: {told}{_left(sweep)}"


def now_text(now: Now) -> str:
    """``recover: MODEL: 80 s, 340 of 600 steps (57 %)``."""
    facts = _facts(now)
    return f"{now.step}: {now.label}" + (f": {facts}" if facts else "")


def _facts(now: Now) -> str:
    facts = []
    if now.elapsed_s is not None:
        like = "" if now.told or now.typical_s is None else f" of about {duration(now.typical_s)}"
        facts.append(f"{duration(now.elapsed_s)}{like}")
    if now.told and now.told["total"]:
        done, total = now.told["done"], now.told["total"]
        facts.append(f"{done} of {total} {now.told['unit']} ({100 * done / total:.0f} %)")
    facts += [now.waits] if now.waits else []
    return ", ".join(facts)


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def as_json(sweep: Sweep) -> dict[str, Any]:
    """The same as an object for scripts."""
    return {
        "folder": str(sweep.folder),
        "state": "running" if sweep.running else ("interrupted" if sweep.lacks else "finished"),
        "cells": len(sweep.jobs),
        **{s: n for s in STATES if (n := sweep.count(s))},
        "cells_left": sweep.lacks,
        "seconds_left": round(sweep.left.seconds, 1) if sweep.left else None,
        "seconds_left_at_least": sweep.left.at_least if sweep.left else None,
        "now": [
            {
                "cell": job.number,
                "label": job.label,
                "step": job.now.step if job.now else None,
                "elapsed_s": round(job.now.elapsed_s, 1) if job.now and job.now.elapsed_s is not None else None,
                "progress": job.now.told if job.now else None,
            }
            for job in sweep.jobs
            if job.state == "running"
        ],
        "problems": sweep.problems,
        "command": sweep.command,
    }


def _left(sweep: Sweep) -> str:
    if sweep.left is None:
        return ""
    if sweep.left.at_least and not sweep.left.seconds:
        return "; time left not known yet"
    return f"; {'at least' if sweep.left.at_least else 'about'} {duration(sweep.left.seconds)} left"


def _reasons(jobs: Sequence[Job], state: str) -> list[str]:
    """Why, with how many cells say the same."""
    why: dict[str, list[Job]] = {}
    for job in jobs:
        if job.state == state:
            why.setdefault(job.why or "", []).append(job)
    told = [
        f"  {state}: {of[0].label or f'cell {of[0].number + 1}'}"
        + (f" and {len(of) - 1} more" if len(of) > 1 else "")
        + (f": {reason}" if reason else "")
        for reason, of in why.items()
    ]
    return told[:_TOLD] + ([f"  ... {len(told) - _TOLD} more reasons"] if len(told) > _TOLD else [])


class Live:
    """Follows a sweep: a line for every cell that begins or ends and, in a terminal, bars below them.

    Args:
        bars: None: where the stream is a terminal.
        own_bars: steps that draw a bar of their own; ours are away then.
    """

    def __init__(self, stream: TextIO, bars: bool | None = None, own_bars: Sequence[str] = ()) -> None:
        self._stream, self._own = stream, own_bars
        self._bars = stream.isatty() if bars is None else bars
        self._seen: dict[int, str] = {}
        self._shown: list[Any] = []

    def show(self, sweep: Sweep) -> None:
        """Tell what has changed since the last time."""
        # A job that has no label yet is being planned.
        states = {j.number: "queued" if j.state == "running" and not j.label else j.state for j in sweep.jobs}
        changed = [job for job in sweep.jobs if self._seen.get(job.number, "queued") != states[job.number]]
        self._seen = states
        if len(sweep.jobs) > 1:
            for line in _events(changed, sweep):
                self.say(line)
        if self._bars:
            self._draw(sweep)

    def say(self, line: str) -> None:
        """A line of its own, above the bars."""
        if self._bars:
            from tqdm import tqdm

            tqdm.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Take the bars away."""
        while self._shown:
            self._shown.pop().close()

    def _draw(self, sweep: Sweep) -> None:
        nows = [job.now for job in sweep.jobs if job.now]
        if not sweep.running or any(now.step in self._own for now in nows):
            self.close()
            return
        ended = sum(job.state in ENDED for job in sweep.jobs)
        # (text before, done, of, text after), a bar each
        wanted: list[tuple[str, float, float, str]] = (
            [(f"cells {ended} of {len(sweep.jobs)}", ended, len(sweep.jobs), _left(sweep))]
            if len(sweep.jobs) > 1
            else []
        )
        wanted += [_bar(now) for now in nows]
        if len(wanted) != len(self._shown):
            self.close()
        for place, (before, done, of, after) in enumerate(wanted):
            if place == len(self._shown):
                self._shown.append(self._new(place))
            bar = self._shown[place]
            bar.desc, bar.unit = before, after.lstrip("; ")
            bar.n, bar.total = (min(done, of), of) if of else (done, None)
            bar.refresh()

    def _new(self, place: int) -> Any:
        from tqdm import tqdm

        form = "{desc} {percentage:3.0f} %|{bar:20}| {unit}"
        return tqdm(
            file=self._stream, position=place, leave=False, bar_format=form, dynamic_ncols=True, total=1, unit=""
        )


def _bar(now: Now) -> tuple[str, float, float, str]:
    text = f"{_facts(now)} · {now.label}"
    if now.told and now.told["total"]:
        return now.step, now.told["done"], now.told["total"], text
    # One that takes longer than others did has not ended.
    typical = now.typical_s or 0.0
    return now.step, min(now.elapsed_s or 0.0, 0.99 * typical), typical, text


def _events(changed: Sequence[Job], sweep: Sweep) -> list[str]:
    width, found = len(sweep.jobs), []
    rest = f"{sum(job.state not in ENDED for job in sweep.jobs)} left{_left(sweep).replace(' left', '')}"
    silent = [job for job in changed if job.cached]
    for job in changed:
        label = f"cell {job.number + 1} of {width}"
        if job.state == "running":
            found.append(f"{label} begun: {job.label}")
        elif job.state == "done" and not job.cached:
            found.append(f"{label} done after {duration(job.seconds or 0.0)}: {job.label} ({rest})")
        elif job.state in ("failed", "skipped", "interrupted", "unreadable"):
            found.append(f"{label} {job.state}: {job.label}" + (f": {job.why}" if job.why else "") + f" ({rest})")
    if silent:
        found.append(f"{len(silent)} of {width} cells read from the store ({rest})")
    return found
