"""From a Hugging Face folder to :class:`~edgedistil.export.weights.ModelWeights`, without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from ..errors import UserError
from .weights import (
    Array,
    ClassificationHead,
    EncoderWeights,
    Head,
    LayerWeights,
    Linear,
    ModelWeights,
    Norm,
    SpanHead,
    VocabularyHead,
)

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
    "transform": "vocab_transform",
    "transform_norm": "vocab_layer_norm",
    "decoder": "vocab_projector",
    "decoder_bias": "vocab_projector.bias",
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
    "transform": "cls.predictions.transform.dense",
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "decoder": "cls.predictions.decoder",
    "decoder_bias": "cls.predictions.bias",
}


def can_read(folder: Path) -> str | None:
    """Why this folder's graph can't be written from its weights, or None when it can."""
    config = json.loads((Path(folder) / "config.json").read_text())
    kind = config["model_type"]
    if kind not in ("bert", "distilbert"):
        return f"model_type={kind!r} can't be exported; supported: bert, distilbert"
    if config.get("position_embedding_type", "absolute") != "absolute":
        kind = config["position_embedding_type"]
        return f"position_embedding_type={kind!r} can't be exported; supported: absolute"
    return None


def read_model(folder: Path) -> ModelWeights:
    """Read ``config.json`` and ``model.safetensors``; heads and FFN widths come from the tensors' own shapes.

    Raises:
        UserError: another architecture, or no head for classification, spans or the vocabulary.
    """
    why = can_read(folder)
    if why:
        raise UserError(f"{folder}: {why}")
    config = json.loads((Path(folder) / "config.json").read_text())
    tensors = {
        k: np.asarray(v, np.float32)
        for k, v in load_file(Path(folder) / "model.safetensors").items()
        if not k.endswith("position_ids")
    }
    return _Reader(config, tensors, folder).model()


class _Reader:
    def __init__(self, config: dict[str, Any], tensors: dict[str, Array], folder: Path) -> None:
        self._config, self._tensors, self._folder = config, tensors, folder
        self._bert = config["model_type"] == "bert"
        self._names = _BERT if self._bert else _DISTILBERT
        self._epsilon = float(config.get("layer_norm_eps", 1e-12)) if self._bert else 1e-12

    def model(self) -> ModelWeights:
        return ModelWeights(self._encoder(), self._head())

    def _linear(self, prefix: str) -> Linear:
        return Linear(np.ascontiguousarray(self._tensors[prefix + ".weight"].T), self._tensors[prefix + ".bias"])

    def _norm(self, prefix: str) -> Norm:
        return Norm(self._tensors[prefix + ".weight"], self._tensors[prefix + ".bias"], self._epsilon)

    def _option(self, bert: str, distilbert: str) -> Any:
        return self._config[bert if self._bert else distilbert]

    def _encoder(self) -> EncoderWeights:
        head_size = self._option("hidden_size", "dim") // self._option("num_attention_heads", "n_heads")
        names, embeddings = self._names, self._names["base"] + "embeddings."
        layers = []
        for index in range(self._option("num_hidden_layers", "n_layers")):
            prefix = names["base"] + names["layer"].format(index)
            parts: dict[str, Any] = {
                p: self._linear(prefix + names[p]) for p in ("query", "key", "value", "out", "ffn_in", "ffn_out")
            }
            layers.append(
                LayerWeights(
                    **parts,
                    attention_norm=self._norm(prefix + names["attention_norm"]),
                    ffn_norm=self._norm(prefix + names["ffn_norm"]),
                    heads=parts["query"].bias.size // head_size,
                )
            )
        return EncoderWeights(
            words=self._tensors[embeddings + "word_embeddings.weight"],
            positions=self._tensors[embeddings + "position_embeddings.weight"],
            token_types=self._tensors.get(embeddings + "token_type_embeddings.weight"),
            embedding_norm=self._norm(embeddings + "LayerNorm"),
            layers=layers,
            head_size=head_size,
            activation=self._option("hidden_act", "activation"),
            words_shared=self._shared(embeddings + "word_embeddings.projection.weight"),
        )

    def _shared(self, name: str) -> Array | None:
        return np.ascontiguousarray(self._tensors[name].T) if name in self._tensors else None

    def _head(self) -> Head:
        names = self._names
        if "classifier.weight" in self._tensors and names["dense"] + ".weight" in self._tensors:
            return ClassificationHead(
                self._linear(names["dense"]), names["dense_activation"], self._linear("classifier")
            )
        if "qa_outputs.weight" in self._tensors:
            return SpanHead(self._linear("qa_outputs"))
        if names["transform"] + ".weight" in self._tensors:
            return self._vocabulary_head()
        raise UserError(
            f"{self._folder}: no head for classification, question answering or masked language modelling "
            "(no classifier, qa_outputs or vocabulary transform among its tensors)"
        )

    def _vocabulary_head(self) -> VocabularyHead:
        names = self._names
        table = self._tensors[names["base"] + "embeddings.word_embeddings.weight"]
        decoder = self._tensors.get(names["decoder"] + ".weight", table)
        if decoder.shape != table.shape or not np.array_equal(decoder, table):
            raise UserError(
                f"{self._folder}: the vocabulary decoder is not tied to the word table; tie them and save again"
            )
        bias = self._tensors.get(names["decoder_bias"])
        if bias is None:
            bias = self._tensors[names["decoder"] + ".bias"]
        return VocabularyHead(self._linear(names["transform"]), self._norm(names["transform_norm"]), bias)
