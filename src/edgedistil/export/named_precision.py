"""The precision that a config names."""

from typing import TYPE_CHECKING, Any

from .half import Float16
from .precision import TABLES, Blocks4Bit, DynamicInt8, Float32, Mixed, MixedInt8, Precision

if TYPE_CHECKING:
    from .calibration import Range


def precision_of(
    quantization: dict[str, Any],
    static: "dict[str, Range] | None" = None,
    own: dict[str, Precision] | None = None,
    moments: dict[str, Any] | None = None,
) -> Precision:
    """The precision that a canonical ``compression.quantization`` names.

    Args:
        static: the ranges that ``int8_static`` was given by :func:`edgedistil.export.sensitivity.choose_static`.
        own: precisions of single products and tables, which go before everything else.
        moments: of the products' inputs, for ``rounding=gptq``.
    """
    apart = tables_of(quantization) | (own or {})
    default = _default_of(quantization, static, moments)
    return Mixed(default, apart) if apart else default


def tables_of(quantization: dict[str, Any]) -> dict[str, Precision]:
    """Precision of the embedding tables where it is not the products' own: ``embeddings=int4`` or ``int8``."""
    chosen = quantization.get("embeddings")
    table: Precision | None = None
    if chosen == "int4":
        table = Blocks4Bit(True, quantization["block_size"], 0, quantization.get("rounding", "nearest"))
    elif chosen == "int8":
        table = DynamicInt8(True, "s8_7bit")
    return dict.fromkeys(TABLES, table) if table else {}


def _default_of(
    quantization: dict[str, Any], static: "dict[str, Range] | None", moments: dict[str, Any] | None
) -> Precision:
    method = quantization["method"]
    if method == "none":
        return Float32()
    if method == "fp16":
        return Float16()
    if method not in ("int8_static", "int8_dynamic", "int4_ort"):
        raise ValueError(f"{method} has no ONNX form")
    embeddings = quantization["embeddings"] not in (False, "none")
    if method == "int8_static":
        return MixedInt8(embeddings, quantization["weights"], static or {})
    if method == "int8_dynamic":
        return DynamicInt8(embeddings, quantization["weights"])
    rounding = quantization.get("rounding", "nearest")
    return Blocks4Bit(embeddings, quantization["block_size"], quantization["accuracy_level"], rounding, moments)
