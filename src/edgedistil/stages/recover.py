"""Recover: a model that was changed learns from the dense model that it was made of."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..config.canonical import compares_layers
from ..learning.quiet import quiet
from . import teaching
from .changed import leave_changed
from .held_out import held_out

log = logging.getLogger("edgedistil")
# Steps between checkpoints: what a kill can cost at most.
_CHECKPOINT_STEPS = 50


def recover(request: dict[str, Any]) -> dict[str, Any]:
    """Step: teach a pruned, factorised or trimmed model on the task's training texts, and on copies of them."""
    return taught(request, "recovery", nullcontext)


def taught(
    request: dict[str, Any], group: str, within: Callable[[Any], AbstractContextManager[None]]
) -> dict[str, Any]:
    """Let the dense parent teach a model folder for a number of steps or epochs, and write what comes of it.

    Where hidden states are not compared, the parent's answers come from the step ``teacher_logits`` and it does not
    run. Goes on from the last checkpoint after a kill.

    Args:
        group: of ``compression``, as a key of the step's options.
        within: a context for the network, in which it is trained and scored.
    """
    import lightning

    from ..config.build import check_nodes
    from ..models.shrunken import load_model
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import material
    from .train import fit

    quiet()
    options, source = request["options"], Path(request["inputs"]["model"])
    chosen, task = options[group], options["task"]
    given = _teacher(request, chosen["objective"])
    handed_in = ("network", "optimizer", "scheduler", *given)
    check_nodes(chosen["objective"], f"compression.{group}.objective", handed_in)
    check_nodes(chosen["optimizer"], f"compression.{group}.optimizer", ("params",))
    lightning.seed_everything(options["seed"], verbose=False)
    network = load_model(source).train()
    # At most what the steps can see, so that a short recovery does not tokenise a large corpus.
    limit = None if chosen.get("epochs") else chosen["steps"] * chosen["batch_size"]
    tokenizer = load_tokenizer(source, task["max_length"])
    cached = request["inputs"].get("teacher_logits")
    texts = material(request, tokenizer, network.config.pad_token_id or 0)
    data, count = texts.data(limit, chosen["batch_size"], Path(cached) / teaching.LOGITS_FILE if cached else None)
    judged = held_out(request, tokenizer)
    with within(network):
        before = judged.scores(network.eval()) if len(judged) else None
        module = teaching.training_module(
            f"compression.{group}", chosen, options["scheduler"], network=network.train(), **given
        )
        trainer = fit(module, data, _fitting(options, chosen), request, keep_best=False)
        network = network.cpu().float().eval()
        after = judged.scores(network) if len(judged) else None
    log.info("%s: held out %s, before %s", request["label"], after, before)
    left = leave_changed(network, request, f"{group} steps: {trainer.global_step}")
    return {
        "steps": trainer.global_step,
        "texts": count,
        **getattr(module, "totals", {}),
        "held_out": after,
        "held_out_before": before,
        "held_out_texts": len(judged),
        **left,
    }


def _teacher(request: dict[str, Any], objective: dict[str, Any]) -> dict[str, Any]:
    """Keywords of the objective: the parent, None where its answers are enough, and its ids where it has others."""
    from ..models.shrunken import load_model
    from ..models.vocabulary import ids_elsewhere

    inputs = request["inputs"]
    if "teacher_logits" in inputs and not compares_layers(objective):
        return {"teacher": None}
    import torch

    parent, student = Path(inputs["teacher"]), Path(inputs["model"])
    ids = ids_elsewhere(student, parent)
    return {"teacher": load_model(parent)} | ({} if ids is None else {"teacher_ids": torch.tensor(ids)})


def _fitting(options: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    epochs = chosen.get("epochs")
    return {
        "trainer": {
            **options["trainer"],
            "max_steps": -1 if epochs else chosen["steps"],
            "max_epochs": epochs or -1,
            "limit_val_batches": 0,
            "enable_checkpointing": True,
            "enable_model_summary": False,
            "log_every_n_steps": 10,
        },
        "callbacks": {
            "checkpoint": {
                "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                "save_last": True,
                "every_n_train_steps": _CHECKPOINT_STEPS,
            }
        },
    }
