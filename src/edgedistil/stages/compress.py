"""Prune, recover, export: how a trained model folder becomes what ships."""

import logging
from pathlib import Path
from typing import Any

from ..learning.quiet import quiet
from ..store.files import link_or_copy
from ..tasks.source import Source

log = logging.getLogger("edgedistil")
MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "structure.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "reference.safetensors",
)


def export(request: dict[str, Any]) -> dict[str, Any]:
    """Write ``model.onnx`` at the chosen precision, lint it, and let it through the parity gate."""
    import onnx

    from ..export.graph import classifier_graph
    from ..export.lint import bytes_by_part, lint
    from ..export.parity import parity, verdict
    from ..export.precision import precision_of
    from ..export.weights import read_classifier

    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    quantization = options["quantization"]
    weights = read_classifier(source)
    model = classifier_graph(weights, precision_of(quantization), token_types=_uses_types(source))
    faults = lint(model, quantization["method"] != "none", float_tables=not quantization.get("embeddings", True))
    if faults:
        raise RuntimeError("the ONNX graph is not clean: " + "; ".join(faults))
    onnx.save(model, output / "model.onnx")
    for name in MODEL_FILES:
        if (source / name).is_file():
            link_or_copy(source / name, output / name)
    figures = parity(output / "model.onnx", output)
    log.info("parity: %s", figures)
    shut = verdict(figures, quantization)
    if shut:
        raise RuntimeError(f"parity gate: {shut}")
    _write_card(output, request["label"], figures)
    return {
        "parity": figures,
        "onnx_bytes_by_part": bytes_by_part(model),
        "structure": _structure(weights),
        **_counts(weights),
    }


def prune(request: dict[str, Any]) -> dict[str, Any]:
    """Zero small weights in place (magnitude) or cut heads and neurons out of the tensors (structured)."""
    from ..models.folder import count_parameters, save_model
    from ..models.reference import predict, read_reference, write_reference
    from ..models.shrunken import load_classifier, structure_of

    quiet()
    options, output, source = request["options"], Path(request["output"]), Path(request["inputs"]["model"])
    network = load_classifier(source)
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
    changed = float((predict(network, ids, types).argmax(-1) != dense.argmax(-1)).mean())
    return {
        **facts,
        "parameters": count_parameters(network),
        "parameters_before": before,
        "structure": structure_of(network),
        "reference_answers_changed": changed,
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
    examples = _training_part(request, pruning["calibration_sentences"])
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
    examples = _training_part(request, recovery["steps"] * recovery["batch_size"])
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


def _training_part(request: dict[str, Any], limit: int) -> Any:
    """Texts of the training part, never those held out for model choice, cut to ``limit`` at random."""
    import random

    from ..tasks.examples import hold_out, load

    options = request["options"]
    task = options["task"]
    names = _label_names(Path(request["inputs"]["model"]))
    everything = load(task, Source(options["data"], request["runtime"]["files"]), "train", names, options["seed"])
    rest, _ = hold_out(everything, task["held_out"], options["seed"], task.get("phrases", False))
    order = list(range(len(rest)))
    random.Random(options["seed"]).shuffle(order)
    return rest.take(order[:limit])


def _label_names(folder: Path) -> list[str]:
    import json

    id2label = json.loads((folder / "config.json").read_text())["id2label"]
    return [id2label[key] for key in sorted(id2label, key=int)]


def _take_tokenizer(source: Path, output: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).is_file():
            link_or_copy(source / name, output / name)


def _counts(weights: Any) -> dict[str, Any]:
    import numpy as np

    from ..measurement.flops import classifier_flops

    matrices = [
        getattr(layer, part).weight
        for layer in weights.layers
        for part in ("query", "key", "value", "out", "ffn_in", "ffn_out")
    ]
    zeros = sum(int(np.count_nonzero(m == 0)) for m in matrices)
    return {
        "parameters": weights.parameters,
        "encoder_sparsity": round(zeros / sum(m.size for m in matrices), 6),
        "gflops_by_tokens": {str(n): round(classifier_flops(weights, n) / 1e9, 6) for n in (16, 32, 64, 128)},
    }


def _uses_types(folder: Path) -> bool:
    """Whether the task's texts are pairs, told by the reference sentences: only then is a third input worth having."""
    from ..models.reference import read_reference

    return any(any(row) for row in read_reference(folder)[1])


def _structure(weights: Any) -> list[dict[str, int]]:
    return [{"heads": layer.heads, "ffn": layer.ffn_in.bias.size} for layer in weights.layers]


def _write_card(output: Path, label: str, figures: dict[str, Any]) -> None:
    lines = "\n".join(f"- parity {k}: {v:g}" for k, v in figures.items())
    (output / "README.md").write_text(
        f"---\nlibrary_name: onnxruntime\ntags: [edgedistil]\n---\n# {label}\n\n"
        f"`model.onnx` takes `input_ids` and `attention_mask`, gives `logits`.\n\n{lines}\n"
    )
