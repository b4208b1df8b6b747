"""Print the table of one or more sweeps again and write its files: page, pictures, CSV, Parquet."""

import argparse
import sys
from pathlib import Path

from ..config.places import store_root
from ..errors import UserError
from ..store.store import Store
from .places import SWEEPS, cells_left, only

HELP = "print a sweep's table again and write its page and files"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders",
        type=Path,
        nargs="*",
        help="folders under multirun/ or outputs/; several make one report; none: the newest sweep under multirun/",
    )
    parser.add_argument("--output", type=Path, help="the folder for its files (the first of the folders)")
    parser.add_argument("--references", nargs="*", default=None, help="published tables to set beside the rows")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME=VALUE", help="of these cells alone: model, task, compression, device, seed"
    )
    parser.add_argument("--roles", nargs="+", metavar="ROLE=MODEL", help="in place of the run's own report.roles")


def run(chosen: argparse.Namespace) -> int:
    from ..reporting.outcomes import UNREADABLE, checked, told
    from ..reporting.report import PAGE, drawn_before, report
    from ..reporting.roles import parse
    from ..reporting.status import newest

    folders = chosen.folders or [newest(SWEEPS)]
    output = chosen.output or folders[0]
    roles = parse(chosen.roles)
    left = [cell | ({"roles": roles} if roles else {}) for folder in folders for cell in cells_left(folder)]
    stages = {cell["stage"] for cell in left if "stage" in cell}
    if not stages <= {"bench"} and not stages <= {"train"}:
        raise UserError(
            f"{', '.join(map(str, folders))}: cells of {' and '.join(sorted(stages))}; a report is of "
            "bench.py's or of train.py's alone (what compress.py made, bench.py with the same options measures)"
        )
    store = Store(Path(told(left, "store", store_root())))
    references = told(left, "references", []) if chosen.references is None else chosen.references
    table = None
    if stages == {"bench"} and not chosen.only and (output / PAGE).is_file():
        table = drawn_before(left, store, output, references)
    if table is None:
        cells = checked(left)
        cells = only(cells, chosen.only) if chosen.only else cells
        lost = [cell for cell in cells if cell["status"] == UNREADABLE]
        if lost and not any(cell["status"] == "done" for cell in cells):
            raise UserError(f"none of the {len(cells)} cells can be read: {lost[0]['why']}")
        if not output.is_dir():
            raise UserError(f"--output={str(output)!r} is no folder; make it first")
        table = report(cells, store, output, references)
    print(table)
    print(f"page: {(output / PAGE).absolute()}", file=sys.stderr)
    return 0
