"""BERT to DistilBERT without loss: the layers are the same, only token types and pooler go."""

from typing import Any

import torch
from transformers import (
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
)

from ..errors import UserError

_LAYER_NAMES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_HEAD_NAMES = {
    "vocab_transform.weight": "transform.dense.weight",
    "vocab_transform.bias": "transform.dense.bias",
    "vocab_layer_norm.weight": "transform.LayerNorm.weight",
    "vocab_layer_norm.bias": "transform.LayerNorm.bias",
    "vocab_projector.weight": "decoder.weight",
    "vocab_projector.bias": "decoder.bias",
}


def distilbert_from_bert(
    bert: BertModel, id2label: dict[int, str] | None
) -> DistilBertForSequenceClassification | DistilBertForQuestionAnswering:
    """A DistilBERT classifier (for None one that scores spans) whose encoder computes what ``bert`` computes on texts
    of token type 0.

    Row 0 of the token-type table is added into the position table, which is exact because DistilBERT adds positions
    where BERT adds both. The head is new.

    Raises:
        UserError: the layer-norm epsilon is not DistilBERT's fixed 1e-12.
    """
    student: DistilBertForSequenceClassification | DistilBertForQuestionAnswering
    if id2label is None:
        student = DistilBertForQuestionAnswering(_config(bert.config))
    else:
        student = DistilBertForSequenceClassification(_config(bert.config, id2label=id2label))
    _fill(student.distilbert, _renamed(bert.state_dict()))
    return student


def masked_lm_from_bert(bert: BertForMaskedLM) -> DistilBertForMaskedLM:
    """A DistilBERT masked language model that answers what ``bert`` answers on texts of token type 0.

    Raises:
        UserError: as :func:`distilbert_from_bert`.
    """
    student = DistilBertForMaskedLM(_config(bert.config))
    state = bert.state_dict()
    encoder = {k.removeprefix("bert."): v for k, v in state.items() if k.startswith("bert.")}
    head = {new: state[f"cls.predictions.{old}"] for new, old in _HEAD_NAMES.items()}
    _fill(student, {**{f"distilbert.{k}": v for k, v in _renamed(encoder).items()}, **head})
    student.eval()
    return student


def as_distilbert_masked_lm(model: Any) -> Any:
    """``model`` itself if it is a DistilBERT, else its exact conversion."""
    return masked_lm_from_bert(model) if model.config.model_type == "bert" else model


def _config(old: Any, **more: Any) -> DistilBertConfig:
    if old.layer_norm_eps != 1e-12:
        raise UserError(
            f"layer_norm_eps={old.layer_norm_eps:g}: DistilBERT's is fixed at 1e-12, so this BERT can't become one"
        )
    if "id2label" in more:
        more["label2id"] = {v: k for k, v in more["id2label"].items()}
    return DistilBertConfig(
        vocab_size=old.vocab_size,
        max_position_embeddings=old.max_position_embeddings,
        dim=old.hidden_size,
        n_layers=old.num_hidden_layers,
        n_heads=old.num_attention_heads,
        hidden_dim=old.intermediate_size,
        activation=old.hidden_act,
        dropout=old.hidden_dropout_prob,
        attention_dropout=old.attention_probs_dropout_prob,
        pad_token_id=old.pad_token_id,
        **more,
    )


def _fill(module: Any, state: dict[str, Any]) -> None:
    missing, unexpected = module.load_state_dict(state, strict=False)
    left_out = [name for name in missing if "position_ids" not in name]
    if left_out or unexpected:
        raise UserError(f"BERT to DistilBERT left weights over: missing {left_out}, unexpected {unexpected}")


def _renamed(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, value in state.items():
        if name.startswith("encoder.layer."):
            index, rest = name.removeprefix("encoder.layer.").split(".", 1)
            module, kind = rest.rsplit(".", 1)
            renamed[f"transformer.layer.{index}.{_LAYER_NAMES[module]}.{kind}"] = value
        elif name.startswith("embeddings.") and "token_type" not in name and "position_ids" not in name:
            renamed[name] = value
    positions = "embeddings.position_embeddings.weight"
    renamed[positions] = renamed[positions] + state["embeddings.token_type_embeddings.weight"][0]
    return renamed
