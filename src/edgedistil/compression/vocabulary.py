"""Fewer word pieces: the embedding table is most of a small model's bytes, and a task reads a part of it.

No word that the model knew becomes unknown: every single character of the vocabulary stays, at a word's start and in
its middle, so that WordPiece (Schuster and Nakajima 2012; longest match first) can always spell a word with them.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..errors import UserError
from ..models.low_rank import FactoredEmbedding


def kept_pieces(tokenizer: Mapping[str, Any], counts: Sequence[int], min_count: int, first: int) -> list[int]:
    """Ids of the pieces that stay, ascending.

    These are special tokens, pieces that the texts hold ``min_count`` times or oftener, the ``first`` of the
    vocabulary (BERT's are ordered by how common they are, after its unused ones and characters), all characters, and
    whatever holds a character that could not be spelt without it.

    Args:
        tokenizer: the content of ``tokenizer.json``.
        counts: how often each id occurs in the texts, ``[vocabulary]``.

    Raises:
        UserError: another kind of tokenizer than WordPiece.
    """
    model = tokenizer["model"]
    # Older files do not name the kind.
    if model.get("type", "WordPiece") != "WordPiece" or "continuing_subword_prefix" not in model:
        raise UserError(
            f"the vocabulary of a {model.get('type')} tokenizer can't be trimmed, only WordPiece's: use "
            "compression/vocabulary=none"
        )
    vocabulary, prefix = model["vocab"], model["continuing_subword_prefix"]
    special = {token["id"] for token in tokenizer.get("added_tokens", [])} | {vocabulary[model["unk_token"]]}

    def spelt(piece: str) -> bool:
        inside = piece.startswith(prefix) and piece != prefix
        characters = piece.removeprefix(prefix) if inside else piece
        forms = [prefix + c if inside or i else c for i, c in enumerate(characters)]
        return len(forms) > 1 and all(form in vocabulary for form in forms)

    common = set(sorted(vocabulary.values())[:first])
    return sorted(
        i
        for piece, i in vocabulary.items()
        if i in special or i in common or counts[i] >= max(1, min_count) or not spelt(piece)
    )


def trimmed_tokenizer(tokenizer: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The content of ``tokenizer.json`` with the ``kept`` pieces alone, numbered anew in their order."""
    new = {old: i for i, old in enumerate(kept)}
    result: dict[str, Any] = copy.deepcopy(dict(tokenizer))
    vocabulary = tokenizer["model"]["vocab"]
    result["model"]["vocab"] = {piece: new[i] for piece, i in vocabulary.items() if i in new}
    for token in result.get("added_tokens", []):
        token["id"] = new[token["id"]]
    processor = result.get("post_processor") or {}
    for token in (processor.get("special_tokens") or {}).values():
        token["ids"] = [new[i] for i in token["ids"]]
    for name in ("sep", "cls"):
        if name in processor:
            processor[name][1] = new[processor[name][1]]
    return result


def trim_embeddings(model: Any, kept: Sequence[int], positions: int | None) -> None:
    """Cut a transformers model's word table down to the rows ``kept``, and its positions to the first ``positions``.

    Args:
        positions: None leaves them.
    """
    words = model.get_input_embeddings()
    config = model.config
    # A row for every piece; tables padded to a round number of rows hold nothing behind them.
    rows = words.weight.detach()[list(kept)].clone()
    if isinstance(words, FactoredEmbedding):
        table: nn.Embedding = FactoredEmbedding.of(rows, words.projection.weight.detach().clone())
    else:
        table = nn.Embedding.from_pretrained(rows, freeze=False)
    if config.pad_token_id is not None:
        config.pad_token_id = table.padding_idx = list(kept).index(config.pad_token_id)
    model.set_input_embeddings(table)
    config.vocab_size = len(kept)
    embeddings = getattr(model, model.base_model_prefix).embeddings
    if positions is not None and positions < config.max_position_embeddings:
        rows = embeddings.position_embeddings.weight.detach()[:positions].clone()
        embeddings.position_embeddings = nn.Embedding.from_pretrained(rows, freeze=False)
        config.max_position_embeddings = positions
        for name, buffer in list(embeddings.named_buffers(recurse=False)):
            # Numbers of positions and token types, one for each position, never saved.
            embeddings.register_buffer(name, buffer[:, :positions].clone(), persistent=False)


def retokenised(
    ids: Sequence[int], pieces: Sequence[str], kept: Mapping[int, int], trimmed: Any, prefix: str = "##"
) -> list[int]:
    """The ids that a trimmed tokenizer gives for a text known by its old ids alone.

    Args:
        pieces: of the old vocabulary, by id.
        kept: new id of each old one that stays.
        trimmed: the trimmed ``tokenizers.Tokenizer``.
        prefix: how pieces inside a word begin.

    A word is cut again when one of its pieces is gone; a text tokenised from words, as here, is what it would be from
    the text itself, since normalising and splitting into words don't look at the vocabulary.
    """
    words: list[list[int]] = []
    for i in ids:
        if pieces[i].startswith(prefix) and words:
            words[-1].append(i)
        else:
            words.append([i])
    result: list[int] = []
    for word in words:
        if all(i in kept for i in word):
            # Longest match first finds these again: what is longer was not there before either.
            result += [kept[i] for i in word]
        else:
            text = "".join(pieces[i].removeprefix(prefix) for i in word)
            result += trimmed.encode(text, add_special_tokens=False).ids
    return result
