"""Writing a model folder: the Hugging Face layout, ``structure.json`` where layers are uneven, and a model card."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from .card import pipeline_of, step_card
from .shrunken import is_uneven, structure_of
from .structure import STRUCTURE_FILE


def save_model(model: Any, folder: Path, card: dict[str, Any]) -> None:
    """Write ``config.json``, ``model.safetensors``, ``README.md`` and, for a cut model, ``structure.json``.

    An evenly cut FFN with all heads is written into ``config.json``, so that ``AutoModel`` loads it.

    Args:
        card: facts for the model card: ``title`` and lines of text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    structure = structure_of(model)
    uneven = is_uneven(model)
    config = model.config
    config.dtype = torch.float32
    config.architectures = [type(model).__name__]
    if not uneven and structure["layers"]:
        width = structure["layers"][0]["ffn"]
        setattr(config, "hidden_dim" if config.model_type == "distilbert" else "intermediate_size", width)
    config.save_pretrained(folder)
    state = {name: value.detach().cpu().contiguous() for name, value in _untied(model).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    if uneven:
        (folder / STRUCTURE_FILE).write_text(json.dumps(structure, indent=2) + "\n")
    (folder / "README.md").write_text(_card(card, model, uneven))


def _untied(model: Any) -> dict[str, Any]:
    """The state without what another entry holds already: a decoder tied to the embeddings is written once."""
    seen: set[int] = set()
    state = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            state[name] = value
        seen.add(id(value))
    return state


def count_parameters(model: Any) -> int:
    """Elements of all parameters, tied ones once."""
    return sum(p.numel() for p in model.parameters())


def _card(card: dict[str, Any], model: Any, uneven: bool) -> str:
    kind = type(model).__name__
    lines = [*card["lines"], f"a {kind} of {count_parameters(model):,} parameters in FP32"]
    if pipeline_of(kind) == "text-classification":
        names = model.config.id2label
        lines.append(f"classes in the order of its outputs: {', '.join(str(names[i]) for i in sorted(names))}")
    loading = f"Load it with transformers: `{kind}.from_pretrained(folder)`."
    if uneven:
        loading = (
            "The layers have heads and FFN widths, or the word table a rank, of their own (`structure.json`), so "
            "`AutoModel` can't load the weights; `edgedistil.models.shrunken.load_model(folder)` does. "
            "`model.onnx` runs anywhere."
        )
    library = "pytorch" if uneven else "transformers"
    return step_card(card["title"], library, pipeline_of(kind), ["\n".join(f"- {line}" for line in lines), loading])
