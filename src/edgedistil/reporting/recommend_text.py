"""A recommendation for people and for scripts."""

from typing import Any

from .candidates import Asked, Candidate
from .intervals import Figure
from .recommend import Choice, Limit, against_parent, told

_NAMED = {
    "quality": "quality",
    "drop": "lost against its parent",
    "latency": "latency",
    "size": "model file",
    "memory": "peak memory",
    "cold_start": "cold start",
}
_NOTE = (
    "By the estimates: neighbours may change places within their intervals, and the best of many cells looks a little "
    "better than it is."
)


def lines(choice: Choice, asked: Asked) -> list[str]:
    """What ``python -m edgedistil recommend`` prints."""
    found: list[str] = []
    if choice.ranked:
        best, *others = choice.ranked
        found += [f"best: {best.label}", *_about(best, choice, asked)]
        found += [f"  {why}" for why in _why(choice)]
        if others:
            found += ["", f"runner-up: {others[0].label}", *_about(others[0], choice, asked)]
            found += [f"  beside the best: {_beside(best, others[0], asked)}"]
        else:
            found += ["", "runner-up: none, no other cell qualifies"]
        found += ["", f"{len(choice.ranked)} of {len(choice.ranked) + len(choice.missed)} cells qualify. {_NOTE}"]
    else:
        found.append("no cell qualifies")
        if choice.missed:
            nearest, misses = choice.missed[0]
            found += [f"nearest miss: {nearest.label}", *(f"  lacks {m.text}" for m in misses)]
            found += _about(nearest, choice, asked)
    rest = choice.missed if choice.ranked else choice.missed[1:]
    found += ["", "not taken:"] if rest else []
    found += [f"  {c.label}: {'; '.join(m.text for m in misses)}" for c, misses in rest]
    return found


def as_json(choice: Choice, asked: Asked, problems: list[str]) -> dict[str, Any]:
    """The same as an object for scripts."""
    return {
        "scenario": asked.scenario,
        "percentile": asked.percentile,
        "quality_is": asked.scale.name if asked.scale else None,
        "prefer": choice.prefer,
        "cautious": choice.cautious,
        "limits": {limit.option: limit.value for limit in choice.limits},
        "best": _object(choice.ranked[0], asked) if choice.ranked else None,
        "runner_up": _object(choice.ranked[1], asked) if len(choice.ranked) > 1 else None,
        "qualify": [c.label for c in choice.ranked],
        "binding": {limit.option: c.label for limit, c in choice.binding()},
        "missed": [{"cell": c.label, "lacks": [m.text for m in misses]} for c, misses in choice.missed],
        "problems": problems,
    }


def _about(candidate: Candidate, choice: Choice, asked: Asked) -> list[str]:
    found = []
    for name, what in _NAMED.items():
        figure = candidate.figures.get(name)
        if figure is None:
            continue
        what = asked.scale.name if name == "quality" and asked.scale else what
        what += f" {asked.percentile}, {asked.scenario}" if name == "latency" else ""
        unquoted = name in ("latency", "cold_start") and candidate.not_timed_because
        limits = "; ".join(_held(limit, figure) for limit in choice.limits if limit.figure == name)
        remark = f" (not to be quoted: {unquoted})" if unquoted else ""
        found.append(f"  {what}: {told(name, figure, asked)}{remark}{f'; {limits}' if limits else ''}")
    found += [f"  against its FP32 parent: {text}" for text in [_parent(candidate, asked)] if text]
    for cell in candidate.cells:
        found.append(f"  folder: {cell.place}")
        found += [f"  command: {cell.command}"] if cell.command else []
    return found


def _held(limit: Limit, figure: Figure) -> str:
    """``within --max-latency-ms 4`` and whether the whole interval is."""
    if not limit.meets(figure.value):
        return f"misses {limit.option} {limit.value:g}"
    if figure.low is None or figure.high is None:
        return f"within {limit.option} {limit.value:g} (no interval)"
    shown = limit.meets(figure.worst(not limit.at_least))
    return f"within {limit.option} {limit.value:g}" + ("" if shown else ", but its interval reaches beyond")


def _why(choice: Choice) -> list[str]:
    """Which limits decided."""
    binding = choice.binding()
    if not choice.limits:
        return [f"why: the best {choice.prefer} of all; no limit was given"]
    if not binding:
        return [f"why: the best {choice.prefer}; no limit bound, it would be the best without any of them too"]
    return [f"why: {limit.option} binds; without it: {other.label}" for limit, other in binding]


def _parent(candidate: Candidate, asked: Asked) -> str:
    facts = against_parent(candidate, asked)
    parts = []
    if "drop" in facts:
        apart = "lost for sure" if facts["drop"].value > 0 else "gained, below 0 is better"
        noise = {True: "lost, within noise", False: apart, None: "lost"}[facts.get("within_noise")]
        parts.append(f"{told('drop', facts['drop'], asked)} {noise}")
    for baseline, ratio in facts.get("faster", {}).items():
        of = {"onnxruntime_fp32": "it in ONNX Runtime", "torch_fp32": "PyTorch eager"}[baseline]
        seed = f" (seed {candidate.row.get('seed')})" if len(candidate.cells) > 1 else ""
        parts.append(f"{told('ratio', ratio, asked)} × as fast as {of}{seed}")
    parts += [f"{facts['size']:.2f} × smaller"] if "size" in facts else []
    parts += [f"{facts['memory']:.2f} × less memory"] if "memory" in facts else []
    parts += [f"cold start takes {facts['cold_start']:.2f} × as long"] if "cold_start" in facts else []
    return "; ".join(parts)


def _beside(best: Candidate, other: Candidate, asked: Asked) -> str:
    parts = []
    for name in ("quality", "latency", "size"):
        if name not in best.figures or name not in other.figures:
            continue
        if name == "latency" and (best.not_timed_because or other.not_timed_because):
            continue
        a, b = best.figures[name], other.figures[name]
        if name == "quality":
            apart = b.value - a.value
            parts.append(f"{apart:+.2f} {asked.scale.unit if asked.scale else ''}")
        else:
            parts.append(f"{b.value / a.value:.2f} × the {'latency' if name == 'latency' else 'size'}")
    return ", ".join(parts) or "nothing to compare"


def _object(candidate: Candidate, asked: Asked) -> dict[str, Any]:
    facts = against_parent(candidate, asked)
    return {
        "cell": candidate.label,
        **{k: candidate.row.get(k) for k in ("model", "task", "compression", "device")},
        "seeds": [c.row.get("seed") for c in candidate.cells],
        "figures": {name: _bounds(figure) for name, figure in candidate.figures.items()},
        "times_not_to_be_quoted": candidate.not_timed_because,
        "against_parent": {
            **{k: v for k, v in facts.items() if k not in ("drop", "faster")},
            **({"faster": {b: _bounds(f) for b, f in facts["faster"].items()}} if "faster" in facts else {}),
        },
        "folders": [c.place for c in candidate.cells],
        "commands": [c.command for c in candidate.cells],
    }


def _bounds(figure: Figure) -> dict[str, float | None]:
    kind = "envelope_of_seeds" if figure.envelope else "ci95"
    return {"value": figure.value, f"{kind}_low": figure.low, f"{kind}_high": figure.high}
