"""Augmented texts: which words, which candidates, what stays, what is dropped, and that chance is all in the seed."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from edgedistil.errors import UserError
from edgedistil.models.masked_lm import load_masked_lm
from edgedistil.models.neighbours import Neighbours
from edgedistil.models.refill import Masked, Refill
from edgedistil.models.whole_words import whole_words
from edgedistil.stages import augment as stage
from edgedistil.tasks.augmentation import Copying, copy_texts, draw, find_words, replace_words
from edgedistil.tasks.copies import keep_new, read_copies, with_copies, write_copies
from edgedistil.tasks.examples import Examples, held_out_indices, load
from edgedistil.tasks.source import Source

MASK, UNKNOWN = 4, 1
# In the words of the tiny tokenizer.
SENTENCES = (
    "the film is very good", "a dull story , never funny", "this movie was not bad", "superb !", "i love it",
    "the cast is fresh and the script is clever but the ending was weak and boring .", "the worst drama",
    "a warm comedy with heart", "dark night , cold day and slow music in the second scene", "great plot",
    "it was long", "old and new , big and small , fast and slow , up and down , here and there",
)


@pytest.fixture
def tokenizer(tokenizer_file: Path) -> Any:
    return Tokenizer.from_file(str(tokenizer_file))


@pytest.fixture
def words(tokenizer: Any) -> list[str]:
    """The vocabulary's whole words, in the order of their ids: letters and digits, no continuations, no [UNK]."""
    return sorted((w for w in tokenizer.get_vocab() if w.isalnum()), key=tokenizer.token_to_id)


@pytest.fixture
def language_model(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> Callable[..., Path]:
    """Factory of a folder with a tiny masked language model of random weights."""

    def make(kind: str = "distilbert") -> Path:
        from transformers import AutoModelForMaskedLM

        torch.manual_seed(3)
        return tiny_folder(AutoModelForMaskedLM.from_config(tiny_model(kind).config).eval(), f"{kind}_language_model")

    return make


def test_words_are_found_where_they_stand_and_all_else_stays(tokenizer: Any) -> None:
    texts = ("The  Films, zebra (good)!", "Slow 'night'.")
    words = find_words(tokenizer.encode(*texts), texts)
    assert [texts[w.column][w.start : w.end] for w in words] == ["The", "Films", "zebra", "good", "Slow", "night"]
    vocabulary = tokenizer.get_vocab()
    assert words[1].pieces == (vocabulary["film"], vocabulary["##s"])
    assert words[2].pieces == (UNKNOWN,)
    # [CLS] the film ##s , [UNK] ( good ...
    assert [w.position for w in words[:4]] == [1, 2, 5, 7]
    new = {1: "movie", 3: "bad", 4: "fast", 5: "day"}
    assert replace_words(texts, words, new) == ("The  movie, zebra (bad)!", "fast 'day'.")
    assert replace_words(texts, words, {}) == texts


def test_words_of_a_script_without_spaces_do_not_run_together() -> None:
    from tokenizers import models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "電": 1, "影": 2, "film": 3}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = find_words(tokenizer.encode("電影"), ("電影",))
    assert replace_words(("電影",), words, {0: "film", 1: "film"}) == ("film film",)


def test_a_word_that_may_be_cut_is_left(tokenizer: Any) -> None:
    tokenizer.enable_truncation(5)
    text = ("a dull films story",)
    # [CLS] a dull film [SEP]: of "films" a piece is gone.
    assert [text[0][w.start : w.end] for w in find_words(tokenizer.encode(*text), text)] == ["a", "dull"]


def test_what_is_drawn_hangs_on_seed_and_number_alone() -> None:
    how = Copying(copies=3, probability=0.4, seed=1)
    assert draw(5, 20, how) == draw(5, 20, how)
    assert draw(5, 20, how) != draw(6, 20, how)
    assert draw(5, 20, how) != draw(5, 20, Copying(3, 0.4, 2))
    assert draw(5, 20, Copying(3, 0.0, 1)) == [{}, {}, {}]
    everything = draw(5, 20, Copying(3, 1.0, 1))
    assert [sorted(copy) for copy in everything] == [list(range(20))] * 3
    for few, all_of_them in zip(draw(5, 20, how), everything, strict=True):
        assert few.items() <= all_of_them.items()
    # The first copies stay when there are more.
    assert draw(5, 20, Copying(5, 0.4, 1))[:3] == draw(5, 20, how)


