"""Keep finished trainings without their store: small files that can be committed and that reports read."""

import argparse
import sys
from pathlib import Path

from ..errors import UserError
from .places import cells_of

HELP = "keep what runs of train.py found, without weights, in a folder that report and reproduce read"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", help="folders under multirun/ or outputs/ of train.py")
    parser.add_argument("--output", type=Path, required=True, help="the folder to keep them in; what it has stays")


def run(chosen: argparse.Namespace) -> int:
    from ..reporting.kept import keep

    cells, empty = [], []
    for folder in chosen.runs:
        try:
            cells += cells_of(folder)
        except UserError as error:
            # multirun/DAY/* holds runs that were stopped before their first cell, too.
            if len(chosen.runs) == 1 or not folder.is_dir():
                raise
            empty.append(str(error))
    added, there, unread = keep(cells, chosen.output)
    for line in [*empty, *unread]:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{chosen.output}: {added} trainings kept, {there} were there")
    return 0
