"""Tokenising texts once, for every run that reads them."""

import logging
import os
from pathlib import Path
from typing import Any

from ..tasks.source import Source

log = logging.getLogger("edgedistil")


def corpus(request: dict[str, Any]) -> dict[str, Any]:
    """Turn the texts of one split into memory-mapped arrays of token ids; goes on after the last finished chunk."""
    from ..learning.quiet import quiet
    from ..models.loading import save_tokenizer
    from ..tasks.corpus import Rules
    from ..tasks.corpus_build import build
    from ..tasks.texts import read

    options, runtime, work = request["options"], request["runtime"], Path(request["work"])
    if options["tokenizer"]["origin"] == "hub":
        quiet()
    save_tokenizer(runtime["location"], options["tokenizer"], work / "tokenizer")
    facts = build(
        read(Source(options["source"], runtime["files"]), options["column"]),
        work / "tokenizer" / "tokenizer.json",
        Rules(**options["rules"]),
        work / "chunks",
        Path(request["output"]),
        processes=int(os.environ.get("OMP_NUM_THREADS") or 1),
        limit=options["limit"],
        progress=lambda line: log.info("%s: %s", request["label"], line),
    )
    log.info("%s: %s texts, %s tokens", request["label"], f"{facts['texts']:,}", f"{facts['tokens']:,}")
    return dict(facts)
