"""Lays out the emulated phone: ``python mobile/emulator/setup.py [--output build/mobile/phone]``.

Standard library only, no privileges, nothing of the machine is changed. The folder holds ``root`` (the phone's arm64
files), ``qemu-aarch64``, ``adb`` where the machine has none, and ``manifest.json``.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import host_tools
import machine
import root
from faults import PhoneError
from packages import Apt, facts_of, sources_of, unpack

DEFAULT = Path(__file__).resolve().parents[2] / "build" / "mobile" / "phone"
MANIFEST = "manifest.json"


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 2 after one line that says what is missing and what to do."""
    parser = argparse.ArgumentParser(description="Set up the emulated arm64 phone of edgedistil.")
    parser.add_argument("--output", type=Path, default=DEFAULT, help="the phone's folder (default: build/mobile/phone)")
    options = parser.parse_args(arguments)
    output = options.output.resolve()
    os.umask(0o022)
    try:
        if ":" in str(output):
            raise PhoneError(f"{output}: a path with a colon can't be in a list of library folders; another --output")
        found = ready(output)
        if not found:
            machine.check()
            publish(output)
    except OSError as error:
        print(f"error: {error.filename or output}: {error.strerror}; another folder: --output DIR", file=sys.stderr)
        return 2
    except PhoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted, nothing was made", file=sys.stderr)
        return 130
    manifest = read_manifest(output)
    adbd, adb = manifest["packages"]["arm64"]["adbd"]["version"], output / manifest["adb"]
    print(f"{output}: {'was there' if found else 'made'}, adbd {adbd}, {output / manifest['qemu']}, {adb}")
    return 0


def read_manifest(folder: Path) -> dict[str, Any]:
    """What is in a phone's folder and where it came from.

    Raises:
        PhoneError: the folder holds no phone.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        return manifest if isinstance(manifest["packages"], dict) else {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        how = f"make one with python mobile/emulator/setup.py --output {folder}"
        raise PhoneError(f"{folder} holds no phone: {how}") from error


def recipe_sha256() -> str:
    """Digest of everything here that decides what a set-up makes."""
    lines = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.name}\n" for file in root.recipe())
    return hashlib.sha256(lines.encode()).hexdigest()


def ready(folder: Path) -> bool:
    """Whether a folder holds a whole phone of today's recipe.

    Raises:
        PhoneError: it holds something else, which is not ours to replace.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        manifest = read_manifest(folder)
    except PhoneError as error:
        raise PhoneError(f"{folder} is there and holds no phone: give another --output, or remove it") from error
    there = all((folder / manifest.get(name, "?")).is_file() for name in ("qemu", "adb"))
    return there and root.inside(folder / "root") and manifest.get("recipe_sha256") == recipe_sha256()


def publish(output: Path) -> None:
    """Makes a phone beside ``output`` and moves it there when it is whole. Raises PhoneError."""
    output.parent.mkdir(parents=True, exist_ok=True)
    for left in output.parent.glob(f".{output.name}.*.partial"):
        # Of a set-up that was killed.
        if not Path(f"/proc/{left.name.split('.')[-2]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        manifest = make(partial)
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if output.exists():
            output.rename(partial / "old")
        partial.rename(output)
        shutil.rmtree(output / "old", ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make(folder: Path) -> dict[str, Any]:
    """Everything but the manifest, which it returns."""
    machine.check_tools()
    release, added = machine.debian_release(Path("/etc/os-release").read_text())
    sources = sources_of(release, (added,) if added else ())
    qemu, adb = host_tools.installed_qemu(), host_tools.installed_adb()
    wanted = [*(["qemu-user"] if not qemu else []), *(["adb"] if not adb else [])]

    def fetch(name: str, architecture: str, installed: bool, packages: list[str]) -> list[Path]:
        apt = Apt(scratch / name, architecture, sources, added, installed)
        apt.update()
        return apt.download(*packages)

    # In the folder itself, so that one that is killed leaves nothing elsewhere.
    scratch = folder / "scratch"
    with ThreadPoolExecutor(2) as both:
        phone = both.submit(fetch, "phone", "arm64", False, list(root.PACKAGES))
        host = both.submit(fetch, "host", "amd64", True, wanted) if wanted else None
        facts = {"arm64": unpack(phone.result(), folder / "root"), "amd64": {}}
        files = host.result() if host else []
        if not qemu:
            package = next(file for file in files if file.name.startswith("qemu-user_"))
            files.remove(package)
            qemu = Path("qemu-aarch64")
            host_tools.take_qemu(package, folder / qemu)
            facts["amd64"] |= [facts_of(package)]
        if not adb:
            adb = "adb/adb"
            facts["amd64"] |= host_tools.take_adb(files, folder / "adb")
    shutil.rmtree(scratch)
    root.lay_out(folder / "root", folder / qemu)
    if not host_tools.qemu_fits(folder / qemu):
        raise PhoneError(f"the qemu-user of {release} is older than 10 or not static: the phone can't use it")
    return {
        "debian": release,
        "qemu": str(qemu),
        "adb": adb,
        "recipe_sha256": recipe_sha256(),
        "packages": facts,
    }


if __name__ == "__main__":
    sys.exit(main())