@pytest.mark.parametrize("probability", [0.1, 0.4, 0.9])
def test_the_share_of_replaced_words_is_binomial(tokenizer: Any, probability: float) -> None:
    texts = [(sentence,) for sentence in SENTENCES] * 20
    numbers = list(range(len(texts)))
    found = copy_texts(texts, numbers, tokenizer, lambda _, words: [["x"]] * len(words), Copying(4, probability, 0))
    expected = 4 * sum(len(find_words(tokenizer.encode(*text), text)) for text in texts)
    assert found.words == expected
    # Five standard errors: about 1 in 2 million by chance, and the seed is fixed.
    assert abs(found.replaced / found.words - probability) < 5 * math.sqrt(probability * (1 - probability) / expected)
    assert sum(copy[0].split().count("x") for copies in found.copies for copy in copies) == found.replaced


def test_neighbours_are_the_nearest_by_angle() -> None:
    angles = torch.tensor([0.0, 52.0, 10.0, 30.0, 80.0, 12.0]).deg2rad()
    lengths = torch.tensor([1.0, 5.0, 0.1, 2.0, 1.0, 9.0])
    table = torch.stack([angles.cos(), angles.sin()], 1) * lengths[:, None]
    find = Neighbours(table, [1, 2, 3, 4, 5], 2).find
    # Row 0 is no candidate but may ask; 1 at 52° has 3 (22° off), then 4 (28°); the mean of 3 and 5 lies at 15.3°.
    assert find([(0,), (1,), (3,), (3, 5)]) == [[2, 5], [3, 4], [5, 2], [5, 2]]
    assert find([(2,)]) == [[5, 3]]
    for block in (1, 2, 100):
        assert Neighbours(table, [1, 2, 3, 4, 5], 4, block).find([(2,), (4,)]) == [[5, 3, 1, 4], [1, 3, 5, 2]]


def test_equal_neighbours_come_by_id() -> None:
    table = torch.tensor([[1.0, 0.1], [2.0, 0.0], [1.0, 0.0], [0.5, 0.0]])
    assert Neighbours(table, [0, 1, 2, 3], 3).find([(0,)]) == [[1, 2, 3]]
    assert Neighbours(table, [0, 1, 2, 3], 2).find([(2,)]) == [[1, 3]]


def test_candidates_are_whole_words_of_the_vocabulary(
    words: list[str], tokenizer_file: Path, tmp_path: Path
) -> None:
    assert {"film", "the", "best"} < set(words)
    found = whole_words(tokenizer_file.parent)
    assert list(found.values()) == words
    content = json.loads(tokenizer_file.read_text())
    # Neither an added token nor a piece that the tokenizer itself would never make of a text.
    vocabulary = content["model"]["vocab"]
    vocabulary["Film"] = len(vocabulary)
    content["added_tokens"].append({"id": vocabulary["plot"], "content": "plot", "single_word": False, "lstrip": False,
                                    "rstrip": False, "normalized": False, "special": True})
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert list(whole_words(tmp_path).values()) == [w for w in words if w != "plot"]
    content["model"] = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="whole words of a WordPiece vocabulary, but this tokenizer is of kind 'BPE'"):
        whole_words(tmp_path)


def masked_rows(tokenizer: Any, pair: bool = False) -> list[Masked]:
    rows = []
    for number, sentence in enumerate(SENTENCES):
        encoding = tokenizer.encode(sentence, SENTENCES[-1 - number]) if pair else tokenizer.encode(sentence)
        for position in range(1, len(encoding.ids) - 1):
            ids = list(encoding.ids)
            own, ids[position] = ids[position], MASK
            rows.append(Masked(ids, encoding.type_ids, position, own))
    return rows


@pytest.mark.parametrize(("kind", "pair"), [("distilbert", False), ("bert", True)])
def test_a_mask_is_refilled_by_the_most_likely_words(
    kind: str, pair: bool, tokenizer: Any, tokenizer_file: Path, language_model: Callable[..., Path]
) -> None:
    network = load_masked_lm(str(language_model(kind)), {"origin": "folder"}, needs_head=True)
    allowed, rows = list(whole_words(tokenizer_file.parent)), masked_rows(tokenizer, pair)
    found = Refill(network, allowed, 5).find(rows)
    for row, ids in zip(rows, found, strict=True):
        inputs = {"input_ids": torch.tensor([row.ids])}
        if kind == "bert":
            inputs["token_type_ids"] = torch.tensor([row.types])
        with torch.no_grad():
            logits = network(**inputs).logits[0, row.position]
        best = sorted((i for i in allowed if i != row.own), key=lambda i: -float(logits[i]))[:5]
        assert ids == sorted(best)
    threads = torch.get_num_threads()
    for batch_size, count in ((1, 1), (7, 2), (len(rows), 1)):
        torch.set_num_threads(count)
        assert Refill(network, allowed, 5, batch_size).find(rows) == found
    torch.set_num_threads(threads)


