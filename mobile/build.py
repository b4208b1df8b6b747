"""Builds the native runner: ``python mobile/build.py host|linux-arm64|android [--output DIR]``.

Standard library only. Each target ends as one folder with the program, the libraries that it needs and
``manifest.json``: digests, sizes, versions, and the command that starts it from within the folder.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fetch import (
    AAR_SHA256,
    AAR_URL,
    AAR_VERSION,
    WHEEL_VERSION,
    BuildError,
    arm64_wheel,
    fetch,
    headers,
    sha256,
    unpack,
)

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
BUILDS = HERE.parent / "build" / "mobile"
PROGRAM = "edgedistil_runner"
FLAGS = ("-std=c++17", "-O2", "-Wall", "-Wextra")

# The oldest Android whose loader looks beside the program ($ORIGIN) is 7 (24); ONNX Runtime's own needs are lower.
ANDROID_API = 24
ANDROID_COMPILERS = {"arm64-v8a": "aarch64-linux-android", "x86_64": "x86_64-linux-android"}
_LOADER = "ld-linux-aarch64.so.1"


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 2 after one line that says what is missing and what to do."""
    options = _parser().parse_args(arguments)
    output = (options.output or BUILDS / options.target).resolve()
    try:
        output.mkdir(parents=True, exist_ok=True)
        target = {"host": build_host, "linux-arm64": build_arm64, "android": build_android}[options.target]
        facts = target(options, output)
        manifest = write_manifest(options.target, facts, output)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    total = sum(file["bytes"] for file in manifest["files"].values())
    print(f"{output}: {len(manifest['files'])} files, {total / 1e6:.1f} MB, ONNX Runtime {manifest['onnxruntime']}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build the native runner of edgedistil.")
    parser.add_argument("target", choices=("host", "linux-arm64", "android"))
    parser.add_argument("--output", type=Path, help="folder for the result (default: build/mobile/TARGET)")
    parser.add_argument("--downloads", type=Path, default=BUILDS / "downloads", help="folder of what is fetched")
    parser.add_argument("--headers", type=Path, help="folder of ONNX Runtime's C headers, in place of fetching them")
    parser.add_argument("--compiler", help="another C++17 compiler")
    parser.add_argument("--library", type=Path, help="host: libonnxruntime, in place of the installed wheel's")
    parser.add_argument("--abi", choices=sorted(ANDROID_COMPILERS), default="arm64-v8a", help="android: which devices")
    parser.add_argument("--ndk", type=Path, help="android: the NDK (default: $ANDROID_NDK_HOME)")
    parser.add_argument("--aar", type=Path, help="android: an ONNX Runtime AAR, in place of fetching the pinned one")
    return parser


def build_host(options: argparse.Namespace, output: Path) -> dict[str, Any]:
    """For this machine, with the library of the installed ``onnxruntime`` wheel (linked, not copied)."""
    compiler = _tool(options.compiler or os.environ.get("CXX"), ("g++", "clang++"), "Install one: apt-get install g++")
    library = options.library or _installed_library()
    if not library.is_file():
        raise BuildError(f"no library {library}: --library names the file libonnxruntime.so.VERSION")
    _compile(options, compiler, output)
    link = output / "libonnxruntime.so.1"
    link.unlink(missing_ok=True)
    link.symlink_to(library.resolve())
    version = re.search(r"\.so\.([0-9.]+)$", library.resolve().name)
    return {
        "machine": platform.machine(),
        "onnxruntime": version[1] if version else "unknown",
        "compiler": _version(compiler),
        "start": [f"./{PROGRAM}"],
    }


def _installed_library() -> Path:
    package = importlib.util.find_spec("onnxruntime")
    found = sorted(Path(package.origin).parent.glob("capi/libonnxruntime.so.*")) if package and package.origin else []
    if not found:
        raise BuildError(f"{sys.executable} has no onnxruntime with a library: pip install it, or give --library FILE")
    return found[-1]


def build_arm64(options: argparse.Namespace, output: Path) -> dict[str, Any]:
    """For arm64 Linux: a folder that brings its C library and loader along, so that any root can run it."""
    advice = "Install the cross compiler: apt-get install g++-aarch64-linux-gnu"
    compiler = _tool(options.compiler, ("aarch64-linux-gnu-g++",), advice)
    wheel = arm64_wheel(options.downloads)
    _compile(options, compiler, output, "-static-libstdc++", "-static-libgcc")
    library = output / "libonnxruntime.so.1"
    unpack(wheel, f"onnxruntime/capi/libonnxruntime.so.{WHEEL_VERSION}", library)
    _bring_libraries(compiler, output, [output / PROGRAM, library])
    return {
        "machine": "aarch64",
        "onnxruntime": WHEEL_VERSION,
        "compiler": _version(compiler),
        "start": [f"./{_LOADER}", "--library-path", ".", f"./{PROGRAM}"],
    }


