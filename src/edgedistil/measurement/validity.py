"""Whether a cell's times may be quoted: reasons against it, in words."""

from .interleave import Samples, drift

MIN_CALLS = 64
MAX_DRIFT = 0.25


def reasons_against(samples: Samples, load_before: float, cores: int) -> list[str]:
    """Too few calls, a machine busy before we began, or times that moved between the halves of the run."""
    reasons = []
    if load_before > 0.75 * cores:
        reasons.append(f"load average {load_before:.2f} on {cores} cores before the run")
    for worker, scenarios in samples.items():
        for scenario, rounds in scenarios.items():
            calls = sum(len(r["wall_ms"]) for r in rounds)
            if calls < MIN_CALLS:
                reasons.append(f"{calls} calls of {scenario} on {worker}, fewer than {MIN_CALLS}")
            moved = drift(rounds)
            if abs(moved) > MAX_DRIFT:
                reasons.append(f"{scenario} on {worker} moved by {moved:+.0%} between the halves of the run")
    return reasons
