"""Cores: which ones are quiet, and what the machine did on them meanwhile (Linux ``/proc/stat``)."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

_CORE = re.compile(r"cpu([0-9]{1,6})((?: +[0-9]{1,19}){8})(?![0-9])")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class CoreTimes:
    """Seconds since boot on one core: doing anything (steal included), taken by the hypervisor, all."""

    busy_s: float
    steal_s: float
    all_s: float


def core_times() -> dict[int, CoreTimes]:
    """Core → its times; empty where the kernel doesn't say."""
    try:
        lines = Path("/proc/stat").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        # user nice system idle iowait irq softirq steal; guest times are in user already (proc(5)).
        if match := _CORE.match(line):
            t = [int(x) / _TICKS_PER_S for x in match[2].split()]
            found[int(match[1])] = CoreTimes(sum(t) - t[3] - t[4], t[7], sum(t))
    return found


def quietest_cores(count: int, seconds: float = 0.5) -> tuple[list[int] | None, str | None]:
    """(``count`` cores that were least busy for ``seconds``, None), or (None, why processes can't be pinned here)."""
    if not hasattr(os, "sched_setaffinity"):
        return None, "this system has no way to pin a process to cores"
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < count:
        return None, f"{count} threads on {len(allowed)} cores"
    before = core_times()
    time.sleep(seconds)
    after = core_times()
    if not set(allowed) <= set(after):
        return None, "the kernel doesn't say how busy each core is"
    # Among equally quiet ones not the first: interrupts and whatever isn't told otherwise gather there.
    busy = {core: round(after[core].busy_s - before[core].busy_s, 2) for core in allowed}
    return sorted(sorted(allowed, key=lambda core: (busy[core], -core))[:count]), None


class Watch:
    """What happened on the machine between the making of this object and :meth:`stop`.

    Args:
        cores: those that the workers are pinned to; None for all.
    """

    def __init__(self, cores: list[int] | None) -> None:
        self._cores, self._before, self._began = cores, core_times(), time.monotonic()

    def stop(self, own_cpu_s: float, asking_cpu_s: float) -> dict[str, float | None]:
        """Mean numbers of cores that others used, everywhere and on ours, and that the hypervisor took from ours.

        Args:
            own_cpu_s: CPU time of the workers, all on our cores when they are pinned.
            asking_cpu_s: CPU time of the process that asks, wherever it ran.
        """
        seconds, after = time.monotonic() - self._began, core_times()
        if not after:
            return {"others_cores": None, "others_on_our_cores": None, "steal_cores": None}
        ours = self._cores if self._cores is not None else list(after)
        busy = {core: after[core].busy_s - self._before[core].busy_s for core in after}
        steal = sum(after[core].steal_s - self._before[core].steal_s for core in ours)
        elsewhere = 0.0 if len(ours) < len(after) else asking_cpu_s
        return {
            "others_cores": _cores(sum(busy.values()) - own_cpu_s - asking_cpu_s, seconds),
            "others_on_our_cores": _cores(sum(busy[core] for core in ours) - own_cpu_s - elsewhere, seconds),
            "steal_cores": _cores(steal, seconds),
        }


def _cores(cpu_s: float, seconds: float) -> float:
    return round(max(0.0, cpu_s) / seconds, 3)
