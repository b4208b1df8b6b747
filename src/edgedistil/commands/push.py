"""What of a model folder would go to the hub; with --upload it goes."""

import argparse
from pathlib import Path

from ..errors import UserError

HELP = "what of a model folder would go to the model hub; --upload sends it"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a folder that package made")
    parser.add_argument("repository", help="OWNER/NAME on the hub")
    parser.add_argument("--upload", action="store_true", help="send it; without this nothing leaves the machine")
    parser.add_argument("--public", action="store_true", help="a new repository for everybody to see (private)")


def run(chosen: argparse.Namespace) -> int:
    """Prints every file with its digest, and what was or was not done; exit code 2 when something must not go."""
    from ..shipping.hub import check_repository, upload
    from ..shipping.publishable import inspect

    check_repository(chosen.repository)
    found = inspect(chosen.folder)
    for name, count, digest in found.files:
        print(f"{count:>12,}  {digest[:16]}  {name}")
    total = sum(count for _, count, _ in found.files)
    print(f"{len(found.files)} files, {total / 1e6:.1f} MB")
    for remark in found.remarks:
        print(f"note: {remark}")
    if found.faults:
        raise UserError(f"{chosen.folder} must not be published as it is: {'; '.join(found.faults)}")
    if not chosen.upload:
        print(f"nothing was sent; --upload would send it to {chosen.repository}")
        return 0
    print(f"sent: {upload(chosen.folder, chosen.repository, found, not chosen.public)}")
    return 0
