"""What differs between two runs of the same cells, as a table and as a gate."""

import argparse
import json
import sys
from pathlib import Path

from ..errors import UserError

HELP = "differences of two runs with intervals and verdicts; exit code 1 past given tolerances"


def arguments(parser: argparse.ArgumentParser) -> None:
    what = "a sweep's folder, a folder of records, a record or a results.csv"
    parser.add_argument("first", type=Path, help=f"{what}: what was")
    parser.add_argument("second", type=Path, help=f"{what}: what is")
    parser.add_argument(
        "--tolerance",
        nargs="+",
        action="extend",
        default=[],
        metavar="FIGURE=VALUE[%]",
        help="how much worse the second may be: accuracy_points=0.5 latency=5%% size=1%%",
    )
    parser.add_argument("--strict", action="store_true", help="tolerances hold for the estimates: noise is no excuse")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="with tolerances: cells that the second lacks, and figures that can't be judged, don't close the gate",
    )
    parser.add_argument(
        "--scenario", default="tokens_32", help="which latency: real, tokens_16, tokens_32 (default), ..."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(chosen: argparse.Namespace) -> int:
    """Prints the table; exit code 1 when something goes past a tolerance."""
    from ..reporting.compare import differences, lost_cells, pairs
    from ..reporting.compare_text import as_json, compared, lines
    from ..reporting.gather import gather
    from ..reporting.tolerance import parse

    tolerances = parse(chosen.tolerance)
    (first, wrong), (second, also_wrong) = gather(chosen.first), gather(chosen.second)
    same, only_first, only_second = pairs(first, second)
    lost = lost_cells(only_first, second)
    if not same and not (lost and tolerances):
        raise UserError(
            f"{chosen.first} and {chosen.second} have no cell that is done in both; cells are the same by model, task, "
            "compression and device"
        )
    found = compared(
        same, (only_first, only_second), lost, wrong + also_wrong, lambda a, b: differences(a, b, chosen.scenario)
    )
    if not found.pairs and not lost:
        raise UserError(f"no cell of {chosen.first} and {chosen.second} can be compared: {found.problems[0]}")
    found.tolerances, found.strict = tolerances, chosen.strict
    found.allow_missing, found.unreadable = chosen.allow_missing, also_wrong
    if chosen.json:
        print(json.dumps(as_json(found), sort_keys=True))
    else:
        print("\n".join(lines(found)))
        for problem in found.problems:
            print(f"left out: {problem}", file=sys.stderr)
    return 1 if found.past() else 0
