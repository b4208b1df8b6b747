"""Prune: how a trained model folder becomes a smaller one."""

import logging
from pathlib import Path
from typing import Any

from ..config.allowed import MASKED_LM
from ..learning.quiet import quiet
from .budgeted import budget_here, cost_here
from .changed import leave_changed

log = logging.getLogger("edgedistil")


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
    """Leave a cut model's folder; returns ``facts`` and those of the model."""
    from ..models.folder import count_parameters

    return facts | leave_changed(network, request, f"parameters: {count_parameters(network)}")


def _cut(network: Any, request: dict[str, Any]) -> dict[str, Any]:
    import copy

    import torch

    from ..compression.costs import check_cuts
    from ..compression.objective import answered, compare
    from ..compression.shrink import shrink
    from ..config.build import build, check_nodes
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import material

    options, source = request["options"], Path(request["inputs"]["model"])
    pruning = options["pruning"]
    check_nodes(pruning["importance"], "compression.pruning.importance")
    torch.manual_seed(options["seed"])
    dense = copy.deepcopy(network)
    if options["task"]["kind"] == MASKED_LM:
        batches = _hidden_tokens(request, network)
        facts = shrink(network, dense, batches, pruning, build(pruning["importance"]))
        log.info("kept %s in %g s", facts["layers"], facts["seconds"])
        return facts | {"calibration_sentences": _count(batches)}
    tokenizer = load_tokenizer(source, options["task"]["max_length"])
    texts = material(request, tokenizer, network.config.pad_token_id or 0)
    batches = texts.batches(pruning["calibration_sentences"])
    budget = None
    if pruning.get("target") is not None:
        cost = cost_here(request)
        check_cuts(cost, pruning["target"], units_of(network))
        budget = budget_here(request, cost)
    facts = shrink(network, dense, batches, pruning, build(pruning["importance"]), budget)
    if budget:
        facts["cost"] = {"unit": cost.unit, "target": pruning["target"], "reached": cost.total(units_of(network))}
    log.info("kept %s in %g s", facts["layers"], facts["seconds"])
    if options["task"]["held_out"]:
        held_out = answered(dense, texts.held_out_batches())
        facts["held_out"] = compare(network, held_out) | {"texts": _count(held_out)}
    return facts | {"calibration_sentences": _count(batches)}


def _hidden_tokens(request: dict[str, Any], network: Any) -> list[dict[str, Any]]:
    """Texts of the training corpus with some tokens hidden."""
    from ..config.build import build
    from ..tasks.corpus import Corpus
    from .masked_texts import calibration_batches, vocabulary_of

    options, corpus = request["options"], Corpus(Path(request["inputs"]["corpus"]))
    known = vocabulary_of(Path(request["inputs"]["model"]), corpus, network.config.vocab_size)
    count, seed = options["pruning"]["calibration_sentences"], options["seed"]
    return calibration_batches(corpus, build(options["masking"])(known), network.config.pad_token_id or 0, count, seed)


def units_of(network: Any) -> list[tuple[int, int]]:
    """(heads, neurons) of each layer."""
    from ..models.shrunken import structure_of

    return [(layer["heads"], layer["ffn"]) for layer in structure_of(network)["layers"]]


def _count(batches: list[dict[str, Any]]) -> int:
    return sum(len(batch["input_ids"]) for batch in batches)
