"""Make a model folder to give to others out of a measured cell: its files and a full model card."""

import argparse
from pathlib import Path

HELP = "a measured cell's model as a folder to give to others, with a full model card"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cell", type=Path, help="a cell of a bench run (multirun/.../0), or a record in the store")
    parser.add_argument("--output", type=Path, required=True, help="the new folder")
    parser.add_argument("--base-model", metavar="OWNER/NAME", help="what all began with, where the store can't say")
    parser.add_argument("--licence", "--license", help="as the hub writes it: apache-2.0, mit (the base model's)")
    parser.add_argument("--onnx-only", action="store_true", help="without PyTorch's weights")
    parser.add_argument(
        "--link", action="store_true", help="hard links to the store in place of copies; never edit the files then"
    )


def run(chosen: argparse.Namespace) -> int:
    """Prints what was written."""
    from ..shipping.product import make_product
    from ..shipping.product_facts import gather

    facts = gather(chosen.cell, chosen.base_model, chosen.licence)
    files = make_product(facts, chosen.output, chosen.onnx_only, chosen.link)
    for name, count in files.items():
        print(f"{count:>12,}  {name}")
    print(f"{chosen.output}: {facts.title}, {len(files)} files, {sum(files.values()) / 1e6:.1f} MB")
    if facts.licence is None:
        print("the base model's licence is not known: say it with --licence before you publish the folder")
    return 0
