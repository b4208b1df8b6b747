"""The canonical form of a cell: options that do not apply are dropped, so that equal work has one name."""

from copy import deepcopy
from typing import Any

QUANTIZATION_LABELS = {
    "none": "FP32",
    "int8_dynamic": "INT8",
    "int8_static": "INT8 static",
    "int4_ort": "4-bit",
    "nf4": "NF4",
    "llm_int8": "LLM.int8",
}
_QUANTIZATION_KEYS = {
    "none": (),
    "int8_dynamic": ("embeddings", "weights", "max_rms", "min_agreement"),
    "int8_static": ("embeddings", "weights", "calibration_sentences", "slack", "max_rms", "min_agreement"),
    "int4_ort": ("embeddings", "block_size", "accuracy_level", "max_rms", "min_agreement"),
    "nf4": (),
    "llm_int8": (),
}


def canonical_compression(compression: dict[str, Any]) -> dict[str, Any]:
    """Drop every option that the chosen methods do not read.

    ``pruning.ratio`` of an unpruned cell, the recovery of a cell that nothing was cut from, the block size of INT8:
    none of these makes another cell. A structured or magnitude ratio of 0 *is* the unpruned cell.
    """
    result = deepcopy(compression)
    pruning, quantization = result["pruning"], result["quantization"]
    if pruning["method"] == "none" or pruning["ratio"] == 0:
        result["pruning"] = {"method": "none"}
        if not _other_tables(result):
            result["recovery"] = {"method": "none"}
    elif pruning["method"] == "magnitude":
        result["pruning"] = {"method": "magnitude", "ratio": pruning["ratio"]}
    result["recovery"] = _teaching(result["recovery"])
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
    if method in ("nf4", "llm_int8"):
        result["graph"] = {"padding": True}
    result["quantization"] = {"method": method, **{k: quantization[k] for k in _QUANTIZATION_KEYS[method]}}
    return result


def _other_tables(compression: dict[str, Any]) -> bool:
    """Whether the embedding tables answer the training texts otherwise than the parent's; a vocabulary that keeps each
    piece of theirs does not."""
    low_rank = compression.get("embeddings", {}).get("method", "none") != "none"
    vocabulary = compression.get("vocabulary", {})
    return low_rank or (vocabulary.get("method", "none") != "none" and vocabulary["min_count"] > 1)


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
        name = f"{pruning['method']} {pruning['ratio'] * 100:g} %"
        parts.append(name + (" + recovery" if compression["recovery"]["method"] != "none" else ""))
    if "embeddings" in compression:
        parts.append(f"rank {compression['embeddings']['rank']}")
    if "vocabulary" in compression:
        parts.append("vocabulary")
    if recovered_tables(compression):
        parts[-1] += " + recovery"
    quantization = compression["quantization"]
    weights = quantization.get("weights", "auto")
    parts.append(QUANTIZATION_LABELS[quantization["method"]] + (f" {weights}" if weights != "auto" else ""))
    if "qat" in compression:
        parts[-1] += " QAT"
    if not compression["graph"]["padding"]:
        parts.append("no padding")
    return " · ".join(parts)
