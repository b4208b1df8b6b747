"""DistilBERT's Tables 1 to 4: paper, seeds and ours side by side."""

import argparse
import sys
from pathlib import Path

from ..errors import UserError

HELP = "DistilBERT's Tables 1 to 4: paper, seeds and ours side by side"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", type=Path, nargs="*", help="runs of train.py (all of the reproduction's, found here)"
    )
    parser.add_argument(
        "--roles", nargs="+", metavar="ROLE=MODEL", help="full=MODEL small=MODEL, in place of the runs' report.roles"
    )
    parser.add_argument(
        "--pass-record", type=Path, nargs="+", default=[], help="records of python -m edgedistil pass-time, for Table 3"
    )
    parser.add_argument("--output", type=Path, help="a file, or a folder for reproduction.md (this one)")


def run(chosen: argparse.Namespace) -> int:
    from ..reporting.reproduction import reproduction
    from ..reporting.roles import parse
    from ..store.files import write_text

    output = chosen.output or Path.cwd()
    file = output / "reproduction.md" if output.is_dir() else output
    if not file.absolute().parent.is_dir():
        raise UserError(f"--output={str(output)!r}: its folder is not there; make it first")
    text = reproduction(chosen.folders, Path.cwd(), parse(chosen.roles), chosen.pass_record)
    print(text, end="")
    write_text(file, text)
    print(f"written: {file}", file=sys.stderr)
    return 0
