"""Whether two tokenizers name the same tokens by the same ids; read from their files alone."""

import json
from pathlib import Path

from ..errors import UserError


def check_same_vocabulary(teacher: Path, student: Path) -> None:
    """Compare the vocabularies in two folders' ``tokenizer.json``.

    Raises:
        UserError: they differ; names the first token that does.
    """
    theirs, ours = _tokens(teacher), _tokens(student)
    if theirs == ours:
        return
    token = min(t for t in theirs.keys() | ours.keys() if theirs.get(t) != ours.get(t))
    raise UserError(
        f"teacher and student have different vocabularies ({len(theirs)} and {len(ours)} tokens; {token!r} is "
        f"{theirs.get(token, 'missing')} and {ours.get(token, 'missing')}): soft targets need one vocabulary"
    )


def ids_elsewhere(folder: Path, other: Path) -> list[int] | None:
    """For each id of one folder's tokenizer, the id of the same token in another's; None where the two are equal.

    Raises:
        UserError: the other does not know a token.
    """
    ours, theirs = _tokens(folder), _tokens(other)
    if ours == theirs:
        return None
    missing = sorted(ours.keys() - theirs.keys())
    if missing:
        raise UserError(
            f"the teacher's vocabulary lacks {len(missing)} of the student's {len(ours)} tokens, e.g. {missing[0]!r}: "
            "only a model made of the teacher can be taught by its hidden states"
        )
    return [theirs[token] for token in sorted(ours, key=ours.__getitem__)]


def check_vocabulary_fits(tokens: int, rows: int) -> None:
    """See that a model's embedding table has a row for each token of its tokenizer.

    Raises:
        UserError: it has not.
    """
    if tokens > rows:
        raise UserError(f"the tokenizer knows {tokens} tokens, the model {rows}: they do not belong together")


def _tokens(folder: Path) -> dict[str, int]:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    # Unigram models list (token, score) pairs in the order of their ids.
    known = vocabulary if isinstance(vocabulary, dict) else {pair[0]: i for i, pair in enumerate(vocabulary)}
    return {**known, **{token["content"]: token["id"] for token in content.get("added_tokens", [])}}
