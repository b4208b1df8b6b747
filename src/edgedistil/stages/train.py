"""Training: how a model folder with a trained head comes about."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config.build import build, build_all, check_nodes
from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError, first_line
from ..learning.quiet import quiet
from ..reporting.wandb_log import run_of
from ..store.progress import tell
from ..tasks.source import Source
from . import ranks

log = logging.getLogger("edgedistil")


def train(request: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune, with a teacher or without: load, fit with the best checkpoint chosen on a part held out of train,
    report validation once."""
    if request["options"]["task"]["kind"] == QUESTION_ANSWERING:
        from . import answering

        return answering.train(request)
    options, runtime = request["options"], request["runtime"]
    handed_in = ("network", "optimizer", "scheduler", "metrics")
    check_options(options, runtime, (*handed_in, "teacher") if "teacher" in request["inputs"] else handed_in)
    quiet()
    import lightning

    from ..models.folder import count_parameters, save_model
    from ..models.loading import load_for_training, save_tokenizer
    from ..models.reference import predict, write_reference
    from ..models.vocabulary import check_vocabulary_fits
    from ..tasks.copies import with_copies
    from ..tasks.datamodule import TextDataModule
    from ..tasks.encode import encode_with_types, load_tokenizer
    from ..tasks.examples import load
    from ..tasks.metrics import decided
    from ..tasks.parts import divide
    from ..tasks.splits import split_facts
    from . import teaching

    lightning.seed_everything(options["seed"], verbose=False)
    output, task, source = Path(request["output"]), options["task"], Source(options["data"], runtime["files"])
    read = load(task, source, "train", teaching.class_names(request), options["seed"])
    parts = divide(read, task, options["seed"])
    everything, copies = with_copies(read, request["inputs"].get("augmented"))
    kept = parts.train + copies
    rest, held_out = everything.take(kept), everything.take(parts.held_out)
    validation = load(task, source, "validation", everything.label_names, options["seed"])
    counted = {"train": len(read), "validation": len(validation)}
    # from_pretrained leaves a model in eval mode, and Lightning keeps it: no dropout.
    location = request["inputs"].get("base") or runtime["location"]
    network = load_for_training(location, options["model"], everything.label_names).train()
    save_tokenizer(location, options["model"], output)
    tokenizer = load_tokenizer(output, task["max_length"])
    check_vocabulary_fits(tokenizer.get_vocab_size(), network.config.vocab_size)
    data = TextDataModule(
        tokenizer,
        rest,
        held_out,
        network.config.pad_token_id or 0,
        seed=options["seed"],
        teacher_logits=teaching.cached_logits(request, kept),
        **options["loader"],
    )
    module = build(
        options["objective"],
        network=network,
        optimizer=build(options["optimizer"]),
        scheduler=build(options["scheduler"]),
        metrics=task["metrics"],
        **teaching.arguments(request, output),
    )
    trainer = fit(module, data, options, request)

    network = module.network.float().eval()
    ids, types = encode_with_types(tokenizer, validation.texts)
    answers = decided(predict(network, ids, types))
    quality = report(answers, validation.labels, task["metrics"])
    taught = teaching.retention(request, answers, ids, types, validation.labels)
    log.info("validation: %s", quality | taught)
    more = {}
    for name in task.get("more_splits", []):
        split = load(task, source, name, everything.label_names, options["seed"])
        counted[name] = len(split)
        more[name] = validation_report(
            network, *encode_with_types(tokenizer, split.texts), split.labels, task["metrics"]
        )
        log.info("%s: %s", name, more[name])
    about_data = split_facts(runtime.get("rows"), counted, read.texts, validation.texts, runtime.get("of_train", ()))
    save_model(
        network,
        output,
        {
            "title": request["label"],
            "lines": [f"{k}: {v}" for k, v in quality.items()] + [f"fingerprint: {request['fingerprint']}"],
        },
    )
    write_reference(network, output, ids, types, options["seed"])
    return {
        "validation": quality,
        **({"more_splits": more} if more else {}),
        "parameters": count_parameters(network),
        "steps": trainer.global_step,
        **getattr(module, "totals", {}),
        "train_texts": len(rest),
        **({"augmented_texts": len(copies)} if "augmented" in request["inputs"] else {}),
        "held_out_texts": len(held_out),
        "epochs_started": trainer.current_epoch,
        "held_out_score": float(trainer.callback_metrics.get("held_out/score", float("nan")))
        if "held_out/score" in trainer.callback_metrics
        else None,
        "label_names": everything.label_names,
        **about_data,
        **taught,
    }


