"""Folders of models: structure.json, the header of safetensors, config.json, products, what would be published."""

import json
import random
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from edgedistil.models.origin import locate
from edgedistil.models.structure import check_structure, read_structure
from edgedistil.shipping.model_folder import ModelFolder, read_model_folder
from edgedistil.shipping.publishable import inspect
from edgedistil.store.fingerprint import DigestCache, file_digest

from .mutation import odd_bytes, odd_json
from .target import REFUSED, Target, answered, written

CONFIG: dict[str, Any] = {
    "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"], "dim": 8, "n_heads": 2,
    "n_layers": 2, "hidden_dim": 16, "vocab_size": 10, "max_position_embeddings": 16,
    "id2label": {"0": "negative", "1": "positive"}, "label2id": {"negative": 0, "positive": 1},
}  # fmt: skip
STRUCTURE = {"head_size": 4, "layers": [{"heads": 1, "ffn": 3}, {"heads": 2, "ffn": 5}]}


@cache
def weights() -> bytes:
    """A safetensors file whose layers are cut as :data:`STRUCTURE` says, written by safetensors itself."""
    import numpy as np
    from safetensors.numpy import save

    tensors = {}
    for index, layer in enumerate(STRUCTURE["layers"]):
        begin = f"distilbert.transformer.layer.{index}"
        tensors[f"{begin}.attention.q_lin.weight"] = np.zeros((4 * layer["heads"], 8), np.float32)
        tensors[f"{begin}.ffn.lin1.weight"] = np.zeros((layer["ffn"], 8), np.float32)
    return save(tensors, metadata={"format": "pt"})


def _model(folder: Path, **files: bytes) -> Path:
    """A folder with all files of a model; ``structure_json=...`` replaces one."""
    given = {".".join(name.rsplit("_", 1)): data for name, data in files.items()}
    whole = {"config.json": json.dumps(CONFIG).encode(), "structure.json": json.dumps(STRUCTURE).encode(),
             "model.safetensors": weights(), "tokenizer.json": b"{}"}  # fmt: skip
    for name, data in {**whole, **given}.items():
        written(folder, name, data)
    return folder


def structures() -> Sequence[bytes]:
    """``structure.json`` that fits the weights, and one with a factored word table."""
    return [json.dumps(one).encode() for one in (STRUCTURE, {**STRUCTURE, "embedding_rank": 2})]


def check_structure_file(data: bytes, folder: Path) -> None:
    place = _model(folder / "m", structure_json=data)
    found = answered(lambda: read_structure(place), "structure.json")
    if found is not REFUSED:
        assert all(layer["heads"] >= 1 and layer["ffn"] >= 1 for layer in found["layers"])
        assert found == json.loads(data)
    answered(lambda: check_structure(place, CONFIG), str(place))


def configs() -> Sequence[bytes]:
    """``config.json`` of a DistilBERT, of one that is quantised already, of a BERT."""
    bert = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 8, "num_attention_heads": 2,
            "num_hidden_layers": 2, "intermediate_size": 16}  # fmt: skip
    quantised = {**CONFIG, "quantization_config": {"quant_method": "bitsandbytes"}}
    return [json.dumps(one).encode() for one in (CONFIG, quantised, bert)]


def check_config(data: bytes, folder: Path) -> None:
    place = _model(folder / "m", config_json=data)
    option = {"origin": "folder", "location": str(place), "weights": "pretrained", "layers": None, "convert_to": None,
              "fine_tuned": None, "tokenizer": None, "architecture": None}  # fmt: skip
    digests = DigestCache(folder / "digests.json")
    found = answered(lambda: locate(option, digests), str(place))
    if found is not REFUSED:
        assert found.model_type in json.loads(data)["model_type"]
        # What a plan computes with.
        for number in (found.layers, found.heads, found.max_positions):
            assert number is None or (type(number) is int and number >= 1), number
    answered(lambda: locate({**option, "layers": [0, 1]}, digests))
    answered(lambda: locate({**option, "weights": "random"}, digests))


def headers() -> Sequence[bytes]:
    return [weights()]


def odd_header(chance: random.Random, data: bytes) -> bytes:
    """The JSON in a safetensors file made odd, most times with the length that it has then."""
    length = int.from_bytes(data[:8], "little")
    if chance.random() < 0.25 or length > len(data):
        return odd_bytes(chance, data)
    header = odd_json(chance, data[8 : 8 + length])
    told = len(header) if chance.random() < 0.9 else chance.choice((0, 1, length, 2**31, 2**40, 2**63, 2**64 - 1))
    return told.to_bytes(8, "little") + header + data[8 + length :]


