"""Commands that only read, and the upkeep of the store: ``python -m edgedistil COMMAND``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .config.places import store_root
from .errors import StepError, UserError
from .store.store import Store


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (2: bad input)."""
    parser = argparse.ArgumentParser(prog="python -m edgedistil", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    upkeep = commands.add_parser("store", help="list, measure or clean the store")
    upkeep.add_argument("action", choices=("ls", "size", "gc"))
    upkeep.add_argument("--days", type=float, default=30.0, help="gc: keep what was made in the last DAYS days (30)")
    upkeep.add_argument("--all", action="store_true", help="gc: remove everything that is not in use")
    report = commands.add_parser("report", help="print a sweep's table again and write its files")
    report.add_argument("folder", type=Path, help="a folder under multirun/ or outputs/")
    report.add_argument("--references", nargs="*", default=None, help="published tables to set beside the rows")
    report.add_argument("--roles", nargs="+", metavar="ROLE=MODEL", help="in place of the run's own report.roles")
    goals = commands.add_parser("goals", help="goals set beforehand beside the cells that answer them: met or not")
    goals.add_argument(
        "folders", type=Path, nargs="+", help="folders of bench sweeps; those of other seeds are one row"
    )
    goals.add_argument("--goals", default="sst2_minilm", help="the table of goals (sst2_minilm)")
    reproduce = commands.add_parser("reproduce", help="DistilBERT's Tables 1 to 4: paper, seeds and ours side by side")
    reproduce.add_argument(
        "folders", type=Path, nargs="*", help="runs of train.py (all of the reproduction's, found here)"
    )
    reproduce.add_argument(
        "--roles", nargs="+", metavar="ROLE=MODEL", help="full=MODEL small=MODEL, in place of the runs' report.roles"
    )
    reproduce.add_argument(
        "--pass-record", type=Path, nargs="+", default=[], help="records of python -m edgedistil pass-time, for Table 3"
    )
    reproduce.add_argument("--output", type=Path, help="a file, or a folder for reproduction.md (this one)")
    sensitivity = commands.add_parser("sensitivity", help="what pruning and quantising cost and gain, part by part")
    sensitivity.add_argument("folder", type=Path, help="a run's folder under multirun/ or outputs/, or an artifact's")
    sensitivity.add_argument("--output", type=Path, help="where sensitivity.md and the pictures go (the run's folder)")
    agree = commands.add_parser("agreement", help="whether two records of one cell agree on every ratio")
    agree.add_argument("records", type=Path, nargs=2, help="record.json, made with another measurement.repeat each")
    listing = commands.add_parser("list", help="what can be chosen")
    listing.add_argument("what", choices=("references", "goals"))
    speed = commands.add_parser(
        "training-speed", help="tokens per second of our training loop and of transformers' Trainer"
    )
    speed.add_argument("--model", required=True, help="an option of conf/model (distil_minilm), or a model folder")
    speed.add_argument("--texts", type=Path, required=True, help=".txt or Parquet file, or a folder of them")
    speed.add_argument("--objective", choices=("masked_language_modelling",), default="masked_language_modelling")
    speed.add_argument("--batch-size", type=int, default=32, help="texts a step (32)")
    speed.add_argument(
        "--seconds", type=float, default=60, help="measured seconds of our loop; the others' steps equal (60)"
    )
    speed.add_argument("--generations", type=int, default=5, help="of fresh processes; the interval is of these (5)")
    speed.add_argument("--burst", type=int, default=2, help="steps in a burst (2)")
    speed.add_argument("--max-length", type=int, default=128, help="tokens of the longest text (128)")
    speed.add_argument("--lines", type=int, default=50_000, help="of the texts at most so many (50000)")
    speed.add_argument("--output", type=Path, help="write the record, with every step's time, as JSON")
    whole = commands.add_parser(
        "pass-time", help="time of one pass over a task's validation texts, models side by side"
    )
    whole.add_argument(
        "--models", nargs="+", required=True, help="options of conf/model, or model folders; slowest first"
    )
    whole.add_argument("--task", required=True, help="an option of conf/task (stsb)")
    whole.add_argument("--data", type=Path, help="folder of the task's Parquet files (task.data_dir)")
    whole.add_argument("--random", action="store_true", help="the models' shapes with random weights: no download")
    whole.add_argument("--engine", choices=("torch", "onnxruntime"), default="torch", help="PyTorch eager, or ours")
    whole.add_argument("--threads", type=int, default=1, help="of each worker (1)")
    whole.add_argument("--texts", type=int, help="only so many of the texts, drawn at random")
    whole.add_argument(
        "--pad-to", type=int, help="pad and cut every text to so many tokens (texts as long as they are)"
    )
    whole.add_argument("--generations", type=int, default=5, help="of fresh processes, which share out a pass (5)")
    whole.add_argument("--passes", type=int, default=1, help="how often all texts are answered (1)")
    whole.add_argument("--burst", type=int, default=10, help="texts in a burst (10)")
    whole.add_argument("--output", type=Path, help="write the record, with every burst's times, as JSON")
    commands.add_parser("embedded-model", help="download the embedded pretrained encoder and check it")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace) -> int:
    if chosen.command == "store":
        return _store(chosen)
    if chosen.command == "report":
        return _report(chosen)
    if chosen.command == "agreement":
        return _agreement(*chosen.records)
    if chosen.command == "training-speed":
        return _training_speed(chosen)
    if chosen.command == "pass-time":
        return _pass_time(chosen)
    if chosen.command == "sensitivity":
        return _sensitivity(chosen)
    if chosen.command == "goals":
        return _goals(chosen)
    if chosen.command == "reproduce":
        return _reproduce(chosen)
    if chosen.command == "list":
        from .reporting import goals, references

        print("\n".join(goals.available() if chosen.what == "goals" else references.listed()))
        return 0
    from .models.embedded import fetch

    print(fetch())
    return 0


