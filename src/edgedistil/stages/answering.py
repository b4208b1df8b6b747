"""Question answering: how a model folder that answers by spans comes about, with a teacher or without."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.build import build
from ..learning.quiet import quiet
from ..measurement.span_quality import span_quality
from ..tasks.questions import Questions, hold_out_paragraphs, load_questions
from ..tasks.source import Source
from ..tasks.span_answers import SpanLogits, answers
from ..tasks.span_metrics import span_scores
from ..tasks.windows import Window, windows
from . import teaching
from .train import check_options, fit

log = logging.getLogger("edgedistil")
# What an objective for labels becomes on a task of this kind.
_OBJECTIVES = {
    "edgedistil.learning.fine_tuning.FineTuning": "edgedistil.learning.question_answering.SpanFineTuning",
    "edgedistil.learning.task_distillation.TaskDistillation": "edgedistil.learning.question_answering.SpanDistillation",
}
# Windows a batch while logits are computed; sorted by length there is next to no padding.
_BATCH = 32


def train(request: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune on questions, choose the checkpoint on paragraphs held out of train, report validation once."""
    options, runtime = _options(request), request["runtime"]
    handed_in = ("network", "optimizer", "scheduler", "metrics", "score")
    check_options(options, runtime, (*handed_in, "teacher") if "teacher" in request["inputs"] else handed_in)
    quiet()
    import lightning

    from ..models.folder import count_parameters, save_model
    from ..models.loading import load_for_training, save_tokenizer
    from ..models.reference import write_reference
    from ..tasks.encode import load_tokenizer
    from ..tasks.span_data import SpanDataModule
    from ..tasks.splits import split_facts

    lightning.seed_everything(options["seed"], verbose=False)
    output, task, source = Path(request["output"]), options["task"], Source(options["data"], runtime["files"])
    everything = load_questions(task, source, "train", options["seed"])
    kept, held = hold_out_paragraphs(everything, task["held_out"], options["seed"])
    held_out = everything.take(held)
    validation = load_questions(task, source, "validation", options["seed"])
    pairs = [list(zip(q.questions, q.contexts, strict=True)) for q in (everything, validation)]
    counted = {"train": len(everything), "validation": len(validation)}
    about_data = split_facts(runtime.get("rows"), counted, pairs[0], pairs[1], runtime.get("of_train", ()))
    # from_pretrained leaves a model in eval mode, and Lightning keeps it: no dropout.
    location = request["inputs"].get("base") or runtime["location"]
    network = load_for_training(location, options["model"], None).train()
    save_tokenizer(location, options["model"], output)
    tokenizer = load_tokenizer(output, task["max_length"])
    rest, taught_by = _training_windows(request, tokenizer, everything, kept)
    held_out_windows = windows(tokenizer, held_out, task, offsets=True)
    data = SpanDataModule(
        rest,
        held_out_windows,
        network.config.pad_token_id or 0,
        seed=options["seed"],
        teacher_logits=taught_by,
        **options["loader"],
    )
    module = build(
        options["objective"],
        network=network,
        optimizer=build(options["optimizer"]),
        scheduler=build(options["scheduler"]),
        metrics=task["metrics"],
        score=scorer(held_out, held_out_windows, task),
        **teaching.arguments(request, output),
    )
    trainer = fit(module, data, options, request)

    device = trainer.strategy.root_device
    network = module.network.float().eval().to(device)
    parts = windows(tokenizer, validation, task, offsets=True)
    texts = _answered(network, validation, parts, task, device)
    quality = span_quality(texts, validation.answers)
    taught = _retention(request, texts, validation, parts, device)
    log.info("validation: %s", quality | taught)
    network = network.cpu()
    lines = [f"{k}: {v}" for k, v in quality.items()] + [f"fingerprint: {request['fingerprint']}"]
    save_model(network, output, {"title": request["label"], "lines": lines})
    write_reference(network, output, *ids_and_types(parts), options["seed"])
    score = trainer.callback_metrics.get("held_out/score")
    return {
        "validation": quality,
        "parameters": count_parameters(network),
        "steps": trainer.global_step,
        "train_questions": len(kept),
        "train_windows": len(rest),
        "train_windows_without_answer": sum(not w.end for w in rest),
        "held_out_questions": len(held),
        "validation_windows": len(parts),
        "epochs_started": trainer.current_epoch,
        **getattr(module, "totals", {}),
        "held_out_score": None if score is None else float(score),
        **about_data,
        **taught,
    }


def teacher_logits(request: dict[str, Any]) -> dict[str, Any]:
    """Step: the teacher's start and end logits on every window of the training split, one after another, as
    ``[2, tokens of all windows]``."""
    quiet()
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    from ..models.loading import save_tokenizer
    from ..models.shrunken import load_span_model
    from ..models.spans import span_logits
    from ..models.vocabulary import check_same_vocabulary
    from ..tasks.encode import load_tokenizer

    options, runtime, output = request["options"], request["runtime"], Path(request["output"])
    folder, task = Path(request["work"]) / "tokenizer", options["task"]
    save_tokenizer(runtime["location"], options["tokenizer"], folder)
    check_same_vocabulary(Path(request["inputs"]["teacher"]), folder)
    questions = load_questions(task, Source(options["data"], runtime["files"]), "train", options.get("seed", 0))
    ids, types = window_inputs(load_tokenizer(folder, task["max_length"]), questions, task)
    device = torch.device("cuda" if options["accelerator"] in ("gpu", "cuda") else "cpu")
    network = load_span_model(Path(request["inputs"]["teacher"])).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=options["precision"] == "bf16-mixed"):
        logits = span_logits(network, ids, types, device, _BATCH)
    flat = np.concatenate(logits, axis=1)
    save_file({"logits": flat}, output / teaching.LOGITS_FILE)
    return {"questions": len(questions), "windows": len(ids), "tokens": flat.shape[1]}


