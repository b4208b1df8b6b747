"""Trim: a model folder keeps the word pieces and positions that its task needs."""

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from ..store.files import write_json

log = logging.getLogger("edgedistil")


def trim(request: dict[str, Any]) -> dict[str, Any]:
    """Cut the embedding tables and the tokenizer, and prove on the texts held out of training that no word is lost.

    Raises:
        RuntimeError: the trimmed tokenizer does not know what the whole one knew.
    """
    from ..compression.vocabulary import kept_pieces, retokenised, trim_embeddings, trimmed_tokenizer
    from ..models.folder import count_parameters, save_model
    from ..models.reference import read_reference, write_reference
    from ..models.shrunken import load_model, structure_of
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import material

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    chosen, longest = options["vocabulary"], options["task"]["max_length"]
    network, whole = load_model(source), load_tokenizer(source, longest)
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    texts = material(request, whole)
    counts = count_pieces(texts.piece_ids(whole), network.config.vocab_size)
    kept = kept_pieces(content, counts, chosen["min_count"], chosen["first"])
    before = count_parameters(network), network.config.vocab_size, network.config.max_position_embeddings
    trim_embeddings(network, kept, chosen["positions"])
    save_model(network, output, {"title": request["label"], "lines": [f"word pieces: {len(kept)} of {before[1]}"]})
    write_json(output / "tokenizer.json", trimmed_tokenizer(content, kept))
    _write_settings(source, output, kept, network.config.max_position_embeddings)
    trimmed = load_tokenizer(output, longest)
    cut_before, cut_after = (
        [[t.id_to_token(i) for i in row] for row in texts.piece_ids(t, held_out=True)] for t in (whole, trimmed)
    )
    proof = _compare(cut_before, cut_after, content["model"]["unk_token"])
    if proof["new_unknown_tokens"]:
        raise RuntimeError(f"trimming lost words: {proof}")
    ids, types, _ = read_reference(source)
    new, pieces = {old: i for i, old in enumerate(kept)}, _pieces(content)
    prefix = content["model"]["continuing_subword_prefix"]

    def again(row: list[int]) -> list[int]:
        return retokenised(row, pieces, new, trimmed, prefix)

    both = [_side_by_side(again, *row, longest) for row in zip(ids, types, strict=True)]
    write_reference(network, output, [row for row, _ in both], [sides for _, sides in both], seed=0)
    facts = {
        "word_pieces": len(kept),
        "word_pieces_before": before[1],
        "positions": network.config.max_position_embeddings,
        "positions_before": before[2],
        "parameters": count_parameters(network),
        "parameters_before": before[0],
        "structure": structure_of(network),
        "held_out": proof | texts.answers_found(trimmed),
    }
    log.info("%s: %s", request["label"], {k: v for k, v in facts.items() if k != "structure"})
    return facts


def count_pieces(rows: Iterable[list[int]], size: int) -> list[int]:
    """How often each of ``size`` ids occurs in rows of them."""
    import numpy as np

    counts = np.zeros(size, np.int64)
    for row in rows:
        np.add.at(counts, row, 1)
    found: list[int] = counts.tolist()
    return found


def _compare(before: list[list[str]], after: list[list[str]], unknown_token: str) -> dict[str, Any]:
    """How texts are cut before and after: unknown tokens, tokens, and the share of texts that are cut otherwise."""
    unknown = [sum(row.count(unknown_token) for row in rows) for rows in (before, after)]
    tokens = [sum(map(len, rows)) for rows in (before, after)]
    return {
        "texts": len(before),
        "new_unknown_tokens": unknown[1] - unknown[0],
        "tokens": tokens[1],
        "tokens_before": tokens[0],
        "texts_cut_otherwise": sum(a != b for a, b in zip(before, after, strict=True)),
    }


def _pieces(content: dict[str, Any]) -> list[str]:
    names = {i: piece for piece, i in content["model"]["vocab"].items()}
    names |= {token["id"]: token["content"] for token in content.get("added_tokens", [])}
    return [names.get(i, "") for i in range(max(names) + 1)]


def _side_by_side(
    again: Callable[[list[int]], list[int]], ids: list[int], types: list[int], longest: int
) -> tuple[list[int], list[int]]:
    """Ids and token types of a text or pair known by its old ids, cut where the tokenizer would cut them."""
    border = types.index(1) if 1 in types else len(ids)
    first, second = again(ids[:border]), again(ids[border:])
    row = first + second
    if len(row) > longest:
        # The last token is [SEP], which stays.
        row = row[: longest - 1] + row[-1:]
    return row, ([0] * len(first) + [1] * len(second))[: len(row)]


def _write_settings(source: Path, output: Path, kept: list[int], positions: int) -> None:
    new = {old: i for i, old in enumerate(kept)}
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if not (source / name).is_file():
            continue
        settings = json.loads((source / name).read_text(encoding="utf-8"))
        if "added_tokens_decoder" in settings:
            settings["added_tokens_decoder"] = {
                str(new[int(i)]): token for i, token in settings["added_tokens_decoder"].items() if int(i) in new
            }
        if "model_max_length" in settings:
            settings["model_max_length"] = min(settings["model_max_length"], positions)
        write_json(output / name, settings)
