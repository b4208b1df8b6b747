"""List, measure, clean or check the store."""

import argparse

from ..config.places import store_root
from ..errors import UserError
from ..store.store import Store

HELP = "list, measure, clean or check the store"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("ls", "size", "gc", "verify"))
    parser.add_argument("--days", type=float, default=30.0, help="gc: keep what was made in the last DAYS days (30)")
    parser.add_argument("--all", action="store_true", help="gc: remove everything that is not in use")


def run(chosen: argparse.Namespace) -> int:
    from ..store.upkeep import collect, entries, token_mb

    store = Store(store_root())
    if chosen.action == "gc":
        if not chosen.days >= 0:
            raise UserError(f"--days={chosen.days:g} is no number of days of at least 0; example: --days 30")
        count, freed = collect(store, chosen.days, chosen.all)
        print(f"removed {count} folders, {freed:.1f} MB, from {store.root}")
        return 0
    if chosen.action == "verify":
        return _verify(store)
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


def _verify(store: Store) -> int:
    """Reads every byte; exit code 1 when some artifact is not what was published."""
    from ..store.integrity import damage_on_disk

    # Folders, not manifests: one may have lost its own.
    folders = [folder for folder in sorted((store.root / "artifacts").glob("*/*")) if folder.is_dir()]
    # What somebody else removed meanwhile is not damaged.
    wrong = [told for folder in folders if (told := damage_on_disk(folder)) and folder.is_dir()]
    print("\n".join([*wrong, f"{len(folders)} artifacts, {len(wrong)} damaged, in {store.root}"]))
    if wrong:
        print("store.repair=true computes what a run needs of them again")
    return 1 if wrong else 0
