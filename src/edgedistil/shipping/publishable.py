"""What of a folder would be published, and what in it must not be: files that run code when they are loaded, places on
this machine, keys."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import credentials
from ..errors import UserError, first_line
from ..store.files import parse_json, read_json
from ..store.fingerprint import file_digest
from ..store.store import ARTIFACT_FILE
from .model_folder import PRODUCT_FILE

# Weights and graphs are told by name: no other kind of file is needed, and some of the others are pickles.
_TEXTS = (".json", ".md", ".txt", ".yaml", ".yml", ".jinja")
_BINARIES = (".onnx", ".safetensors", ".png", ".svg")
_NAMES = ("model.onnx.data", "model.onnx_data", "model.data", "LICENSE", "NOTICE", ".gitattributes")
# Their words are not ours: pieces like "/a/b" are no places.
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
# Of an address (https://a/b) every slash follows another, a colon that another follows, or a word.
_PLACE = re.compile(
    r"""(?<![\w/.<>\])}~*-])(?:/(?:[\w.+-]+/)+[\w.+-]+|~/[\w.+-]+|[A-Za-z]:\\{1,2}[\w.+ -]+|file://\S+)"""
)


@dataclass(frozen=True)
class Publishable:
    """``files``: (name, bytes, SHA-256) of each; ``faults`` must be mended first, ``remarks`` are worth a look."""

    files: list[tuple[str, int, str]]
    faults: list[str]
    remarks: list[str]


def inspect(folder: Path) -> Publishable:
    """Look at everything in a folder; nothing is changed and nothing is sent.

    Raises:
        UserError: it is no folder, or an empty one.
    """
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder")
    paths = sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    if not paths:
        raise UserError(f"{folder} is empty")
    files: list[tuple[str, int, str]] = []
    faults: list[str] = []
    remarks: list[str] = []
    for path in paths:
        name = str(path.relative_to(folder))
        wrong = _wrong_kind(path, name)
        if wrong:
            faults.append(f"{name}: {wrong}")
            continue
        files.append((name, path.stat().st_size, file_digest(path)))
        faults += [f"{name}: {what}" for what in _inside(path)]
    names = {name for name, _, _ in files}
    faults += _missing(folder, names) + _changed(folder, {name: digest for name, _, digest in files})
    if "README.md" in names:
        more_faults, remarks = _card(folder / "README.md")
        faults += more_faults
    return Publishable(files, faults, remarks)


def _wrong_kind(path: Path, name: str) -> str | None:
    if path.is_symlink():
        return "a link, which may lead out of the folder; put the file itself there"
    if not path.is_file():
        return "not a plain file"
    if path.name == ARTIFACT_FILE:
        return "this is a folder of the store; make a product of it: python -m edgedistil package CELL --output DIR"
    if path.name == "reference.safetensors":
        return "holds texts of the data set as token ids, which are not yours to publish"
    if any(part.startswith(".") for part in Path(name).parts) and path.name not in _NAMES:
        return "hidden files are not published"
    if path.suffix not in (*_TEXTS, *_BINARIES) and path.name not in _NAMES:
        return "not a kind of file that a model needs (pickles run code when they are loaded); remove it"
    return None


def _inside(path: Path) -> list[str]:
    """What must not be told in one file."""
    if path.suffix == ".safetensors":
        text = _metadata(path)
        return ["no safetensors file (its header can't be read)"] if text is None else _told(text, places=True)
    if path.suffix == ".onnx":
        content = path.read_bytes()
        home = [f"{Path.home()}/"] if Path.home() != Path("/") else []
        here = [*home, "/site-packages/", "/dist-packages/"]
        found = [place for place in here if place.encode() in content]
        return [f"names a place on the machine that wrote it ({found[0]}...)"] if found else []
    if path.suffix not in _TEXTS and path.name not in ("LICENSE", "NOTICE"):
        return []
    try:
        return _told(path.read_text(encoding="utf-8"), places=path.name not in _VOCABULARIES)
    except UnicodeDecodeError:
        return ["not UTF-8, though its name says that it is a text"]


def _told(text: str, places: bool) -> list[str]:
    found = [f"holds {what}" for what in credentials.kinds(text)]
    place = _PLACE.search(text) if places else None
    return [*found, *([f"names a place on a machine: {place.group(0)}"] if place else [])]


def _metadata(path: Path) -> str | None:
    """The notes in a safetensors file's header (its length in 8 bytes, then JSON); None where there is none."""
    import json

    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = parse_json(stream.read(length).decode()) if length < path.stat().st_size else None
    except ValueError:
        return None
    return json.dumps(header.get("__metadata__", {})) if isinstance(header, dict) else None


def _missing(folder: Path, names: set[str]) -> list[str]:
    wanted = {"README.md": "there is no model card", "config.json": "there is no config.json"}
    faults = [
        f"{what}; {folder} is no product folder (python -m edgedistil package)"
        for n, what in wanted.items()
        if n not in names
    ]
    if not {"model.onnx", "model.safetensors"} & names:
        faults.append("there is no model.onnx and no model.safetensors")
    return faults


def _changed(folder: Path, digests: dict[str, str]) -> list[str]:
    """Files that are not those that the card speaks of."""
    if PRODUCT_FILE not in digests:
        return []
    try:
        said: dict[str, Any] = read_json(folder / PRODUCT_FILE)["files"]
        wanted = {name: entry["sha256"] for name, entry in said.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{PRODUCT_FILE} can't be read"]
    return [
        f"{name} is {'gone' if name not in digests else 'not the file that was measured'}; package the cell again"
        for name, digest in wanted.items()
        if digests.get(name) != digest
    ]


def _card(path: Path) -> tuple[list[str], list[str]]:
    """(faults, remarks) of the card's metadata."""
    from huggingface_hub import ModelCard

    try:
        data = ModelCard.load(path).data
    except Exception as error:
        # Whatever a YAML parser or the hub's own checks raise.
        return [f"README.md: its metadata can't be read ({first_line(error)})"], []
    remarks = []
    if (data.get("license") or "unknown") == "unknown":
        remarks.append("the licence is not known: look at the base model's, then package with --licence")
    if not data.get("base_model"):
        remarks.append("the base model is not named: package with --base-model OWNER/NAME")
    if not data.eval_results:
        remarks.append("the card has no scores in its metadata")
    return [], remarks
