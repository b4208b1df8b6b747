"""Making more training texts once, for every training that reads them."""

import logging
import time
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..learning.quiet import quiet
from ..store.files import read_json, write_json
from ..tasks.augmentation import Copied, Copying, Text, Word, copy_texts
from ..tasks.copies import keep_new, write_copies
from ..tasks.encode import load_tokenizer
from ..tasks.examples import load
from ..tasks.parts import divide
from ..tasks.source import Source

log = logging.getLogger("edgedistil")
# Texts between two lines of progress, and what a kill can cost.
_CHUNK = 512


def augment(request: dict[str, Any]) -> dict[str, Any]:
    """Step: copies of the texts that training may see, without any that repeats a text of the task; goes on after the
    last finished chunk."""
    quiet()
    from ..models.loading import save_tokenizer

    options, runtime, work = request["options"], request["runtime"], Path(request["work"])
    # The limit of validation has no say here: none of its texts may be made again.
    task = {**options["task"], "limit_validation": None}
    chosen, seed, source = options["augmentation"], options["seed"], Source(options["data"], runtime["files"])
    everything = load(task, source, "train", None, seed)
    parts = divide(everything, task, seed)
    kept, held = parts.train, parts.held_out + parts.test
    validation = load(task, source, "validation", everything.label_names, seed)
    location = request["inputs"].get("model") or runtime["location"]
    save_tokenizer(location, options["tokenizer"], work / "tokenizer")
    candidates = _Candidates(request, location, work / "tokenizer")
    tokenizer = load_tokenizer(work / "tokenizer", min(task["max_length"], candidates.longest))
    how = Copying(chosen["copies"], chosen["probability"], seed)
    chunks = _chunks(
        request,
        [(i, everything.texts[i]) for i in kept],
        lambda numbers, texts: copy_texts(texts, numbers, tokenizer, candidates, how),
    )
    made = [(i, copy) for i, copies in zip(kept, chunks.copies, strict=True) for copy in copies]
    held_out = [everything.texts[i] for i in held] if task.get("phrases") else []
    new = keep_new(made, [*everything.texts, *validation.texts], held_out)
    write_copies(new, len(everything.texts[0]), Path(request["output"]))
    facts = {"texts": len(kept), "copies": len(new), "dropped": len(made) - len(new), "words": chunks.words,
             "replaced": chunks.replaced}  # fmt: skip
    log.info("%s: %s", request["label"], facts)
    return facts


def _chunks(request: dict[str, Any], numbered: list[tuple[int, Any]], make: Any) -> Copied:
    """``make(numbers, texts)`` for a chunk at a time; finished ones are kept in the work folder."""
    folder = Path(request["work"]) / f"chunks_of_{_CHUNK}"
    copies: list[list[Text]] = []
    words = replaced = 0
    made, told, started = 0, time.monotonic(), time.monotonic()
    for start in range(0, len(numbered), _CHUNK):
        numbers, texts = zip(*numbered[start : start + _CHUNK], strict=True)
        file = folder / f"{start:08d}.json"
        if not file.is_file():
            one = make(list(numbers), list(texts))
            made += len(numbers)
            write_json(file, {"copies": one.copies, "words": one.words, "replaced": one.replaced})
        found = read_json(file)
        copies += [[tuple(copy) for copy in of_one] for of_one in found["copies"]]
        words, replaced = words + found["words"], replaced + found["replaced"]
        if time.monotonic() - told > 5:
            told = time.monotonic()
            log.info("%s: %s of %s texts, %.0f texts/s", request["label"], f"{start + len(numbers):,}",
                     f"{len(numbered):,}", made / (told - started))  # fmt: skip
    return Copied(copies, words, replaced)


class _Candidates:
    """Finds what may stand in a word's place: as a masked language model says for words of one piece, the nearest in
    its embedding table for others; the nearest for all of them without one."""

    def __init__(self, request: dict[str, Any], location: str, tokenizer: Path) -> None:
        import torch

        from ..models.masked_lm import load_masked_lm
        from ..models.neighbours import Neighbours, embedding_table
        from ..models.refill import Refill
        from ..models.whole_words import whole_words
        from ..tasks.corpus import special_tokens

        options = request["options"]
        chosen, identity = options["augmentation"], options["model"]
        device = torch.device("cuda" if request["runtime"]["accelerator"] in ("gpu", "cuda") else "cpu")
        self._texts = whole_words(tokenizer)
        self._refill, self.longest = None, options["task"]["max_length"]
        allowed, count = list(self._texts), chosen["candidates"]
        if count >= len(allowed):
            raise UserError(
                f"augmentation.candidates={count}: the vocabulary has {len(allowed)} words, and no word is its own "
                "candidate; choose fewer"
            )
        special = special_tokens(load_tokenizer(tokenizer, self.longest))
        self._mask, self._unknown = special.mask, special.unknown
        if chosen["method"] == "mask_and_refill":
            network = load_masked_lm(location, identity, needs_head=True).to(device)
            self.longest = network.config.max_position_embeddings
            self._refill = Refill(network, allowed, count)
            table = network.get_input_embeddings().weight.detach()
        else:
            table = embedding_table(location, identity).to(device)
        if table.shape[0] <= max(allowed):
            raise UserError(
                f"the tokenizer knows more tokens than the model's {table.shape[0]}: they do not belong together"
            )
        self._neighbours = Neighbours(table, allowed, count)

    def __call__(self, encodings: list[Any], words: list[tuple[int, Word]]) -> list[list[str]]:
        from ..models.refill import Masked

        rows, near = [], []
        for place, (text, word) in enumerate(words):
            if self._refill is not None and len(word.pieces) == 1:
                ids = list(encodings[text].ids)
                ids[word.position] = self._mask
                rows.append((place, Masked(ids, encodings[text].type_ids, word.position, word.pieces[0])))
            # An unknown word has no row of its own.
            elif self._unknown not in word.pieces:
                near.append((place, word.pieces))
        found: list[list[int]] = [[] for _ in words]
        if self._refill is not None:
            for (place, _), ids in zip(rows, self._refill.find([row for _, row in rows]), strict=True):
                found[place] = ids
        for (place, _), ids in zip(near, self._neighbours.find([pieces for _, pieces in near]), strict=True):
            found[place] = ids
        return [[self._texts[i] for i in ids] for ids in found]
