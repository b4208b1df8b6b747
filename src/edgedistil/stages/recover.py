"""Recover: a model whose structure was changed learns from the dense model that it was made of."""

from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from .compress import take_tokenizer


def recover(request: dict[str, Any]) -> dict[str, Any]:
    """Let the dense parent teach the pruned model on the training texts for a fixed number of steps; no labels."""
    import lightning

    from ..config.build import build, check_nodes
    from ..models.folder import count_parameters, save_model
    from ..models.reference import read_reference, write_reference
    from ..models.shrunken import load_model, structure_of
    from ..tasks.encode import load_tokenizer
    from ..tasks.material import material
    from .train import fit

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    recovery, task = options["recovery"], options["task"]
    check_nodes(
        recovery["objective"], "compression.recovery.objective", ("network", "teacher", "optimizer", "scheduler")
    )
    check_nodes(recovery["optimizer"], "compression.recovery.optimizer", ("params",))
    lightning.seed_everything(options["seed"], verbose=False)
    network = load_model(source).train()
    teacher = load_model(Path(request["inputs"]["teacher"]))
    texts = material(request, load_tokenizer(source, task["max_length"]), network.config.pad_token_id or 0)
    # At most what the steps can see, so that a short recovery does not tokenise a large corpus.
    data = texts.data(recovery["steps"] * recovery["batch_size"], recovery["batch_size"])
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
    take_tokenizer(source, output)
    ids, types, _ = read_reference(source)
    write_reference(network, output, ids, types, seed=0)
    return {"steps": trainer.global_step, "parameters": count_parameters(network), "structure": structure_of(network)}
