"""Two records of the same cell: whether their ratios agree."""

from typing import Any


def agreement(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """For every ratio that both records hold, whether the 95 % intervals overlap.

    Returns:
        One ``{"baseline", "scenario", "first", "second", "agree"}`` each, ``first`` and ``second`` being
        ``[low, ratio, high]``.

    Raises:
        ValueError: the records share no ratio, so nothing can be said.
    """
    found = []
    for part in ("speedup", "throughput_speedup"):
        for baseline, scenarios in first.get(part, {}).items():
            for scenario, a in scenarios.items():
                b = second.get(part, {}).get(baseline, {}).get(scenario)
                if b is None:
                    continue
                found.append(
                    {
                        "baseline": baseline,
                        "scenario": scenario,
                        "first": [a["ci95_low"], a["ratio"], a["ci95_high"]],
                        "second": [b["ci95_low"], b["ratio"], b["ci95_high"]],
                        "agree": a["ci95_low"] <= b["ci95_high"] and b["ci95_low"] <= a["ci95_high"],
                    }
                )
    if not found:
        raise ValueError("the two records have no ratio in common")
    return found