def fit(module: Any, data: Any, options: dict[str, Any], request: dict[str, Any], keep_best: bool = True) -> Any:
    """Run the Trainer, resuming from the work folder's last checkpoint; the module ends with its best weights."""
    import torch
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import Trainer

    from ..learning.compiled import compiled
    from ..learning.finite import FiniteWeights
    from ..learning.random_state import RandomState
    from ..learning.stopping import StopsAtSigterm
    from ..learning.told import Told
    from .whole_checkpoints import WholeCheckpoints

    work, runtime = Path(request["work"]), request["runtime"]
    checkpoints = work / "checkpoints"
    callbacks = [
        build(node, **({"dirpath": str(checkpoints)} if node["_target_"].endswith("ModelCheckpoint") else {}))
        for node in options["callbacks"].values()
        if node
    ]
    last = checkpoints / "last.ckpt"
    given = {**options["trainer"], **runtime.get("trainer", {})}
    try:
        trainer = Trainer(
            **{"devices": 1, **given},
            default_root_dir=work,
            callbacks=[*callbacks, RandomState(), FiniteWeights(), Told(tell), StopsAtSigterm(last)],
            plugins=[WholeCheckpoints()],
            logger=loggers(request),
            enable_progress_bar=runtime["progress"],
            # Our batch samplers know the rank.
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        values = ", ".join(f"trainer.{key}={value!r}" for key, value in given.items())
        raise UserError(f"Lightning's Trainer refuses its values ({first_line(error)}); given: {values}") from error
    resume = last if _is_whole(last) else None
    if resume:
        log.info("resuming from step %d", torch.load(resume, weights_only=True)["global_step"])
    fitted = False
    try:
        with compiled(module, options.get("torch_compile", False)):
            trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        fitted = True
    finally:
        for logger in trainer.loggers:
            if hasattr(logger, "close"):
                logger.close(not fitted)
    ranks.leave()
    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best and keep_best:
        module.load_state_dict(torch.load(best, weights_only=True, map_location="cpu")["state_dict"])
    if (work / "logs").is_dir():
        shutil.copytree(work / "logs", Path(request["output"]) / "logs")
    return trainer


def loggers(request: dict[str, Any]) -> list[Any]:
    """The chosen loggers, told where to write and, for W&B, which run this is."""
    built = []
    runs = len(list((Path(request["work"]) / "logs").glob("*")))
    for node in (request["runtime"]["logger"] or {}).values():
        if not node:
            continue
        if node["_target_"].endswith(("CSVLogger", "TensorBoardLogger")):
            built += build_all({"files": node}, save_dir=request["work"], name="logs", version=f"run_{runs}")
        elif node["_target_"].endswith("WandbLogger"):
            wandb = build(node, **run_of(request, request["runtime"].get("sweep")))
            # Not an argument of build: it would instantiate the `_target_` nodes inside.
            if not ranks.rank():
                wandb.experiment.config.update(request["options"], allow_val_change=True)
            built.append(wandb)
        else:
            built += build_all({"other": node})
    return built


def validation_report(
    network: Any, ids: list[list[int]], types: list[list[int]], labels: Sequence[float], metrics: list[str]
) -> dict[str, Any]:
    """:func:`report` of the PyTorch model on the whole validation split."""
    from ..models.reference import predict
    from ..tasks.metrics import decided

    return report(decided(predict(network, ids, types)), labels, metrics)


def report(answers: Any, labels: Sequence[float], metrics: list[str]) -> dict[str, Any]:
    """Scores of answered classes ``[texts]`` with n and the accuracy's 95 % Wilson interval; of numbers with each
    correlation's (:func:`edgedistil.measurement.regression_quality.regression_quality`)."""
    import numpy as np

    from ..measurement.regression_quality import regression_quality
    from ..measurement.statistics import wilson
    from ..tasks.metrics import score

    expected = np.array(labels)
    if answers.dtype.kind == "f":
        return regression_quality(answers, expected, metrics)
    low, high = wilson(int((answers == expected).sum()), len(labels))
    scores = {name: round(score(name, answers, expected), 6) for name in metrics}
    return {**scores, "n": len(labels), "accuracy_ci95_low": round(low, 6), "accuracy_ci95_high": round(high, 6)}


def check_options(options: dict[str, Any], runtime: dict[str, Any], handed_in: tuple[str, ...]) -> None:
    """Bind every ``_target_`` node of a step that trains to its signature; ``handed_in`` is what the objective gets.

    Raises:
        UserError: a wrong key, or a value that the optimiser refuses.
    """
    check_nodes(options["objective"], "objective", handed_in)
    check_nodes(options["optimizer"], "optimizer", ("params",))
    _try_optimizer(options["optimizer"])
    check_nodes(options["scheduler"], "scheduler", ("optimizer", "total_steps"))
    check_nodes(options["callbacks"], "callbacks")
    check_nodes(runtime["logger"], "logger")
    check_nodes({"_target_": "lightning.pytorch.Trainer", **options["trainer"], **runtime["trainer"]}, "trainer")


def _try_optimizer(node: dict[str, Any]) -> None:
    """Build the optimiser for one number, so that a wrong value is found before the model is loaded."""
    import torch

    try:
        build(node)([torch.nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        values = ", ".join(f"optimizer.{k}={v!r}" for k, v in node.items() if not k.startswith("_"))
        raise UserError(f"{node['_target_']} refuses its values ({error}); given: {values}") from error


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint can be read and gone on from; a kill while it was written leaves half of one."""
    import torch

    from ..learning.random_state import KEY

    if not checkpoint.is_file():
        return False
    try:
        found = torch.load(checkpoint, weights_only=True, mmap=True)
    except Exception as error:
        log.warning("%s can't be read (%s): starting over", checkpoint.name, type(error).__name__)
        return False
    if KEY not in found:
        log.warning("%s is of an older version and holds no random state: starting over", checkpoint.name)
    return KEY in found
