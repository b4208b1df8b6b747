"""Measure one cell: answers through the engine that ships, then times side by side with the uncompressed parent."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ..config.allowed import MASKED_LM
from ..config.canonical import QUALITY_ALONE
from ..config.question_answering import QUESTION_ANSWERING
from ..measurement.calibration import peak_of, product_of, saturation_warning
from ..measurement.figures import latency_figures, share_of_peak, speedup, throughput_figures
from ..measurement.inputs import length_facts
from ..measurement.interleave import Samples
from ..measurement.size import size_by_part
from ..measurement.validity import machine_drift, reasons_against, switches_per_s, waiting_share
from ..store.files import read_json, write_json
from ..tasks.encode import encode, load_tokenizer
from ..tasks.examples import Examples, load
from ..tasks.source import Source
from ..tasks.training_part import class_names, test_part
from . import asking
from .language_quality import lines_and_ids
from .scores import PREDICTIONS_FILE, more_quality_of, quality_of, test_quality_of
from .site import Site, site_of
from .telling import telling
from .timing import Measured, cold_starts, places, run, start_figures

log = logging.getLogger("edgedistil")
# 2: generations of processes, warm cold starts read the model file through first, drops of the page cache, bounds.
# 3: intervals and p-values of a test part of phrases are of sentences; points of every metric.
RECORD_SCHEMA = 3


def predict(request: dict[str, Any]) -> dict[str, Any]:
    """Answers to a whole split, one sentence at a time through the engine, on the bytes that ship.

    The split is validation's, or with ``options.split`` = ``test`` the test part of the training split, or one of
    ``task.more_splits``.
    """
    options, folder = request["options"], Path(request["inputs"]["model"])
    if options["task"]["kind"] == QUESTION_ANSWERING:
        return asking.predict(request)
    sentences = None
    if options.get("split") == "test":
        examples, sentences = test_part(request)
    else:
        examples = _validation(request, folder, options.get("split", "validation"))
    with telling(request, folder, examples.texts[0]) as teller:
        logits = teller.logits(examples.texts)
    # int64 of classes, float64 of numbers
    kept: dict[str, Any] = {"logits": np.array(logits, np.float32), "labels": np.array(examples.labels)}
    if sentences is not None:
        kept["sentences"] = np.array(sentences, np.int64)
    save_file(kept, Path(request["output"]) / PREDICTIONS_FILE)
    return {"n": len(examples)}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Write ``record.json`` and ``samples.json`` (every single time) and return whether the times may be quoted.

    With ``measurement.mode`` = ``quality`` nothing is timed: the record has scores and sizes, and no ``samples.json``.
    """
    options, output = request["options"], Path(request["output"])
    if options["measurement"]["mode"] == QUALITY_ALONE:
        write_json(output / "record.json", _untimed(request))
        return {"timed": False}
    with site_of(request) as site:
        record, samples = _timed(request, site)
    write_json(output / "record.json", record)
    write_json(output / "samples.json", samples)
    return {"valid": record["valid"]}


