"""Facts of NVIDIA GPUs from ``nvidia-smi``, and why there is none to use, without importing torch."""

import ast
import csv
import math
import os
import shutil
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UserError

# Ours → nvidia-smi's name (``nvidia-smi --help-query-gpu``), and what its text becomes.
_FACTS = {
    "name": ("name", str),
    "uuid": ("uuid", str),
    "driver": ("driver_version", str),
    "compute_capability": ("compute_cap", str),
    "memory_total_mb": ("memory.total", "mib"),
    "clock_sm_max_mhz": ("clocks.max.sm", float),
    "clock_memory_max_mhz": ("clocks.max.mem", float),
    "power_limit_w": ("power.limit", float),
    "persistence_mode": ("persistence_mode", str),
    "mig_mode": ("mig.mode.current", str),
}
_STATE = {
    "uuid": ("uuid", str),
    "clock_sm_mhz": ("clocks.sm", float),
    "clock_memory_mhz": ("clocks.mem", float),
    "power_w": ("power.draw", float),
    "temperature_c": ("temperature.gpu", float),
    "throttle_reasons": ("clocks_throttle_reasons.active", "reasons"),
    "utilization_percent": ("utilization.gpu", float),
    "memory_used_mb": ("memory.used", "mib"),
}
# NVML's nvmlClocksThrottleReasons.
_REASONS = {
    0x1: "idle",
    0x2: "clocks set by an application",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
}
# Reasons for which a GPU is slower than it could be while it works.
SLOWED = frozenset(_REASONS[bit] for bit in (0x4, 0x8, 0x20, 0x40, 0x80))
_MIB = 1024 * 1024 / 1e6
_NO = "no CUDA device"


def why_no_gpu(engine: str = "torch") -> str | None:
    """Why nothing can run on a GPU here, as one line that begins with ``no CUDA device``; None when something can.

    Args:
        engine: ``torch`` asks about PyTorch's build too, ``onnxruntime`` about ONNX Runtime's.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"{_NO}: CUDA_VISIBLE_DEVICES={visible!r} hides them all"
    if shutil.which("nvidia-smi") is None:
        return f"{_NO}: there is no nvidia-smi here"
    listed, failure = _query(_FACTS)
    if not listed:
        return f"{_NO}: nvidia-smi {f'failed ({failure})' if failure else 'lists none'}"
    return why_build_has_no_cuda() if engine == "torch" else why_runtime_has_no_cuda()


def why_build_has_no_cuda() -> str | None:
    """Why the installed PyTorch can't use a GPU, read from the text of ``torch/version.py``; None when it can."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return f"{_NO}: PyTorch is not installed"
    file = Path(found.origin).with_name("version.py")
    if built_for(file.read_text() if file.is_file() else "") is None:
        return f"{_NO}: this PyTorch is a CPU build (pip install torch from the CUDA index)"
    return None


def why_runtime_has_no_cuda() -> str | None:
    """Why the installed ONNX Runtime can't use a GPU (its provider's library is missing); None when it can."""
    found = find_spec("onnxruntime")
    if found is None or found.origin is None:
        return f"{_NO}: ONNX Runtime is not installed"
    if not list(Path(found.origin).parent.glob("capi/*onnxruntime_providers_cuda*")):
        return f"{_NO}: this ONNX Runtime is a CPU build (pip install onnxruntime-gpu in its place)"
    return None


def built_for(version_file: str) -> str | None:
    """The CUDA version in the text of a ``torch/version.py``; None of a build without CUDA or of no such file."""
    try:
        body = ast.parse(version_file).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if any(isinstance(t, ast.Name) and t.id == "cuda" for t in targets) and isinstance(value, ast.Constant):
            return value.value if isinstance(value.value, str) else None
    return None


def gpus() -> list[dict[str, Any]]:
    """What stays the same of every GPU that the driver lists: ``name``, ``uuid``, ``driver``, ``compute_capability``,
    ``memory_total_mb``, largest clocks (MHz), ``power_limit_w``, ``persistence_mode``, ``mig_mode``.

    None stands for what the driver doesn't say. Empty without a driver or GPU. MB are 10⁶ bytes.
    """
    return _query(_FACTS)[0]


