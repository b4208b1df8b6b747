"""Facts of this machine from the kernel's own files, without importing torch."""

import os
import platform
import re
import shutil
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# The sets that decide which integer and bf16 kernels ONNX Runtime and PyTorch choose.
_ISA = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)


@cache
def cpu_facts() -> dict[str, Any]:
    """CPU model, the instruction sets that matter here, cores that this process may use, memory."""
    text = _read("/proc/cpuinfo")
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    total = next((_counts(x.split()[1:2]) for x in _read("/proc/meminfo").splitlines() if x.startswith("MemTotal")), [])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cpu_family_model_stepping": [fields.get("cpu family"), fields.get("model"), fields.get("stepping")],
        "machine": platform.machine(),
        "isa": [flag for flag in _ISA if flag in flags],
        "cores": cores,
        "memory_mb": round(sum(total) * 1024 / 1e6),
    }


@cache
def gpu_names() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that the driver lists; empty without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        # A driver that hangs is no GPU to use.
        return ()
    return tuple(done.stdout.strip().splitlines()) if done.returncode == 0 else ()


def has_fast_bf16() -> bool:
    """Whether matrix products in bf16 have hardware here: a GPU of compute capability 8 or more, AVX512-BF16, AMX."""
    if gpu_names():
        # Of one that does not say (``[N/A]``), nothing is promised.
        told = [re.fullmatch(r"\s*([0-9]{1,3})\.[0-9]+\s*", name.rpartition(",")[2]) for name in gpu_names()]
        return all(capability is not None and int(capability[1]) >= 8 for capability in told)
    return bool({"avx512_bf16", "amx_bf16"} & set(cpu_facts()["isa"]))


def saturates_int8() -> bool:
    """Whether unsigned × signed 8-bit products overflow 16-bit sums here: x86 without VNNI (or AMX)."""
    facts = cpu_facts()
    return facts["machine"] in ("x86_64", "AMD64") and not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(facts["isa"])


def versions(*packages: str) -> dict[str, str | None]:
    """Installed versions by distribution name; None for what is not installed. Imports none of them."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def free_cores() -> int:
    """Cores that nobody uses now, at least 1: OpenMP threads that must share a core wait for each other and crawl."""
    cores = int(cpu_facts()["cores"])
    return max(1, cores - round(busy_cores()))


def hostname() -> str:
    """This machine's name, as it stands in locks and records."""
    return platform.node()


def busy_cores(seconds: float = 0.5) -> float:
    """How many cores' worth of work everybody did while this process slept for ``seconds`` (steal included)."""
    before = _cpu_jiffies()
    time.sleep(seconds)
    busy, total = (b - a for a, b in zip(before, _cpu_jiffies(), strict=True))
    return round(busy / max(1, total) * (os.cpu_count() or 1), 3)


def _cpu_jiffies() -> tuple[int, int]:
    """(busy, all) since boot, over all cores."""
    fields = _counts(_read("/proc/stat").partition("\n")[0].split()[1:9])
    return (sum(fields) - fields[3] - fields[4], sum(fields)) if len(fields) == 8 else (0, 0)


def _counts(words: list[str]) -> list[int]:
    """Numbers of the kernel's; none of them where one is something else."""
    plain = all(word.isascii() and word.isdigit() and len(word) < 20 for word in words)
    return [int(word) for word in words] if plain else []


def load_average() -> float:
    """Runnable processes, mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