def _timed(request: dict[str, Any], site: Site) -> tuple[dict[str, Any], dict[str, Any]]:
    options = request["options"]
    candidate, threads = Path(request["inputs"]["candidate"]), options["device"]["threads"]
    texts, ids = _inputs(request, candidate)
    busy_before, load_before, started = site.busy_cores(), site.load_average(), time.monotonic()
    cores, unpinned_because = site.quiet_cores()
    stand = places(request)
    found = run(options, site, stand, texts, ids, cores)
    cold = cold_starts(options, site, stand["candidate"], texts[0], found.starts["candidate"], cores)
    conditions = {
        "mode": options["measurement"]["mode"],
        "cores": threads,
        "busy_cores_before": busy_before,
        "busy_cores_after": site.busy_cores(),
        "meanwhile": found.meanwhile,
        "calibration_before": found.calibration_before,
        "calibration_after": found.calibration_after,
        "unsteady": found.unsteady,
    }
    # An emulator's times mean nothing, however steady they are.
    reasons = [] if site.emulated else reasons_against(found.samples, conditions)
    reasons += site.reasons_against()
    baselines = [name for name in stand if name != "candidate"]
    what = _what_it_is(request)
    warning = saturation_warning(_exported_as(candidate), found.saturates)
    if warning:
        log.warning("%s", warning)
    record = {
        **what,
        "baseline_quality": {b: quality_of(request, _answers_of(b)) for b in baselines},
        "engines": {
            b: {k: described[k] for k in ("engine", "versions", "session")}
            for b, described in options["baseline_workers"].items()
        },
        "latency": _latency(found, what["model"], options),
        "baselines": {b: {s: latency_figures(r) for s, r in found.samples[b].items()} for b in baselines},
        "speedup": _ratios(found.samples, baselines),
        "throughput": _work(_throughput(found.batches, "candidate"), what["model"], _peak(found, options)),
        **({"out_of_memory": found.out_of_memory} if found.out_of_memory else {}),
        "baseline_throughput": {b: _throughput(found.batches, b) for b in baselines},
        "throughput_speedup": _ratios(found.batches, baselines),
        "tokenization": found.tokenization,
        "cold_start": cold,
        "baseline_cold_start": {b: start_figures(found.starts[b]) for b in baselines},
        "memory": found.memory["candidate"],
        "baseline_memory": {b: found.memory[b] for b in baselines},
        "token_lengths": length_facts(ids),
        "calibration": {"before": found.calibration_before, "after": found.calibration_after},
        "environment": {
            **options["host"],
            "int8_saturates": found.saturates.get("s8"),
            "int8_saturates_by_weights": found.saturates,
            "int8_warning": warning,
            **({"worker_facts": found.facts} if found.facts else {}),
            **({"isa": found.facts["candidate"]["isa"]} if found.facts.get("candidate", {}).get("isa") else {}),
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
            "load_average_after": site.load_average(),
            **site.facts(),
            "seconds": round(time.monotonic() - started, 2),
        },
        "measurement": options["measurement"],
        "valid": not reasons,
        "invalid_because": reasons,
    }
    return record, {w: found.samples[w] | found.batches.get(w, {}) for w in stand}


def _untimed(request: dict[str, Any]) -> dict[str, Any]:
    options = request["options"]
    return {
        **_what_it_is(request),
        "timed": False,
        "environment": {**options["host"], "engine": options["engine"]},
        "measurement": options["measurement"],
    }


def _what_it_is(request: dict[str, Any]) -> dict[str, Any]:
    """What a record says of a cell beside times: names, scores, sizes, facts of the model."""
    options, inputs = request["options"], request["inputs"]
    parent = {"parent_size": size_by_part(Path(inputs["parent"]), "onnxruntime")} if "parent" in inputs else {}
    return {
        "schema_version": RECORD_SCHEMA,
        "status": "done",
        "fingerprint": request["fingerprint"],
        "names": options["names"],
        "compression": options["compression"],
        "device": options["device"],
        "seed": options["seed"],
        "quality": quality_of(request, "predictions"),
        **test_quality_of(request),
        **more_quality_of(request),
        "random_weights": options["random_weights"],
        "size": size_by_part(Path(inputs["candidate"]), options["device"]["engine"]),
        **parent,
        "model": _model_facts(request),
    }


def _inputs(request: dict[str, Any], folder: Path) -> tuple[Sequence[tuple[str, ...]], list[list[int]]]:
    """(validation texts, token ids of what the model is run on: the texts, or windows of contexts)."""
    task = request["options"]["task"]
    if task["kind"] == QUESTION_ANSWERING:
        return asking.inputs(request, folder)
    if task["kind"] == MASKED_LM:
        return lines_and_ids(request, folder)
    texts = _validation(request, folder).texts
    return texts, encode(load_tokenizer(folder, task["max_length"]), texts)


