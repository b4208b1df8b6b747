"""Time of one pass over a task's validation texts, models side by side."""

import argparse
from pathlib import Path

from .places import check_output

HELP = "time of one pass over a task's validation texts, models side by side"
_PASSED = ("models", "task", "data", "engine", "threads", "texts", "pad_to", "generations", "passes", "burst")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", nargs="+", required=True, help="options of conf/model, or model folders; slowest first"
    )
    parser.add_argument("--task", required=True, help="an option of conf/task (stsb)")
    parser.add_argument("--data", type=Path, help="folder of the task's Parquet files (task.data_dir)")
    parser.add_argument("--random", action="store_true", help="the models' shapes with random weights: no download")
    parser.add_argument("--engine", choices=("torch", "onnxruntime"), default="torch", help="PyTorch eager, or ours")
    parser.add_argument("--threads", type=int, default=1, help="of each worker (1)")
    parser.add_argument("--texts", type=int, help="only so many of the texts, drawn at random")
    parser.add_argument(
        "--pad-to", type=int, help="pad and cut every text to so many tokens (texts as long as they are)"
    )
    parser.add_argument("--generations", type=int, default=5, help="of fresh processes, which share out a pass (5)")
    parser.add_argument("--passes", type=int, default=1, help="how often all texts are answered (1)")
    parser.add_argument("--burst", type=int, default=10, help="texts in a burst (10)")
    parser.add_argument("--output", type=Path, help="write the record, with every burst's times, as JSON")


def run(chosen: argparse.Namespace) -> int:
    from ..stages.pass_time import pass_time, table, write

    check_output(chosen.output)
    record = pass_time(**{key: getattr(chosen, key) for key in _PASSED}, random_weights=chosen.random)
    print(table(record))
    if chosen.output is not None:
        write(record, chosen.output)
        print(f"record: {chosen.output}")
    return 0
