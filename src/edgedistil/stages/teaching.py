"""What a teacher gives to a training: its classes, itself or its cached logits, and a score to be measured against."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError
from ..learning.quiet import quiet
from ..tasks.source import Source

LOGITS_FILE = "teacher_logits.safetensors"
# Texts a batch while logits are computed; sorted by length there is next to no padding.
_BATCH = 64


def class_names(request: dict[str, Any]) -> list[str] | None:
    """The teacher's classes in its order, which its student takes over; None without a teacher."""
    if "teacher" not in request["inputs"]:
        return None
    id2label = json.loads((Path(request["inputs"]["teacher"]) / "config.json").read_text())["id2label"]
    return [id2label[key] for key in sorted(id2label, key=int)]


def arguments(request: dict[str, Any], student: Path) -> dict[str, Any]:
    """``teacher=`` for the objective: the network, or None where its logits are cached; nothing without a teacher.

    Args:
        student: the folder with the student's tokenizer.

    Raises:
        UserError: the vocabularies differ.
    """
    inputs = request["inputs"]
    if "teacher" not in inputs:
        return {}
    from ..models.shrunken import load_model
    from ..models.vocabulary import check_same_vocabulary

    check_same_vocabulary(Path(inputs["teacher"]), student)
    return {"teacher": None if "teacher_logits" in inputs else load_model(Path(inputs["teacher"]))}


def training_module(group: str, chosen: dict[str, Any], scheduler: dict[str, Any], **given: Any) -> Any:
    """The LightningModule of a training by the parent, whose messages name the options of its group.

    Args:
        group: e.g. ``compression.recovery``; ``chosen`` are its values.

    Raises:
        UserError: the objective's options do not fit each other or the models.
    """
    from ..config.build import build

    try:
        made = build(chosen["objective"], optimizer=build(chosen["optimizer"]), scheduler=build(scheduler), **given)
    except UserError as error:
        raise UserError(re.sub(r"(?<![.\w])objective\.", f"{group}.objective.", str(error))) from error
    made.rate_option = f"{group}.optimizer.lr"
    return made


def cached_logits(request: dict[str, Any], indices: list[int]) -> Any:
    """The teacher's logits ``[len(indices), classes]`` on those texts of the training split and its copies, or None."""
    folder = request["inputs"].get("teacher_logits")
    if folder is None:
        return None
    from safetensors.torch import load_file

    return load_file(Path(folder) / LOGITS_FILE)["logits"][indices]


def teacher_logits(request: dict[str, Any]) -> dict[str, Any]:
    """Step: the teacher's answers on every text of the training split, in its order, and on augmented ones behind
    them, once for all its students."""
    if request["options"]["task"]["kind"] == QUESTION_ANSWERING:
        from . import answering

        return answering.teacher_logits(request)
    quiet()
    import torch
    from safetensors.torch import save_file

    from ..models.loading import save_tokenizer
    from ..models.shrunken import load_classifier
    from ..models.vocabulary import check_same_vocabulary
    from ..tasks.batching import rows
    from ..tasks.copies import with_copies
    from ..tasks.encode import load_tokenizer
    from ..tasks.examples import load

    options, runtime, output = request["options"], request["runtime"], Path(request["output"])
    folder, task = Path(request["work"]) / "tokenizer", options["task"]
    save_tokenizer(runtime["location"], options["tokenizer"], folder)
    check_same_vocabulary(Path(request["inputs"]["teacher"]), folder)
    source = Source(options["data"], runtime["files"])
    examples = load(task, source, "train", class_names(request), options.get("seed", 0))
    examples, _ = with_copies(examples, request["inputs"].get("augmented"))
    data = rows(load_tokenizer(folder, task["max_length"]), examples)
    device = torch.device("cuda" if options["accelerator"] in ("gpu", "cuda") else "cpu")
    network = load_classifier(Path(request["inputs"]["teacher"])).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=options["precision"] == "bf16-mixed"):
        logits = compute_logits(network, data, device)
    save_file({"logits": logits}, output / LOGITS_FILE)
    return {"texts": len(logits), "classes": logits.shape[1], "tokens": sum(len(row[0]) for row in data)}


def compute_logits(network: Any, data: Sequence[Any], device: Any) -> Any:
    """Logits ``[texts, classes]`` in float32 on the CPU, in the order of ``data`` (rows of ids, types and label)."""
    import torch

    from ..learning.fine_tuning import model_inputs
    from ..tasks.batching import collate

    order = sorted(range(len(data)), key=lambda i: len(data[i][0]))
    logits = torch.empty(len(data), network.config.num_labels)
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            batch = collate([data[i] for i in some], network.config.pad_token_id or 0)
            inputs = {name: value.to(device) for name, value in model_inputs(network, batch).items()}
            logits[some] = network(**inputs).logits.float().cpu()
    return logits


def retention(
    request: dict[str, Any], answers: Any, ids: list[list[int]], types: list[list[int]], labels: Sequence[float]
) -> dict[str, Any]:
    """The teacher's scores on the same validation texts and what share of its first the student keeps.

    Returns:
        ``{"teacher": {...}}`` with ``retention`` = student's score / teacher's and its 95 % interval from a paired
        bootstrap over the texts (Efron 1979, percentiles of 2000 resamples); ``{}`` without a teacher.
    """
    if "teacher" not in request["inputs"]:
        return {}
    import numpy as np

    from ..models.reference import predict
    from ..models.shrunken import load_classifier
    from ..tasks.metrics import decided, score
    from .train import report

    metrics, expected = request["options"]["task"]["metrics"], np.array(labels)
    theirs = decided(predict(load_classifier(Path(request["inputs"]["teacher"])), ids, types))

    def scores(some: Any) -> tuple[float, float]:
        return score(metrics[0], answers[some], expected[some]), score(metrics[0], theirs[some], expected[some])

    return {"teacher": {"validation": report(theirs, labels, metrics), **kept_share(len(labels), scores)}}


def kept_share(n: int, scores: Callable[[Any], tuple[float, float]]) -> dict[str, float | None]:
    """``retention`` and its 95 % interval as :func:`retention` defines them; None where the teacher's score is 0.

    Args:
        n: how many texts or questions there are.
        scores: (student's score, teacher's score) on those at the given indices.
    """
    import numpy as np

    def ratio(some: Any) -> float:
        own, base = scores(some)
        return own / base if base > 0 else float("nan")

    chance = np.random.default_rng(0)
    ratios = [ratio(chance.integers(n, size=n)) for _ in range(2000)]
    figures = {"retention": ratio(np.arange(n))}
    figures["retention_ci95_low"], figures["retention_ci95_high"] = np.percentile(ratios, (2.5, 97.5))
    return {name: round(float(v), 6) if np.isfinite(v) else None for name, v in figures.items()}