def _bring_libraries(compiler: str, output: Path, files: list[Path]) -> None:
    """Copies from the compiler's own system what these files need, and what that needs in turn."""
    reader = _tool(None, (re.sub(r"g\+\+(-\d+)?$", "readelf", Path(compiler).name),), "It is part of binutils")
    brought = {file.name for file in files}
    while files:
        shown = subprocess.run([reader, "-d", str(files.pop())], capture_output=True, text=True, check=True).stdout
        for name in set(re.findall(r"\(NEEDED\).*\[(.+)\]", shown)) - brought:
            command = [compiler, f"-print-file-name={name}"]
            source = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
            if not source.is_absolute():
                raise BuildError(f"{compiler} knows no {name}, which the program needs")
            shutil.copy(source, output / name)
            brought.add(name)
            files.append(output / name)
    (output / _LOADER).chmod(0o755)


def build_android(options: argparse.Namespace, output: Path) -> dict[str, Any]:
    """For Android, with the NDK and the official AAR."""
    ndk = options.ndk or (Path(os.environ["ANDROID_NDK_HOME"]) if os.environ.get("ANDROID_NDK_HOME") else None)
    how = "get it with Android Studio (SDK tools) or sdkmanager 'ndk;27.2.12479018', then set ANDROID_NDK_HOME or --ndk"
    if ndk is None:
        raise BuildError(f"no Android NDK: {how}; or build linux-arm64, which needs none (no phone has run it yet)")
    name = f"{ANDROID_COMPILERS[options.abi]}{ANDROID_API}-clang++"
    found = sorted(ndk.glob(f"toolchains/llvm/prebuilt/*/bin/{name}"))
    if not options.compiler and not found:
        raise BuildError(f"no {name} under {ndk}/toolchains/llvm/prebuilt: this is no NDK for this machine; {how}")
    compiler = options.compiler or str(found[0])
    if options.aar and not options.aar.is_file():
        raise BuildError(f"no file {options.aar}: --aar names an onnxruntime-android-VERSION.aar")
    aar = options.aar or fetch(
        AAR_URL, AAR_SHA256, options.downloads, f"Put the file into {options.downloads} yourself, or give --aar FILE"
    )
    with tempfile.TemporaryDirectory() as scratch:
        unpack(aar, "headers/onnxruntime_c_api.h", Path(scratch) / "onnxruntime_c_api.h")
        included = options.headers or Path(scratch)
        # Android 15 and later may have pages of 16 kB.
        compile_program(compiler, included, output, "-static-libstdc++", "-Wl,-z,max-page-size=16384")
    unpack(aar, f"jni/{options.abi}/libonnxruntime.so", output / "libonnxruntime.so")
    version = re.search(r"onnxruntime-android-([0-9.]+)\.aar$", aar.name)
    return {
        "machine": {"arm64-v8a": "aarch64"}.get(options.abi, options.abi),
        "onnxruntime": version[1] if version else f"of an AAR with SHA-256 {sha256(aar)}",
        "compiler": _version(compiler),
        "start": [f"./{PROGRAM}", "--library", "./libonnxruntime.so"],
        "pinned": aar.name.endswith(f"-{AAR_VERSION}.aar") and sha256(aar) == AAR_SHA256,
    }


def _compile(options: argparse.Namespace, compiler: str, output: Path, *flags: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        compile_program(compiler, headers(options.headers, options.downloads, Path(scratch)), output, *flags)


def compile_program(compiler: str, included: Path, output: Path, *flags: str) -> None:
    """The program from all sources at once, which takes a third of the time that one after another takes.

    Raises:
        BuildError: the compiler refuses.
    """
    lines = "".join(f'#include "{file.name}"\n' for file in sorted(SOURCES.glob("*.cpp")))
    command = [compiler, *FLAGS, *flags, "-I", str(SOURCES), "-isystem", str(included)]
    command += ["-x", "c++", "-", "-o", str(output / PROGRAM), "-s", "-ldl", "-Wl,-rpath,$ORIGIN"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{compiler} failed:\n{done.stderr.strip()}")
    # Warnings, which another compiler than ours may have, are shown and stop nothing.
    print(done.stderr, end="", file=sys.stderr)


def write_manifest(target: str, facts: dict[str, Any], output: Path) -> dict[str, Any]:
    """``manifest.json``: what the folder holds, what it was made from, how it is started from within."""
    names = sorted(file.name for file in output.iterdir() if file.is_file() and file.name != "manifest.json")
    sources = "".join(f"{sha256(file)} {file.name}\n" for file in sorted(SOURCES.iterdir()))
    manifest = {
        "target": target,
        **facts,
        "sources_sha256": hashlib.sha256(sources.encode()).hexdigest(),
        "files": {name: {"sha256": sha256(output / name), "bytes": (output / name).stat().st_size} for name in names},
    }
    (output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return manifest


def _tool(asked: str | None, usual: tuple[str, ...], advice: str) -> str:
    """Path of a program. Raises BuildError, with the advice, when none of the names is one."""
    names = (asked,) if asked else usual
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise BuildError(f"no {' or '.join(names)} on this machine. {advice}")


def _version(compiler: str) -> str:
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return shown.splitlines()[0] if shown else compiler


if __name__ == "__main__":
    sys.exit(main())
