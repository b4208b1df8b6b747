"""Gradual pruning: cut a little, let the dense parent teach what is left, and again (``pruning.steps`` times).

Every step scores the model that the steps before left: one score of the whole model is wrong about what is left after
half of it is gone (Kurtic et al. 2022, "The Optimal BERT Surgeon", arXiv 2203.07259, table 6, recomputed in 32 steps).
"""

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from ..store.files import read_json, sync_tree, write_json
from ..tasks.training_part import training_part
from . import teaching
from .budgeted import budget_here, cost_here
from .compress import finish_cut, units_of

log = logging.getLogger("edgedistil")
_OBJECTIVE_GETS = ("network", "teacher", "optimizer", "scheduler")
_STATE = "step.json"


def prune_gradually(request: dict[str, Any]) -> dict[str, Any]:
    """Cut a model in steps of falling budgets and leave its folder.

    Each finished step is kept in the work folder, and a run that was killed goes on behind the last one; what a step
    draws depends on the seed and its number alone, so that the outcome is the same to the bit.

    Raises:
        UserError: the budget can't be met, or options are wrong.
        FloatingPointError: a training's loss or weights are no numbers any more.
    """
    quiet()
    from ..compression.costs import check_cuts, falling, wanted
    from ..compression.objective import answered
    from ..config.build import check_nodes
    from ..models.folder import count_parameters
    from ..models.lineage import KEY, record_parent
    from ..models.shrunken import load_model
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import check_enough, material

    options, source = request["options"], Path(request["inputs"]["model"])
    pruning, between = options["pruning"], options["pruning"]["between"]
    check_nodes(pruning["importance"], "compression.pruning.importance")
    if between["method"] != "none":
        check_nodes(between["objective"], "compression.pruning.between.objective", _OBJECTIVE_GETS)
        check_nodes(between["optimizer"], "compression.pruning.between.optimizer", ("params",))
    dense = load_model(source)
    parents = record_parent(dense, source, pruning)
    cost = cost_here(request)
    now = cost.total(units_of(dense))
    if "target" in pruning:
        check_cuts(cost, pruning["target"], units_of(dense))
    _check_last(dense, request, cost)
    limits = falling(now, wanted(pruning), cost.fixed, pruning["steps"])
    texts = training_part(request, None)
    check_enough(len(texts), pruning["calibration_sentences"], options["task"])
    tokenizer = load_tokenizer(source, options["task"]["max_length"])
    judged = material(request, tokenizer, dense.config.pad_token_id or 0)
    held_out = answered(dense, judged.held_out_batches()) if options["task"]["held_out"] else []
    path, network = _last_state(request)
    if path:
        log.info("resuming behind step %d of %d", len(path), len(limits))
    else:
        network = load_model(source)
    for index in range(len(path), len(limits)):
        began = time.monotonic()
        facts = _step(network, dense, request, texts, held_out, index, budget_here(request, cost, limits[index]))
        facts |= {"budget": limits[index], "cost": cost.total(units_of(network))}
        path.append(facts | {"step": index + 1, "seconds": round(time.monotonic() - began, 2)})
        _keep(request, network, path)
        log.info("step %d of %d: %s", index + 1, len(limits), {k: v for k, v in path[-1].items() if k != "layers"})
        log.info("kept %s", facts["layers"])
    setattr(network.config, KEY, parents)
    known = {
        "parents": parents,
        "parameters_before": count_parameters(dense),
        "path": path,
        "layers": path[-1]["layers"],
        "cost": {"unit": cost.unit, "target": wanted(pruning), "reached": path[-1]["cost"]},
        "held_out": path[-1].get("held_out"),
        "calibration_sentences": min(len(texts), pruning["calibration_sentences"]),
    }
    return finish_cut(network, request, known)


def _check_last(dense: Any, request: dict[str, Any], cost: Any) -> None:
    """See that the last step's budget can be met before the first one is taken."""
    from ..compression.curves import Curve
    from ..compression.search import parts_of, search
    from ..compression.sublayers import sublayers

    # Without damages the search looks for nothing but a structure within the budget.
    curves = [Curve(p.layer, p.kind, range(p.units), [0.0] * (p.units + 1)) for p in sublayers(dense)]
    search(parts_of(curves, cost, request["options"]["pruning"]["ffn_multiple"]), budget_here(request, cost))


