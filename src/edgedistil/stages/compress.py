"""Prune: how a trained model folder becomes a smaller one."""

import json
import logging
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..learning.quiet import quiet
from ..store.files import link_or_copy
from ..tasks.training_part import training_part
from .budgeted import budget_here, cost_here

log = logging.getLogger("edgedistil")
# Calibration texts below which a score says nothing: what compression.pruning.calibration_sentences allows too.
FEWEST = 16


def prune(request: dict[str, Any]) -> dict[str, Any]:
    """Zero small weights in place (magnitude) or cut heads and neurons out of the tensors (structured)."""
    from ..models.folder import count_parameters
    from ..models.lineage import record_parent
    from ..models.shrunken import load_model

    quiet()
    options, source = request["options"], Path(request["inputs"]["model"])
    network = load_model(source)
    before = count_parameters(network)
    parents = record_parent(network, source, options["pruning"])
    if options["pruning"]["method"] == "magnitude":
        from ..compression.magnitude import prune_magnitude

        facts: dict[str, Any] = {"masked": prune_magnitude(network, options["pruning"]["ratio"])}
    else:
        facts = _cut(network, request)
    return finish_cut(network, request, facts | {"parents": parents, "parameters_before": before})


def finish_cut(network: Any, request: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Leave a cut model's folder, with its own answers as reference; returns ``facts`` and those of the model."""
    from ..models.folder import count_parameters, save_model
    from ..models.reference import equal_share, read_reference, write_reference
    from ..models.shrunken import structure_of

    output, source = Path(request["output"]), Path(request["inputs"]["model"])
    save_model(network, output, {"title": request["label"], "lines": [f"parameters: {count_parameters(network)}"]})
    take_tokenizer(source, output)
    ids, types, dense = read_reference(source)
    write_reference(network, output, ids, types, seed=0)
    _, _, pruned = read_reference(output)
    return {
        **facts,
        "parameters": count_parameters(network),
        "structure": structure_of(network),
        "reference_answers_changed": 1 - equal_share(pruned, dense),
    }


def _cut(network: Any, request: dict[str, Any]) -> dict[str, Any]:
    import copy

    import torch

    from ..compression.costs import check_cuts
    from ..compression.objective import answered, compare
    from ..compression.shrink import shrink
    from ..config.build import build, check_nodes
    from ..tasks.training_part import held_out_part

    options = request["options"]
    pruning = options["pruning"]
    check_nodes(pruning["importance"], "compression.pruning.importance")
    torch.manual_seed(options["seed"])
    dense = copy.deepcopy(network)
    examples = training_part(request, pruning["calibration_sentences"])
    check_texts(examples)
    budget = None
    if "target" in pruning:
        cost = cost_here(request)
        check_cuts(cost, pruning["target"], units_of(network))
        budget = budget_here(request, cost)
    importance = build(pruning["importance"])
    facts = shrink(network, dense, batches_of(request, examples), pruning, importance, budget)
    if budget:
        facts["cost"] = {"unit": cost.unit, "target": pruning["target"], "reached": cost.total(units_of(network))}
    log.info("kept %s in %g s", facts["layers"], facts["seconds"])
    if options["task"]["held_out"]:
        held_out = answered(dense, batches_of(request, held_out_part(request)))
        facts["held_out"] = compare(network, held_out) | {"texts": sum(len(b["input_ids"]) for b in held_out)}
    return facts | {"calibration_sentences": len(examples)}


def check_texts(examples: Any) -> None:
    """See that there are training texts enough to score units by.

    Raises:
        UserError: there are not.
    """
    if len(examples) < FEWEST:
        raise UserError(
            f"structured pruning looks at training texts, and there are {len(examples)}: it needs {FEWEST} at least; "
            "give more in task.train or raise task.limit_train"
        )


def units_of(network: Any) -> list[tuple[int, int]]:
    """(heads, neurons) of each layer."""
    from ..models.shrunken import structure_of

    return [(layer["heads"], layer["ffn"]) for layer in structure_of(network)["layers"]]


def batches_of(request: dict[str, Any], examples: Any) -> list[dict[str, Any]]:
    """Batches of texts of like lengths, so that little of them is padding."""
    from ..tasks.batching import collate, rows
    from ..tasks.encode import load_tokenizer

    source = Path(request["inputs"]["model"])
    data = rows(load_tokenizer(source, request["options"]["task"]["max_length"]), examples)
    data.sort(key=lambda row: len(row[0]))
    pad_id = json.loads((source / "config.json").read_text()).get("pad_token_id") or 0
    return [collate(data[i : i + 64], pad_id) for i in range(0, len(data), 64)]


def take_tokenizer(source: Path, output: Path) -> None:
    """The tokenizer's files of one model folder, in another."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).is_file():
            link_or_copy(source / name, output / name)
