"""Factorise: a model folder whose word table becomes a product of two matrices."""

import logging
from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from .changed import leave_changed

log = logging.getLogger("edgedistil")


def factorise(request: dict[str, Any]) -> dict[str, Any]:
    """Step: a word table of low rank, its error weighted by how often the training texts hold each piece.

    Raises:
        UserError: an architecture whose graph we don't write, or what
            :func:`edgedistil.compression.low_rank.factorise_words` refuses.
    """
    from ..compression.low_rank import factorise_words
    from ..errors import UserError
    from ..models.folder import count_parameters
    from ..models.kinds import KNOWN
    from ..models.shrunken import load_classifier
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import material
    from .trim import count_pieces

    quiet()
    options, source = request["options"], Path(request["inputs"]["model"])
    network = load_classifier(source)
    if network.config.model_type not in KNOWN:
        raise UserError(
            f"compression/embeddings=low_rank knows {', '.join(KNOWN)}, not {network.config.model_type}: use "
            "compression/embeddings=none"
        )
    before = count_parameters(network)
    tokenizer = load_tokenizer(source, options["task"]["max_length"])
    counts = count_pieces(material(request, tokenizer).piece_ids(tokenizer), network.config.vocab_size)
    facts = factorise_words(network, counts, options["embeddings"]["rank"])
    log.info("%s: %s", request["label"], facts)
    left = leave_changed(network, request, f"word table: rank {facts['rank']}")
    return {**facts, "parameters_before": before, **left}
