"""Whether a cell's times may be quoted: reasons against it, in words."""

from .interleave import Samples, drift

MIN_CALLS = 64
MAX_DRIFT = 0.25
MAX_BUSY_CORES = 0.5


def reasons_against(samples: Samples, busy_before: float) -> list[str]:
    """Too few calls, a machine busy before we began, or times that moved between the halves of the run."""
    reasons = []
    if busy_before > MAX_BUSY_CORES:
        reasons.append(f"others kept {busy_before:.2f} cores busy before the run")
    calls = min(
        sum(len(r["wall_ms"]) for r in rounds) for scenarios in samples.values() for rounds in scenarios.values()
    )
    if calls < MIN_CALLS:
        reasons.append(f"{calls} calls a scenario, fewer than {MIN_CALLS}")
    for worker, scenarios in samples.items():
        for scenario, rounds in scenarios.items():
            if scenario == "real":
                # Its halves hold different sentences.
                continue
            moved = drift(rounds)
            if abs(moved) > MAX_DRIFT:
                reasons.append(f"{scenario} on {worker} moved by {moved:+.0%} between the halves of the run")
    return reasons