def _validation(request: dict[str, Any], folder: Path, split: str = "validation") -> Examples:
    options = request["options"]
    return load(
        options["task"] | {"limit_train": None},
        Source(options["data"], request["runtime"]["files"]),
        split,
        class_names(folder),
        options["seed"],
    )


def _latency(found: Measured, model: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Latency figures by scenario; exact lengths also as a share of what the cores give in the cell's precision."""
    peak = _peak(found, options)
    figures = {}
    for scenario, rounds in found.samples["candidate"].items():
        figures[scenario] = latency_figures(rounds)
        if scenario.startswith("tokens_"):
            gflops = model.get("gflops_by_tokens", {}).get(scenario.removeprefix("tokens_"))
            figures[scenario]["share_of_peak"] = share_of_peak(figures[scenario]["latency_ms_p50"], gflops, peak)
    return figures


def _peak(found: Measured, options: dict[str, Any]) -> float | None:
    quantization = (options["compression"] or {}).get("quantization", {}).get("method", "none")
    product = product_of(quantization, options["device"])
    return peak_of(found.calibration_before, found.calibration_after, product)


def _work(throughput: dict[str, Any], model: dict[str, Any], peak: float | None) -> dict[str, Any]:
    """Throughput of batches of exact lengths with the operations they did: TFLOP/s, and the share of the peak."""
    for scenario, figures in throughput.items():
        gflops = model.get("gflops_by_tokens", {}).get(scenario.split("_")[1]) if "tokens_" in scenario else None
        if gflops:
            rate = figures["sentences_per_s"] * gflops
            figures |= {"tflops_per_s": round(rate / 1e3, 4), "share_of_peak": share_of_peak(1000.0, rate, peak)}
    return throughput


def _ratios(samples: Samples, baselines: list[str]) -> dict[str, Any]:
    return {
        b: {s: speedup(rounds, samples[b][s]) for s, rounds in samples["candidate"].items() if s in samples.get(b, {})}
        for b in baselines
        if samples.get("candidate")
    }


def _throughput(samples: Samples, worker: str) -> dict[str, Any]:
    return {
        scenario: throughput_figures(rounds, int(scenario.rsplit("_", 1)[1]))
        for scenario, rounds in samples.get(worker, {}).items()
    }


def _answers_of(baseline: str) -> str:
    """The input that holds a baseline's answers; the parent's are there anyway, under its own name."""
    return "parent_predictions" if baseline == "onnxruntime_fp32" else f"{baseline}_predictions"


def _exported_as(candidate: Path) -> dict[str, Any]:
    """The quantisation that the candidate's file was made with, its weights' form decided; none of other folders."""
    options = read_json(candidate / "artifact.json").get("options", {})
    quantization: dict[str, Any] = options.get("quantization", {"method": "none"})
    return quantization


def _model_facts(request: dict[str, Any]) -> dict[str, Any]:
    """What the export or training step noted of the model: parameters, structure, sparsity, FLOPs, parity."""
    facts: dict[str, Any] = read_json(Path(request["inputs"]["candidate"]) / "artifact.json")["facts"]
    wanted = ("parameters", "structure", "encoder_sparsity", "gflops_by_tokens", "parity", "onnx_bytes_by_part", "head")
    found = {key: facts[key] for key in (*wanted, "padding_spread") if key in facts}
    if request["options"]["device"]["kind"] == "cuda" and "gflops_by_tokens" not in found:
        found |= _flops_in_pytorch(Path(request["inputs"]["candidate"]))
    return found


def _flops_in_pytorch(folder: Path) -> dict[str, Any]:
    from ..export.reading import can_read, read_model
    from ..measurement.flops import graph_flops

    if can_read(folder):
        return {}
    weights = read_model(folder)
    counts = {str(n): round(graph_flops(weights, n, trimmed=False) / 1e9, 6) for n in (16, 32, 64, 128, 256, 512)}
    return {"gflops_by_tokens": counts}
