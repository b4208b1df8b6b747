"""A corpus is tokenised once: what is kept, what is split, what a killed run leaves, and how little is held."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistil.errors import UserError
from edgedistil.store.fingerprint import DigestCache
from edgedistil.tasks import corpus_build
from edgedistil.tasks.corpus import Corpus, Rules, Special, pieces
from edgedistil.tasks.corpus_build import build
from edgedistil.tasks.texts import LINE_LIMIT, locate, read

SPECIAL = Special(start=2, end=3, unknown=1, mask=4, all=(0, 1, 2, 3, 4))
RULES = Rules(max_length=8, drop_up_to=3, drop_unknown=0.5)


def test_long_lines_are_split_and_each_piece_wrapped() -> None:
    # 14 ids in pieces of 6: the last has 2 and, wrapped, 4 tokens.
    ids = list(range(10, 24))
    assert pieces(ids, RULES, SPECIAL) == [[2, *ids[:6], 3], [2, *ids[6:12], 3], [2, *ids[12:], 3]]


def test_short_pieces_are_dropped_with_their_special_tokens_counted() -> None:
    assert pieces([10], RULES, SPECIAL) == []
    assert pieces([10, 11], RULES, SPECIAL) == [[2, 10, 11, 3]]
    assert pieces([], RULES, SPECIAL) == []
    assert pieces(list(range(10, 17)), RULES, SPECIAL) == [[2, *range(10, 16), 3]]


def test_half_unknown_is_too_much() -> None:
    # Shares of all tokens, special ones included: 2 of 5 stays, 3 of 6 goes.
    assert pieces([1, 1, 10], RULES, SPECIAL) == [[2, 1, 1, 10, 3]]
    assert pieces([1, 1, 1, 10], RULES, SPECIAL) == []


def test_the_originals_limit_drops_eleven_tokens_and_keeps_twelve() -> None:
    rules = Rules(max_length=512, drop_up_to=11, drop_unknown=0.5)
    assert pieces(list(range(10, 19)), rules, SPECIAL) == []
    assert len(pieces(list(range(10, 20)), rules, SPECIAL)[0]) == 12


LINES = [
    "the film is very good",
    "",
    "nonsense words unheard",
    "a dull story , never funny and the plot is weak",
    "xyzzy xyzzy xyzzy xyzzy xyzzy the",
]


@pytest.fixture
def made(tmp_path: Path, tokenizer_file: Path) -> Callable[..., Any]:
    def make(lines: Any, name: str = "out", **changes: Any) -> Any:
        return build(lines, tokenizer_file, RULES, tmp_path / "work", tmp_path / name, **changes)

    return make


def test_corpus_holds_the_kept_texts_and_their_counts(made: Any, tmp_path: Path, tokenizer_file: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    facts = made(LINES)
    corpus = Corpus(tmp_path / "out")
    # The third line and the xyzzy line are unknown words; the fourth line has 10 tokens: 6 and 4.
    expected = [tokenizer.encode(LINES[0]).ids]
    fourth = tokenizer.encode(LINES[3]).ids[1:-1]
    expected += [[2, *fourth[:6], 3], [2, *fourth[6:], 3]]
    assert [corpus[i].tolist() for i in range(len(corpus))] == expected
    assert corpus.lengths().tolist() == [len(x) for x in expected]
    flat = [i for text in expected for i in text]
    assert corpus.counts.tolist() == np.bincount(flat, minlength=tokenizer.get_vocab_size()).tolist()
    assert facts == {
        "lines": 5,
        "texts": 3,
        "tokens": len(flat),
        "dropped": 3,
        "vocabulary": tokenizer.get_vocab_size(),
    }
    assert corpus.ids.dtype == np.uint16
    assert isinstance(corpus.ids, np.memmap)
    assert isinstance(corpus.offsets, np.memmap)


def test_large_vocabularies_get_wider_ids() -> None:
    assert corpus_build._dtype(1 << 16) is np.uint16
    assert corpus_build._dtype((1 << 16) + 1) is np.uint32


def test_the_sources_own_mark_of_unknown_words_is_the_tokenizers(tmp_path: Path, tokenizer_file: Path) -> None:
    rules = Rules(max_length=16, drop_up_to=3, drop_unknown=0.5, unknown_marker="<unk>")
    build(["the <unk> is very good"], tokenizer_file, rules, tmp_path / "work", tmp_path / "out")
    assert Corpus(tmp_path / "out")[0].tolist().count(1) == 1


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_build, "CHUNK_LINES", 2)


@pytest.mark.usefixtures("small_chunks")
def test_interrupted_corpus_goes_on_after_its_last_chunk(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = LINES * 2
    made(lines, "whole")
    for file in (tmp_path / "work").iterdir():
        file.unlink()

    def killed() -> Iterator[str]:
        yield from lines[:7]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(killed())
    done = sorted(p.name for p in (tmp_path / "work").iterdir())
    assert done == ["00000000.npz", "00000001.npz", "00000002.npz"]
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "work").iterdir()}
    made(lines)
    assert {n: (tmp_path / "work" / n).stat().st_mtime_ns for n in done} == before
    for name in ("ids", "offsets", "counts"):
        assert (tmp_path / "out" / f"{name}.npy").read_bytes() == (tmp_path / "whole" / f"{name}.npy").read_bytes()


def test_more_processes_make_the_same_files(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_build, "CHUNK_LINES", 3)
    made(LINES * 4, "whole")
    for file in (tmp_path / "work").iterdir():
        file.unlink()
    assert made(LINES * 4, processes=2)["texts"] == 12
    for name in ("ids", "offsets", "counts"):
        assert (tmp_path / "out" / f"{name}.npy").read_bytes() == (tmp_path / "whole" / f"{name}.npy").read_bytes()


@pytest.mark.usefixtures("small_chunks")
def test_a_half_written_chunk_is_none(made: Any, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "00000000.77.tmp").write_bytes(b"half")
    assert made(LINES)["texts"] == 3


def test_no_more_chunks_are_under_way_than_the_processes_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays flat by construction: lines are read as chunks are asked for, and no further."""
    read_so_far = 0

    def lines() -> Iterator[str]:
        nonlocal read_so_far
        while True:
            read_so_far += 1
            yield "the film is very good"

    chunks = corpus_build._chunks(lines())
    for i in range(1, 4):
        assert len(next(chunks)) == corpus_build.CHUNK_LINES
        assert read_so_far == i * corpus_build.CHUNK_LINES


