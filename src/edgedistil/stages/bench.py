"""Measure one cell: answers through the engine that ships, then times side by side with the uncompressed parent."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ..config.question_answering import QUESTION_ANSWERING
from ..devices import host
from ..devices.cores import quietest_cores
from ..measurement.calibration import peak_of, saturation_warning
from ..measurement.figures import latency_figures, share_of_peak, speedup, throughput_figures
from ..measurement.inputs import length_facts
from ..measurement.interleave import Samples
from ..measurement.quality import against_parent, quality
from ..measurement.size import size_by_part
from ..measurement.validity import machine_drift, reasons_against, switches_per_s, waiting_share
from ..store.files import read_json, write_json
from ..tasks.encode import encode, load_tokenizer
from ..tasks.examples import Examples, load
from ..tasks.source import Source
from ..workers.client import Worker
from . import asking
from .timing import Measured, cold_starts, places, run, start_figures

log = logging.getLogger("edgedistil")
# 2: generations of processes, warm cold starts read the model file through first, drops of the page cache, bounds.
RECORD_SCHEMA = 2


def predict(request: dict[str, Any]) -> dict[str, Any]:
    """Answers to the whole validation split, one sentence at a time through the engine, on the bytes that ship."""
    options, folder = request["options"], Path(request["inputs"]["model"])
    if options["task"]["kind"] == QUESTION_ANSWERING:
        return asking.predict(request)
    examples = _validation(request, folder)
    with Worker(options["engine"]["engine"], 1, python=request["runtime"].get("interpreter")) as worker:
        worker.load(folder, options["task"]["max_length"], examples.texts[0], options["quantization"])
        logits = worker.ask("predict", texts=[list(t) for t in examples.texts])["logits"]
    save_file(
        {"logits": np.array(logits, np.float32), "labels": np.array(examples.labels, np.int64)},
        Path(request["output"]) / "predictions.safetensors",
    )
    return {"n": len(examples)}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Write ``record.json`` and ``samples.json`` (every single time) and return whether the times may be quoted."""
    options, output = request["options"], Path(request["output"])
    candidate, threads = Path(request["inputs"]["candidate"]), options["device"]["threads"]
    texts, ids = _inputs(request, candidate)
    busy_before, load_before, started = host.busy_cores(), host.load_average(), time.monotonic()
    cores, unpinned_because = quietest_cores(threads)
    stand = places(request)
    found = run(options, stand, texts, ids, cores)
    cold = cold_starts(options, stand["candidate"], texts[0], found.starts["candidate"], cores)
    conditions = {
        "mode": options["measurement"]["mode"],
        "cores": threads,
        "busy_cores_before": busy_before,
        "busy_cores_after": host.busy_cores(),
        "meanwhile": found.meanwhile,
        "calibration_before": found.calibration_before,
        "calibration_after": found.calibration_after,
        "unsteady": found.unsteady,
    }
    reasons = reasons_against(found.samples, conditions)
    baselines = [name for name in stand if name != "candidate"]
    model = _model_facts(request)
    warning = saturation_warning(_exported_as(candidate), found.saturates)
    if warning:
        log.warning("%s", warning)
    record = {
        "schema_version": RECORD_SCHEMA,
        "status": "done",
        "fingerprint": request["fingerprint"],
        "names": options["names"],
        "compression": options["compression"],
        "device": options["device"],
        "quality": _quality(request, "predictions"),
        "baseline_quality": {b: _quality(request, _answers_of(b)) for b in baselines},
        "random_weights": options["random_weights"],
        "engines": {
            b: {k: described[k] for k in ("engine", "versions", "session")}
            for b, described in options["baseline_workers"].items()
        },
        "latency": _latency(found, model, options),
        "baselines": {b: {s: latency_figures(r) for s, r in found.samples[b].items()} for b in baselines},
        "speedup": _ratios(found.samples, baselines),
        "throughput": _throughput(found.batches, "candidate"),
        "baseline_throughput": {b: _throughput(found.batches, b) for b in baselines},
        "throughput_speedup": _ratios(found.batches, baselines),
        "tokenization": found.tokenization,
        "cold_start": cold,
        "baseline_cold_start": {b: start_figures(found.starts[b]) for b in baselines},
        "memory": found.memory["candidate"],
        "baseline_memory": {b: found.memory[b] for b in baselines},
        "size": size_by_part(candidate, options["device"]["engine"]),
        "model": model,
        "token_lengths": length_facts(ids),
        "calibration": {"before": found.calibration_before, "after": found.calibration_after},
        "environment": {
            **options["host"],
            "int8_saturates": found.saturates["s8"],
            "int8_saturates_by_weights": found.saturates,
            "int8_warning": warning,
            "engine": options["engine"],
            "pinned_cores": cores,
            "unpinned_because": unpinned_because,
            "cores_of_workers": found.pinned,
            "kept_workers": found.kept,
            "busy_cores_before": busy_before,
            "busy_cores_after": conditions["busy_cores_after"],
            "meanwhile": found.meanwhile,
            "waiting_share": {w: round(waiting_share(found.samples, w), 4) for w in stand},
            "involuntary_switches_per_s": {w: round(switches_per_s(found.samples, w), 2) for w in stand},
            "machine_drift": {s: round(machine_drift(found.samples, s), 4) for s in found.samples["candidate"]},
            "load_average_before": load_before,
            "load_average_after": host.load_average(),
            "seconds": round(time.monotonic() - started, 2),
        },
        "measurement": options["measurement"],
        "valid": not reasons,
        "invalid_because": reasons,
    }
    write_json(output / "record.json", record)
    write_json(output / "samples.json", {w: found.samples[w] | found.batches.get(w, {}) for w in stand})
    return {"valid": record["valid"]}