def test_of_two_equal_words_the_first_is_taken(
    tokenizer: Any, tokenizer_file: Path, language_model: Callable[..., Path]
) -> None:
    network = load_masked_lm(str(language_model()), {"origin": "folder"}, needs_head=True)
    allowed, rows = list(whole_words(tokenizer_file.parent)), masked_rows(tokenizer)
    first, second = allowed[10], allowed[40]
    with torch.no_grad():
        for parameter in (network.vocab_projector.weight, network.vocab_projector.bias):
            parameter[second] = parameter[first]
    rows = [row for row in rows if row.own not in (first, second)][:4]
    alone = dict.fromkeys(range(4), 0)
    for count in range(1, len(allowed) - 1):
        for i, ids in enumerate(Refill(network, allowed, count).find(rows)):
            assert second not in ids or first in ids
            alone[i] += first in ids and second not in ids
    # Their tie falls on the last place for one count, whatever their rank.
    assert list(alone.values()) == [1, 1, 1, 1]


def test_what_repeats_a_text_is_dropped() -> None:
    copies = [(0, ("a b", "c")), (1, ("A  B", "c")), (1, ("a b", "d")), (2, ("x y", "z")), (2, ("a b", "c "))]
    assert keep_new(copies, [("X y", "Z")], []) == [(0, ("a b", "c")), (1, ("a b", "d"))]
    copies = [(0, ("good film",)), (0, ("a good",)), (1, ("film a",))]
    assert keep_new(copies, [], [("A good film",)]) == [(1, ("film a",))]


@pytest.mark.parametrize("columns", [1, 2])
def test_copies_come_back_with_the_labels_of_their_sources(columns: int, tmp_path: Path) -> None:
    copies = [(2, ("ä", "b")[:columns]), (0, ('"c"\n', "")[:columns])]
    write_copies(copies, columns, tmp_path)
    assert read_copies(tmp_path) == copies
    examples = Examples([("1", "2")[:columns]] * 3, [0, 1, 1], ["no", "yes"])
    joined, new = with_copies(examples, str(tmp_path))
    assert new == [3, 4]
    assert joined.texts == [*examples.texts, *(text for _, text in copies)]
    assert joined.labels == [0, 1, 1, 1, 0]
    assert with_copies(examples, None) == (examples, [])
    write_copies([], columns, tmp_path)
    assert with_copies(examples, str(tmp_path)) == (examples, [])


