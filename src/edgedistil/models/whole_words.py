"""Which pieces of a WordPiece vocabulary are words by themselves."""

import json
from pathlib import Path

from ..errors import UserError


def whole_words(folder: Path) -> dict[int, str]:
    """Pieces by id, ascending, that may stand in a text as a word: letters and digits alone, no continuation of a word,
    no special token, and cut into themselves again by the folder's tokenizer (so never unknown).

    Raises:
        UserError: the tokenizer is not of BERT's kind, or has no such piece.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    model = content["model"]
    # Older files do not name the kind.
    if model.get("type", "WordPiece") != "WordPiece" or "continuing_subword_prefix" not in model:
        raise UserError(
            f"augmentation replaces whole words of a WordPiece vocabulary, but this tokenizer is of kind "
            f"{model.get('type')!r}: give a BERT or DistilBERT as augmentation.model"
        )
    special = {token["id"] for token in content.get("added_tokens", [])} | {model["vocab"].get(model["unk_token"])}
    pieces = sorted((i, piece) for piece, i in model["vocab"].items() if piece.isalnum() and i not in special)
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    cut = tokenizer.encode_batch([piece for _, piece in pieces], add_special_tokens=False)
    found = {i: piece for (i, piece), encoding in zip(pieces, cut, strict=True) if encoding.ids == [i]}
    if not found:
        raise UserError(f"no piece of the vocabulary of {len(model['vocab'])} is a whole word: nothing can be replaced")
    return found
