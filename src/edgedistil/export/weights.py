"""A model folder's weights under one set of names for BERT and DistilBERT, shrunken or not."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ..errors import UserError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """``y = x @ weight + bias`` with ``weight`` ``[in, out]``: transposed from PyTorch's order."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over the last axis."""

    gain: Array
    bias: Array
    epsilon: float


@dataclass(frozen=True)
class LayerWeights:
    """One transformer layer; ``heads`` times the head size is the width of query, key and value."""

    query: Linear
    key: Linear
    value: Linear
    out: Linear
    attention_norm: Norm
    ffn_in: Linear
    ffn_out: Linear
    ffn_norm: Norm
    heads: int


@dataclass(frozen=True)
class ClassifierWeights:
    """A sequence classifier: embeddings, layers, the dense layer before the classifier and its activation."""

    words: Array
    positions: Array
    token_types: Array | None
    embedding_norm: Norm
    layers: list[LayerWeights]
    head_size: int
    activation: str
    dense: Linear
    dense_activation: str
    classifier: Linear

    @property
    def parameters(self) -> int:
        """Elements of all weights (position and type tables as stored in the folder)."""
        arrays: list[Any] = []

        def walk(value: Any) -> None:
            if isinstance(value, np.ndarray):
                arrays.append(value.size)
            elif isinstance(value, list):
                for item in value:
                    walk(item)
            elif hasattr(value, "__dataclass_fields__"):
                for name in value.__dataclass_fields__:
                    walk(getattr(value, name))

        walk(self)
        return sum(arrays)


_DISTILBERT = {
    "base": "distilbert.",
    "layer": "transformer.layer.{}.",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "out": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "ffn_in": "ffn.lin1",
    "ffn_out": "ffn.lin2",
    "ffn_norm": "output_layer_norm",
    "dense": "pre_classifier",
    "dense_activation": "relu",
}
_BERT = {
    "base": "bert.",
    "layer": "encoder.layer.{}.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
    "ffn_norm": "output.LayerNorm",
    "dense": "bert.pooler.dense",
    "dense_activation": "tanh",
}


def read_classifier(folder: Path) -> ClassifierWeights:
    """Read ``config.json`` and ``model.safetensors``; heads and FFN widths come from the tensors' own shapes.

    Raises:
        UserError: not a BERT or DistilBERT sequence classifier.
    """
    config = json.loads((Path(folder) / "config.json").read_text())
    kind = config["model_type"]
    if kind not in ("bert", "distilbert"):
        raise UserError(f"{folder}: model_type={kind!r} can't be exported; supported: bert, distilbert")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f"{folder}: position_embedding_type={config['position_embedding_type']!r} can't be exported; "
            "supported: absolute"
        )
    names = _BERT if kind == "bert" else _DISTILBERT
    tensors = {
        k: np.asarray(v, np.float32)
        for k, v in load_file(Path(folder) / "model.safetensors").items()
        if not k.endswith("position_ids")
    }
    if "classifier.weight" not in tensors:
        raise UserError(f"{folder}: no classifier.weight; only sequence classification can be exported")
    return _assemble(config, tensors, names)


def _assemble(config: dict[str, Any], tensors: dict[str, Array], names: dict[str, str]) -> ClassifierWeights:
    def linear(prefix: str) -> Linear:
        return Linear(np.ascontiguousarray(tensors[prefix + ".weight"].T), tensors[prefix + ".bias"])

    def norm(prefix: str) -> Norm:
        return Norm(tensors[prefix + ".weight"], tensors[prefix + ".bias"], epsilon)

    bert = names is _BERT
    epsilon = float(config.get("layer_norm_eps", 1e-12)) if bert else 1e-12
    width = config["hidden_size" if bert else "dim"]
    head_size = width // config["num_attention_heads" if bert else "n_heads"]
    embeddings = names["base"] + "embeddings."
    layers = []
    for index in range(config["num_hidden_layers" if bert else "n_layers"]):
        prefix = names["base"] + names["layer"].format(index)
        parts = {p: linear(prefix + names[p]) for p in ("query", "key", "value", "out", "ffn_in", "ffn_out")}
        layers.append(
            LayerWeights(
                **parts,
                attention_norm=norm(prefix + names["attention_norm"]),
                ffn_norm=norm(prefix + names["ffn_norm"]),
                heads=parts["query"].bias.size // head_size,
            )
        )
    return ClassifierWeights(
        words=tensors[embeddings + "word_embeddings.weight"],
        positions=tensors[embeddings + "position_embeddings.weight"],
        token_types=tensors.get(embeddings + "token_type_embeddings.weight"),
        embedding_norm=norm(embeddings + "LayerNorm"),
        layers=layers,
        head_size=head_size,
        activation=config["hidden_act" if bert else "activation"],
        dense=linear(names["dense"]),
        dense_activation=names["dense_activation"],
        classifier=linear("classifier"),
    )
