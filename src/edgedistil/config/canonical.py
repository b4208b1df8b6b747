"""The canonical form of a cell: options that do not apply are dropped, so that equal work has one name."""

from copy import deepcopy
from typing import Any

from .quantization import canonical_quantization, quantization_label


def canonical_compression(compression: dict[str, Any]) -> dict[str, Any]:
    """Drop every option that the chosen methods do not read.

    ``pruning.ratio`` of an unpruned cell, the recovery of a cell that nothing was cut from, the block size of INT8:
    none of these makes another cell. A structured or magnitude ratio of 0 *is* the unpruned cell.
    """
    result = deepcopy(compression)
    pruning, recovery, quantization = result["pruning"], result["recovery"], result["quantization"]
    if pruning["method"] == "none" or pruning["ratio"] == 0:
        result["pruning"] = {"method": "none"}
        result["recovery"] = {"method": "none"}
    elif pruning["method"] == "magnitude":
        result["pruning"] = {"method": "magnitude", "ratio": pruning["ratio"]}
    if result["recovery"]["method"] == "none" or recovery["steps"] == 0:
        result["recovery"] = {"method": "none"}
    if result.get("vocabulary", {}).get("method", "none") == "none":
        # Off, it has no place in a name.
        result.pop("vocabulary", None)
    method = quantization["method"]
    if method in ("nf4", "llm_int8"):
        result["graph"] = {"padding": True}
    result["quantization"] = canonical_quantization(quantization)
    return result


def compression_label(compression: dict[str, Any]) -> str:
    """A person's name for a canonical compression, e.g. ``structured 50 % + recovery · INT8``."""
    pruning = compression["pruning"]
    parts = []
    if pruning["method"] == "none":
        parts.append("dense")
    else:
        name = f"{pruning['method']} {pruning['ratio'] * 100:g} %"
        parts.append(name + (" + recovery" if compression["recovery"]["method"] != "none" else ""))
    if "vocabulary" in compression:
        parts.append("vocabulary")
    parts.append(quantization_label(compression["quantization"]))
    if not compression["graph"]["padding"]:
        parts.append("no padding")
    return " · ".join(parts)
