"""The builds of the native runner: what is missing is said, what is fetched is checked, arm64 answers as x86 does."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.precision import DynamicInt8, Float32
from edgedistil.export.reading import read_model
from edgedistil.workers.client import Worker

REPOSITORY = Path(__file__).resolve().parents[2]
Build = Callable[..., subprocess.CompletedProcess[str]]


def test_missing_tools_and_files_are_named(build_native: Build, tmp_path: Path) -> None:
    for target, more, message in (
        ("host", ["--compiler", "no-such-compiler"], "no no-such-compiler on this machine. Install one"),
        ("host", ["--library", str(tmp_path / "x.so")], "no library"),
        ("host", ["--headers", str(tmp_path)], "no onnxruntime_c_api.h in"),
        ("linux-arm64", ["--compiler", "no-such-cross"], "apt-get install g++-aarch64-linux-gnu"),
        ("android", [], "no Android NDK"),
        ("android", ["--ndk", str(tmp_path)], "this is no NDK"),
    ):
        done = build_native(target, tmp_path / "out", *more, ANDROID_NDK_HOME="")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert done.stderr.startswith("error: ")
        assert message in done.stderr


def test_a_download_with_other_bytes_is_refused_and_removed(build_native: Build, tmp_path: Path) -> None:
    wrong = tmp_path / "libonnxruntime-dev_1.21.0%2bdfsg-1_amd64.deb"
    wrong.write_bytes(b"not it")
    done = build_native("host", tmp_path / "out", "--downloads", str(tmp_path))
    assert done.returncode == 2
    assert "has SHA-256" in done.stderr
    assert not wrong.exists()


def test_android_folder_is_made_of_the_archive_and_the_ndk(build_native: Build, tmp_path: Path) -> None:
    """A compiler that only writes down how it was called stands in for the NDK's."""
    tools = tmp_path / "ndk" / "toolchains" / "llvm" / "prebuilt" / "linux-x86_64" / "bin"
    tools.mkdir(parents=True)
    compiler = tools / "aarch64-linux-android24-clang++"
    compiler.write_text(f"#!{sys.executable}\nimport sys\na = sys.argv\n"
                        "if '-o' in a: open(a[a.index('-o') + 1], 'w').write(' '.join(a) + sys.stdin.read())\n")
    compiler.chmod(0o755)
    archive = tmp_path / "onnxruntime-android-9.9.9.aar"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("headers/onnxruntime_c_api.h", "header")
        made.writestr("jni/arm64-v8a/libonnxruntime.so", "library")
    out = tmp_path / "out"
    done = build_native("android", out, "--ndk", str(tmp_path / "ndk"), "--aar", str(archive))
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in out.iterdir()) == ["edgedistil_runner", "libonnxruntime.so", "manifest.json"]
    assert (out / "libonnxruntime.so").read_text() == "library"
    called = (out / "edgedistil_runner").read_text()
    assert "-Wl,-z,max-page-size=16384" in called
    assert '#include "main.cpp"' in called
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["machine"], manifest["onnxruntime"], manifest["pinned"]) == ("aarch64", "9.9.9", False)
    assert manifest["files"]["libonnxruntime.so"]["bytes"] == 7
    lacking = build_native("android", out, "--ndk", str(tmp_path / "ndk"), "--aar", str(archive), "--abi", "x86_64")
    assert lacking.returncode == 2


def test_no_onnx_runtime_file_is_kept_in_the_repository() -> None:
    kept = {path.name for path in (REPOSITORY / "mobile").rglob("*") if path.is_file()}
    assert not {name for name in kept if name.startswith("onnxruntime") or name.endswith((".so", ".aar", ".deb"))}


@pytest.fixture(scope="module")
def emulator() -> str:
    """QEMU's emulator of arm64 programs; older ones show x86's /proc/cpuinfo, on which ONNX Runtime dies."""
    found = os.environ.get("EDGEDISTIL_QEMU") or shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if not found:
        pytest.skip("no qemu-aarch64 (Debian's package qemu-user), and EDGEDISTIL_QEMU names none")
    shown = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)", shown)
    if not version or int(version[1]) < 10:
        pytest.skip(f"{shown.splitlines()[0]}: 10 or later is needed")
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("core", "isa"),
    [
        ("cortex-a53", set()),
        ("cortex-a76", {"asimddp"}),
        ("cortex-a710", {"asimddp", "i8mm", "bf16", "sve2"}),
    ],
)
def test_arm64_answers_as_this_machine_does(
    core: str, isa: set[str], emulator: str, built: Callable[[str], Path], tiny_folder: Callable[..., Path],
    tiny_model: Callable[..., Any], sentence_ids: list[list[int]],
) -> None:
    bundle = built("linux-arm64")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["start"][:3] == ["./ld-linux-aarch64.so.1", "--library-path", "."]
    start = [str(bundle / word) if word.startswith(".") else word for word in manifest["start"]]
    types = [[0] * len(ids) for ids in sentence_ids]
    logits = {}
    for name, precision in (("fp32", Float32()), ("int8", DynamicInt8(embeddings=True, weights="s8_7bit"))):
        folder = tiny_folder(tiny_model("distilbert"), name)
        save(write_graph(read_model(folder), precision, False), folder / "model.onnx")
        with Worker("arm64", 1, command=[emulator, "-cpu", core, *start]) as arm, Worker("onnxruntime", 1) as here:
            facts = arm.load(folder, 64, ("the film",), ids=[[2, 5, 3]])["facts"]
            here.load(folder, 64, ("the film",))
            logits[name] = [np.array(w.ask("predict", ids=sentence_ids, types=types)["logits"]) for w in (arm, here)]
            arm.ask("prepare", name="x", batches=[[[2, 5, 3]]])
            assert min(arm.ask("time", name="x", start=0, count=2)["wall_ms"]) > 0
        assert (facts["machine"], facts["ort_version"]) == ("aarch64", manifest["onnxruntime"])
        assert set(facts["isa"]) >= isa
        assert {"asimddp", "i8mm"} & set(facts["isa"]) == {"asimddp", "i8mm"} & isa
    arm, here = logits["fp32"]
    assert np.abs(arm - here).max() < 1e-5 * np.abs(here).max()
    # A last bit of a float can turn the rounding of an activation, so whole steps of INT8 may differ.
    arm, here = logits["int8"]
    assert np.abs(arm - here).max() < 0.05 * np.ptp(here)
    assert np.abs(arm - logits["fp32"][0]).max() > 1e-4
