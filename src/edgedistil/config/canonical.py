"""The canonical form of a cell: options that do not apply are dropped, so that equal work has one name."""

from copy import deepcopy
from typing import Any

from .pruning import canonical_pruning, pruning_label, removes_nothing
from .quantization import canonical_quantization, quantization_label

# Where compression.until may stop a chain, in the order in which its parts are done.
UNTIL = ("dense", "pruning", "recovery", "embeddings", "vocabulary", "quantization", "qat", "all")
# The measurement.mode that times nothing.
QUALITY_ALONE = "quality"


def canonical_compression(compression: dict[str, Any]) -> dict[str, Any]:
    """Drop every option that the chosen methods do not read.

    ``pruning.ratio`` of an unpruned cell, the recovery of a cell that nothing was cut from, the block size of INT8:
    none of these makes another cell. A structured or magnitude ratio of 0 *is* the unpruned cell.
    """
    result = until(deepcopy(compression))
    pruning, quantization = result["pruning"], result["quantization"]
    if removes_nothing(pruning):
        result["pruning"] = {"method": "none"}
        if not _other_tables(result):
            result["recovery"] = {"method": "none"}
    elif pruning["method"] == "magnitude":
        result["pruning"] = {"method": "magnitude", "ratio": pruning["ratio"]}
    else:
        result["pruning"] = canonical_pruning(pruning)
    result["recovery"] = _teaching(result["recovery"])
    if result["graph"].get("head") == "task":
        del result["graph"]["head"]
    if result["pruning"]["method"] == "none" or not _other_tables(result):
        # There is one change of structure to recover from.
        result["recovery"].pop("again", None)
    if result.get("vocabulary", {}).get("method", "none") == "none":
        # Off, it has no place in a name.
        result.pop("vocabulary", None)
    if result.get("embeddings", {}).get("method", "none") == "none":
        result.pop("embeddings", None)
    qat = _teaching(result.pop("qat", {"method": "none"}))
    if qat["method"] != "none" and quantization["method"] != "none":
        result["qat"] = qat
    method = quantization["method"]
    if method in ("nf4", "llm_int8", "bf16"):
        # They have no graph; a head that is asked of one is refused elsewhere.
        result["graph"]["padding"] = True
    result["quantization"] = canonical_quantization(quantization)
    return result


def until(compression: dict[str, Any]) -> dict[str, Any]:
    """Leave out every part of a chain that comes after ``compression.until``, and forget that it was asked for.

    So one preset makes the rows of its own ablation. ``dense`` leaves nothing; ``quantization`` has an 8-bit table
    where the whole chain has one of 4 bits.
    """
    last = UNTIL.index(compression.pop("until", "all"))
    for place, part in enumerate(UNTIL):
        if place > last and part in compression:
            compression[part] = {"method": "none"}
    if last < UNTIL.index("qat") and compression["quantization"].get("embeddings") == "int4":
        compression["quantization"]["embeddings"] = True
    return compression


def untimed(measurement: dict[str, Any]) -> bool:
    """Whether a cell is asked for its answers and its size alone."""
    return bool(measurement["mode"] == QUALITY_ALONE)


def canonical_measurement(measurement: dict[str, Any]) -> dict[str, Any]:
    """Drop how much is timed where nothing is, and what is off."""
    if untimed(measurement):
        return {k: measurement[k] for k in ("mode", "repeat")}
    return {k: v for k, v in measurement.items() if v or k != "exact_batches"}


def _other_tables(compression: dict[str, Any]) -> bool:
    """Whether the embedding tables answer the training texts otherwise than the parent's; a vocabulary that keeps each
    piece of theirs does not."""
    low_rank: bool = compression.get("embeddings", {}).get("method", "none") != "none"
    vocabulary = compression.get("vocabulary", {})
    return low_rank or (vocabulary.get("method", "none") != "none" and int(vocabulary["min_count"]) > 1)


def _teaching(chosen: dict[str, Any]) -> dict[str, Any]:
    """Options of a training by the parent, in steps or in epochs; one of no steps is none."""
    if chosen["method"] == "none" or not (chosen.get("epochs") or chosen.get("steps")):
        return {"method": "none"}
    unread = {"steps"} if chosen.get("epochs") else {"epochs"}
    unread |= {key for key in ("augmentation", "again") if not chosen.get(key)}
    return {k: v for k, v in chosen.items() if k not in unread}


def recovered_tables(compression: dict[str, Any]) -> bool:
    """Whether a canonical compression is recovered after its embedding tables were changed."""
    recovery = compression["recovery"]
    once = compression["pruning"]["method"] == "none"
    return recovery["method"] != "none" and (once or bool(recovery.get("again")))


def compares_layers(objective: dict[str, Any]) -> bool:
    """Whether a recovery's objective looks at more of the parent than its logits, which need be computed only once."""
    return objective.get("hidden_weight") != 0


def compression_label(compression: dict[str, Any]) -> str:
    """A person's name for a canonical compression, e.g. ``structured 50 % + recovery · INT8``."""
    pruning = compression["pruning"]
    parts = []
    if pruning["method"] == "none":
        parts.append("dense")
    else:
        parts.append(pruning_label(pruning) + (" + recovery" if compression["recovery"]["method"] != "none" else ""))
    if "embeddings" in compression:
        parts.append(f"rank {compression['embeddings']['rank']}")
    if "vocabulary" in compression:
        least = compression["vocabulary"]["min_count"]
        parts.append("vocabulary" + (f" from {least} on" if least > 1 else ""))
    if recovered_tables(compression):
        parts[-1] += " + recovery"
    parts.append(quantization_label(compression["quantization"]))
    if "qat" in compression:
        parts[-1] += " QAT"
    if not compression["graph"]["padding"]:
        parts.append("no padding")
    if "head" in compression["graph"]:
        parts.append(f"{compression['graph']['head']} head")
    return " · ".join(parts)
