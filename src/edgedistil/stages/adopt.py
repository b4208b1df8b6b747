"""Adopting: taking a model that somebody else fine-tuned, as a folder or as a bare ONNX file."""

import json
import shutil
from pathlib import Path
from typing import Any

from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError
from ..learning.quiet import quiet
from ..tasks.source import Source
from .train import validation_report


def adopt(request: dict[str, Any]) -> dict[str, Any]:
    """Take a model that is already fine-tuned: check that it loads, answers and fits the task, and keep it."""
    if request["options"]["task"]["kind"] == QUESTION_ANSWERING:
        from . import answering

        return answering.adopt(request)
    options, runtime = request["options"], request["runtime"]
    quiet()
    from transformers import AutoModelForSequenceClassification

    from ..models.folder import count_parameters, save_model
    from ..models.loading import hub_errors, save_tokenizer
    from ..models.reference import write_reference
    from ..models.shrunken import load_classifier
    from ..models.vocabulary import check_vocabulary_fits
    from ..tasks.encode import encode_with_types, load_tokenizer
    from ..tasks.examples import load

    output, task = Path(request["output"]), options["task"]
    if options["model"]["origin"] == "folder":
        network = load_classifier(Path(runtime["location"]))
    else:
        with hub_errors(runtime["location"], options["model"]):
            network = (
                AutoModelForSequenceClassification.from_pretrained(
                    runtime["location"],
                    revision=options["model"]["revision"],
                    trust_remote_code=False,
                    use_safetensors=True,
                )
                .float()
                .eval()
            )
    save_tokenizer(runtime["location"], options["model"], output)
    tokenizer = load_tokenizer(output, task["max_length"])
    check_vocabulary_fits(tokenizer.get_vocab_size(), network.config.vocab_size)
    if task.get("regression"):
        names = _single_output(network.config.id2label)
    else:
        names = label_names(network.config.id2label, task["labels"])
    network.config.id2label = dict(enumerate(names))
    network.config.label2id = {name: i for i, name in enumerate(names)}
    validation = load(task, Source(options["data"], runtime["files"]), "validation", names, options["seed"])
    ids, types = encode_with_types(tokenizer, validation.texts)
    quality = validation_report(network, ids, types, validation.labels, task["metrics"])
    save_model(network, output, {"title": request["label"], "lines": [f"{k}: {v}" for k, v in quality.items()]})
    write_reference(network, output, ids, types, options["seed"])
    return {"validation": quality, "parameters": count_parameters(network), "label_names": names}


def adopt_onnx(request: dict[str, Any]) -> dict[str, Any]:
    """Take an ONNX file as it is, with its tokenizer: measured, never changed."""
    from ..workers.onnx import check_inputs

    options, runtime, output = request["options"], request["runtime"], Path(request["output"])
    _copy_onnx(Path(runtime["location"]), output / "model.onnx")
    shutil.copyfile(Path(runtime["tokenizer"]) / "tokenizer.json", output / "tokenizer.json")
    try:
        found = check_inputs(output)
    except Exception as error:
        raise UserError(
            f"{runtime['location']} can't be opened by ONNX Runtime: {str(error).splitlines()[0]}"
        ) from error
    unknown = set(found["inputs"]) - {"input_ids", "attention_mask", "token_type_ids"}
    if unknown or "input_ids" not in found["inputs"]:
        raise UserError(
            f"{runtime['location']} takes {', '.join(found['inputs'])}; known are input_ids, attention_mask and "
            "token_type_ids"
        )
    if isinstance(found["classes"], int) and options["labels"] and found["classes"] != len(options["labels"]):
        raise UserError(
            f"{runtime['location']} has {found['classes']} outputs, task.labels names {len(options['labels'])}"
        )
    config = Path(runtime["tokenizer"]) / "config.json"
    names = json.loads(config.read_text()).get("id2label") if config.is_file() else None
    if names:
        names = dict(enumerate(label_names(names, options["labels"])))
    elif options["labels"]:
        names = dict(enumerate(options["labels"]))
    if not names:
        raise UserError(
            f"the classes of {runtime['location']} have no names: put config.json beside the tokenizer or give "
            "task.labels=[...] in the model's order"
        )
    (output / "config.json").write_text(json.dumps({"id2label": names}, indent=2))
    return {"inputs": found["inputs"]}


def _copy_onnx(source: Path, target: Path) -> None:
    """Copy an ONNX file with the files that hold its weights, which keep the names that it knows them by."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    from ..models.origin import outside_weights

    try:
        tensors = onnx.load(source, load_external_data=False).graph.initializer
    except Exception as error:
        raise UserError(f"{source} can't be opened as ONNX: {str(error).splitlines()[0]}") from error
    wanted = {ExternalDataInfo(t).location for t in tensors if uses_external_data(t)}
    known = {file.name: file for file in outside_weights(source)}
    if wanted - set(known):
        raise UserError(
            f"{source} keeps weights in {', '.join(sorted(wanted - set(known)))}, which must lie beside it as "
            f"{source.name}.data, {source.name}_data or {source.stem}.data"
        )
    shutil.copyfile(source, target)
    for name in wanted:
        shutil.copyfile(known[name], target.with_name(name))


def label_names(id2label: dict[Any, str], wanted: list[str] | None) -> list[str]:
    """The classes in the model's order; a model that only says LABEL_0, LABEL_1 takes the task's names in its order.

    Raises:
        UserError: the model has another number of classes than the task.
    """
    own = [str(id2label[i]) for i in sorted(id2label, key=int)]
    if wanted and len(wanted) != len(own):
        raise UserError(
            f"the model has {len(own)} classes ({', '.join(own)}), the task {len(wanted)} ({', '.join(wanted)})"
        )
    if wanted and all(name.upper() == f"LABEL_{i}" for i, name in enumerate(own)):
        return wanted
    if wanted and {n.lower() for n in wanted} != {n.lower() for n in own}:
        raise UserError(
            f"the model calls its classes {', '.join(own)}, the task {', '.join(wanted)}; give the model's own names "
            "in task.labels"
        )
    return own


def _single_output(id2label: dict[Any, str]) -> list[str]:
    from ..tasks.examples import SCORE

    if len(id2label) != 1:
        raise UserError(f"the model has {len(id2label)} classes, but task.regression=true needs one output")
    return [SCORE]
