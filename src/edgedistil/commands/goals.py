"""Goals set beforehand beside the cells that answer them."""

import argparse
from pathlib import Path

from .places import cells_of

HELP = "goals set beforehand beside the cells that answer them: met or not"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", type=Path, nargs="+", help="folders of bench sweeps; those of other seeds are one row"
    )
    parser.add_argument("--goals", default="sst2_minilm", help="the table of goals (sst2_minilm)")


def run(chosen: argparse.Namespace) -> int:
    from ..reporting.cells import measured_cells
    from ..reporting.goals import goals_report

    cells = [cell for folder in chosen.folders for cell in cells_of(folder)]
    print(goals_report(chosen.goals, measured_cells(cells)))
    return 0
