"""The phone's files: Debian's arm64 packages laid out as on Android, with the files of ``overlay/`` over them."""

import os
import shutil
import subprocess
from pathlib import Path

from faults import PhoneError

OVERLAY = Path(__file__).resolve().parent / "overlay"
ADBD = "usr/lib/android-sdk/platform-tools/adbd"
PACKAGES = ("adbd", "mksh", "toybox")
# Folders that a running phone mounts something on.
_MOUNT_POINTS = ("data", "dev", "proc", "sys")
# Commands of toybox that would have to be in Android's shell too, but act on what the phone lends from this machine.
_LEFT_OUT = {"chroot", "devmem", "hwclock", "insmod", "modprobe", "nsenter", "rmmod", "switch_root", "unshare"}


def lay_out(root: Path, qemu: Path) -> None:
    """Turns unpacked packages into the phone's root.

    Args:
        root: the folder that they were unpacked into.
        qemu: asks toybox which commands it has.

    Raises:
        PhoneError: a package lacks what it is there for.
    """
    programs = root / "system" / "bin"
    programs.mkdir(parents=True)
    for package, name in (("mksh", "sh"), ("toybox", "toybox")):
        found = [root / folder / package for folder in ("bin", "usr/bin") if (root / folder / package).is_file()]
        if not found:
            raise PhoneError(f"Debian's package {package} has no program {package}: its layout is unknown here")
        shutil.copy(found[0], programs / name)
    if not (root / ADBD).is_file():
        raise PhoneError(f"Debian's package adbd has no /{ADBD}: its layout is unknown here")
    for folder in ("bin", "usr/bin", "usr/sbin", "usr/share", "etc/skel"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "bin").symlink_to("system/bin")
    if not (root / "lib").exists():  # Debian 13 and later keep everything under /usr
        (root / "lib").symlink_to("usr/lib")
    shown = subprocess.run(
        [qemu, "-L", root, programs / "toybox"], capture_output=True, text=True, check=False
    )  # fmt: skip
    commands = set(shown.stdout.split()) - _LEFT_OUT
    if not {"ls", "sha256sum", "taskset"} <= commands:
        raise PhoneError(f"toybox names no commands: {shown.stderr.strip() or shown.stdout.strip()}")
    for command in sorted(commands):
        (programs / command).symlink_to("toybox")
    for name in _MOUNT_POINTS:
        (root / name).mkdir()
    shutil.copytree(OVERLAY, root, dirs_exist_ok=True)
    for file in (OVERLAY / "system" / "bin").iterdir():
        (programs / file.name).chmod(0o755)


def write_cores(system: Path, cores: int) -> None:
    """The part of ``/sys`` that tells of cores: the upper half are large ones, by their frequencies.

    Made up: the emulated processor has one kind of core.

    Args:
        system: the phone's ``/sys``, empty.
        cores: how many there are.
    """
    folder = system / "devices" / "system" / "cpu"
    folder.mkdir(parents=True)
    span = f"0-{cores - 1}\n" if cores > 1 else "0\n"
    for name in ("possible", "present", "online"):
        (folder / name).write_text(span)
    for core in range(cores):
        large = core >= cores // 2
        values = {
            "cpufreq/cpuinfo_max_freq": 2400000 if large else 1800000,
            "cpufreq/cpuinfo_min_freq": 300000,
            "cpufreq/scaling_max_freq": 2400000 if large else 1800000,
            "cpufreq/scaling_cur_freq": 300000,
            "cpufreq/scaling_governor": "schedutil",
            "cpu_capacity": 1024 if large else 400,
        }
        for name, value in values.items():
            file = folder / f"cpu{core}" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")


def recipe() -> list[Path]:
    """The files that decide what a set-up makes; a phone made by others is made anew."""
    here = Path(__file__).resolve().parent
    own = [here / name for name in ("host_tools.py", "packages.py", "root.py", "setup.py")]
    return own + sorted(file for file in OVERLAY.rglob("*") if file.is_file())


def inside(root: Path) -> bool:
    """Whether a root is whole enough to start."""
    return all(os.path.exists(root / name) for name in (ADBD, "system/bin/sh", "system/build.prop"))
