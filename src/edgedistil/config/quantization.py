"""Which method of quantisation reads which option, its canonical form, its label, and what can't go together."""

from typing import Any

from ..errors import UserError

QUANTIZATION_LABELS = {
    "none": "FP32",
    "fp16": "FP16",
    "bf16": "BF16",
    "int8_dynamic": "INT8",
    "int8_static": "INT8 static",
    "int4_ort": "4-bit",
    "nf4": "NF4",
    "llm_int8": "LLM.int8",
}
_BOUNDS = ("max_rms", "min_agreement")
_USUAL_BLOCK = 32
_KEYS: dict[str, tuple[str, ...]] = {
    "none": (),
    "fp16": _BOUNDS,
    "bf16": (),
    "int8_dynamic": ("embeddings", "weights", *_BOUNDS),
    "int8_static": ("embeddings", "weights", "calibration_sentences", "slack", *_BOUNDS),
    "int4_ort": ("embeddings", "block_size", "accuracy_level", *_BOUNDS),
    "nf4": (),
    "llm_int8": (),
}
# Options that are off by default, by the methods that know them: off, they have no place in a name.
_INT8, _WRITTEN = ("int8_dynamic", "int8_static"), ("int8_dynamic", "int8_static", "int4_ort")
_OFF: dict[str, tuple[Any, tuple[str, ...]]] = {
    "calibration": ("least_error", ("int8_static",)),
    "smooth": (None, _INT8),
    "rounding": ("nearest", _WRITTEN),
    "exclude": ([], _WRITTEN),
    "sensitivity": (False, _WRITTEN),
    "max_drop": (None, _WRITTEN),
}
# true and false are the older names of these, and the ones that stand in fingerprints.
EMBEDDINGS = (True, False, "int8", "int4", "none")
# What a precision that is named without its method means to an engine.
_OF_ENGINE = {
    "int8": {"onnxruntime": "int8_dynamic", "torch": "llm_int8"},
    "int4": {"onnxruntime": "int4_ort", "torch": "nf4"},
}
_OWN_TABLE = {"int8_dynamic": "int8", "int8_static": "int8", "int4_ort": "int4"}


def decide_method(plain: dict[str, Any]) -> None:
    """Put the engine's own method in the place of ``int8`` and ``int4``, in a validated config, in place."""
    quantization = plain.get("compression", {}).get("quantization")
    if quantization:
        device = plain.get("device", {})
        method, engine = quantization["method"], device.get("engine", "onnxruntime")
        if method == "int4" and device.get("kind") == "android" and quantization["rounding"] == "nearest":
            # Of symmetric blocks Arm's kernels round a whole row of activations by one scale, of others each block.
            quantization["rounding"] = "asymmetric"
        quantization["method"] = _OF_ENGINE.get(method, {}).get(engine, method)


def at_load(method: str, engine: str) -> bool:
    """Whether a model is brought to this precision when it is loaded, so that nothing is exported."""
    return method in ("nf4", "llm_int8", "bf16") or (method == "fp16" and engine == "torch")


def canonical_quantization(quantization: dict[str, Any]) -> dict[str, Any]:
    """Drop every option that the method does not read, and those that are off; say ``embeddings`` in one way."""
    method = quantization["method"]
    result = {"method": method, **{k: quantization[k] for k in _KEYS[method]}}
    for key, (off, methods) in _OFF.items():
        if method in methods and quantization.get(key, off) != off:
            result[key] = quantization[key]
    if method not in _WRITTEN:
        return result
    result["embeddings"] = _table(method, quantization["embeddings"])
    four_bit_table = result["embeddings"] == "int4"
    if four_bit_table:
        result["block_size"] = quantization["block_size"]
    elif method != "int4_ort":
        result.pop("rounding", None)
    if "exclude" in result:
        result["exclude"] = sorted(set(result["exclude"]))
    if "max_drop" in result:
        # The budget is met by what the sensitivity says, so that is measured with it.
        result.pop("sensitivity", None)
        if method == "int4_ort":
            result["weights"] = quantization["weights"]
    if "max_drop" in result or "sensitivity" in result:
        result["judged_sentences"] = quantization["judged_sentences"]
    if result.get("calibration") == "percentile":
        result["percentile"] = quantization["percentile"]
    if "smooth" in result or result.get("rounding") == "gptq":
        result["calibration_sentences"] = quantization["calibration_sentences"]
    return result


def reads_texts(quantization: dict[str, Any]) -> bool:
    """Whether a canonical quantisation looks at texts of the training split."""
    needs = ("smooth", "sensitivity", "max_drop")
    return (
        quantization["method"] == "int8_static"
        or any(key in quantization for key in needs)
        or quantization.get("rounding") == "gptq"
    )


def quantization_label(quantization: dict[str, Any]) -> str:
    """A person's name for a canonical quantisation, e.g. ``INT8, 4-bit table``; what is off is not named."""
    weights = quantization.get("weights", "auto")
    parts = [QUANTIZATION_LABELS[quantization["method"]] + (f" {weights}" if weights != "auto" else "")]
    table = {"int8": "8-bit table", "int4": "4-bit table", False: "FP32 table"}.get(
        quantization.get("embeddings", True)
    )
    if table:
        parts.append(table)
    if quantization.get("block_size", _USUAL_BLOCK) != _USUAL_BLOCK:
        parts.append(f"blocks of {quantization['block_size']}")
    if "rounding" in quantization:
        parts.append(quantization["rounding"])
    if "calibration" in quantization:
        shown = f" {quantization['percentile']:g}" if "percentile" in quantization else ""
        parts.append(quantization["calibration"].replace("_", " ") + shown)
    if "smooth" in quantization:
        parts.append(f"smoothed {quantization['smooth']:g}")
    if "exclude" in quantization:
        parts.append(f"without {' '.join(quantization['exclude'])}")
    if "max_drop" in quantization:
        parts.append(f"at most {quantization['max_drop']:g} points lost")
    return ", ".join(parts)


def check_quantization(plain: dict[str, Any]) -> None:
    """Refuse options of quantisation that can't go together, before anything runs.

    Raises:
        UserError: naming the option, the value and what is allowed.
    """
    quantization = plain.get("compression", {}).get("quantization")
    if quantization is None:
        return
    embeddings = quantization["embeddings"]
    if embeddings not in EMBEDDINGS:
        raise UserError(
            f"compression.quantization.embeddings={embeddings!r} is unknown; allowed: int8, int4, none, true (as the "
            "products), false (none)"
        )
    canonical = canonical_quantization(quantization)
    if canonical.get("rounding") in ("asymmetric", "hqq", "gptq") and canonical["method"] != "int4_ort":
        raise UserError(
            f"compression.quantization.rounding={canonical['rounding']} is for products in 4 bits, a table knows "
            "nearest and search; choose one of those, or compression/quantization=int4_ort"
        )
    if plain["task"]["kind"] != "sequence_classification" and reads_texts(canonical):
        asked = next((k for k in ("smooth", "sensitivity", "max_drop", "rounding") if k in canonical), "method")
        raise UserError(
            f"compression.quantization.{asked} reads texts with labels, and task.kind={plain['task']['kind']} has "
            "none; leave it out"
        )


def _table(method: str, embeddings: bool | str) -> bool | str:
    if embeddings in (True, _OWN_TABLE[method]):
        return True
    return False if embeddings in (False, "none") else embeddings
