"""The shape of a model of a known architecture, from its config alone: what decides how long it takes."""

import json
from pathlib import Path
from typing import Any

from .structure import read_structure


def shape_of_folder(folder: Path) -> dict[str, Any]:
    """:func:`shape_of_config` of a model folder; of uneven layers the widest count."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return shape_of_config(config, read_structure(folder))


def shape_of_config(config: dict[str, Any], structure: dict[str, Any] | None = None) -> dict[str, Any]:
    """``width``, ``head_size``, ``layers``, ``heads`` and ``neurons`` of a layer, ``activation``, ``spans`` (whether
    the head answers by spans) and ``classes``."""
    bert = config["model_type"] == "bert"

    def option(of_bert: str, of_distilbert: str, default: Any) -> Any:
        return config.get(of_bert if bert else of_distilbert, default)

    width, heads = option("hidden_size", "dim", 768), option("num_attention_heads", "n_heads", 12)
    layers = structure["layers"] if structure else []
    return {
        "width": width,
        "head_size": width // heads,
        "layers": len(layers) or option("num_hidden_layers", "n_layers", 12 if bert else 6),
        "heads": max([x["heads"] for x in layers] or [heads]),
        "neurons": max([x["ffn"] for x in layers] or [option("intermediate_size", "hidden_dim", 3072)]),
        "activation": option("hidden_act", "activation", "gelu"),
        "spans": any(a.endswith("ForQuestionAnswering") for a in config.get("architectures") or []),
        "classes": len(config.get("id2label") or {}) or 2,
    }
