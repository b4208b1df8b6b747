"""Prune: how a trained model folder becomes a smaller one."""

import logging
from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from ..store.files import link_or_copy

log = logging.getLogger("edgedistil")


def prune(request: dict[str, Any]) -> dict[str, Any]:
    """Zero small weights in place (magnitude) or cut heads and neurons out of the tensors (structured)."""
    from ..models.folder import count_parameters, save_model
    from ..models.reference import equal_share, read_reference, write_reference
    from ..models.shrunken import load_model, structure_of

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    network = load_model(source)
    before = count_parameters(network)
    if options["pruning"]["method"] == "magnitude":
        from ..compression.magnitude import prune_magnitude

        facts: dict[str, Any] = {"masked": prune_magnitude(network, options["pruning"]["ratio"])}
    else:
        facts = _cut(network, request)
    save_model(network, output, {"title": request["label"], "lines": [f"parameters: {count_parameters(network)}"]})
    take_tokenizer(source, output)
    ids, types, dense = read_reference(source)
    write_reference(network, output, ids, types, seed=0)
    _, _, pruned = read_reference(output)
    return {
        **facts,
        "parameters": count_parameters(network),
        "parameters_before": before,
        "structure": structure_of(network),
        "reference_answers_changed": 1 - equal_share(pruned, dense),
    }


def _cut(network: Any, request: dict[str, Any]) -> dict[str, Any]:
    import torch

    from ..compression.structured import choose, cut
    from ..config.build import build, check_nodes
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import material

    options = request["options"]
    pruning, task = options["pruning"], options["task"]
    check_nodes(pruning["importance"], "compression.pruning.importance")
    torch.manual_seed(options["seed"])
    source = Path(request["inputs"]["model"])
    tokenizer = load_tokenizer(source, task["max_length"])
    texts = material(request, tokenizer, network.config.pad_token_id or 0)
    batches = texts.batches(pruning["calibration_sentences"])
    scores = build(pruning["importance"])(network, batches)
    kept = choose(network, scores, pruning["ratio"], pruning["ffn_multiple"])
    removed = cut(network, kept)
    log.info("kept heads %s, neurons %s", [len(k.heads) for k in kept], [len(k.neurons) for k in kept])
    return {"removed_share": removed, "calibration_sentences": sum(len(batch["input_ids"]) for batch in batches)}


def take_tokenizer(source: Path, output: Path) -> None:
    """The tokenizer's files of one model folder, in another."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).is_file():
            link_or_copy(source / name, output / name)