def _agreement(first: Path, second: Path) -> int:
    """Prints a table; exit code 1 when some intervals do not overlap."""
    from .measurement.repeatability import agreement
    from .reporting.table import markdown
    from .store.files import read_json

    try:
        found = agreement(read_json(first), read_json(second))
    except (OSError, ValueError) as error:
        raise UserError(f"{first} and {second} can't be compared: {error}") from error

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


def _training_speed(chosen: argparse.Namespace) -> int:
    from .stages.training_speed import table, training_speed, write

    _check_output(chosen.output)
    keys = ("model", "texts", "batch_size", "seconds", "generations", "burst", "max_length", "lines")
    record = training_speed(**{key: getattr(chosen, key) for key in keys})
    print(table(record))
    if chosen.output is not None:
        write(record, chosen.output)
        print(f"record: {chosen.output}")
    return 0


def _pass_time(chosen: argparse.Namespace) -> int:
    from .stages.pass_time import pass_time, table, write

    _check_output(chosen.output)
    keys = ("models", "task", "data", "engine", "threads", "texts", "pad_to", "generations", "passes", "burst")
    record = pass_time(**{key: getattr(chosen, key) for key in keys}, random_weights=chosen.random)
    print(table(record))
    if chosen.output is not None:
        write(record, chosen.output)
        print(f"record: {chosen.output}")
    return 0


def _check_output(output: Path | None) -> None:
    if output is not None and not output.absolute().parent.is_dir():
        raise UserError(f"--output={str(output)!r}: its folder is not there; make it first")


def _store(chosen: argparse.Namespace) -> int:
    from .store.upkeep import collect, entries, token_mb

    store = Store(store_root())
    if chosen.action == "gc":
        count, freed = collect(store, chosen.days, chosen.all)
        print(f"removed {count} folders, {freed:.1f} MB, from {store.root}")
        return 0
    found = entries(store)
    if chosen.action == "ls":
        for entry in found:
            print(f"{entry.step:10} {entry.fingerprint[:12]} {entry.size_mb:9.1f} MB  {entry.label}")
    steps = sorted({e.step for e in found})
    for step in steps if chosen.action == "size" else []:
        mine = [e for e in found if e.step == step]
        print(f"{step:10} {len(mine):5} artifacts {sum(e.size_mb for e in mine):10.1f} MB")
    if tokens := token_mb(store):
        print(f"{'tokens':10} of large splits {tokens:13.1f} MB")
    print(f"{len(found)} artifacts, {sum(e.size_mb for e in found):.1f} MB in {store.root}")
    return 0


def _report(chosen: argparse.Namespace) -> int:
    from .reporting.report import report
    from .reporting.roles import parse

    cells = _cells(chosen.folder)
    if cells[0]["stage"] not in ("bench", "train"):
        raise UserError(f"{chosen.folder} holds cells of {cells[0]['stage']}.py, which have no report; bench.py's do")
    references = cells[0]["references"] if chosen.references is None else chosen.references
    roles = parse(chosen.roles)
    cells = [cell | ({"roles": roles} if roles else {}) for cell in cells]
    print(report(cells, Store(Path(cells[0]["store"])), chosen.folder, references))
    return 0


def _goals(chosen: argparse.Namespace) -> int:
    from .reporting.cells import measured_cells
    from .reporting.goals import goals_report

    cells = [cell for folder in chosen.folders for cell in _cells(folder)]
    print(goals_report(chosen.goals, measured_cells(cells)))
    return 0


def _reproduce(chosen: argparse.Namespace) -> int:
    from .reporting.reproduction import reproduction
    from .reporting.roles import parse
    from .store.files import write_text

    output = chosen.output or Path.cwd()
    file = output / "reproduction.md" if output.is_dir() else output
    if not file.absolute().parent.is_dir():
        raise UserError(f"--output={str(output)!r}: its folder is not there; make it first")
    text = reproduction(chosen.folders, Path.cwd(), parse(chosen.roles), chosen.pass_record)
    print(text, end="")
    write_text(file, text)
    print(f"written: {file}", file=sys.stderr)
    return 0


def _sensitivity(chosen: argparse.Namespace) -> int:
    from .reporting.outcomes import outcomes
    from .reporting.sensitivity import found_in, sensitivity_tables
    from .reporting.sensitivity_plot import draw_sensitivity
    from .store.files import write_text

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


def _cells(folder: Path) -> list[dict[str, Any]]:
    from .reporting.outcomes import outcomes

    cells = outcomes(folder) if folder.is_dir() else []
    if not cells:
        raise UserError(f"{folder} holds no cells; give a folder under multirun/ or outputs/ of a bench run")
    return cells


if __name__ == "__main__":
    sys.exit(main())
