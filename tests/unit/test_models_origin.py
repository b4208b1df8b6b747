"""A model is found and known by its content; every fault of a folder is one line."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgedistil.config.schemas import Model
from edgedistil.errors import UserError
from edgedistil.models.origin import Origin
from edgedistil.models.origin import locate as locate_model
from edgedistil.store.fingerprint import DigestCache, file_digest


@pytest.fixture
def locate(tmp_path: Path) -> Callable[..., Origin]:
    def run(location: Any, origin: str = "folder", **values: Any) -> Origin:
        model = asdict(Model(origin=origin, location=str(location))) | values
        return locate_model(model, DigestCache(tmp_path / "digests.json"))

    return run


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_is_known_by_its_files_not_its_place(locate: Callable[..., Origin],
                                                    tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder("bert")
    found = locate(folder)
    names = ("config.json", "model.safetensors", "tokenizer.json")
    identity = {"origin": "folder", "files": {n: file_digest(folder / n) for n in names}}
    positions = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    assert found == Origin(identity, str(folder), fine_tuned=True, max_positions=positions)
    moved = folder.rename(folder.parent / "moved")
    assert locate(moved).identity == found.identity


def test_structure_of_a_cut_model_is_part_of_its_identity(locate: Callable[..., Origin], tiny_model: Callable[..., Any],
                                                          tiny_folder: Callable[..., Path],
                                                          uneven_cut: Callable[[Any], Any]) -> None:
    found = locate(tiny_folder(uneven_cut(tiny_model("distilbert"))))
    assert set(found.identity["files"]) == {"config.json", "model.safetensors", "tokenizer.json", "structure.json"}


def test_whether_a_folder_is_fine_tuned_is_seen_or_said(locate: Callable[..., Origin],
                                                        tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder("bert")
    assert locate(folder).fine_tuned
    said = locate(folder, fine_tuned=False, convert_to="distilbert")
    assert not said.fine_tuned
    assert said.identity["convert_to"] == "distilbert"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    assert not locate(folder).fine_tuned


def test_folder_with_pickled_weights_only_is_refused(locate: Callable[..., Origin],
                                                     tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder("bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    line = refusal(lambda: locate(folder))
    assert line.startswith(f"{folder} has pickled weights (pytorch_model.bin), which are never loaded: save the model")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file_is_named(locate: Callable[..., Origin], tiny_folder: Callable[..., Path], name: str) -> None:
    folder = tiny_folder("bert")
    (folder / name).unlink()
    assert refusal(lambda: locate(folder)).startswith(f"{folder} is no complete model folder: {name} missing")


def test_unknown_architecture_is_named_with_the_supported_ones(locate: Callable[..., Origin],
                                                               tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder("bert")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    assert refusal(lambda: locate(folder)) == \
        f"{folder}/config.json has model_type='gpt2'; supported: bert, distilbert, albert, electra, mobilebert, roberta"


def test_config_that_is_no_json_is_the_users_error(locate: Callable[..., Origin],
                                                   tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder("bert")
    (folder / "config.json").write_text("{")
    assert "config.json" in refusal(lambda: locate(folder))


def test_place_that_is_neither_folder_nor_onnx_is_named(locate: Callable[..., Origin], tmp_path: Path) -> None:
    assert refusal(lambda: locate("/nowhere")) == "model.location='/nowhere' is neither a folder nor an .onnx file"
    assert refusal(lambda: locate(tmp_path / "m.onnx")) == f"model.location={str(tmp_path / 'm.onnx')!r}: no such file"


def test_bare_onnx_file_takes_its_tokenizer_from_beside_it_or_from_a_folder(
        locate: Callable[..., Origin], tmp_path: Path, tokenizer_file: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"onnx")
    assert f"{tmp_path} has no tokenizer.json for m.onnx" in refusal(lambda: locate(tmp_path / "m.onnx"))
    found = locate(tmp_path / "m.onnx", tokenizer=str(tokenizer_file.parent))
    assert (found.bare_onnx, found.fine_tuned, found.tokenizer) == (True, True, str(tokenizer_file.parent))
    assert found.identity == {"origin": "onnx", "model": file_digest(tmp_path / "m.onnx"),
                              "tokenizer": file_digest(tokenizer_file)}


def test_hub_model_must_be_pinned(locate: Callable[..., Origin]) -> None:
    assert refusal(lambda: locate("org/name", "hub")) == (
        "model.revision is empty: pin the commit of the hub model 'org/name' (model.revision=COMMIT), or take its "
        "shape alone with model.weights=random")
    found = locate("org/name", "hub", revision="abc")
    assert found == Origin({"origin": "hub", "location": "org/name", "revision": "abc", "convert_to": None}, "org/name",
                           False)


def test_packaged_model_is_checked_by_its_hash(locate: Callable[..., Origin], tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "the only packaged model is 'all-MiniLM-L6-v2'" in refusal(lambda: locate("other", "package"))
    assert "get it with: make embedded-model" in refusal(lambda: locate("all-MiniLM-L6-v2", "package"))
    folder = tmp_path / "edgedistil" / "models" / "all-MiniLM-L6-v2"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"something else")
    assert "is damaged; delete" in refusal(lambda: locate("all-MiniLM-L6-v2", "package"))
