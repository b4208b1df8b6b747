"""The folder that a step leaves of a model whose tokenizer it did not touch."""

from pathlib import Path
from typing import Any

from ..store.files import link_or_copy

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def leave_changed(network: Any, request: dict[str, Any], line: str) -> dict[str, Any]:
    """Write weights, model card, the tokenizer of the step's input and the model's own answers to its reference texts.

    Args:
        line: what the model card says of the change.

    Returns:
        ``parameters``, ``structure`` and ``reference_answers_changed``, the share of reference texts that the model
        answers otherwise than the input did, where it has some.
    """
    from ..models.folder import count_parameters, save_model
    from ..models.reference import REFERENCE_FILE, equal_share, read_reference, write_reference
    from ..models.shrunken import structure_of

    output, source = Path(request["output"]), Path(request["inputs"]["model"])
    save_model(network, output, {"title": request["label"], "lines": [line]})
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            link_or_copy(source / name, output / name)
    facts = {"parameters": count_parameters(network), "structure": structure_of(network)}
    if not (source / REFERENCE_FILE).is_file():
        # A masked language model: a text's answers are a vocabulary for each token.
        return facts
    ids, types, before = read_reference(source)
    write_reference(network, output, ids, types, seed=0)
    return facts | {"reference_answers_changed": 1 - equal_share(read_reference(output)[2], before)}
