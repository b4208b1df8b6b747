"""Texts to token ids with the ``tokenizers`` library alone, as the process that ships would do it."""

from pathlib import Path
from typing import Any

from ..errors import UserError
from .token_cache import kept


def load_tokenizer(folder: Path, max_length: int) -> Any:
    """``tokenizer.json`` of a model folder, truncating at ``max_length`` tokens and never padding."""
    from tokenizers import Tokenizer

    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"{str(folder)!r} has no tokenizer.json; save the tokenizer there with tokenizer.save_pretrained"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises Exception itself.
        raise UserError(f"{path} can't be read as a tokenizer ({error}); save it again with save_pretrained") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def encode(tokenizer: Any, texts: list[tuple[str, ...]]) -> list[list[int]]:
    """Token ids of each text or pair, special tokens included."""
    return encode_with_types(tokenizer, texts)[0]


def encode_with_types(tokenizer: Any, texts: list[tuple[str, ...]]) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and token types (0 for the first text, 1 for the second); of many texts from the store's cache."""
    found = kept(tokenizer, texts)
    if found is not None:
        ids, types = zip(*found, strict=True)
        return list(ids), list(types)
    encodings = tokenizer.encode_batch([t[0] if len(t) == 1 else t for t in texts])
    return [e.ids for e in encodings], [e.type_ids for e in encodings]