def adopt(request: dict[str, Any]) -> dict[str, Any]:
    """Take a model that answers by spans already: check that it loads and answers, and keep it."""
    options, runtime = request["options"], request["runtime"]
    quiet()
    from transformers import AutoModelForQuestionAnswering

    from ..models.folder import count_parameters, save_model
    from ..models.loading import hub_arguments, hub_errors, save_tokenizer
    from ..models.reference import write_reference
    from ..models.shrunken import load_span_model
    from ..models.vocabulary import check_vocabulary_fits
    from ..tasks.encode import load_tokenizer

    output, task = Path(request["output"]), options["task"]
    if options["model"]["origin"] == "folder":
        network = load_span_model(Path(runtime["location"]))
    else:
        with hub_errors(runtime["location"], options["model"]):
            network = AutoModelForQuestionAnswering.from_pretrained(
                runtime["location"], dtype="float32", **hub_arguments(options["model"])
            ).eval()
    save_tokenizer(runtime["location"], options["model"], output)
    tokenizer = load_tokenizer(output, task["max_length"])
    check_vocabulary_fits(tokenizer.get_vocab_size(), network.config.vocab_size)
    source = Source(options["data"], runtime["files"])
    validation = load_questions(task, source, "validation", options["seed"])
    parts = windows(tokenizer, validation, task, offsets=True)
    quality = span_quality(_answered(network, validation, parts, task, "cpu"), validation.answers)
    save_model(network, output, {"title": request["label"], "lines": [f"{k}: {v}" for k, v in quality.items()]})
    write_reference(network, output, *ids_and_types(parts), options["seed"])
    return {"validation": quality, "parameters": count_parameters(network)}


def scorer(
    questions: Questions, parts: Sequence[Window], task: dict[str, Any]
) -> Callable[[Mapping[int, SpanLogits]], dict[str, float]]:
    """A function from logits of some windows, by their index in ``parts``, to mean scores of the questions that they
    belong to (all of them, but in Lightning's sanity check)."""

    def score(found: Mapping[int, SpanLogits]) -> dict[str, float]:
        some = [parts[i] for i in sorted(found)]
        best = answers(questions, some, [found[i] for i in sorted(found)], task)
        asked = sorted({part.question for part in some})
        by_name = span_scores([best[q].text for q in asked], [questions.answers[q] for q in asked])
        return {name: float(values.mean()) for name, values in by_name.items()}

    return score


def ids_and_types(parts: Sequence[Window]) -> tuple[list[Any], list[Any]]:
    """Token ids and token types of each window, as arrays: as lists a large corpus would fill the memory."""
    return [p.ids for p in parts], [p.types for p in parts]


def window_inputs(tokenizer: Any, questions: Questions, task: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """:func:`ids_and_types` of all windows of all questions."""
    return ids_and_types(windows(tokenizer, questions, task, offsets=False))


def _options(request: dict[str, Any]) -> dict[str, Any]:
    """The step's options with the objective for spans."""
    options, objective = request["options"], request["options"]["objective"]
    target = objective["_target_"]
    return {**options, "objective": {**objective, "_target_": _OBJECTIVES.get(target, target)}}


def _training_windows(
    request: dict[str, Any], tokenizer: Any, everything: Questions, kept: list[int]
) -> tuple[list[Window], list[SpanLogits] | None]:
    """Windows of the questions at ``kept`` and, where they are cached, the teacher's logits on each."""
    parts = windows(tokenizer, everything, request["options"]["task"], offsets=False)
    chosen = set(kept)
    mine = [i for i, part in enumerate(parts) if part.question in chosen]
    folder = request["inputs"].get("teacher_logits")
    if folder is None:
        return [parts[i] for i in mine], None
    import numpy as np
    from safetensors.numpy import load_file

    flat = load_file(Path(folder) / teaching.LOGITS_FILE)["logits"]
    ends = np.cumsum([len(part) for part in parts])
    assert ends[-1] == flat.shape[1]
    return [parts[i] for i in mine], [flat[:, ends[i] - len(parts[i]) : ends[i]] for i in mine]


def _answered(
    network: Any, questions: Questions, parts: Sequence[Window], task: dict[str, Any], device: Any
) -> list[str]:
    from ..models.spans import span_logits

    logits = span_logits(network, *ids_and_types(parts), device, _BATCH)
    return [answer.text for answer in answers(questions, parts, logits, task)]


def _retention(
    request: dict[str, Any], own: list[str], questions: Questions, parts: Sequence[Window], device: Any
) -> dict[str, Any]:
    """As :func:`.teaching.retention`, of the first metric and resampled by question."""
    if "teacher" not in request["inputs"]:
        return {}
    from ..models.shrunken import load_span_model

    task = request["options"]["task"]
    teacher = load_span_model(Path(request["inputs"]["teacher"])).to(device)
    theirs = _answered(teacher, questions, parts, task, device)
    mine, base = (span_scores(a, questions.answers)[task["metrics"][0]] for a in (own, theirs))
    kept = teaching.kept_share(len(mine), lambda some: (mine[some].mean(), base[some].mean()))
    return {"teacher": {"validation": span_quality(theirs, questions.answers), **kept}}
