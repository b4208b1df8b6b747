"""Models whose layers have heads and FFN widths of their own, and how they come back from disk.

transformers knows one number of heads and one FFN width for all layers. ``structure.json`` beside ``config.json``
holds the true ones, layer by layer; :func:`load_classifier` builds the model from the config, shrinks the layers to
that structure and loads the weights strictly.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from ..errors import UserError, first_line
from .kinds import KNOWN, MASKED_LM, SPANS
from .layers import encoder_layers
from .low_rank import FactoredEmbedding, rank_of
from .structure import STRUCTURE_FILE, read_structure


def structure_of(model: Any) -> dict[str, Any]:
    """``{"head_size", "layers": [{"heads", "ffn"}, ...]}`` as the tensors are now; no layers of other architectures.
    ``embedding_rank`` too where the word table is a product of two."""
    if model.config.model_type not in KNOWN:
        return {"head_size": None, "layers": []}
    layers = encoder_layers(model)
    rank = rank_of(model)
    return {
        "head_size": layers[0].head_size,
        "layers": [{"heads": x.heads, "ffn": x.neurons} for x in layers],
        **({"embedding_rank": rank} if rank is not None else {}),
    }


def is_uneven(model: Any) -> bool:
    """Whether ``AutoModel`` could not load this structure: some layer lacks heads, FFN widths differ, or the word table
    is a product of two."""
    config = model.config
    if config.model_type not in KNOWN:
        return False
    heads = config.n_heads if config.model_type == "distilbert" else config.num_attention_heads
    layers = structure_of(model)["layers"]
    return any(x["heads"] != heads for x in layers) or len({x["ffn"] for x in layers}) > 1 or rank_of(model) is not None


def load_model(folder: Path) -> Any:
    """What ``config.json`` says of its head: a model that answers by spans, a masked language model, else a sequence
    classifier.

    Raises:
        UserError: as :func:`load_classifier`.
    """
    architectures = json.loads((Path(folder) / "config.json").read_text()).get("architectures") or []
    if any(a.endswith(MASKED_LM) for a in architectures):
        from transformers import AutoModelForMaskedLM

        return _load(folder, AutoModelForMaskedLM)
    return load_span_model(folder) if any(a.endswith(SPANS) for a in architectures) else load_classifier(folder)


def load_classifier(folder: Path) -> Any:
    """A sequence classifier from a model folder, shrunken or not, in eval mode and float32.

    Raises:
        UserError: the weights do not fit the config and structure, or some are missing.
    """
    from transformers import AutoModelForSequenceClassification

    return _load(folder, AutoModelForSequenceClassification)


def load_span_model(folder: Path) -> Any:
    """As :func:`load_classifier`, with a head that scores the start and the end of an answer."""
    from transformers import AutoModelForQuestionAnswering

    return _load(folder, AutoModelForQuestionAnswering)


def _check_names(folder: Path) -> None:
    """Names of classes are where transformers says of a wrong config neither which key nor which value is wrong."""
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("id2label")
    except (OSError, ValueError, AttributeError):
        # Of what is no config it says enough.
        return
    if names is not None and not (isinstance(names, dict) and all(str(key).isdecimal() for key in names)):
        raise UserError(f"{folder}/config.json: id2label={names!r} is no table of numbers and names of classes")


def _load(folder: Path, head: Any) -> Any:
    from transformers import AutoConfig

    structure = read_structure(Path(folder))
    _check_names(Path(folder))
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        # from_config builds in the config's type, and loading would round float32 weights to it.
        config.dtype = torch.float32
        model = head.from_config(config, trust_remote_code=False)
    except Exception as error:
        # Whatever an architecture says of values that it can't be built with.
        raise UserError(f"{folder}/config.json describes no model that can be built ({first_line(error)})") from error
    if structure:
        _shrink(model, structure, folder)
    weights = load_file(Path(folder) / "model.safetensors")
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UserError(
            f"{folder}: weights and {STRUCTURE_FILE if structure else 'config.json'} disagree: "
            f"{str(error).splitlines()[1].strip()}"
        ) from error
    # Of tied tensors one is enough.
    state = model.state_dict(keep_vars=True)
    loaded = {id(value) for name, value in state.items() if name in weights}
    tied = {n for n, value in state.items() if id(value) in loaded}
    missing = [n for n in missing if not n.endswith("position_ids") and n not in tied]
    unexpected = [n for n in unexpected if not n.endswith("position_ids")]
    if missing or unexpected:
        raise UserError(f"{folder}: weights do not fit the model: missing {missing[:3]}, unexpected {unexpected[:3]}")
    broken = next((n for n, value in weights.items() if value.is_floating_point() and not value.isfinite().all()), None)
    if broken is not None:
        raise UserError(f"{folder}: {broken} holds nan or infinity, so the model answers nothing; save it again")
    return model.to(torch.float32).eval()


def _shrink(model: Any, structure: dict[str, Any], folder: Path) -> None:
    layers = encoder_layers(model)
    if "embedding_rank" in structure:
        words = model.get_input_embeddings()
        shape = words.num_embeddings, structure["embedding_rank"], words.embedding_dim
        model.set_input_embeddings(FactoredEmbedding(*shape, words.padding_idx))
    wanted = structure["layers"]
    if len(wanted) != len(layers):
        raise UserError(f"{folder}/{STRUCTURE_FILE} lists {len(wanted)} layers, config.json says {len(layers)}")
    if structure["head_size"] != layers[0].head_size:
        raise UserError(
            f"{folder}/{STRUCTURE_FILE} says heads of {structure['head_size']}, config.json of {layers[0].head_size}"
        )
    for layer, want in zip(layers, wanted, strict=True):
        inner, width = want["heads"] * layer.head_size, layer.query.in_features
        layer.replace(
            query=nn.Linear(width, inner),
            key=nn.Linear(width, inner),
            value=nn.Linear(width, inner),
            out=nn.Linear(inner, width),
            ffn_in=nn.Linear(width, want["ffn"]),
            ffn_out=nn.Linear(want["ffn"], width),
        )
