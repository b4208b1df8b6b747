"""One view of the transformer layers of BERT and DistilBERT, so that the rest of the code does not tell them apart."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import UserError
from .kinds import KNOWN


@dataclass
class Layer:
    """The parts of one transformer layer that can shrink; ``holder`` and ``names`` say where they hang."""

    attention: Any
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    out: nn.Linear
    ffn_in: nn.Linear
    ffn_out: nn.Linear
    head_size: int
    replace: Any

    @property
    def heads(self) -> int:
        """How many attention heads this layer has now."""
        return self.query.out_features // self.head_size

    @property
    def neurons(self) -> int:
        """The width of this layer's feed-forward part now."""
        return self.ffn_in.out_features


def encoder_layers(model: Any) -> list[Layer]:
    """The layers of a BERT or DistilBERT model with any head, first to last.

    Raises:
        UserError: another architecture, whose layers can't be cut.
    """
    view = _distilbert if model.config.model_type == "distilbert" else _bert
    return [view(block) for block in encoder(model).layer]


def encoder(model: Any) -> Any:
    """The module whose ``layer`` is the list of transformer layers.

    Raises:
        UserError: another architecture.
    """
    base = getattr(model, model.base_model_prefix, model)
    if model.config.model_type == "distilbert":
        return base.transformer
    if model.config.model_type == "bert":
        return base.encoder
    raise UserError(f"model_type={model.config.model_type!r} can't be cut; supported: {', '.join(KNOWN)}")


def _distilbert(block: Any) -> Layer:
    a, f = block.attention, block.ffn

    def replace(**parts: nn.Linear) -> None:
        places = {
            "query": (a, "q_lin"),
            "key": (a, "k_lin"),
            "value": (a, "v_lin"),
            "out": (a, "out_lin"),
            "ffn_in": (f, "lin1"),
            "ffn_out": (f, "lin2"),
        }
        _hang(places, parts)
        a.n_heads = a.q_lin.out_features // a.attention_head_size

    return Layer(a, a.q_lin, a.k_lin, a.v_lin, a.out_lin, f.lin1, f.lin2, a.attention_head_size, replace)


def _bert(block: Any) -> Layer:
    a, o = block.attention.self, block.attention.output

    def replace(**parts: nn.Linear) -> None:
        places = {
            "query": (a, "query"),
            "key": (a, "key"),
            "value": (a, "value"),
            "out": (o, "dense"),
            "ffn_in": (block.intermediate, "dense"),
            "ffn_out": (block.output, "dense"),
        }
        _hang(places, parts)
        a.num_attention_heads = a.query.out_features // a.attention_head_size
        a.all_head_size = a.query.out_features

    return Layer(
        a,
        a.query,
        a.key,
        a.value,
        o.dense,
        block.intermediate.dense,
        block.output.dense,
        a.attention_head_size,
        replace,
    )


def _hang(places: dict[str, tuple[Any, str]], parts: dict[str, nn.Linear]) -> None:
    for name, linear in parts.items():
        holder, attribute = places[name]
        setattr(holder, attribute, linear)
