"""Which cell to ship within limits."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError

HELP = "the best cell within limits of latency, size, memory, cold start and quality, and why"
# Option, what it limits, unit for help.
_LIMITS = (
    ("--max-latency-ms", "latency", "of a text at --scenario and --percentile"),
    ("--max-size-mb", "size", "of the model's file (model MB in tables)"),
    ("--max-memory-mb", "memory", "peak resident memory of batch 1"),
    ("--max-cold-start-ms", "cold_start", "process start to first logits"),
    ("--max-drop", "drop", "points lost against the cell's own FP32 parent (nats of a masked language model)"),
    ("--max-loss", "quality", "nats, of a masked language model"),
    ("--min-quality", "quality", "percent (up to 1: a share): accuracy, F1 of spans, Pearson or Matthews × 100"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", type=Path, nargs="+", help="sweeps, folders of records, results.csv; other seeds are one cell"
    )
    for option, _, what in _LIMITS:
        parser.add_argument(option, type=float, metavar="X", help=what)
    parser.add_argument("--device", help="only cells of this device, by its name")
    parser.add_argument("--task", help="only cells of this task")
    parser.add_argument("--model", help="only cells of this model")
    parser.add_argument(
        "--scenario", default="tokens_32", help="which latency: real, tokens_16, tokens_32 (default), ..."
    )
    parser.add_argument("--percentile", choices=("p50", "p90", "p99"), default="p50", help="of the latency (p50)")
    parser.add_argument(
        "--prefer", choices=("quality", "latency", "size"), default="quality", help="what is to be best (quality)"
    )
    parser.add_argument(
        "--cautious", action="store_true", help="hold the 95 %% interval's unfavourable end against the limits"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(chosen: argparse.Namespace) -> int:
    """Prints the choice; exit code 1 when no cell qualifies."""
    from ..reporting.candidates import Asked, candidates
    from ..reporting.gather import gather, not_done
    from ..reporting.quality import scale_of
    from ..reporting.recommend import choose
    from ..reporting.recommend_text import as_json, lines

    cells, problems = [], []
    for folder in chosen.folders:
        found, wrong = gather(folder)
        cells += found
        problems += wrong
    problems += not_done(cells)
    done = [c for c in cells if c.row["status"] == "done"]
    for option in ("device", "task", "model"):
        done = _only(done, option, getattr(chosen, option))
    if not done:
        raise UserError(f"{', '.join(map(str, chosen.folders))}: no cell is done, so none can be recommended")
    scale = scale_of([c.row for c in done])
    asked = Asked(scale, chosen.scenario, chosen.percentile)
    _check_scenario([c.row for c in done], chosen)
    choice = choose(candidates(done, asked), _limits(chosen, scale), chosen.prefer, chosen.cautious)
    if chosen.json:
        print(json.dumps(as_json(choice, asked, problems), sort_keys=True))
    else:
        print("\n".join(lines(choice, asked)))
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
    return 0 if choice.ranked else 1


def _only(done: list[Any], option: str, wanted: str | None) -> list[Any]:
    """Cells of one device, task, model; what is compared must be of one device and one task."""
    names = sorted({str(c.row.get(option)) for c in done})
    if wanted is None:
        if len(names) > 1 and option != "model":
            raise UserError(
                f"cells of several {option}s can't be set beside each other: {', '.join(names)}; give --{option}"
            )
        return done
    if done and wanted not in names:
        raise UserError(f"--{option}={wanted!r} has no cell that is done; there are: {', '.join(names)}")
    return [c for c in done if str(c.row.get(option)) == wanted]


def _check_scenario(rows: list[dict[str, Any]], chosen: argparse.Namespace) -> None:
    end = "_latency_ms_p50"
    known = sorted({k.removesuffix(end) for r in rows for k in r if k.endswith(end)})
    if known and chosen.scenario not in known:
        raise UserError(f"--scenario={chosen.scenario!r} was not measured; there are: {', '.join(known)}")


def _limits(chosen: argparse.Namespace, scale: Any) -> list[Any]:
    from ..reporting.quality import LOSS
    from ..reporting.recommend import Limit

    found = []
    for option, figure, _ in _LIMITS:
        value = getattr(chosen, option.removeprefix("--").replace("-", "_"))
        if value is None:
            continue
        if not math.isfinite(value):
            raise UserError(f"{option}={value} is no number to hold a model to; example: {option} 10")
        is_loss = scale is not None and scale.metric == LOSS
        if option == "--min-quality" and is_loss:
            raise UserError("--min-quality: masked language models are judged by their loss; give --max-loss")
        if option == "--max-loss" and not is_loss:
            raise UserError("--max-loss is of masked language models; give --min-quality")
        at_least = option == "--min-quality"
        found.append(Limit(figure, 100 * value if at_least and value <= 1 else value, option, at_least))
    return found
