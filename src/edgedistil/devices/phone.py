"""What a phone says of itself: properties, cores, heat, battery, storage. All of it may be denied; then it is None."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .adb import Adb, PhoneError, whole_number

ABI = "arm64-v8a"
# Above what any phone has.
_MOST_CORES = 1023
_PROPERTIES = {
    "manufacturer": "ro.product.manufacturer",
    "model": "ro.product.model",
    "soc": "ro.soc.model",
    "platform": "ro.board.platform",
    "android": "ro.build.version.release",
    "sdk": "ro.build.version.sdk",
    "build": "ro.build.fingerprint",
    "abi": "ro.product.cpu.abi",
}
# Either of them marks Android's own emulator and ours.
_EMULATED = ("ro.kernel.qemu", "ro.boot.qemu")
# A line a core: number, highest frequency in kHz, governor; what a phone denies is a dash.
_CORES = (
    "for c in /sys/devices/system/cpu/cpu[0-9]*; do "
    "f=$(cat $c/cpufreq/cpuinfo_max_freq 2>/dev/null || echo -); "
    "g=$(cat $c/cpufreq/scaling_governor 2>/dev/null || echo -); "
    "echo ${c##*/cpu} $f $g; done"
)
_STATE = (
    "dumpsys thermalservice 2>/dev/null | grep 'Thermal Status' ; dumpsys battery 2>/dev/null ; "
    "echo low_power: $(settings get global low_power 2>/dev/null) ; echo load: $(cat /proc/loadavg 2>/dev/null) ; true"
)


def facts(adb: Adb) -> dict[str, Any]:
    """What a record says of the device, the same at every call: properties, ``emulated``, instruction sets, cores with
    their highest frequency (kHz) and memory (MB).

    Raises:
        PhoneError: the phone can't be asked, or has another processor than the runner is built for.
    """
    properties = parse_properties(adb.shell(["getprop"]))
    found: dict[str, Any] = {name: properties.get(key) or None for name, key in _PROPERTIES.items()}
    if found["abi"] != ABI:
        raise PhoneError(f"phone {adb.serial} has the ABI {found['abi']}, and the runner is built for {ABI}")
    cores = parse_cores(adb.script(_CORES))
    return {
        "serial": adb.serial,
        **found,
        "emulated": any(properties.get(key) == "1" for key in _EMULATED),
        "cores_max_khz": {str(core): khz for core, khz, _ in cores},
        "governors": sorted({governor for _, _, governor in cores if governor}),
        "memory_mb": _memory_mb(adb.script("cat /proc/meminfo 2>/dev/null || true")),
    }


def parse_properties(text: str) -> dict[str, str]:
    """``[key]: [value]`` lines of ``getprop``."""
    return dict(re.findall(r"^\[([^\]\n]+)\]: \[(.*)\][ \t\r]*$", text, re.MULTILINE))


def parse_cores(text: str) -> list[tuple[int, int | None, str | None]]:
    """(core, highest frequency in kHz, governor) in order of the core's number."""
    found = []
    for line in text.splitlines():
        words = line.split()
        core = whole_number(words[0]) if len(words) == 3 else None
        if core is not None:
            found.append((core, whole_number(words[1]), None if words[2] == "-" else words[2]))
    return sorted(found, key=lambda core: core[0])


def big_cores(cores_max_khz: Mapping[str, int | None]) -> list[int] | None:
    """The cores that are faster than the slowest kind; all where there is one kind, None where one's frequency is not
    known."""
    known = {int(core): khz for core, khz in cores_max_khz.items() if khz}
    if not known or len(known) < len(cores_max_khz):
        return None
    slowest = min(known.values())
    return sorted(core for core, khz in known.items() if khz > slowest) or sorted(known)


def chosen_cores(wanted: str, cores_max_khz: Mapping[str, int | None], threads: int) -> Sequence[int] | None:
    """The cores that ``device.phone.cores`` means (``big``, ``all``, or a list such as ``4-7`` or ``4,6``); None leaves
    it to the phone's scheduler.

    Raises:
        PhoneError: a list that the phone does not have, or fewer cores than threads.
    """
    if wanted == "all":
        return None
    cores = big_cores(cores_max_khz) if wanted == "big" else listed_cores(wanted)
    if cores is None:
        return None
    lacking = [core for core in cores if str(core) not in cores_max_khz]
    if lacking:
        raise PhoneError(
            f"device.phone.cores={wanted}: the phone has no core {lacking[0]}, only {', '.join(cores_max_khz)}"
        )
    if len(cores) < threads:
        raise PhoneError(
            f"device.threads={threads} is more than the {len(cores)} cores of device.phone.cores={wanted}: use "
            "fewer, or device.phone.cores=all"
        )
    return cores


def listed_cores(text: str) -> list[int]:
    """``4-7,1`` as numbers.

    Raises:
        PhoneError: no such list.
    """
    cores: set[int] = set()
    for part in text.split(","):
        words = part.strip().split("-")
        ends = [whole_number(word) for word in words]
        first, last = ends[0], ends[-1]
        if last is not None and last > _MOST_CORES:
            raise PhoneError(f"device.phone.cores={text[:200]}: no phone has a core {last}")
        if len(ends) > 2 or first is None or last is None or first > last:
            raise PhoneError(f"device.phone.cores={text[:200]!r} is neither big nor all nor a list such as 4-7 or 4,6")
        cores |= set(range(first, last + 1))
    return sorted(cores)


def state(adb: Adb) -> dict[str, Any]:
    """What changes: ``thermal_status`` (0 none to 6 shutdown), battery level (%), temperature (°C), whether it is being
    charged, battery saver, load average.

    Raises:
        PhoneError: the phone can't be asked.
    """
    return parse_state(adb.script(_STATE))


def parse_state(text: str) -> dict[str, Any]:
    """Figures of ``dumpsys thermalservice``, ``dumpsys battery`` and what follows them; None where one is missing."""

    def number(pattern: str, scale: float = 1) -> float | None:
        match = re.search(rf"^[ \t]*{pattern}:[ \t]*(-?[0-9]{{1,18}}(?:\.[0-9]{{1,18}})?)", text, re.MULTILINE)
        return float(match[1]) / scale if match else None

    thermal, level = number("Thermal Status"), number("level")
    powered = re.findall(r"^[ \t]*(?:AC|USB|Wireless|Dock) powered:[ \t]*(true|false)", text, re.MULTILINE)
    saver = re.search(r"^low_power:[ \t]*([01])[ \t\r]*$", text, re.MULTILINE)
    return {
        "thermal_status": None if thermal is None else int(thermal),
        "battery_percent": None if level is None else int(level),
        "battery_celsius": number("temperature", 10),
        "powered": "true" in powered if powered else None,
        "battery_saver": saver[1] == "1" if saver else None,
        "load_average": number("load"),
    }


def _memory_mb(text: str) -> int | None:
    match = re.search(r"^MemTotal:\s*([0-9]{1,18}) kB", text, re.MULTILINE)
    return round(int(match[1]) * 1024 / 1e6) if match else None
