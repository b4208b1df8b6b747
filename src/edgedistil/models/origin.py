"""Where a model comes from and what identifies it; reads no weights into memory and imports no torch."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..config.places import embedded_model_folder, user_path
from ..errors import UserError
from ..store.files import read_json
from ..store.fingerprint import DigestCache
from . import embedded
from .depth import check_layers
from .kinds import CLASSIFIER, EXPORTED, KNOWN, TWINS
from .structure import STRUCTURE_FILE, check_structure

_WANTED = ("config.json", "model.safetensors", "tokenizer.json")
# What is computed with of a config, as DistilBERT and BERT call it.
_COUNTS = (
    *("dim", "n_heads", "n_layers", "hidden_dim", "vocab_size", "max_position_embeddings"),
    *("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"),
)


@dataclass(frozen=True)
class Origin:
    """``identity`` enters fingerprints; ``location`` is a folder, an ONNX file or a hub id on this machine.

    ``fine_tuned``: the model already has a trained head and is taken as it is. ``bare_onnx``: an ONNX file, measured
    as it is, with its tokenizer in ``tokenizer``. ``random``: a twin of the architecture with random weights, whose
    speed and size are real and whose answers mean nothing. ``model_type``, ``layers``, ``heads`` (of each layer) and
    ``masked_lm`` (there is a masked-language-modelling head) are None where something would have to be downloaded to
    know it.
    """

    identity: dict[str, Any]
    location: str
    fine_tuned: bool
    bare_onnx: bool = False
    random: bool = False
    tokenizer: str | None = None
    max_positions: int | None = None
    model_type: str | None = field(default=None, compare=False)
    layers: int | None = field(default=None, compare=False)
    heads: int | None = field(default=None, compare=False)
    masked_lm: bool | None = field(default=None, compare=False)


def locate(model: dict[str, Any], digests: DigestCache, head: str = CLASSIFIER) -> Origin:
    """Find the model that the validated ``model`` group names.

    Args:
        head: how the class of a folder's model ends that is fine-tuned for this kind of task.

    Raises:
        UserError: nothing there, an unsupported architecture, weights that are no safetensors, an unpinned hub id, a
            layer that is not there.
    """
    origin = _locate(model, digests, head)
    return origin if model["layers"] is None else _with_layers(origin, model["layers"])


def _locate(model: dict[str, Any], digests: DigestCache, head: str) -> Origin:
    if model["weights"] == "random":
        return _twin(model, digests)
    if model["origin"] == "hub":
        return _hub(model)
    if model["origin"] == "package":
        return _package(model, digests)
    return _folder(model, digests, head)


def _with_layers(origin: Origin, layers: list[int]) -> Origin:
    if origin.random or origin.bare_onnx:
        what = "a random twin (see model.architecture)" if origin.random else "a bare ONNX file"
        raise UserError(f"model.layers={layers} takes layers of a pretrained model, not of {what}")
    # Of a hub model the number is known once it is loaded.
    if origin.layers is not None:
        check_layers(layers, origin.layers)
    return replace(origin, identity={**origin.identity, "layers": layers}, layers=len(layers))


def _hub(model: dict[str, Any]) -> Origin:
    if not model["revision"]:
        raise UserError(
            f"model.revision is empty: pin the commit of the hub model {model['location']!r} (model.revision=COMMIT), "
            "or take its shape alone with model.weights=random"
        )
    identity = {k: model[k] for k in ("origin", "location", "revision", "convert_to")}
    # What an option says of its architecture; anybody else's model is only known once it is loaded.
    kind = (model["architecture"] or {}).get("model_type")
    return Origin(identity, model["location"], bool(model["fine_tuned"]), model_type=kind)


def _package(model: dict[str, Any], digests: DigestCache) -> Origin:
    folder = embedded_model_folder()
    if model["location"] != folder.name:
        raise UserError(f"model.location={model['location']!r}: the only packaged model is {folder.name!r}")
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(
            f"the embedded model is not at {folder}; get it with: make embedded-model "
            "(or: python -m edgedistil embedded-model)"
        )
    if digests.digest(weights) != embedded.WEIGHTS_SHA256:
        raise UserError(f"{weights} is damaged; delete {folder} and run: make embedded-model")
    identity = {"origin": "package", "sha256": embedded.WEIGHTS_SHA256, "convert_to": model["convert_to"]}
    return _shaped(Origin(identity, str(folder), fine_tuned=False), _config_of(folder))


def _twin(model: dict[str, Any], digests: DigestCache) -> Origin:
    """Random weights in the model's shape; its tokenizer is ``tokenizer``'s, else the embedded model's (the uncased
    English WordPiece)."""
    embedded_folder = embedded_model_folder()
    source = embedded_folder if model["origin"] == "package" else user_path(model["location"], "model.location")
    if model["architecture"]:
        architecture = dict(model["architecture"])
    elif model["origin"] != "hub" and (source / "config.json").is_file():
        architecture = _config_of(source)
        if model["convert_to"] == "distilbert" and architecture.get("model_type") == "bert":
            architecture = _as_distilbert(architecture)
    else:
        raise UserError(
            f"model.weights=random needs the shape of {model['location']!r}: "
            "model.architecture={model_type: distilbert, n_layers: 4}"
        )
    if architecture.get("model_type") not in TWINS:
        raise UserError(
            f"model.architecture has model_type={architecture.get('model_type')!r}; supported: {', '.join(TWINS)}"
        )
    tokenizer = source if model["origin"] == "folder" and (source / "tokenizer.json").is_file() else embedded_folder
    if model["tokenizer"]:
        tokenizer = user_path(model["tokenizer"], "model.tokenizer")
        if not (tokenizer / "tokenizer.json").is_file():
            raise UserError(f"model.tokenizer={model['tokenizer']!r} is no folder with a tokenizer.json")
    if not (tokenizer / "tokenizer.json").is_file():
        raise UserError(
            f"a random twin takes the embedded model's tokenizer, which is not at {tokenizer}; get it with: "
            "make embedded-model"
        )
    identity = {
        "origin": "random",
        "architecture": architecture,
        "tokenizer": digests.digest(tokenizer / "tokenizer.json"),
    }
    positions, kind = architecture.get("max_position_embeddings", 512), architecture["model_type"]
    return Origin(identity, str(tokenizer), fine_tuned=True, random=True, max_positions=positions, model_type=kind)


def _as_distilbert(bert: dict[str, Any]) -> dict[str, Any]:
    """The shape that :mod:`edgedistil.models.conversion` turns a BERT of this config into."""
    names = {
        "vocab_size": "vocab_size",
        "max_position_embeddings": "max_position_embeddings",
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "hidden_dim": "intermediate_size",
        "activation": "hidden_act",
    }
    return {"model_type": "distilbert"} | {new: bert[old] for new, old in names.items() if old in bert}


def _shaped(origin: Origin, config: dict[str, Any]) -> Origin:
    return replace(
        origin,
        max_positions=config.get("max_position_embeddings"),
        model_type=config.get("model_type"),
        layers=config.get("n_layers", config.get("num_hidden_layers")),
        heads=config.get("n_heads", config.get("num_attention_heads")),
        masked_lm=any(a.endswith(("ForMaskedLM", "ForPreTraining")) for a in config.get("architectures") or []),
    )


def _folder(model: dict[str, Any], digests: DigestCache, head: str) -> Origin:
    path = user_path(model["location"], "model.location")
    if path.suffix == ".onnx":
        return _bare_onnx(path, model, digests)
    if not path.is_dir():
        raise UserError(f"model.location={model['location']!r} is neither a folder nor an .onnx file")
    _check_files(path)
    config = _config_of(path)
    kind = config.get("model_type")
    if kind not in KNOWN + EXPORTED:
        supported = ", ".join(KNOWN + EXPORTED)
        raise UserError(f"{path}/config.json has model_type={kind!r}; supported: {supported}")
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method", "some method") if isinstance(quantised, dict) else quantised
        raise UserError(
            f"{path} is quantised already ({method}), and rounding twice is no compression: give the folder in full "
            "precision that it was made of"
        )
    check_structure(path, config)
    ready = any(a.endswith(head) for a in config.get("architectures") or [])
    fine_tuned = ready if model["fine_tuned"] is None else model["fine_tuned"]
    if not fine_tuned and model["convert_to"] == "distilbert" and kind != "bert":
        raise UserError(
            f"model.convert_to=distilbert turns a BERT into a DistilBERT, but {path} is a {kind}; "
            "use model=folder, or model.convert_to=null"
        )
    names = [n for n in (*_WANTED, STRUCTURE_FILE) if (path / n).is_file()]
    identity: dict[str, Any] = {"origin": "folder", "files": {n: digests.digest(path / n) for n in names}}
    if not fine_tuned:
        identity["convert_to"] = model["convert_to"]
    return _shaped(Origin(identity, str(path), fine_tuned), config)


def _config_of(path: Path) -> dict[str, Any]:
    again = "save the model again with save_pretrained"
    try:
        config = read_json(path / "config.json")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}/config.json is no JSON ({error}); {again}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}/config.json holds a {type(config).__name__}, no object of options; {again}")
    heads = config.get("architectures") or []
    if not isinstance(heads, list) or not all(isinstance(head, str) for head in heads):
        raise UserError(f"{path}/config.json has architectures={heads!r}, no list of names; {again}")
    for name in _COUNTS:
        value = config.get(name)
        if value is not None and (type(value) is not int or not 1 <= value < 1 << 31):
            raise UserError(f"{path}/config.json has {name}={value!r}, no number of at least 1; {again}")
    return config


def outside_weights(model_file: Path) -> list[Path]:
    """Files beside an ONNX file that hold its weights, by the names that exporters give them."""
    names = [model_file.name + ".data", model_file.name + "_data", model_file.stem + ".data"]
    return [model_file.with_name(name) for name in names if model_file.with_name(name).is_file()]


def _check_files(path: Path) -> None:
    missing = [n for n in _WANTED if not (path / n).is_file()]
    if "model.safetensors" in missing and list(path.glob("*.bin")):
        raise UserError(
            f"{path} has pickled weights ({next(path.glob('*.bin')).name}), which are never loaded: save the "
            "model again with model.save_pretrained(folder), which writes model.safetensors"
        )
    if missing:
        raise UserError(
            f"{path} is no complete model folder: {', '.join(missing)} missing (save model and tokenizer "
            "there with save_pretrained)"
        )


def _bare_onnx(path: Path, model: dict[str, Any], digests: DigestCache) -> Origin:
    if not path.is_file():
        raise UserError(f"model.location={model['location']!r}: no such file")
    folder = user_path(model["tokenizer"], "model.tokenizer") if model["tokenizer"] else path.parent
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder} has no tokenizer.json for {path.name}; say where it is: model.tokenizer=FOLDER")
    identity: dict[str, Any] = {
        "origin": "onnx",
        "model": digests.digest(path),
        "tokenizer": digests.digest(folder / "tokenizer.json"),
    }
    outside = outside_weights(path)
    if outside:
        identity["weights"] = {file.name: digests.digest(file) for file in outside}
    if (folder / "config.json").is_file():
        identity["config"] = digests.digest(folder / "config.json")
    return Origin(identity, str(path), fine_tuned=True, bare_onnx=True, tokenizer=str(folder))
