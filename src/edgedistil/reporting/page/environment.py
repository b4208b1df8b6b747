"""On what the cells of a page were measured."""

from collections.abc import Sequence
from typing import Any

from ..cells import Measured
from ..table import markdown

_HEAD = ["device", "cells", "host", "processor or phone", "instruction sets", "threads", "engine", "versions"]
_HEAD += ["GEMM FP32 / INT8, GOPS"]


def environments(cells: Sequence[Measured]) -> list[str]:
    """A table of machines, engines and versions, with how many cells each has; the calibration's range over them."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for cell in cells:
        record = cell.record
        found.setdefault(_told(record), []).append(record)
    lines = [[told[0], str(len(records)), *told[1:], _calibration(records)] for told, records in found.items()]
    return [markdown(_HEAD, lines)] if lines else []


def _told(record: dict[str, Any]) -> tuple[str, ...]:
    environment, device = record["environment"], record["device"]
    engine = environment.get("engine", {})
    versions = {k: v for k, v in engine.get("versions", {}).items() if isinstance(v, str)}
    phone = environment.get("device_facts", {})
    processor = " ".join(str(x) for x in (phone.get("manufacturer"), phone.get("model")) if x)
    return (
        str(record["names"].get("device", device.get("name", "-"))),
        str(environment.get("host", phone.get("serial", "-"))),
        processor or str(environment.get("cpu", "-")),
        " ".join(environment["isa"]) or "not told",
        str(device["threads"]),
        str(engine.get("engine", device.get("engine", "-"))),
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or "-",
    )


def _calibration(records: Sequence[dict[str, Any]]) -> str:
    parts = []
    for name in ("fp32_gops_per_s", "int8_gops_per_s"):
        told = [r.get("calibration", {}).get("before", {}).get(name) for r in records]
        known = [v for v in told if v is not None]
        parts.append(f"{min(known):.0f} to {max(known):.0f}" if known else "-")
    return " / ".join(parts)
