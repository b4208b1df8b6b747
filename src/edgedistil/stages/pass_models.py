"""The models of a pass over a task's texts, each in a folder of its own, and the texts as each one's tokens."""

import random
from pathlib import Path
from typing import Any

from ..errors import UserError

# Texts on which an exported graph is held against PyTorch's answers.
_REFERENCE_TEXTS = 8


def prepare(
    groups: dict[str, dict[str, Any]],
    task: dict[str, Any],
    stand: Path,
    engine: str,
    limit: int | None,
    pad_to: int | None,
    seed: int,
) -> tuple[dict[str, Any], dict[str, list[list[int]]]]:
    """Put each model with a head into ``stand / NAME``, where its worker finds it.

    Args:
        groups: ``model`` groups by name.
        task: a ``task`` group.
        limit: only so many texts, drawn with ``seed``.
        pad_to: texts are cut there.

    Returns:
        Facts (``task``, ``texts``, ``all_texts``, ``models``), and of each model the token ids of each text.

    Raises:
        UserError: no such data or model, one of more tokens than it has positions for.
    """
    from ..models import origin
    from ..store.fingerprint import DigestCache
    from ..tasks import source
    from ..tasks.encode import encode_with_types, load_tokenizer
    from ..tasks.examples import load

    digests = DigestCache(stand / "digests.json")
    data = source.locate(task, digests, needs_train=False)
    located = {name: origin.locate(group, digests) for name, group in groups.items()}
    for name, found in located.items():
        if found.bare_onnx or (pad_to or 0) > (found.max_positions or pad_to or 0):
            what = "is a bare ONNX file" if found.bare_onnx else f"knows positions up to {found.max_positions}"
            raise UserError(f"{name} {what}: give a model folder, or a --pad-to that it knows")
    whole = load(task | {"limit_validation": None}, data, "validation", task["labels"], seed)
    texts = list(whole.texts)
    random.Random(seed).shuffle(texts)
    texts = texts[:limit]
    longest = min(
        [task["max_length"] if pad_to is None else pad_to, *(o.max_positions or 512 for o in located.values())]
    )
    rows, facts = {}, {}
    for name, found in located.items():
        network, note = _written(found, whole.label_names or ["score"], stand / name, seed)
        ids, types = encode_with_types(load_tokenizer(stand / name, longest), texts)
        rows[name] = ids
        facts[name] = {
            "random_weights": found.random,
            "origin": found.identity,
            "parameters": sum(p.numel() for p in network.parameters()),
            "tokens": {"mean": round(sum(map(len, ids)) / len(ids), 2), "longest": max(map(len, ids))},
            **({"tokenizer": note} if note else {}),
        }
        if engine == "onnxruntime":
            _export(network, stand / name, ids[:_REFERENCE_TEXTS], types[:_REFERENCE_TEXTS])
    about = {"name": task["name"], "split": "validation", "max_length": longest, "data": data.identity}
    return {"task": about, "texts": len(texts), "all_texts": len(whole), "models": facts}, rows


def _written(found: Any, names: list[str], folder: Path, seed: int) -> tuple[Any, str | None]:
    """The network of an origin with a classification head, written into ``folder``; a note about its tokenizer."""
    from ..models.folder import save_model
    from ..models.loading import load_for_training, save_tokenizer
    from ..models.shrunken import load_classifier
    from .twin import write_twin

    folder.mkdir()
    if found.random:
        return write_twin(found.identity, found.location, names, folder, folder.name, seed)
    from ..learning.quiet import quiet

    quiet()
    import torch

    torch.manual_seed(seed)
    taken = found.fine_tuned and found.identity["origin"] == "folder"
    network = (
        load_classifier(Path(found.location)) if taken else load_for_training(found.location, found.identity, names)
    )
    save_model(network, folder, {"title": folder.name, "lines": []})
    save_tokenizer(found.location, found.identity, folder)
    return network.eval(), None


def _export(network: Any, folder: Path, ids: list[list[int]], types: list[list[int]]) -> None:
    """Put ``model.onnx`` beside a model folder's own files, through the parity gate."""
    from ..models.reference import write_reference
    from .export import export

    write_reference(network, folder, ids, types, seed=0)
    options = {"quantization": {"method": "none"}, "graph": {"padding": True}}
    made = folder / "graph"
    made.mkdir()
    export({"options": options, "inputs": {"model": str(folder)}, "output": str(made), "label": folder.name})
    for name in ("model.onnx", "model.onnx.data"):
        (made / name).rename(folder / name)
