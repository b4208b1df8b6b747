"""Masked language models of BERT's and DistilBERT's kind, taken apart into encoder and head.

The head turns hidden states of single tokens into logits over the vocabulary, its matrix tied to the embeddings; apart
from the encoder it can be run on the tokens that matter alone.
"""

from typing import Any

from ..errors import UserError
from .conversion import masked_lm_from_bert
from .kinds import KNOWN
from .loading import hub_arguments, hub_errors

# What an encoder without a head lacks; everything else must come from the pretrained weights.
_HEAD = ("vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "cls.")


def load_masked_lm(location: str, identity: dict[str, Any], needs_head: bool) -> Any:
    """A model with a masked-language-modelling head, decoder tied to the embeddings, in float32 and eval mode.

    Args:
        location: folder or hub id.
        identity: of :class:`.origin.Origin`; ``convert_to: distilbert`` turns a BERT into a DistilBERT.
        needs_head: refuse a model whose head would start from random values.

    Raises:
        UserError: not to be had, another architecture, encoder (or wanted head) weights missing.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM

    where = hub_arguments(identity)
    with hub_errors(location, identity):
        config = AutoConfig.from_pretrained(location, **{k: v for k, v in where.items() if k != "use_safetensors"})
        if config.model_type not in KNOWN:
            raise UserError(
                f"{location}: model_type={config.model_type!r} can't learn masked language modelling here; supported: "
                f"{', '.join(KNOWN)}"
            )
        config.tie_word_embeddings = True
        network, report = AutoModelForMaskedLM.from_pretrained(
            location, config=config, output_loading_info=True, dtype="float32", **where
        )
    lost = [str(k[0] if isinstance(k, tuple) else k) for k in (*report["missing_keys"], *report["mismatched_keys"])]
    head, rest = [n for n in lost if n.startswith(_HEAD)], [n for n in lost if not n.startswith(_HEAD)]
    if rest:
        raise UserError(f"{location}: {len(rest)} encoder weights are missing (the first is {rest[0]})")
    if head and needs_head:
        raise UserError(
            f"{location} has no trained masked-language-modelling head ({head[0]} is missing): train one first with "
            "objective=masked_language_modelling and give its folder"
        )
    if identity.get("convert_to") == "distilbert" and config.model_type == "bert":
        network = masked_lm_from_bert(network)
    return network.eval()


def encode_tokens(model: Any, ids: Any, attention_mask: Any, token_types: Any = None) -> Any:
    """Last hidden states ``[batch, tokens, width]``; all inputs are int64 ``[batch, tokens]``, ``token_types`` for
    models that take them."""
    base = getattr(model, model.base_model_prefix)
    types = {} if token_types is None else {"token_type_ids": token_types}
    return base(input_ids=ids, attention_mask=attention_mask, **types).last_hidden_state


def token_logits(model: Any, hidden: Any) -> Any:
    """Logits ``[tokens, vocabulary]`` of single tokens' last hidden states ``[tokens, width]``."""
    if model.config.model_type == "distilbert":
        return model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))
    return model.cls(hidden)


def width(model: Any) -> int:
    """Width of the hidden states."""
    value: int = model.config.hidden_size
    return value