def _inputs(request: dict[str, Any], folder: Path) -> tuple[Sequence[tuple[str, ...]], list[list[int]]]:
    """(validation texts, token ids of what the model is run on: the texts, or windows of contexts)."""
    task = request["options"]["task"]
    if task["kind"] == QUESTION_ANSWERING:
        return asking.inputs(request, folder)
    texts = _validation(request, folder).texts
    return texts, encode(load_tokenizer(folder, task["max_length"]), texts)


def _validation(request: dict[str, Any], folder: Path) -> Examples:
    options = request["options"]
    names = None
    if (folder / "config.json").is_file():
        id2label = read_json(folder / "config.json").get("id2label") or {}
        names = [id2label[key] for key in sorted(id2label, key=int)] or None
    return load(
        options["task"] | {"limit_train": None},
        Source(options["data"], request["runtime"]["files"]),
        "validation",
        names,
        options["seed"],
    )


def _latency(found: Measured, model: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Latency figures by scenario; exact lengths also as a share of what the cores give in the cell's precision."""
    compression = options["compression"] or {}
    quantization = compression.get("quantization", {}).get("method", "none")
    peak = peak_of(found.calibration_before, found.calibration_after, quantization)
    figures = {}
    for scenario, rounds in found.samples["candidate"].items():
        figures[scenario] = latency_figures(rounds)
        if scenario.startswith("tokens_"):
            gflops = model.get("gflops_by_tokens", {}).get(scenario.removeprefix("tokens_"))
            figures[scenario]["share_of_peak"] = share_of_peak(figures[scenario]["latency_ms_p50"], gflops, peak)
    return figures


def _ratios(samples: Samples, baselines: list[str]) -> dict[str, Any]:
    return {
        b: {scenario: speedup(rounds, samples[b][scenario]) for scenario, rounds in samples["candidate"].items()}
        for b in baselines
        if samples
    }


def _throughput(samples: Samples, worker: str) -> dict[str, Any]:
    return {
        scenario: throughput_figures(rounds, int(scenario.rsplit("_", 1)[1]))
        for scenario, rounds in samples.get(worker, {}).items()
    }


def _answers_of(baseline: str) -> str:
    """The input that holds a baseline's answers; the parent's are there anyway, under its own name."""
    return "parent_predictions" if baseline == "onnxruntime_fp32" else f"{baseline}_predictions"


def _quality(request: dict[str, Any], answers: str) -> dict[str, Any] | None:
    """Scores of one engine's answers; None where there are none (random weights, PyTorch's)."""
    options = request["options"]
    if answers not in request["inputs"]:
        return None
    sample = {"sample": options["task"]["limit_validation"] is not None}
    if options["task"]["kind"] == QUESTION_ANSWERING:
        return asking.quality(request, answers) | sample
    own = load_file(Path(request["inputs"][answers]) / "predictions.safetensors")
    result = quality(own["logits"], own["labels"], options["task"]["metrics"]) | sample
    if "parent_predictions" in request["inputs"]:
        parent = load_file(Path(request["inputs"]["parent_predictions"]) / "predictions.safetensors")
        result["against_parent"] = against_parent(own["logits"], parent["logits"], own["labels"])
    return result


def _exported_as(candidate: Path) -> dict[str, Any]:
    """The quantisation that the candidate's file was made with, its weights' form decided; none of other folders."""
    options = read_json(candidate / "artifact.json").get("options", {})
    quantization: dict[str, Any] = options.get("quantization", {"method": "none"})
    return quantization


def _model_facts(request: dict[str, Any]) -> dict[str, Any]:
    """What the export or training step noted of the model: parameters, structure, sparsity, FLOPs, parity."""
    facts: dict[str, Any] = read_json(Path(request["inputs"]["candidate"]) / "artifact.json")["facts"]
    wanted = ("parameters", "structure", "encoder_sparsity", "gflops_by_tokens", "parity", "onnx_bytes_by_part")
    return {key: facts[key] for key in wanted if key in facts}
