"""The table of peers: what is there, what is missing and how to get it, without importing any of them."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgedistil.errors import UserError
from edgedistil.peers import registry
from edgedistil.peers.registry import PEERS, interpreter, missing, versions

WORKERS = sorted({peer.worker for peer in PEERS.values()})


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)


@pytest.mark.parametrize("module", WORKERS)
def test_workers_load_the_standard_library_only_until_they_are_asked(module: str) -> None:
    program = (
        f"import sys; before = set(sys.modules); import {module}; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["edgedistil"]


def test_looking_what_is_missing_imports_no_engine() -> None:
    program = (
        "import sys; from edgedistil.peers.registry import PEERS, missing; [missing(name) for name in PEERS]; "
        "print(*{'torch', 'openvino', 'nncf', 'ctranslate2', 'onnxruntime', 'optimum'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", [n for n, peer in PEERS.items() if not peer.own_environment])
def test_missing_packages_are_named_with_the_command_that_brings_them(name: str, nothing_installed: None) -> None:
    line = missing(name)
    assert line is not None
    assert line.startswith(f"{name} needs {', '.join(PEERS[name].packages)}: make install-peers")
    assert "\n" not in line


def test_what_is_installed_is_not_missing() -> None:
    assert missing("onnxruntime_int8_recipe") is None
    assert missing("torch_dynamic_int8") is None


@pytest.mark.parametrize(
    ("name", "package"), [("openvino_int8", "openvino"), ("openvino_int8", "nncf"), ("ctranslate2_int8", "ctranslate2")]
)
def test_extras_are_missing_exactly_where_they_are_not_installed(name: str, package: str) -> None:
    assert (package in (missing(name) or "").partition(":")[0].split(" needs ")[-1]) == (find_spec(package) is None)


def test_optimum_without_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(registry.OPTIMUM_VARIABLE, str(tmp_path / "no" / "python"))
    line = missing("optimum_int8")
    assert line is not None
    assert str(tmp_path / "no" / "python") in line
    assert line.endswith("make install-peers")
    assert interpreter("optimum_int8") == str(tmp_path / "no" / "python")


def test_optimum_environment_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.OPTIMUM_VARIABLE, sys.executable)
    if find_spec("optimum"):
        pytest.skip("Optimum is installed in this environment")
    assert missing("optimum_int8") == (
        f"optimum_int8 needs optimum, optimum-onnx in the environment of {sys.executable!r}: make install-peers"
    )


def test_optimum_is_looked_for_in_the_checkout(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.delenv(registry.OPTIMUM_VARIABLE, raising=False)
    assert registry.optimum_python() == repository / ".venv-optimum" / "bin" / "python"


def test_interpreter_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho broken beyond repair >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv(registry.OPTIMUM_VARIABLE, str(broken))
    with pytest.raises(UserError, match=r"can't be run: broken beyond repair"):
        missing("optimum_int8")


def test_all_others_run_on_this_interpreter() -> None:
    assert [name for name in PEERS if interpreter(name)] == ["optimum_int8"]


def test_versions_are_those_of_the_peers_own_packages() -> None:
    import torch

    found = versions("torch_dynamic_int8")
    assert set(found) == {"torch", "transformers"}
    assert found["torch"] == torch.__version__


def test_compiler_is_looked_for_by_name_and_in_cxx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert missing("torch_compile") == (
        "torch_compile needs a C++ compiler: install g++ or clang++, or name one in CXX"
    )
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    monkeypatch.setenv("CXX", "mine")
    assert missing("torch_compile") is None


def test_unknown_peer_is_one_line_with_those_allowed() -> None:
    with pytest.raises(UserError, match=r"peer 'tflite' is unknown; allowed: openvino_fp32, "):
        missing("tflite")
