"""Write the table of docs/licences.md: each pinned package's licence, as its metadata says, and what needs it.

Run ``python tools/licences.py`` in an environment that `make install` has made, whenever ``constraints.txt`` changes.
What is not installed there (the extras ``peers`` and ``launchers``) pip is asked about: 25 or newer, since older ones
leave the licence expression out. Nothing is installed.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lock import ROOT, WITHOUT, asked, named, needed, pins

TARGET = ROOT / "docs" / "licences.md"
# What a package is needed for: the first of these that brings it.
ANSWERS = ["numpy", "onnxruntime", "tokenizers"]
EXTRAS = {"dev": "tests", "peers": "peers", "launchers": "launchers"}
# What stands above it is written by hand.
TABLE = "## Every pinned package\n"


def licence(told: dict[str, Any]) -> str:
    """What a package's metadata say: the expression, else the classifiers, else the first line of the old field."""
    if told.get("license_expression"):
        return str(told["license_expression"])
    classified = [c.rsplit(" :: ", 1)[-1] for c in told.get("classifier") or () if c.startswith("License ::")]
    field = (str(told.get("license") or "").strip().splitlines() or [""])[0].strip()
    of_class = " or ".join(c for c in classified if c != "DFSG approved")
    vague = field.lower() in ("", "unknown", "apache", "bsd") or field.lower().startswith(("copyright", "license agr"))
    if re.fullmatch(r"[\w. ,+()/-]{2,40}", field) and not (vague and of_class):
        return field
    return of_class or "not told"


def known(name: str) -> dict[str, Any] | None:
    """The metadata of an installed package; None for one that is not installed."""
    try:
        return dict(metadata(name).json)
    except PackageNotFoundError:
        return None


def uses(told: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What each package is needed for, by name."""
    groups = {"answers": ANSWERS, "all": named()} | {label: named(extra) for extra, label in EXTRAS.items()}
    found: dict[str, str] = {WITHOUT: "all"}
    for label, lines in groups.items():
        for name in needed(lines, lambda one: told[one].get("requires_dist") or []):
            found.setdefault(name, label)
    return found


def table() -> list[str]:
    """One row of Markdown a package.

    Raises:
        SystemExit: one is pinned that nothing needs.
    """
    versions = pins()
    told = {name: found for name in versions if (found := known(name))}
    absent = {name: version for name, version in versions.items() if name not in told}
    told |= {name: one["metadata"] for name, one in (asked(absent) if absent else {}).items()}
    used = uses(told)
    if useless := sorted(set(versions) - set(used)):
        raise SystemExit(f"error: nothing needs {', '.join(useless)}; take them out of constraints.txt")
    return [f"| {name} | {versions[name]} | {licence(told[name])} | {used[name]} |" for name in sorted(versions)]


def main() -> None:
    """Write the table anew at the end of the page."""
    rows = table()
    above = TARGET.read_text().split(TABLE)[0]
    head = ["| package | version | licence | needed for |", "|---|---|---|---|"]
    TARGET.write_text("\n".join([above + TABLE, *head, *rows, ""]))
    print(f"{TARGET.relative_to(ROOT)}: {len(rows)} packages")


if __name__ == "__main__":
    main()
