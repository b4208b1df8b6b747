"""Token ids of large splits, made once on all of a step's cores and kept in the store, where later steps map them.

A folder of the cache, ``tokens/KEY`` in the store, holds plain ``.npy`` files:

- ``ids.npy``: token ids of all texts one after another, uint16 (uint32 for vocabularies above 65,536)
- ``types.npy``: their token types, uint8; not there where all are 0 (single texts)
- ``offsets.npy``: int64 ``[texts + 1]``; text i is ``ids[offsets[i]:offsets[i + 1]]``

The key covers the texts in their order, the tokenizer as it is set up (vocabulary, rules, length) and the version of
the ``tokenizers`` library, so it does not matter which step asks, nor where the texts come from.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.places import store_root

log = logging.getLogger("edgedistil")
# Characters from which texts are worth a folder: some two seconds of one core.
WORTH_KEEPING = 2_000_000
# The library holds words, offsets and masks of a text while it makes its ids; of so many texts at once that is little.
_AT_ONCE = 1024


class Tokens(Sequence[tuple[list[int], list[int]]]):
    """(token ids, token types) of each text, read from disk when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._ids: NDArray[Any] = np.load(folder / "ids.npy", mmap_mode="r", allow_pickle=False)
        self._offsets: NDArray[np.int64] = np.load(folder / "offsets.npy", allow_pickle=False)
        types = folder / "types.npy"
        self._types: NDArray[np.uint8] | None = (
            np.load(types, mmap_mode="r", allow_pickle=False) if types.is_file() else None
        )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, ``[texts]``; no id is read for it."""
        return np.diff(self._offsets)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        begin, end = int(self._offsets[index]), int(self._offsets[index + 1])
        types = [0] * (end - begin) if self._types is None else self._types[begin:end].tolist()
        return self._ids[begin:end].tolist(), types


def kept(tokenizer: Any, texts: Sequence[tuple[str, ...]], make: bool = True) -> Tokens | None:
    """The tokens of ``texts`` from the cache, made and kept if they are not there.

    Args:
        make: False only looks.

    Returns:
        None where the texts are too few to be kept, or are not there.
    """
    if sum(len(part) for text in texts for part in text) < WORTH_KEEPING:
        return None
    folder = store_root() / "tokens" / _key(tokenizer, texts)
    if not (folder / "offsets.npy").is_file():
        if not make:
            return None
        _make(tokenizer, texts, folder)
    # Touched, so that what nobody reads can be told from what is in use.
    os.utime(folder)
    return Tokens(folder)


def _key(tokenizer: Any, texts: Sequence[tuple[str, ...]]) -> str:
    import tokenizers

    digest = hashlib.sha256(f"{tokenizers.__version__}\n{tokenizer.to_str()}\n".encode())
    for text in texts:
        for part in text:
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(raw))
            digest.update(raw)
        digest.update(b"\n")
    return digest.hexdigest()


def _make(tokenizer: Any, texts: Sequence[tuple[str, ...]], folder: Path) -> None:
    width = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    ids: list[NDArray[Any]] = []
    types: list[NDArray[np.uint8]] = []
    lengths = np.zeros(len(texts) + 1, np.int64)
    log.info("making token ids of %d texts", len(texts))
    with _in_parallel():
        for start in range(0, len(texts), _AT_ONCE):
            some = [text[0] if len(text) == 1 else text for text in texts[start : start + _AT_ONCE]]
            for place, encoding in enumerate(tokenizer.encode_batch_fast(some), start + 1):
                own = encoding.ids
                lengths[place] = len(own)
                ids.append(np.array(own, width))
                if len(texts[0]) > 1:
                    types.append(np.array(encoding.type_ids, np.uint8))
    arrays = {"ids": np.concatenate(ids), "offsets": np.cumsum(lengths)}
    if types:
        arrays["types"] = np.concatenate(types)
    folder.parent.mkdir(parents=True, exist_ok=True)
    own_folder = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        for name, array in arrays.items():
            np.save(own_folder / f"{name}.npy", array, allow_pickle=False)
        # Stores are shared; such folders are made for one user.
        own_folder.chmod(0o755)
        own_folder.rename(folder)
    except OSError:
        # Another process was faster.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(own_folder, ignore_errors=True)


@contextmanager
def _in_parallel() -> Iterator[None]:
    """The library's own threads, as many as the step has cores; steps leave them off elsewhere, because a process that
    has used them must not be forked."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ.setdefault("RAYON_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
