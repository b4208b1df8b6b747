"""Prune and recover: how a trained model folder becomes a smaller one."""

import logging
from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from ..store.files import link_or_copy
from ..tasks.training_part import training_part

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
    _take_tokenizer(source, output)
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
    from ..tasks.batching import collate, rows
    from ..tasks.encode import load_tokenizer

    options = request["options"]
    pruning, task = options["pruning"], options["task"]
    check_nodes(pruning["importance"], "compression.pruning.importance")
    torch.manual_seed(options["seed"])
    source = Path(request["inputs"]["model"])
    tokenizer = load_tokenizer(source, task["max_length"])
    examples = training_part(request, pruning["calibration_sentences"])
    data = rows(tokenizer, examples)
    pad_id = network.config.pad_token_id or 0
    batches = [collate(data[i : i + 32], pad_id) for i in range(0, len(data), 32)]
    scores = build(pruning["importance"])(network, batches)
    kept = choose(network, scores, pruning["ratio"], pruning["ffn_multiple"])
    removed = cut(network, kept)
    log.info("kept heads %s, neurons %s", [len(k.heads) for k in kept], [len(k.neurons) for k in kept])
    return {"removed_share": removed, "calibration_sentences": len(examples)}


def recover(request: dict[str, Any]) -> dict[str, Any]:
    """Let the dense parent teach the pruned model on the training texts for a fixed number of steps; no labels."""
    import lightning

    from ..config.build import build, check_nodes
    from ..models.folder import count_parameters, save_model
    from ..models.reference import read_reference, write_reference
    from ..models.shrunken import load_classifier, structure_of
    from ..tasks.datamodule import TextDataModule
    from ..tasks.encode import load_tokenizer
    from .train import fit

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    recovery, task = options["recovery"], options["task"]
    check_nodes(
        recovery["objective"], "compression.recovery.objective", ("network", "teacher", "optimizer", "scheduler")
    )
    check_nodes(recovery["optimizer"], "compression.recovery.optimizer", ("params",))
    lightning.seed_everything(options["seed"], verbose=False)
    network = load_classifier(source).train()
    teacher = load_classifier(Path(request["inputs"]["teacher"]))
    # At most what the steps can see, so that a short recovery does not tokenise a large corpus.
    examples = training_part(request, recovery["steps"] * recovery["batch_size"])
    tokenizer = load_tokenizer(source, task["max_length"])
    data = TextDataModule(
        tokenizer,
        examples,
        examples.take([]),
        network.config.pad_token_id or 0,
        recovery["batch_size"],
        True,
        options["seed"],
    )
    module = build(
        recovery["objective"],
        network=network,
        teacher=teacher,
        optimizer=build(recovery["optimizer"]),
        scheduler=build(options["scheduler"]),
    )
    trainer = fit(
        module,
        data,
        {
            "trainer": {
                **options["trainer"],
                "max_steps": recovery["steps"],
                "max_epochs": -1,
                "limit_val_batches": 0,
                "enable_checkpointing": True,
                "enable_model_summary": False,
                "log_every_n_steps": 10,
            },
            "callbacks": {
                "checkpoint": {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "save_last": True,
                    "every_n_train_steps": 200,
                }
            },
        },
        request,
        keep_best=False,
    )
    network = module.network.float().eval()
    save_model(network, output, {"title": request["label"], "lines": [f"recovery steps: {trainer.global_step}"]})
    _take_tokenizer(source, output)
    ids, types, _ = read_reference(source)
    write_reference(network, output, ids, types, seed=0)
    return {"steps": trainer.global_step, "parameters": count_parameters(network), "structure": structure_of(network)}


def _take_tokenizer(source: Path, output: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).is_file():
            link_or_copy(source / name, output / name)