@pytest.fixture
def request_of(tmp_path: Path, task_group: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """``request_of(folder, method, ...)``: a request of the step, on two files of labelled texts or pairs."""

    def make(folder: Path, method: str, name: str = "first", pair: bool = False, seed: int = 0, phrases: bool = False,
             **augmentation: Any) -> dict[str, Any]:
        files = {}
        for split in ("train", "validation"):
            # Sentences in their order to train, backwards to validate.
            step = 1 if split == "train" else -1
            rows = [" and ".join((SENTENCES[i], SENTENCES[i - 5])[::step]) for i in range(len(SENTENCES))]
            texts = [{"sentence1": row, "sentence2": rows[i - 3], "label": i % 2} if pair else
                     {"sentence": row, "label": i % 2} for i, row in enumerate(rows)]
            files[split] = str(tmp_path / f"{split}_{pair}.jsonl")
            Path(files[split]).write_text("".join(json.dumps(text) + "\n" for text in texts))
        work = tmp_path / name
        (work / "output").mkdir(parents=True, exist_ok=True)
        chosen = {"method": method, "copies": 6, "probability": 0.4, "candidates": 8} | augmentation
        options = {
            "augmentation": chosen,
            "model": {"origin": "folder"},
            "tokenizer": {"origin": "folder"},
            "task": task_group(held_out=0.3, phrases=phrases, max_length=64),
            "data": {"files": {}},
            "seed": seed,
        }
        runtime = {"location": str(folder), "files": files, "accelerator": "cpu"}
        return {"options": options, "runtime": runtime, "inputs": {}, "label": "mine", "work": str(work),
                "output": str(work / "output")}

    return make


def copies_of(request: dict[str, Any]) -> list[tuple[int, tuple[str, ...]]]:
    stage.augment(request)
    return read_copies(Path(request["output"]))


@pytest.mark.parametrize("method", ["mask_and_refill", "embedding_neighbours"])
@pytest.mark.parametrize("pair", [False, True])
def test_copies_are_of_the_training_part_and_new(
    method: str, pair: bool, language_model: Callable[..., Path], request_of: Callable[..., dict[str, Any]],
    tokenizer: Any, words: list[str],
) -> None:
    request = request_of(language_model(), method, pair=pair)
    facts = stage.augment(request)
    copies = read_copies(Path(request["output"]))
    task, source = request["options"]["task"], Source({}, request["runtime"]["files"])
    originals = load(task, source, "train", None, 0)
    kept, held = held_out_indices(originals, 0.3, 0)
    assert held
    assert {i for i, _ in copies} == set(kept)
    assert facts["texts"] == len(kept)
    assert facts["copies"] == len(copies) == 6 * len(kept) - facts["dropped"]
    texts = [text for _, text in copies]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & set(originals.texts + load(task, source, "validation", originals.label_names, 0).texts)
    for number, text in copies:
        for old, new in zip(originals.texts[number], text, strict=True):
            pairs = list(zip(old.split(), new.split(), strict=True))
            assert all(a == b or b in words for a, b in pairs)
            assert UNKNOWN not in tokenizer.encode(new).ids
    share = facts["replaced"] / facts["words"]
    assert abs(share - 0.4) < 5 * math.sqrt(0.24 / facts["words"])


@pytest.mark.parametrize("method", ["mask_and_refill", "embedding_neighbours"])
def test_the_same_seed_makes_the_same_texts_however_they_are_computed(
    method: str, language_model: Callable[..., Path], request_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = language_model()
    first = copies_of(request_of(folder, method))
    monkeypatch.setattr(stage, "_CHUNK", 3)
    monkeypatch.setattr("edgedistil.models.refill._BATCH", 5)
    monkeypatch.setattr("edgedistil.models.neighbours._BLOCK", 2)
    assert copies_of(request_of(folder, method, "again")) == first
    assert copies_of(request_of(folder, method, "other", seed=1)) != first
    assert copies_of(request_of(folder, method, "never", probability=0.0)) == []


def test_phrases_of_held_out_sentences_are_not_made_again(
    language_model: Callable[..., Path], request_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(language_model(), "embedding_neighbours", phrases=True)
    originals = load(request["options"]["task"], Source({}, request["runtime"]["files"]), "train", None, 0)
    kept, held = held_out_indices(originals, 0.3, 0, phrases=True)
    phrase = " ".join(originals.texts[held[0]][0].split()[1:-1])
    from edgedistil.tasks.augmentation import Copied

    made = [[(phrase,), ("quite new",)], *([] for _ in kept[1:])]
    monkeypatch.setattr(stage, "copy_texts", lambda *given: Copied(made, 1, 1))
    assert copies_of(request) == [(kept[0], ("quite new",))]


def test_finished_chunks_are_not_made_again(
    language_model: Callable[..., Path], request_of: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_CHUNK", 3)
    request = request_of(language_model(), "mask_and_refill")
    first = copies_of(request)
    files = sorted(Path(request["work"]).glob("chunks_of_3/*.json"))
    files[1].unlink()
    made, copy = [], stage.copy_texts
    monkeypatch.setattr(stage, "copy_texts", lambda texts, numbers, *rest: made.append(numbers) or copy(
        texts, numbers, *rest))
    assert copies_of(request) == first
    assert len(made) == 1


def test_models_that_can_not_augment_are_one_line(
    words: list[str], tiny_folder: Callable[..., Path], language_model: Callable[..., Path],
    request_of: Callable[..., dict[str, Any]], tokenizer: Any,
) -> None:
    def refusal(folder: Path, method: str, **changes: Any) -> str:
        with pytest.raises(UserError) as caught:
            stage.augment(request_of(folder, method, **changes))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no trained masked-language-modelling head" in refusal(tiny_folder("distilbert"), "mask_and_refill")
    line = refusal(language_model(), "mask_and_refill", candidates=len(words))
    assert f"augmentation.candidates={len(words)}: the vocabulary has {len(words)} words" in line
    small = language_model("bert")
    content = json.loads((small / "tokenizer.json").read_text())
    content["model"]["vocab"]["sunshine"] = tokenizer.get_vocab_size()
    (small / "tokenizer.json").write_text(json.dumps(content))
    assert "they do not belong together" in refusal(small, "embedding_neighbours")
