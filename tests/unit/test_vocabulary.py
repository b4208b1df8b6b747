"""Trimmed vocabularies: which pieces stay, no word is lost, and the model answers as before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from edgedistil.compression.vocabulary import kept_pieces, retokenised, trim_embeddings, trimmed_tokenizer
from edgedistil.config.places import embedded_model_folder
from edgedistil.errors import UserError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdef", *(f"##{c}" for c in "abcdef")]
# "é" has no form inside a word, so the one piece that holds it can't be spelt.
PIECES = ["ab", "abc", "##cd", "##cde", "face", "fad", "##ed", "é", "caf##é", "café"]


@pytest.fixture
def content() -> dict[str, Any]:
    from tokenizers import models, normalizers, pre_tokenizers, processors

    vocabulary = {piece: i for i, piece in enumerate([*SPECIAL, *PIECES, *LETTERS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(SPECIAL)
    return json.loads(tokenizer.to_str())  # type: ignore[no-any-return]


def counted(content: dict[str, Any], texts: list[str]) -> list[int]:
    tokenizer = Tokenizer.from_str(json.dumps(content))
    counts = [0] * tokenizer.get_vocab_size()
    for text in texts:
        for i in tokenizer.encode(text).ids:
            counts[i] += 1
    return counts


def pieces(content: dict[str, Any], kept: list[int]) -> set[str]:
    names = {i: p for p, i in content["model"]["vocab"].items()}
    return {names[i] for i in kept} - set(SPECIAL) - set(LETTERS)


def test_seen_pieces_characters_and_what_can_not_be_spelt_stay(content: dict[str, Any]) -> None:
    counts = counted(content, ["abcd face", "face"])
    everything = kept_pieces(content, counts, 1, 0)
    assert pieces(content, everything) == {"abc", "face", "é", "café", "caf##é"}
    assert {content["model"]["vocab"][p] for p in (*SPECIAL, *LETTERS)} <= set(everything)
    assert pieces(content, kept_pieces(content, counts, 2, 0)) == {"face", "é", "café", "caf##é"}
    # The first seven of the vocabulary are the special tokens, "ab" and "abc".
    assert pieces(content, kept_pieces(content, counts, 2, 7)) == {"ab", "abc", "face", "é", "café", "caf##é"}
    assert everything == sorted(everything)


def test_no_word_becomes_unknown_and_ids_belong_to_the_same_pieces(content: dict[str, Any]) -> None:
    kept = kept_pieces(content, counted(content, ["face"]), 1, 0)
    whole = Tokenizer.from_str(json.dumps(content))
    trimmed = Tokenizer.from_str(json.dumps(trimmed_tokenizer(content, kept)))
    assert trimmed.get_vocab_size() == len(kept)
    for text in ("abcde fad face", "café", "decaf bead", "face [MASK] abcd"):
        assert ("[UNK]" in trimmed.encode(text).tokens) == ("[UNK]" in whole.encode(text).tokens), text
    assert trimmed.encode("face abcd").tokens == ["[CLS]", "face", "a", "##b", "##c", "##d", "[SEP]"]
    # What was unknown stays so.
    assert trimmed.encode("xyz").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    names = {i: p for p, i in content["model"]["vocab"].items()}
    assert [trimmed.id_to_token(i) for i in range(len(kept))] == [names[old] for old in kept]
    pair = trimmed.encode("face", "fad")
    assert (pair.tokens[0], pair.type_ids[-1]) == ("[CLS]", 1)


def test_texts_known_by_their_ids_are_cut_as_from_the_text(content: dict[str, Any]) -> None:
    kept = kept_pieces(content, counted(content, ["face abcde"]), 1, 0)
    whole = Tokenizer.from_str(json.dumps(content))
    trimmed = Tokenizer.from_str(json.dumps(trimmed_tokenizer(content, kept)))
    names = [whole.id_to_token(i) for i in range(whole.get_vocab_size())]
    new = {old: i for i, old in enumerate(kept)}
    for text in ("abcde fad face", "abed", "xyz face", "abcd café"):
        assert retokenised(whole.encode(text).ids, names, new, trimmed) == trimmed.encode(text).ids, text


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_a_trimmed_model_answers_as_the_whole_one(
    kind: str, tiny_model: Callable[..., Any], sentence_ids: list[list[int]], tmp_path: Path, tokenizer_file: Path
) -> None:
    from edgedistil.models.folder import save_model
    from edgedistil.models.reference import predict
    from edgedistil.models.shrunken import load_classifier

    model = tiny_model(kind)
    expected, size = predict(model, sentence_ids), model.config.vocab_size
    seen = {i for row in sentence_ids for i in row}
    kept = sorted(seen | {0, 1, 4})
    trim_embeddings(model, kept, 24)
    again = [[kept.index(i) for i in row] for row in sentence_ids]
    assert (predict(model, again) == expected).all()
    assert (model.config.vocab_size, model.config.max_position_embeddings) == (len(kept), 24)
    assert len(kept) < size
    save_model(model, tmp_path, {"title": "t", "lines": []})
    assert (predict(load_classifier(tmp_path), again) == expected).all()
    from transformers import AutoModelForSequenceClassification

    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    np.testing.assert_allclose(predict(loaded, again), expected, rtol=1e-4, atol=1e-5)
    assert loaded.get_input_embeddings().weight.shape[0] == len(kept)
    with pytest.raises((IndexError, RuntimeError)):
        predict(loaded, [[2, *[5] * 30, 3]])
    assert torch.equal(loaded.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_the_embedded_tokenizer_keeps_every_word(tmp_path: Path) -> None:
    """BERT's own vocabulary of 30,522 pieces, trimmed to what two sentences hold."""
    file = embedded_model_folder() / "tokenizer.json"
    if not file.is_file():
        pytest.skip("no embedded model: make embedded-model")
    content = json.loads(file.read_text())
    counts = counted(content, ["the film is good", "a dull story"])
    kept = kept_pieces(content, counts, 1, 0)
    # Special tokens, 997 characters in both forms; "a" and "." stand among them.
    assert 2000 <= len(kept) < 2020
    whole = Tokenizer.from_file(str(file))
    trimmed = Tokenizer.from_str(json.dumps(trimmed_tokenizer(content, kept)))
    text = "Unbelievably heterogeneous étude № 7 — 東京 naïve ελληνικά 😀 supercalifragilistic"
    assert trimmed.encode(text).tokens.count("[UNK]") == whole.encode(text).tokens.count("[UNK]")
    assert trimmed.encode("the film is good").tokens == whole.encode("the film is good").tokens


def test_other_tokenizers_are_refused(content: dict[str, Any]) -> None:
    content["model"]["type"] = "BPE"
    with pytest.raises(UserError, match="a BPE tokenizer can't be trimmed"):
        kept_pieces(content, [0] * 100, 1, 0)
