"""Tokens per second of our training loop and of transformers' Trainer."""

import argparse
from pathlib import Path

from .places import check_output

HELP = "tokens per second of our training loop and of transformers' Trainer"
_PASSED = ("model", "texts", "batch_size", "seconds", "generations", "burst", "max_length", "lines")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="an option of conf/model (distil_minilm), or a model folder")
    parser.add_argument("--texts", type=Path, required=True, help=".txt or Parquet file, or a folder of them")
    parser.add_argument("--objective", choices=("masked_language_modelling",), default="masked_language_modelling")
    parser.add_argument("--batch-size", type=int, default=32, help="texts a step (32)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="measured seconds of our loop; the others' steps equal (60)"
    )
    parser.add_argument("--generations", type=int, default=5, help="of fresh processes; the interval is of these (5)")
    parser.add_argument("--burst", type=int, default=2, help="steps in a burst (2)")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of the longest text (128)")
    parser.add_argument("--lines", type=int, default=50_000, help="of the texts at most so many (50000)")
    parser.add_argument("--output", type=Path, help="write the record, with every step's time, as JSON")


def run(chosen: argparse.Namespace) -> int:
    from ..stages.training_speed import table, training_speed, write

    check_output(chosen.output)
    record = training_speed(**{key: getattr(chosen, key) for key in _PASSED})
    print(table(record))
    if chosen.output is not None:
        write(record, chosen.output)
        print(f"record: {chosen.output}")
    return 0
