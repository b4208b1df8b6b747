"""Keep finished trainings without their store: small files that can be committed and that reports read."""

import argparse
import sys
from pathlib import Path

from .places import cells_of

HELP = "keep what runs of train.py found, without weights, in a folder that report and reproduce read"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=Path, nargs="+", help="folders under multirun/ or outputs/ of train.py")
    parser.add_argument("--output", type=Path, required=True, help="the folder to keep them in; what it has stays")


def run(chosen: argparse.Namespace) -> int:
    from ..reporting.kept import keep

    added, there, unread = keep([cell for run in chosen.runs for cell in cells_of(run)], chosen.output)
    for line in unread:
        print(f"left out: {line}", file=sys.stderr)
    print(f"{chosen.output}: {added} trainings kept, {there} were there")
    return 0