def used_gpu() -> dict[str, Any]:
    """The facts of the GPU that is measured: the first that ``CUDA_VISIBLE_DEVICES`` names (by its place in the
    driver's list or its UUID), else the first of the list; what an administrator switches is left out.

    Raises:
        UserError: it names one that the driver does not list.
    """
    listed, wanted = gpus(), (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0].strip()
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 10:
        found = listed[int(wanted)] if int(wanted) < len(listed) else None
    else:
        found = next((gpu for gpu in listed if str(gpu["uuid"]).startswith(wanted)), None)
    if found is None:
        raise UserError(
            f"CUDA_VISIBLE_DEVICES names {wanted!r}, and nvidia-smi lists {len(listed)} GPUs, none of them that one"
        )
    return {key: value for key, value in found.items() if key != "persistence_mode"}


def worker_variables(gpu: dict[str, Any]) -> dict[str, str]:
    """What makes a process see this GPU alone, whatever order CUDA would put several in."""
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {**order, "CUDA_VISIBLE_DEVICES": gpu["uuid"]} if gpu.get("uuid") else order


def gpu_state() -> list[dict[str, Any]]:
    """What changes while they work, to be noted before and after a run: ``uuid``, clocks (MHz), ``power_w``,
    ``temperature_c``, ``throttle_reasons`` (in words; those in :data:`SLOWED` cost speed), ``utilization_percent``,
    ``memory_used_mb`` (by everybody)."""
    return _query(_STATE)[0]


def process_memory_mb(pid: int, uuid: str | None = None) -> float | None:
    """GPU memory of one process in MB as the driver counts it, its context included; None when it doesn't say.

    A container's process ids are not the driver's, so there it often doesn't.

    Args:
        uuid: on this GPU only.
    """
    lines, _ = _ask(["--query-compute-apps=gpu_uuid,pid,used_memory"])
    return _process_memory(lines, pid, uuid)


def _process_memory(lines: Iterable[str], pid: int, uuid: str | None) -> float | None:
    found = [_number(row[2]) for row in _rows(lines) if len(row) == 3 and row[1] == str(pid) and uuid in (None, row[0])]
    known = [mib for mib in found if mib is not None]
    return round(sum(known) * _MIB, 3) if known else None


def throttle_reasons(mask: str) -> list[str] | None:
    """NVML's bit mask (``0x0000000000000004``) in words; None of a text that is no number."""
    try:
        bits = int(mask, 16)
    except ValueError:
        return None
    known = [words for bit, words in _REASONS.items() if bits & bit]
    rest = bits & ~sum(_REASONS)
    return [*known, *([hex(rest)] if rest else [])]


def parse(text: Iterable[str], wanted: dict[str, tuple[str, Any]], answered: list[str]) -> list[dict[str, Any]]:
    """Rows of ``nvidia-smi --format=csv,noheader,nounits`` as dictionaries.

    Args:
        wanted: our name → nvidia-smi's name and type.
        answered: the names of nvidia-smi's columns, in order; what is wanted and not there becomes None.
    """
    found = []
    for row in _rows(text):
        if len(row) != len(answered):
            continue
        columns = dict(zip(answered, row, strict=True))
        found.append({ours: _value(columns.get(theirs), kind) for ours, (theirs, kind) in wanted.items()})
    return found


def _value(text: str | None, kind: Any) -> Any:
    if text is None or text.strip("[]").lower() in ("n/a", "not supported", "unknown error", "gpu requires reset", ""):
        return None
    if kind == "reasons":
        return throttle_reasons(text)
    if kind is str:
        return text
    number = _number(text)
    return number if number is None or kind is float else round(number * _MIB)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _rows(lines: Iterable[str]) -> list[list[str]]:
    found = []
    for line in lines:
        try:
            found += [[field.strip() for field in row] for row in csv.reader([line], skipinitialspace=True) if row]
        except csv.Error:
            # No line of nvidia-smi's.
            continue
    return found


def _query(wanted: dict[str, tuple[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    names = [theirs for theirs, _ in wanted.values()]
    while True:
        lines, failure = _ask([f"--query-gpu={','.join(names)}"])
        unknown = next((n for n in names if f'"{n}"' in failure and "not a valid field" in failure), None)
        if unknown is None:
            return parse(lines, wanted, names), failure
        # A driver that is older or newer than the field.
        names.remove(unknown)


def _ask(arguments: list[str]) -> tuple[list[str], str]:
    """(lines, why it failed)."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return [], "not found"
    command = [tool, *arguments, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], type(error).__name__
    if done.returncode:
        return [], (done.stdout + done.stderr).strip().replace("\n", " ") or f"exit code {done.returncode}"
    return done.stdout.splitlines(), ""
