"""The workspace and the report of a W&B project."""

import argparse

HELP = "make the workspace and the report of a project in W&B"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", help="PROJECT, or ENTITY/PROJECT")
    parser.add_argument("--sweep", help="show the runs of one sweep alone: their group in W&B")
    parser.add_argument("--no-report", action="store_true", help="the workspace alone")


def run(chosen: argparse.Namespace) -> int:
    from ..config.places import store_root
    from ..reporting.wandb_dashboard import dashboard, place_of

    made = dashboard(place_of(chosen.project), store_root(), chosen.sweep, not chosen.no_report)
    for what, url in made.items():
        print(f"{what}: {url}")
    return 0
