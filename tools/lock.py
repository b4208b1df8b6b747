"""Write requirements-hashed.txt: the SHA-256 of every file that `make install` would get, except torch's.

Run ``python tools/lock.py`` in an environment that `make install` has made (Linux x86-64, CPython 3.11), whenever
``constraints.txt`` or the dependencies in ``pyproject.toml`` change. pip is asked which file of each pinned version it
would take here, and which digest its index gives for it; nothing is installed.
"""

import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "requirements-hashed.txt"
# Which build there is (CPU, which CUDA) is the choice of who installs, and each has a digest of its own.
WITHOUT = "torch"
HEAD = """\
# Written by tools/lock.py for Linux x86-64, CPython 3.11; make install-locked checks every file against it.
# Versions are those of constraints.txt. torch, and what only its CUDA build brings, are not here: docs/security.md.
"""


def plain(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Version by name of everything in ``constraints.txt``."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {plain(name): version for name, version in pairs}


def named(extra: str | None = None) -> list[str]:
    """The requirements in ``pyproject.toml``: the project's own, or those of one extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: list[str] = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return found


def needed(lines: Iterable[str], requirements: Callable[[str], list[str]] | None = None) -> dict[str, str]:
    """Version by name of what these requirements bring here, with all that it needs in turn; torch itself is left out.

    Args:
        requirements: what a package says that it needs; the metadata of the installed ones by default.

    Raises:
        SystemExit: something of it is not pinned, or not installed.
    """
    pinned, found, seen = pins(), dict[str, str](), set[tuple[str, str]]()
    todo = [("the project", line, "") for line in lines]
    while todo:
        parent, line, extra = todo.pop()
        one = Requirement(line)
        name = plain(one.name)
        if one.marker and not one.marker.evaluate({"extra": extra}):
            continue
        if name not in pinned:
            if parent == WITHOUT:
                continue
            raise SystemExit(f"error: {name}, which {parent} needs, is not in constraints.txt; pin it there first")
        found[name] = pinned[name]
        for wanted in ("", *one.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += [(name, child, wanted) for child in (requirements or installed_requirements)(name)]
    return {name: version for name, version in sorted(found.items()) if name != WITHOUT}


def installed_requirements(name: str) -> list[str]:
    """What an installed package says that it needs.

    Raises:
        SystemExit: it is not installed.
    """
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        raise SystemExit(f"error: {name} is not installed here; make install first") from None


def asked(versions: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What pip tells of the file that it would take for each version, by name: ``metadata`` and ``download_info``.

    Raises:
        SystemExit: pip finds one of them nowhere.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        options = ["--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", str(report)]
        words = [f"{name}=={version}" for name, version in versions.items()]
        done = subprocess.run([sys.executable, "-m", "pip", "install", *options, *words], check=False)
        if done.returncode:
            raise SystemExit("error: pip could not find all of them; see above")
        return {plain(one["metadata"]["name"]): one for one in json.loads(report.read_text())["install"]}


def hashes(versions: dict[str, str]) -> dict[str, str]:
    """SHA-256 by name of the file that pip would take for each version.

    Raises:
        SystemExit: its index gives none for one of them.
    """
    told = {name: one["download_info"]["archive_info"] for name, one in asked(versions).items()}
    found = {name: str(archive.get("hashes", {}).get("sha256", "")) for name, archive in told.items()}
    lacking = [name for name in versions if not re.fullmatch("[0-9a-f]{64}", found.get(name, ""))]
    if lacking:
        raise SystemExit(f"error: the index gives no SHA-256 for {', '.join(lacking)}")
    return found


def main() -> None:
    """Write the file, or say why not."""
    here = (platform.system(), platform.machine(), platform.python_implementation(), sys.version_info[:2])
    if here != ("Linux", "x86_64", "CPython", (3, 11)):
        raise SystemExit(f"error: the file is for Linux x86_64 CPython 3.11, and this is {here}")
    versions = needed([*named(), *named("dev")])
    found = hashes(versions)
    lines = [f"{name}=={version} \\\n    --hash=sha256:{found[name]}\n" for name, version in versions.items()]
    TARGET.write_text(HEAD + "".join(lines))
    print(f"{TARGET.name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
