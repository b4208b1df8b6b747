"""Making a corpus: lines in chunks, chunks tokenised by processes, finished chunks kept, then one copy into place.

Memory holds a few chunks of lines at a time and never grows with the corpus. A chunk's arrays are written beside
their place and renamed, so a run that was killed goes on after its last whole chunk.
"""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from ..errors import UserError
from .corpus import Rules, pieces, special_tokens

CHUNK_LINES = 4096
# Lines may be long: a chunk also ends here.
CHUNK_CHARACTERS = 8 << 20
_FACTS = ("lines", "texts", "tokens", "dropped")


def build(
    lines: Iterable[str],
    tokenizer_file: Path,
    rules: Rules,
    work: Path,
    output: Path,
    processes: int = 1,
    limit: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Tokenise ``lines`` into the corpus folder ``output``; finished chunks in ``work`` are not done again.

    Args:
        lines: texts in an order that is the same each time.
        limit: take this many lines at most.
        progress: told what an earlier run left, and every few seconds how far it is.

    Returns:
        ``lines``, ``texts``, ``tokens``, ``dropped`` (texts too short or too unknown) and ``vocabulary``.

    Raises:
        UserError: no text is left.
    """
    work.mkdir(parents=True, exist_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    kept = len(list(work.glob("*.npz")))
    if kept:
        progress(f"going on after {kept} finished {'chunk' if kept == 1 else 'chunks'} of a run that was stopped")
    totals = dict.fromkeys(_FACTS, 0)
    parts, told, started = 0, time.monotonic(), time.monotonic()
    for facts in _tokenised(_chunks(islice(lines, limit)), tokenizer_file, rules, work, processes):
        parts += 1
        totals = {k: totals[k] + facts[k] for k in _FACTS}
        if time.monotonic() - told > 5:
            told = time.monotonic()
            rate = totals["lines"] / (told - started)
            progress(f"{totals['lines']:,} lines, {totals['tokens']:,} tokens, {rate:,.0f} lines/s")
    if not totals["texts"]:
        raise UserError(
            f"none of the {totals['lines']:,} lines is kept: each has at most {rules.drop_up_to} tokens or at least "
            f"{rules.drop_unknown:.0%} of unknown ones (task.drop_up_to, task.drop_unknown)"
        )
    size = _vocabulary(tokenizer_file)
    _join(work, parts, totals["texts"], totals["tokens"], size, output)
    return totals | {"vocabulary": size}


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    characters = 0
    for line in lines:
        chunk.append(line)
        characters += len(line)
        if len(chunk) == CHUNK_LINES or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _tokenised(
    chunks: Iterator[list[str]], tokenizer_file: Path, rules: Rules, work: Path, processes: int
) -> Iterator[dict[str, int]]:
    """Facts of each chunk in order, with at most two chunks a process under way."""
    if processes == 1:
        _start(tokenizer_file, rules, False)
        yield from (_tokenise(chunk, work / f"{i:08d}") for i, chunk in enumerate(chunks))
        return
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_start, initargs=(tokenizer_file, rules, True)
    )
    with pool:
        waiting: deque[Future[dict[str, int]]] = deque()
        for i, chunk in enumerate(chunks):
            if len(waiting) >= 2 * processes:
                yield waiting.popleft().result()
            waiting.append(pool.submit(_tokenise, chunk, work / f"{i:08d}"))
        while waiting:
            yield waiting.popleft().result()


# What each process that tokenises has loaded: (tokenizer, special tokens, rules).
_loaded: list[Any] = []


def _start(tokenizer_file: Path, rules: Rules, watch: bool) -> None:
    from tokenizers import Tokenizer

    if watch:
        threading.Thread(target=_die_with_parent, daemon=True).start()
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = special_tokens(tokenizer)
    if rules.unknown_marker and special.unknown >= 0:
        # So that [UNK] in a text is one token whether or not the file lists it among its added tokens; its id stays.
        tokenizer.add_special_tokens([tokenizer.id_to_token(special.unknown)])
    _loaded[:] = [tokenizer, special, rules]


def _die_with_parent() -> None:
    """A step that is killed leaves no process behind that waits for lines for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _tokenise(lines: list[str], place: Path) -> dict[str, int]:
    """Tokenise one chunk into ``PLACE.npz``, unless it is there; returns its facts."""
    file = place.with_suffix(".npz")
    if not file.is_file():
        tokenizer, special, rules = _loaded
        if rules.unknown_marker and special.unknown >= 0:
            name = tokenizer.id_to_token(special.unknown)
            lines = [line.replace(rules.unknown_marker, name) for line in lines]
        encoded = tokenizer.encode_batch(lines, add_special_tokens=False)
        texts, dropped = [], 0
        for one in encoded:
            kept = pieces(one.ids, rules, special)
            dropped += max(1, -(-len(one.ids) // (rules.max_length - 2))) - len(kept)
            texts += kept
        flat = np.array([i for text in texts for i in text], dtype=_dtype(tokenizer.get_vocab_size()))
        facts = np.array([len(lines), len(texts), len(flat), dropped], np.int64)
        temporary = place.with_suffix(f".{os.getpid()}.tmp")
        with open(temporary, "wb") as stream:
            np.savez(stream, ids=flat, lengths=np.array([len(t) for t in texts], np.int32), facts=facts)
        os.replace(temporary, file)
    with np.load(file, allow_pickle=False) as data:
        return dict(zip(_FACTS, data["facts"].tolist(), strict=True))


def _join(work: Path, parts: int, texts: int, tokens: int, vocabulary: int, output: Path) -> None:
    ids = open_memmap(output / "ids.npy", "w+", _dtype(vocabulary), (tokens,))
    offsets = open_memmap(output / "offsets.npy", "w+", np.int64, (texts + 1,))
    counts = np.zeros(vocabulary, np.int64)
    text, token = 0, 0
    for part in range(parts):
        with np.load(work / f"{part:08d}.npz", allow_pickle=False) as data:
            flat, lengths = data["ids"], data["lengths"]
        ids[token : token + len(flat)] = flat
        offsets[text + 1 : text + 1 + len(lengths)] = token + np.cumsum(lengths)
        counts += np.bincount(flat, minlength=vocabulary)
        text, token = text + len(lengths), token + len(flat)
    ids.flush()
    offsets.flush()
    np.save(output / "counts.npy", counts)


def _vocabulary(tokenizer_file: Path) -> int:
    from tokenizers import Tokenizer

    size: int = Tokenizer.from_file(str(tokenizer_file)).get_vocab_size()
    return size


def _dtype(vocabulary: int) -> Any:
    return np.uint16 if vocabulary <= 1 << 16 else np.uint32