def _step(
    network: Any, dense: Any, request: dict[str, Any], texts: Any, held_out: list[Any], index: int, budget: Any
) -> dict[str, Any]:
    import lightning

    from ..compression.objective import compare
    from ..compression.shrink import shrink
    from ..config.build import build
    from ..tasks.batching import rows
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import collated

    options = request["options"]
    pruning, between = options["pruning"], options["pruning"]["between"]
    lightning.seed_everything(options["seed"] + index, verbose=False)
    # Other texts in each step, so that no step's choices are made on what the last one was fitted to.
    chosen = _window(texts, index, pruning["calibration_sentences"])
    importance = build(pruning["importance"])
    tokenizer = load_tokenizer(Path(request["inputs"]["model"]), options["task"]["max_length"])
    batches = collated(rows(tokenizer, chosen), network.config.pad_token_id or 0)
    cut = shrink(network, dense, batches, pruning, importance, budget)
    facts: dict[str, Any] = {k: cut[k] for k in ("layers", "removed_share", "expected_damage")}
    if held_out:
        facts["held_out_after_cut"] = compare(network, held_out)
    if between["method"] != "none":
        loss = _taught(network, dense, request, _window(texts, index, between["steps"] * between["batch_size"]), index)
        facts["loss"] = loss
        if held_out:
            facts["held_out"] = compare(network, held_out)
    elif held_out:
        facts["held_out"] = facts["held_out_after_cut"]
    return facts


def _taught(network: Any, dense: Any, request: dict[str, Any], texts: Any, index: int) -> float | None:
    """Train ``network`` in place; a new optimiser each time, whose state knows no row that is gone."""
    from lightning.pytorch import Trainer

    from ..learning.finite import FiniteWeights
    from ..learning.stopping import StopsAtSigterm
    from ..tasks.datamodule import TextDataModule
    from ..tasks.encode import load_tokenizer

    options, source = request["options"], Path(request["inputs"]["model"])
    between = options["pruning"]["between"]
    tokenizer = load_tokenizer(source, options["task"]["max_length"])
    pad_id = network.config.pad_token_id or 0
    data = TextDataModule(
        tokenizer, texts, texts.take([]), pad_id, between["batch_size"], True, options["seed"] + index
    )
    module = teaching.training_module(
        "compression.pruning.between", between, options["scheduler"], network=network.train(), teacher=dense
    )
    trainer = Trainer(
        **{"devices": 1, **options["trainer"]},
        max_steps=between["steps"],
        max_epochs=-1,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=request["runtime"]["progress"],
        logger=False,
        # A step between two cuts is started again as a whole.
        callbacks=[FiniteWeights(), StopsAtSigterm(None)],
        default_root_dir=request["work"],
        use_distributed_sampler=False,
    )
    trainer.fit(module, data)
    network.float().cpu().eval()
    dense.cpu()
    loss = trainer.callback_metrics.get("train/loss")
    return None if loss is None else round(float(loss), 6)


def _window(texts: Any, index: int, count: int) -> Any:
    """The ``index``-th ``count`` texts, from the beginning again after the last."""
    size = len(texts)
    return texts.take([(index * count + i) % size for i in range(min(count, size))])


def _keep(request: dict[str, Any], network: Any, path: list[dict[str, Any]]) -> None:
    """Put the state behind a step into the work folder, whole or not at all, and drop the one before."""
    from ..models.folder import save_model

    states = Path(request["work"]) / "steps"
    new, place = states / ".new", states / f"{len(path):04d}"
    shutil.rmtree(new, ignore_errors=True)
    save_model(network, new, {"title": request["label"], "lines": []})
    write_json(new / _STATE, {"fingerprint": request["fingerprint"], "path": path})
    sync_tree(new)
    os.rename(new, place)
    for old in states.glob("[0-9]*"):
        if old != place:
            shutil.rmtree(old, ignore_errors=True)


def _last_state(request: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    """(path, network) behind the last finished step of an earlier run, or ([], None)."""
    from ..models.shrunken import load_model

    found = sorted((Path(request["work"]) / "steps").glob("[0-9]*"))
    if not found:
        return [], None
    return read_json(found[-1] / _STATE)["path"], load_model(found[-1])
