"""Token ids of large splits in the store: the same as without, made once, shared by whoever asks for the same texts."""

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedistil.store.store import Store
from edgedistil.store.upkeep import collect, token_mb
from edgedistil.tasks import token_cache
from edgedistil.tasks.batching import KeptRows, rows
from edgedistil.tasks.datamodule import TextDataModule
from edgedistil.tasks.encode import encode, encode_with_types, load_tokenizer
from edgedistil.tasks.examples import Examples

SINGLES = [(f"the film number is good {'really ' * (i % 12)}bad",) for i in range(60)]
PAIRS = [(text, "it was a long day and night" if i % 2 else "") for i, (text,) in enumerate(SINGLES)]


@pytest.fixture
def tokenizer(tokenizer_file: Path) -> Any:
    return load_tokenizer(tokenizer_file.parent, 16)


@pytest.fixture
def kept_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every split is large enough to be kept."""
    monkeypatch.setattr(token_cache, "WORTH_KEEPING", 1)
    # Several pieces, the last of them short.
    monkeypatch.setattr(token_cache, "_AT_ONCE", 25)


def folders(store: Path) -> list[Path]:
    return sorted((store / "tokens").glob("*"))


@pytest.mark.parametrize("texts", [SINGLES, PAIRS])
def test_kept_ids_are_those_that_the_tokenizer_makes(
    tokenizer: Any, texts: list[tuple[str, ...]], own_store: Path, kept_from_here: None
) -> None:
    encodings = tokenizer.encode_batch([t[0] if len(t) == 1 else t for t in texts])
    expected = [e.ids for e in encodings], [e.type_ids for e in encodings]
    for _ in range(2):
        assert encode_with_types(tokenizer, texts) == expected
        assert encode(tokenizer, texts) == expected[0]
    assert max(map(len, expected[0])) == 16
    (folder,) = folders(own_store)
    assert np.load(folder / "ids.npy").dtype == np.uint16
    assert (folder / "types.npy").is_file() == (len(texts[0]) == 2)


def test_few_texts_leave_nothing_in_the_store(tokenizer: Any, own_store: Path) -> None:
    encode_with_types(tokenizer, SINGLES)
    assert folders(own_store) == []


def test_they_are_made_once(
    tokenizer: Any, own_store: Path, kept_from_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encode(tokenizer, SINGLES)

    def never(*arguments: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(token_cache, "_make", never)
    assert encode(tokenizer, SINGLES) == first
    # The control: other texts, another order, another length are not served from there.
    tokenizer.enable_truncation(8)
    with pytest.raises(AssertionError, match="made again"):
        encode(tokenizer, SINGLES)
    tokenizer.enable_truncation(16)
    for texts in (SINGLES[::-1], SINGLES[:-1], [(a + b,) for (a,), (b,) in pairwise(SINGLES)]):
        with pytest.raises(AssertionError, match="made again"):
            encode(tokenizer, texts)


def test_where_a_text_ends_is_part_of_the_key(tokenizer: Any, own_store: Path, kept_from_here: None) -> None:
    encode(tokenizer, [("the film", "is good")])
    encode(tokenizer, [("the film is", " good")])
    encode(tokenizer, [("the film",), ("is good",)])
    assert len(folders(own_store)) == 3


def test_parts_of_a_split_share_its_folder(tokenizer: Any, own_store: Path, kept_from_here: None) -> None:
    labels = [i % 2 for i in range(len(PAIRS))]
    everything = Examples(list(PAIRS), labels, ["no", "yes"])
    plain = list(zip(*encode_with_types(tokenizer, everything.texts), labels, strict=True))
    assert len(folders(own_store)) == 1
    most = everything.take([*range(59, 10, -1)])
    for part, indices in ((everything, list(range(60))), (most, list(range(59, 10, -1))),
                          (everything.take([3, 1]), [3, 1]), (most.take([2, 0]), [57, 59])):
        found = rows(tokenizer, part)
        assert isinstance(found, KeptRows)
        assert list(found) == [plain[i] for i in indices]
        assert found[-1:] == [plain[indices[-1]]]
    assert len(folders(own_store)) == 1
    assert rows(tokenizer, everything.take([])) == []


def test_a_few_texts_of_a_split_that_is_not_kept_are_made_alone(
    tokenizer: Any, own_store: Path, kept_from_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Examples(list(SINGLES), [0, 1] * 30, ["no", "yes"])
    monkeypatch.setattr(token_cache, "WORTH_KEEPING", sum(len(t) for (t,) in SINGLES))
    some = rows(tokenizer, everything.take([5, 4]))
    assert [row[0] for row in some] == encode(tokenizer, [SINGLES[5], SINGLES[4]])
    assert folders(own_store) == []
    assert isinstance(rows(tokenizer, everything.take([*range(30)])), KeptRows)
    assert len(folders(own_store)) == 1


def test_batches_are_the_same_with_and_without(
    tokenizer: Any, own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Examples(list(PAIRS), [i % 2 for i in range(60)], ["no", "yes"])
    logits = torch.arange(100.0).reshape(50, 2)

    def batches() -> list[dict[str, torch.Tensor]]:
        train, held = everything.take([*range(10, 60)]), everything.take([*range(10)])
        data = TextDataModule(tokenizer, train, held, 0, 8, True, 3, logits)
        return [*data.train_dataloader(), *data.val_dataloader()]

    plain = batches()
    monkeypatch.setattr(token_cache, "WORTH_KEEPING", 1)
    cached = batches()
    assert folders(own_store) != []
    assert [list(b) for b in plain] == [list(b) for b in cached]
    for before, after in zip(plain, cached, strict=True):
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_librarys_threads_are_on_only_meanwhile(
    tokenizer: Any, own_store: Path, kept_from_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    environment = token_cache.os.environ
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")

    class Watched:
        def __getattr__(self, name: str) -> Any:
            if name == "encode_batch_fast":
                seen.append(environment["TOKENIZERS_PARALLELISM"])
            return getattr(tokenizer, name)

    token_cache.kept(Watched(), SINGLES)
    assert set(seen) == {"true"}
    assert environment["TOKENIZERS_PARALLELISM"] == "false"


def test_collecting_the_store_removes_what_nobody_reads(
    tokenizer: Any, own_store: Path, kept_from_here: None
) -> None:
    encode(tokenizer, SINGLES)
    encode(tokenizer, PAIRS)
    used, old = folders(own_store)
    os.utime(old, (0, time.time() - 10 * 86400))
    store = Store(own_store)
    everything = token_mb(store)
    assert collect(store, keep_days=5)[0] == 1
    assert folders(own_store) == [used]
    assert 0 < token_mb(store) < everything
    collect(store, keep_days=5, everything=True)
    assert folders(own_store) == []


def test_a_second_maker_takes_what_the_first_left(
    tokenizer: Any, own_store: Path, kept_from_here: None
) -> None:
    first = token_cache.kept(tokenizer, SINGLES)
    assert first is not None
    (folder,) = folders(own_store)
    # As if both had found nothing.
    token_cache._make(tokenizer, SINGLES, folder)
    assert folders(own_store) == [folder]
    assert list(token_cache.kept(tokenizer, SINGLES) or []) == list(first)