def check_header(data: bytes, folder: Path) -> None:
    place = _model(folder / "m", model_safetensors=data)
    answered(lambda: check_structure(place, CONFIG), str(place))
    (place / "structure.json").unlink()
    answered(lambda: check_structure(place, CONFIG), "model.safetensors")
    inspect(place)


@cache
def products() -> Sequence[bytes]:
    """``config.json``, ``edgedistil.json`` and ``tokenizer_config.json`` of a product, as one JSON object."""
    with tempfile.TemporaryDirectory() as scratch:
        digest = file_digest(written(Path(scratch), "model.onnx", b"onnx"))
    task = {"kind": "sequence_classification", "max_length": 16}
    notes = {"files": {"model.onnx": {"bytes": 4, "sha256": digest}}, "task": task}
    spans = {**CONFIG, "architectures": ["DistilBertForQuestionAnswering"]}
    windows = {"stride": 4, "max_question_length": 4, "max_answer_length": 3, "n_best": 5}
    whole = [
        {"config.json": CONFIG, "edgedistil.json": notes, "tokenizer_config.json": {"model_max_length": 512}},
        {"config.json": spans, "edgedistil.json": {**notes, "task": {**task, **windows}}},
        {"config.json": CONFIG, "tokenizer_config.json": {"model_max_length": 10**30}},
        {"config.json": CONFIG, "artifact.json": {"step": "export", "files": {}, "options": {"task": task}}},
    ]
    return [json.dumps(one).encode() for one in whole]


def odd_product(chance: random.Random, data: bytes) -> bytes:
    """One of the files made odd."""
    try:
        files = json.loads(data)
        name = chance.choice(sorted(files))
        files[name] = odd_json(chance, json.dumps(files[name]).encode()).decode("latin-1")
        return json.dumps(files).encode()
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return odd_json(chance, data)


def _unpacked(data: bytes, place: Path) -> bool:
    """The files of :func:`products`: values that are texts are bytes as Latin-1."""
    try:
        files = json.loads(data)
    except (ValueError, RecursionError):
        return False
    known = ("config.json", "edgedistil.json", "tokenizer_config.json", "artifact.json")
    if not isinstance(files, dict):
        return False
    for name, content in files.items():
        if name in known:
            text = content if isinstance(content, str) else json.dumps(content)
            written(place, name, text.encode("latin-1", "replace"))
    return True


def check_product(data: bytes, folder: Path) -> None:
    place = folder / "artifacts" / "export" / "f"
    written(place, "model.onnx", b"onnx")
    written(place, "tokenizer.json", b"{}")
    if not _unpacked(data, place):
        return
    found = answered(lambda: read_model_folder(place), str(place))
    if found is not REFUSED:
        assert isinstance(found, ModelFolder)
        assert type(found.max_length) is int
        assert all(isinstance(label, str) for label in found.labels)
        assert all(type(value) is int for value in found.windows.values())
    answered(lambda: read_model_folder(place, 8))


def cards() -> Sequence[bytes]:
    """``README.md`` with the metadata that the hub reads."""
    card = "---\nlicense: apache-2.0\nbase_model: a/b\nlibrary_name: onnx\ntags: [edgedistil]\n---\n# A model\n"
    scored = (
        "---\nlicense: mit\nmodel-index:\n- name: m\n  results:\n  - task:\n      type: text-classification\n"
        "    dataset:\n      name: s\n      type: s\n    metrics:\n    - type: accuracy\n      value: 0.9\n---\n# m\n"
    )
    return [card.encode(), scored.encode()]


def check_card(data: bytes, folder: Path) -> None:
    written(folder, "p/README.md", data)
    written(folder, "p/config.json", b"{}")
    written(folder, "p/model.onnx", b"onnx")
    written(folder, "p/edgedistil.json", data)
    _inspected(folder / "p")


def _inspected(folder: Path) -> None:
    found = answered(lambda: inspect(folder), str(folder))
    said = (*found.faults, *found.remarks)
    assert all(fault.strip() and len(fault.splitlines()) == 1 for fault in said), said
    assert [name for name, _, _ in found.files] == sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


TARGETS = (
    Target("structure", structures, odd_json, check_structure_file),
    Target("config", configs, odd_json, check_config),
    Target("safetensors_header", headers, odd_header, check_header),
    Target("model_folder", products, odd_product, check_product),
    Target("card", cards, odd_bytes, check_card),
)
