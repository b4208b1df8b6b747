"""What pruning and quantising cost and gain, part by part."""

import argparse
from pathlib import Path

from ..errors import UserError

HELP = "what pruning and quantising cost and gain, part by part"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a run's folder under multirun/ or outputs/, or an artifact's")
    parser.add_argument("--output", type=Path, help="where sensitivity.md and the pictures go (the run's folder)")


def run(chosen: argparse.Namespace) -> int:
    from ..reporting.outcomes import outcomes
    from ..reporting.sensitivity import found_in, sensitivity_tables
    from ..reporting.sensitivity_plot import draw_sensitivity
    from ..store.files import write_text

    cells = outcomes(chosen.folder) if chosen.folder.is_dir() else []
    # What is in the store is never edited.
    output = chosen.output or (chosen.folder if cells else Path.cwd())
    if not output.is_dir():
        raise UserError(f"--output={str(output)!r} is no folder; make it first")
    found = found_in(chosen.folder, cells)
    text = "\n\n".join(sensitivity_tables(one) for one in found)
    print(text)
    write_text(output / "sensitivity.md", text + "\n")
    for number, one in enumerate(found):
        picture = output / ("sensitivity.png" if number == 0 else f"sensitivity_{number + 1}.png")
        draw_sensitivity(one, picture)
        print(f"picture: {picture}")
    return 0