def test_memory_does_not_grow_with_the_corpus(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_build, "CHUNK_LINES", 20)
    made(LINES)
    peaks = []
    for count in (100, 1000):
        for file in (tmp_path / "work").glob("*"):
            file.unlink()
        lines = ("the film is very good " * 30 + str(i) for i in range(count))
        tracemalloc.start()
        made(lines, f"out{count}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The 900 lines more are 600,000 characters and 150,000 tokens.
    assert peaks[1] < peaks[0] + 100_000


def test_a_corpus_without_a_kept_text_is_refused(made: Any) -> None:
    with pytest.raises(UserError, match="none of the 2 lines is kept"):
        made(["", "xyzzy"])


@pytest.fixture
def files(task_group: Any, tmp_path: Path) -> Callable[..., Any]:
    """``files(path)``: what ``task.train=path`` finds."""

    def find(path: Path) -> Any:
        task = task_group(kind="masked_language_modelling", train=str(path), validation=str(path))
        return locate(task, "train", DigestCache(tmp_path / "digests.json"))

    return find


def test_text_file_parquet_and_folder_give_the_same_texts(files: Any, tmp_path: Path) -> None:
    import pandas

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("first\nsecond é\n", encoding="utf-8")
    pandas.DataFrame({"text": ["third"]}).to_parquet(folder / "b.parquet")
    (folder / "notes.md").write_text("no text")
    assert list(read(files(folder), "text")) == ["first", "second é", "third"]
    assert list(read(files(folder / "a.txt"), "text")) == ["first", "second é"]
    with pytest.raises(UserError, match="no column 'body' among: text"):
        list(read(files(folder / "b.parquet"), "body"))


def test_a_split_of_a_data_folder_is_found_by_its_name(task_group: Any, tmp_path: Path) -> None:
    (tmp_path / "validation.txt").write_text("one\n")
    task = task_group(data_dir=str(tmp_path))
    found = locate(task, "validation", DigestCache(tmp_path / "digests.json"))
    assert list(read(found, "text")) == ["one"]
    with pytest.raises(UserError, match=r"holds no train\.parquet"):
        locate(task, "train", DigestCache(tmp_path / "digests.json"))


@pytest.mark.parametrize(
    ("content", "needle"),
    [
        (b"", "is empty"),
        (b"good\nbad \xff\xfe\n", "line 2 is not UTF-8 (byte 0xff at 4)"),
        (b"x" * (LINE_LIMIT + 1), "line 1 has no end within 4 MiB"),
    ],
    ids=["empty", "not UTF-8", "endless line"],
)
def test_bad_files_are_one_line(files: Any, tmp_path: Path, content: bytes, needle: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read(files(path), "text"))
    assert needle in str(caught.value)
    assert "bad.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_last_line_without_an_end_is_a_line(files: Any, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"one\r\ntwo")
    assert list(read(files(path), "text")) == ["one", "two"]


def test_special_tokens_are_read_off_a_tokenizer_that_pads(tokenizer_file: Path) -> None:
    from tokenizers import Tokenizer

    from edgedistil.tasks.corpus import special_tokens

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_padding(length=16)
    assert special_tokens(tokenizer) == SPECIAL
