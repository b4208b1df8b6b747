"""Whether a cell's times may be quoted: reasons against it, in words."""

from typing import Any

from .figures import MIN_GENERATIONS
from .interleave import Samples, drift

# LoadGen's numbers of calls; a mode of the user's own needs the least of them.
MIN_CALLS = {"rapid": 64, "quick": 128, "full": 1024}
MAX_DRIFT = 0.25
MAX_BUSY_CORES = 0.5
# Of each pinned core: what others may use, and what the hypervisor may take.
MAX_OTHERS = 0.1
MAX_STEAL = 0.02
MAX_WAITING = 0.1
# A competitor on the same core takes it away about every 3 ms; kernel threads a few times a second.
MAX_SWITCHES_PER_S = 100
MAX_FALL = 0.15


def reasons_against(samples: Samples, conditions: dict[str, Any]) -> list[str]:
    """Every reason why these times may not be quoted; none is the empty list.

    Args:
        samples: of the exact lengths and the real texts.
        conditions: ``mode``, ``cores`` (how many the workers had), ``busy_cores_before``, ``busy_cores_after``,
            ``meanwhile`` (of :class:`edgedistil.devices.cores.Watch`), ``calibration_before`` and
            ``calibration_after``, ``unsteady``.
    """
    return [
        *_too_few(samples, conditions["mode"]),
        *_busy(conditions),
        *_kept_waiting(samples),
        *_throttled(conditions),
        *_not_steady(conditions["unsteady"]),
        *_drifted(samples),
    ]


def waiting_share(samples: Samples, worker: str) -> float:
    """Share of a worker's measured wall time in which none of its threads ran."""
    rounds = [r for by_round in samples[worker].values() for r in by_round]
    wall, cpu = (sum(sum(r[key]) for r in rounds) for key in ("wall_ms", "cpu_ms"))
    return max(0.0, 1 - cpu / wall)


def switches_per_s(samples: Samples, worker: str) -> float:
    """How often a measured second the kernel took the processor away from a worker."""
    rounds = [r for by_round in samples[worker].values() for r in by_round]
    return float(1000 * sum(r["involuntary_switches"] for r in rounds) / sum(sum(r["wall_ms"]) for r in rounds))


def machine_drift(samples: Samples, scenario: str) -> float:
    """What all workers drifted by together: the least of their drifts if all went the same way, else 0."""
    moved = [drift(by_scenario[scenario]) for by_scenario in samples.values()]
    if all(d > 0 for d in moved) or all(d < 0 for d in moved):
        return min(moved, key=abs)
    return 0.0


def _too_few(samples: Samples, mode: str) -> list[str]:
    reasons = []
    least = MIN_CALLS.get(mode, MIN_CALLS["rapid"])
    every = [rounds for scenarios in samples.values() for rounds in scenarios.values()]
    calls = min(sum(len(r["wall_ms"]) for r in rounds) for rounds in every)
    if calls < least:
        reasons.append(f"{calls} calls a scenario, fewer than {least}")
    generations = min(len({r["generation"] for r in rounds}) for rounds in every)
    if generations < MIN_GENERATIONS:
        reasons.append(f"{generations} generations of processes, fewer than {MIN_GENERATIONS}")
    return reasons


def _busy(conditions: dict[str, Any]) -> list[str]:
    reasons = []
    for when in ("before", "after"):
        busy = conditions[f"busy_cores_{when}"]
        if busy is not None and busy > MAX_BUSY_CORES:
            reasons.append(f"others kept {busy:.2f} cores busy {when} the run")
    meanwhile, cores = conditions["meanwhile"], conditions["cores"]
    if (others := meanwhile["others_cores"]) is not None and others > MAX_BUSY_CORES:
        reasons.append(f"others kept {others:.2f} cores busy during the run")
    if (ours := meanwhile["others_on_our_cores"]) is not None and ours > MAX_OTHERS * cores:
        reasons.append(f"others used {ours:.2f} of our {cores} cores during the run")
    if (steal := meanwhile["steal_cores"]) is not None and steal > MAX_STEAL * cores:
        reasons.append(f"the hypervisor took {steal:.2f} of our {cores} cores during the run")
    return reasons


def _kept_waiting(samples: Samples) -> list[str]:
    reasons = []
    for worker in samples:
        if (share := waiting_share(samples, worker)) > MAX_WAITING:
            reasons.append(f"{worker} waited for the processor for {share:.0%} of its time")
        if (rate := switches_per_s(samples, worker)) > MAX_SWITCHES_PER_S:
            reasons.append(f"the processor was taken from {worker} {rate:.0f} times a second")
    return reasons


def _throttled(conditions: dict[str, Any]) -> list[str]:
    before, after = conditions["calibration_before"], conditions["calibration_after"]
    return [
        f"the calibration product {name.removesuffix('_gops_per_s')} fell by {1 - after[name] / before[name]:.0%}"
        for name in before
        if after[name] < (1 - MAX_FALL) * before[name]
    ]


def _not_steady(unsteady: list[str]) -> list[str]:
    return [f"the warm-up of {what} never settled" for what in sorted(set(unsteady))]


def _drifted(samples: Samples) -> list[str]:
    reasons = []
    # The halves of the real texts hold different sentences.
    for scenario in sorted({s for by_scenario in samples.values() for s in by_scenario} - {"real"}):
        shared = machine_drift(samples, scenario)
        if abs(shared) > MAX_DRIFT:
            reasons.append(f"{scenario} moved by {shared:+.0%} on all workers between the halves of the run: machine")
        for worker, by_scenario in samples.items():
            own = (1 + drift(by_scenario[scenario])) / (1 + shared) - 1
            if abs(own) > MAX_DRIFT:
                reasons.append(f"{scenario} on {worker} moved by {own:+.0%} between the halves of the run")
    return reasons
