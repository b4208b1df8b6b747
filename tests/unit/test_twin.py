"""Twins with random weights: the architecture's own shape, no download, no claim about answers."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgedistil.config.places import embedded_model_folder
from edgedistil.config.schemas import Model
from edgedistil.errors import UserError
from edgedistil.models.origin import locate
from edgedistil.stages.base import locate_base
from edgedistil.stages.named import model_group
from edgedistil.stages.twin import twin
from edgedistil.store.fingerprint import DigestCache
from edgedistil.tasks.encode import load_tokenizer

MODEL = {"origin": "hub", "location": "distilbert/distilbert-base-uncased", "revision": "12040acc", "convert_to": None,
         "fine_tuned": None, "layers": None, "weights": "random", "architecture": {"model_type": "distilbert"},
         "tokenizer": None}


@pytest.fixture
def digests(tmp_path: Path) -> DigestCache:
    return DigestCache(tmp_path / "digests.json")


@pytest.fixture
def tokenizer_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tokenizer_file: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = embedded_model_folder()
    folder.mkdir(parents=True)
    shutil.copyfile(tokenizer_file, folder / "tokenizer.json")
    return folder


def test_origin_of_a_twin_is_its_shape(tokenizer_at_hand: Path, digests: DigestCache) -> None:
    found = locate(MODEL, digests)
    assert (found.random, found.fine_tuned, found.max_positions) == (True, True, 512)
    assert found.identity["architecture"] == {"model_type": "distilbert"}
    other = locate(MODEL | {"architecture": {"model_type": "distilbert", "n_layers": 3}}, digests)
    assert other.identity != found.identity


@pytest.mark.parametrize(("changes", "message"), [
    ({"architecture": None}, r"model\.weights=random needs the shape of 'distilbert/distilbert-base-uncased'"),
    ({"architecture": {"model_type": "gpt2"}}, r"model_type='gpt2'; supported: bert, distilbert"),
])
def test_a_twin_without_a_shape_is_the_users_error(changes: dict[str, Any], message: str, tokenizer_at_hand: Path,
                                                   digests: DigestCache) -> None:
    with pytest.raises(UserError, match=message):
        locate(MODEL | changes, digests)


def test_a_twin_without_a_tokenizer_says_where_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                          digests: DigestCache) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="make embedded-model"):
        locate(MODEL, digests)


def request(tmp_path: Path, tokenizer: Path, task: dict[str, Any], **architecture: Any) -> dict[str, Any]:
    (tmp_path / "validation.csv").write_text("text,label\nthe film is good,positive\na dull story,negative\n")
    output = tmp_path / "out"
    output.mkdir(exist_ok=True)
    shape = {"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 200}
    return {"options": {"model": {"origin": "random", "architecture": shape | architecture}, "task": task, "seed": 1,
                        "data": {"files": {"validation": "digest"}}},
            "runtime": {"location": str(tokenizer), "files": {"validation": str(tmp_path / "validation.csv")}},
            "output": str(output), "label": "twin"}


def test_a_twin_has_the_shape_asked_for_and_is_the_same_again(tmp_path: Path, tokenizer_file: Path,
                                                              task_group: Callable[..., dict[str, Any]]) -> None:
    task = task_group(labels=["negative", "positive"], text_columns=["text"], label_column="label")
    facts = twin(request(tmp_path, tokenizer_file.parent, task))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["dim"], config["n_layers"], config["hidden_dim"]) == (32, 2, 64)
    assert facts["random"] is True
    first = (tmp_path / "out" / "model.safetensors").read_bytes()
    twin(request(tmp_path, tokenizer_file.parent, task))
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == first


def test_a_twin_that_knows_too_few_tokens_is_refused(tmp_path: Path, tokenizer_file: Path,
                                                     task_group: Callable[..., dict[str, Any]]) -> None:
    task = task_group(labels=["negative", "positive"], text_columns=["text"], label_column="label")
    with pytest.raises(UserError, match=r"vocab_size=50, the tokenizer knows \d+ tokens, \d+ of which can't be spelt"):
        twin(request(tmp_path, tokenizer_file.parent, task, vocab_size=50))


def test_a_stand_in_tokenizer_loses_its_rarest_pieces_and_no_word(
    tmp_path: Path, word_pieces: Callable[..., Path], task_group: Callable[..., dict[str, Any]]
) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["the", "film", "is", "good", "story", *letters, *(f"##{x}" for x in letters), "dull"]
    tokenizer = word_pieces(pieces)
    task = task_group(labels=["negative", "positive"], text_columns=["text"], label_column="label")
    rows = 5 + len(pieces) - 1
    facts = twin(request(tmp_path, tokenizer.parent, task, vocab_size=rows))
    assert facts["tokenizer"].startswith(f"a stand-in of {rows} of {rows + 1} word pieces")
    kept = load_tokenizer(tmp_path / "out", 32)
    assert kept.get_vocab_size() == rows
    assert kept.encode("a dull film").tokens == ["[CLS]", "a", "d", "##u", "##l", "##l", "film", "[SEP]"]
    assert max(kept.get_vocab().values()) < rows
    facts = twin(request(tmp_path, tokenizer.parent, task, vocab_size=rows + 1))
    assert "tokenizer" not in facts
    assert load_tokenizer(tmp_path / "out", 32).encode("dull").tokens == ["[CLS]", "dull", "[SEP]"]


def test_a_twin_takes_the_tokenizer_that_it_is_given(tokenizer_at_hand: Path, digests: DigestCache, tmp_path: Path,
                                                     word_pieces: Callable[..., Path]) -> None:
    own = word_pieces(["Film", "film"]).parent
    found = locate(MODEL | {"tokenizer": str(own)}, digests)
    assert found.location == str(own)
    assert found.identity["tokenizer"] != locate(MODEL, digests).identity["tokenizer"]
    with pytest.raises(UserError, match=r"model\.tokenizer='.*' is no folder with a tokenizer\.json"):
        locate(MODEL | {"tokenizer": str(tmp_path / "nothing")}, digests)


def test_other_architectures_have_twins_too(tmp_path: Path, tokenizer_file: Path, tokenizer_at_hand: Path,
                                            digests: DigestCache, task_group: Callable[..., dict[str, Any]]) -> None:
    found = locate(MODEL | {"architecture": {"model_type": "mobilebert"}}, digests)
    assert (found.random, found.model_type) == (True, "mobilebert")
    task = task_group(labels=["negative", "positive"], text_columns=["text"], label_column="label")
    small = {"model_type": "mobilebert", "embedding_size": 16, "hidden_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 32, "intra_bottleneck_size": 16, "vocab_size": 200}
    asked = request(tmp_path, tokenizer_file.parent, task)
    asked["options"]["model"]["architecture"] = small
    assert twin(asked)["random"] is True
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architectures"] == [
        "MobileBertForSequenceClassification"
    ]


def test_a_twin_of_a_bert_that_would_be_turned_into_a_distilbert_is_one(
    tokenizer_at_hand: Path, digests: DigestCache, tiny_folder: Callable[..., Path]
) -> None:
    folder = tiny_folder("bert")
    model = MODEL | {"origin": "folder", "location": str(folder), "architecture": None}
    assert locate(model, digests).identity["architecture"]["model_type"] == "bert"
    assert locate(model | {"convert_to": "distilbert"}, digests).identity["architecture"] == {
        "model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "activation": "gelu",
        "vocab_size": json.loads((folder / "config.json").read_text())["vocab_size"], "max_position_embeddings": 64,
    }


def test_a_twin_of_what_a_recipe_makes_is_its_shape_and_trains_nothing(
    tokenizer_at_hand: Path, digests: DigestCache
) -> None:
    plan = SimpleNamespace(
        cfg={"model": asdict(Model()) | model_group("student_minilm") | {"weights": "random"},
             "task": {"kind": "sequence_classification"}},
        store=SimpleNamespace(digests=digests), choices={"model": "student_minilm"},
    )
    base = locate_base(plan, "model")
    assert (base.step, base.origin.random) == (None, True)
    assert base.origin.identity["architecture"]["n_layers"] == 3
    plan.cfg["model"]["architecture"] = None
    with pytest.raises(UserError, match=r"model\.weights=random needs the shape of 'wikitext2_student'"):
        locate_base(plan, "model")
