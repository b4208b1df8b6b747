"""``structure.json``: heads and FFN width of every layer, read and held against config and weights without torch."""

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import parse_json, read_json

STRUCTURE_FILE = "structure.json"
# Of each layer the matrices whose rows are its heads' and its neurons', in BERT and in DistilBERT.
_HEADS = ("attention.self.query.weight", "attention.q_lin.weight")
_NEURONS = ("intermediate.dense.weight", "ffn.lin1.weight")
_HINT = "take the whole folder as it was written, or delete the file if the weights were never cut"


def read_structure(folder: Path) -> dict[str, Any]:
    """What stands in a folder's file: ``head_size``, ``layers`` (``{"heads", "ffn"}`` each), maybe ``embedding_rank``;
    empty where there is no file, whose layers are all as the config says.

    Raises:
        UserError: no JSON, or something else in it.
    """
    path = Path(folder) / STRUCTURE_FILE
    if not path.is_file():
        return {}
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON ({error}); {_HINT}") from error
    layers = found.get("layers") if isinstance(found, dict) else None
    if not isinstance(layers, list):
        raise UserError(f"{path} has no list 'layers' of {{heads, ffn}}; {_HINT}")
    for index, layer in enumerate(layers):
        for key in ("heads", "ffn"):
            _check_count(layer.get(key) if isinstance(layer, dict) else None, f"{path}: layer {index} has {key}")
    for key in {"head_size", "embedding_rank"} & {"head_size", *found}:
        _check_count(found.get(key), f"{path} has {key}")
    return dict(found)


def _check_count(value: Any, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{what}={value!r}, not a number of at least 1; {_HINT}")


def check_structure(folder: Path, config: dict[str, Any]) -> None:
    """See that the weights of a folder can be read, and that its structure file, if it has one, is theirs and the
    config's.

    Raises:
        UserError: it is not, or the weights' header can't be read.
    """
    rows = _rows(folder / "model.safetensors")
    structure = read_structure(folder)
    if not structure:
        return
    path, layers = folder / STRUCTURE_FILE, structure["layers"]
    count = config.get("n_layers", config.get("num_hidden_layers"))
    if len(layers) != count:
        raise UserError(f"{path} lists {len(layers)} layers, config.json says {count}; {_HINT}")
    width = config.get("dim", config.get("hidden_size")) or 0
    head_size = width // (config.get("n_heads") or config.get("num_attention_heads") or 1)
    for index, layer in enumerate(layers):
        for key, names, size in (("heads", _HEADS, head_size), ("ffn", _NEURONS, 1)):
            stored = [n for name, n in rows.items() if name.endswith(tuple(f"layer.{index}.{part}" for part in names))]
            if stored and stored != [layer[key] * size]:
                number, rest = divmod(stored[0], size or 1)
                has = f"{stored[0]} rows" if rest or not size else number
                raise UserError(
                    f"{path} gives layer {index} {key}={layer[key]}, but model.safetensors has {has} there; {_HINT}"
                )


def _rows(weights: Path) -> dict[str, int]:
    """Rows of every tensor, from the header of a safetensors file: its length in 8 bytes, then JSON."""
    size = weights.stat().st_size
    try:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if 8 + length > size:
                raise ValueError(f"a header of {length} bytes")
            header = parse_json(file.read(length).decode())
        header.pop("__metadata__", None)
        whole = 8 + length + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        found = {name: int(entry["shape"][0]) for name, entry in header.items() if entry["shape"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{weights} is no safetensors file ({type(error).__name__}): save the model again with save_pretrained"
        ) from error
    if size != whole:
        raise UserError(
            f"{weights} has {size} bytes, its header speaks of {whole}: it is cut off or changed; "
            "copy it again, or save the model again with save_pretrained"
        )
    return found
