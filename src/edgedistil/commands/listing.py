"""What can be chosen."""

import argparse

HELP = "what can be chosen"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("references", "goals", "options"),
        help="published tables; tables of goals; every config group with its options and keys, as Markdown",
    )


def run(chosen: argparse.Namespace) -> int:
    if chosen.what == "options":
        from ..config.reference import reference

        print(reference(), end="")
        return 0
    from ..reporting import goals, references

    print("\n".join(goals.available() if chosen.what == "goals" else references.listed()))
    return 0
