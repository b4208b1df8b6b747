"""Download the embedded pretrained encoder and check it."""

import argparse

HELP = "download the embedded pretrained encoder and check it"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing has to be said."""


def run(chosen: argparse.Namespace) -> int:
    from ..models.embedded import fetch

    print(fetch())
    return 0
