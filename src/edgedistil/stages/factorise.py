"""Factorise: a model folder whose word table becomes a product of two matrices."""

import logging
from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from .compress import take_tokenizer

log = logging.getLogger("edgedistil")


def factorise(request: dict[str, Any]) -> dict[str, Any]:
    """Step: a word table of low rank, its error weighted by how often the training texts hold each piece.

    Raises:
        UserError: an architecture whose graph we don't write, or what
            :func:`edgedistil.compression.low_rank.factorise_words` refuses.
    """
    from ..compression.low_rank import factorise_words
    from ..errors import UserError
    from ..models.folder import count_parameters, save_model
    from ..models.kinds import KNOWN
    from ..models.reference import equal_share, read_reference, write_reference
    from ..models.shrunken import load_classifier, structure_of
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import material
    from .trim import count_pieces

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
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
    save_model(network, output, {"title": request["label"], "lines": [f"word table: rank {facts['rank']}"]})
    take_tokenizer(source, output)
    ids, types, whole = read_reference(source)
    write_reference(network, output, ids, types, seed=0)
    log.info("%s: %s", request["label"], facts)
    return {
        **facts,
        "parameters": count_parameters(network),
        "parameters_before": before,
        "structure": structure_of(network),
        "reference_answers_changed": 1 - equal_share(read_reference(output)[2], whole),
    }
