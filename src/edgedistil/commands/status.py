"""How far a sweep is: of this terminal or another, running or killed."""

import argparse
import json
import sys
import time
from pathlib import Path

from ..errors import UserError
from .places import SWEEPS

HELP = "how far a sweep is, which step runs, what is left; of one that was killed how to go on"
_DAY_S = 86400


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", type=Path, nargs="*", help="sweeps (or single runs under outputs/); none: the newest under multirun/"
    )
    parser.add_argument(
        "--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help="look again every so many seconds (2)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a sweep, a line each")


def run(chosen: argparse.Namespace) -> int:
    from ..reporting.status import newest, others_running, read_sweep
    from ..reporting.status_text import as_json, lines

    folders = chosen.folders or [newest(SWEEPS)]
    if chosen.watch is not None and not 0 < chosen.watch <= _DAY_S:
        raise UserError(f"--watch={chosen.watch:g} is no number of seconds above 0, up to a day; example: --watch 2")
    if chosen.watch and chosen.json:
        raise UserError("--watch draws for people and --json is one look for scripts; leave one out")
    if chosen.watch:
        return _watch(folders, chosen.watch)
    for folder in folders:
        sweep = read_sweep(folder)
        print(json.dumps(as_json(sweep), sort_keys=True) if chosen.json else "\n".join(lines(sweep)))
    others = [] if chosen.json or chosen.folders else others_running(SWEEPS, folders)
    if others:
        print(f"running too: {', '.join(map(str, others))}")
    return 0


def _watch(folders: list[Path], seconds: float) -> int:
    """Until none of the sweeps runs any more."""
    from ..reporting.estimate import Spent
    from ..reporting.status import read_sweep
    from ..reporting.status_text import Live, lines

    # Bars of several sweeps would stand in each other's places.
    bars, spent = None if len(folders) == 1 else False, Spent()
    shown = {folder: Live(sys.stdout, bars) for folder in folders}
    try:
        while True:
            states = [read_sweep(folder, spent) for folder in folders]
            for sweep in states:
                shown[sweep.folder].show(sweep)
            if not any(sweep.running for sweep in states):
                break
            time.sleep(seconds)
    except KeyboardInterrupt:
        return 0
    finally:
        for live in shown.values():
            live.close()
    for sweep in states:
        print("\n".join(lines(sweep)))
    return 0
