"""Whether two records of one cell agree on every ratio."""

import argparse
from pathlib import Path

from ..errors import UserError, first_line

HELP = "whether two records of one cell agree on every ratio"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("records", type=Path, nargs=2, help="record.json, made with another measurement.repeat each")


def run(chosen: argparse.Namespace) -> int:
    """Prints a table; exit code 1 when some intervals do not overlap."""
    from ..measurement.repeatability import agreement
    from ..reporting.table import markdown
    from ..store.files import read_json

    first, second = chosen.records
    try:
        found = agreement(read_json(first), read_json(second))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Another program's JSON fails in any of these ways.
        raise UserError(f"{first} and {second} can't be compared: {first_line(error)}; give two record.json") from error

    def figures(interval: list[float]) -> str:
        return f"{interval[1]:.2f} [{interval[0]:.2f}, {interval[2]:.2f}]"

    head = ["times faster than", "scenario", "first [95 %]", "second [95 %]", "agree"]
    print(
        markdown(
            head,
            [
                [f["baseline"], f["scenario"], figures(f["first"]), figures(f["second"]), "yes" if f["agree"] else "NO"]
                for f in found
            ],
        )
    )
    print(f"{sum(f['agree'] for f in found)} of {len(found)} ratios agree")
    return 0 if all(f["agree"] for f in found) else 1
