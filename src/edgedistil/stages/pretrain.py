"""Learning from texts as they are: masked language modelling, alone or taught by a larger model."""

import inspect
import logging
import math
from pathlib import Path
from typing import Any

from ..config.build import build
from ..errors import UserError
from ..learning.quiet import quiet
from . import ranks
from .train import check_options, fit

log = logging.getLogger("edgedistil")
_HANDED_IN = ("network", "optimizer", "scheduler", "vocabulary", "seed")


def pretrain(request: dict[str, Any]) -> dict[str, Any]:
    """Load or cut the model, measure it, fit, measure it again on the same masks, and keep it with its head."""
    options, output = request["options"], Path(request["output"])
    taught = ("teacher",) if "teacher" in options else ()
    check_options(options, request["runtime"], (*_HANDED_IN, *taught))
    _check_taught(options["objective"], bool(taught))
    quiet()
    import lightning

    from ..models.folder import count_parameters, save_model
    from ..tasks.corpus import Corpus
    from ..tasks.corpus_data import CorpusDataModule
    from .masked_texts import vocabulary_of

    lightning.seed_everything(options["seed"], verbose=False)
    train, held_out = (Corpus(Path(request["inputs"][name])) for name in ("train", "held_out"))
    network, teacher = _models(request, output)
    vocabulary = vocabulary_of(output, train, network.config.vocab_size)
    data = CorpusDataModule(
        train, held_out, network.config.pad_token_id or 0, seed=options["seed"], **options["loader"]
    )
    # Loaded models come in eval mode, and Lightning keeps it: no dropout.
    module = build(
        options["objective"],
        network=network.train(),
        optimizer=build(options["optimizer"]),
        scheduler=build(options["scheduler"]),
        vocabulary=vocabulary,
        seed=options["seed"],
        **({"teacher": teacher} if taught else {}),
    )
    before = _measure(module, data, request)
    if wrong := _no_number(before):
        raise UserError(f"{wrong} before any training: weights of the model or of its teacher are no numbers")
    # Measuring must not move what is drawn in training.
    lightning.seed_everything(options["seed"], verbose=False)
    trainer = fit(module, data, options, request, keep_best=_chooses_best(options["callbacks"]))
    after = _measure(module, data, request)
    if wrong := _no_number(after):
        raise FloatingPointError(
            f"{wrong} after step {trainer.global_step}, optimizer.lr={options['optimizer'].get('lr')}: try a lower one "
            "or trainer.gradient_clip_val"
        )
    network = module.network.float().eval()
    lines = [f"{k}: {v}" for k, v in after.items()] + [f"fingerprint: {request['fingerprint']}"]
    save_model(network, output, {"title": request["label"], "lines": lines})
    return {
        "before": before,
        "validation": after,
        "parameters": count_parameters(network),
        "steps": trainer.global_step,
        **getattr(module, "totals", {}),
        "train_texts": len(train),
        "held_out_texts": len(held_out),
        **({"student": options["student"]} if taught else {}),
    }


def _models(request: dict[str, Any], output: Path) -> tuple[Any, Any]:
    """(network, teacher or None); the tokenizer goes into ``output``."""
    from ..models.loading import save_tokenizer
    from ..models.masked_lm import load_masked_lm
    from ..models.student import student_of
    from ..models.vocabulary import check_same_vocabulary

    options, runtime, inputs = request["options"], request["runtime"], request["inputs"]
    teacher = None
    if "teacher" in options:
        where = inputs.get("teacher") or runtime["teacher"]
        teacher = load_masked_lm(where, options["teacher"], needs_head=True)
    if "model" not in options:
        save_tokenizer(where, options["teacher"], output)
        return student_of(teacher, options["student"]), teacher
    location = inputs.get("base") or runtime["location"]
    save_tokenizer(location, options["model"], output)
    if teacher is not None:
        scratch = output.with_name(f"teacher_{ranks.rank()}")
        save_tokenizer(where, options["teacher"], scratch)
        check_same_vocabulary(scratch, output)
    return load_masked_lm(location, options["model"], needs_head=False), teacher


def _measure(module: Any, data: Any, request: dict[str, Any]) -> dict[str, float]:
    """Losses (nats; the cosine's is 1 − cos) and perplexity on the held-out texts, masks fixed."""
    from lightning.pytorch import Trainer

    options, runtime = request["options"]["trainer"], request["runtime"]
    if options.get("limit_val_batches") == 0 or ranks.rank():
        return {}
    same = {k: options[k] for k in ("accelerator", "precision", "limit_val_batches") if k in options}
    trainer = Trainer(
        **same,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=runtime["progress"],
        enable_model_summary=False,
    )
    values = trainer.validate(module, data, verbose=False)[0]
    module.train()
    found = {name.removeprefix("held_out/"): round(float(value), 6) for name, value in values.items()}
    found.pop("score", None)
    log.info("held out: %s", found)
    return found


def _no_number(found: dict[str, float]) -> str | None:
    return next((f"the held-out {k} is {value}" for k, value in found.items() if not math.isfinite(value)), None)


def _chooses_best(callbacks: dict[str, Any]) -> bool:
    """Whether a checkpoint is kept for its score; otherwise the last weights are the outcome."""
    return any(node and node.get("monitor") for node in callbacks.values() if "ModelCheckpoint" in node["_target_"])


def _check_taught(objective: dict[str, Any], taught: bool) -> None:
    from hydra.utils import get_object

    wants = inspect.signature(get_object(objective["_target_"])).parameters.get("teacher")
    if wants is not None and wants.default is inspect.Parameter.empty and not taught:
        raise UserError(f"{objective['_target_']} needs a teacher: model@teacher=folder teacher.location=FOLDER")
