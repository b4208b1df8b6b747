"""What PyTorch's exporter can't do with an architecture whose layers and weights we don't know."""

from typing import Any

_METHODS = ("none", "int8_dynamic")
_OPTIONS = ("method", "embeddings", "weights", "max_rms", "min_agreement")
_HERE = "needs an architecture whose layers are known here (bert, distilbert)"


def why_not_exported(kind: str, compression: dict[str, Any], engine: str, spans: bool = False) -> str | None:
    """One line that says why this canonical compression can't be had of a model of another architecture, or None.

    Args:
        kind: its ``model_type``.
        compression: of its groups those that are there; a step that exports has two.
        spans: the model answers by spans.
    """
    what = f"model_type={kind!r} goes through PyTorch's exporter"
    if spans:
        return f"{what}, which makes classifiers: answering by spans {_HERE}"
    if compression.get("pruning", {"method": "none"})["method"] != "none":
        return f"{what}: compression/pruning={compression['pruning']['method']} {_HERE}; use compression/pruning=none"
    for group, off in (("embeddings", "none"), ("qat", "none")):
        if group in compression:
            return f"{what}: compression/{group}={compression[group]['method']} {_HERE}; use compression/{group}={off}"
    graph, quantization = compression["graph"], compression["quantization"]
    if engine != "onnxruntime":
        return None
    if "head" in graph:
        return f"{what}: compression.graph.head={graph['head']} {_HERE}"
    if quantization["method"] not in _METHODS or not graph["padding"]:
        return (
            f"{what}, which makes compression/quantization={' and '.join(_METHODS)}, with padding "
            "(compression/graph=default)"
        )
    unread = sorted(set(quantization) - set(_OPTIONS))
    if unread or quantization.get("embeddings") == "int4":
        return f"{what}: compression.quantization.{unread[0] if unread else 'embeddings=int4'} {_HERE}"
    return None
