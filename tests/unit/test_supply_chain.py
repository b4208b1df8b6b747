"""What is installed: digests of all that is needed at the versions of constraints.txt, and every package's licence."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgedistil.shipping.known import BASES


def tool(repository: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{name}", repository / "tools" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lock(repository: Path) -> ModuleType:
    return tool(repository, "lock")


@pytest.fixture(scope="module")
def locked(repository: Path) -> dict[str, str]:
    """Version by name; every entry has exactly the two lines that it should."""
    lines = [x for x in (repository / "requirements-hashed.txt").read_text().splitlines() if not x.startswith("#")]
    found = {}
    for entry, digest in zip(lines[::2], lines[1::2], strict=True):
        named = re.fullmatch(r"([a-z0-9-]+)==([\w.]+) \\", entry)
        assert named, entry
        assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", digest), entry
        found[named[1]] = named[2]
    return found


def test_versions_are_those_of_the_constraints(lock: ModuleType, locked: dict[str, str]) -> None:
    pins = lock.pins()
    assert {name: pins.get(name) for name in locked} == locked, "run python tools/lock.py"
    assert len(locked) > 60


def test_what_the_project_names_is_there(lock: ModuleType, locked: dict[str, str]) -> None:
    named = [*lock.named(), *lock.named("dev")]
    wanted = {lock.plain(re.split(r"[<>=\[; ]", line)[0]) for line in named}
    assert wanted - set(locked) == {"torch"}, "run python tools/lock.py"
    assert not [name for name in locked if name.startswith(("torch-", "nvidia", "cuda", "triton"))]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11) or sys.platform != "linux", reason="the file is for CPython 3.11")
def test_all_that_is_needed_in_turn_is_there(lock: ModuleType, locked: dict[str, str]) -> None:
    assert lock.needed([*lock.named(), *lock.named("dev")]) == locked, "run python tools/lock.py"


def test_no_index_is_named(repository: Path) -> None:
    text = (repository / "requirements-hashed.txt").read_text()
    assert not re.search(r"://|index|find-links|file:", text.split("\n", 2)[2])


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "licences.md").read_text()


def test_every_pinned_package_has_a_licence_and_a_use(page: str, repository: Path) -> None:
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([\w.]+) \| (.+) \| (answers|all|tests|peers|launchers) \|$", page, re.M)
    assert {name for name, *_ in rows} == set(tool(repository, "lock").pins()), "run python tools/licences.py"
    assert not [name for name, _, licence, _ in rows if licence == "not told"]


def test_copyleft_is_named_in_words(page: str) -> None:
    strong = re.findall(r"^\| ([a-z0-9-]+) \| [\w.]+ \| [^|]*(?:GPL|MPL|Mozilla)[^|]* \|", page, re.M)
    words = page[: page.index("## Every pinned package")]
    assert {"certifi", "tqdm"} <= set(strong)
    assert not [name for name in strong if not re.search(rf"\b{name}\b", words)]


def test_base_models_have_the_licences_of_the_cards(page: str) -> None:
    rows = dict(re.findall(r"^\| (\S+/\S+) \| (.+) \|$", page, re.M))
    assert rows == {name: base.licence or "its card states none" for name, base in BASES.items()}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"license_expression": "MIT", "license": "text"}, "MIT"),
        ({"license": "Apache-2.0", "classifier": ["License :: OSI Approved :: Apache Software License"]}, "Apache-2.0"),
        ({"license": "Copyright (c) 2001", "classifier": ["License :: OSI Approved :: BSD License"]}, "BSD License"),
        ({"classifier": ["License :: DFSG approved", "License :: OSI Approved :: MIT License"]}, "MIT License"),
        ({}, "not told"),
    ],
)
def test_a_licence_is_read_from_whichever_field_says_it(
    told: dict[str, object], expected: str, repository: Path
) -> None:
    assert tool(repository, "licences").licence(told) == expected
