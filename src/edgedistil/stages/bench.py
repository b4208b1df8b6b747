"""Measure one cell: answers through the engine that ships, then times side by side with the uncompressed parent."""

import logging
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ..devices import host
from ..measurement.interleave import Samples, Scenario, interleave, latency_figures, speedup
from ..measurement.quality import against_parent, quality
from ..measurement.size import size_by_part
from ..measurement.statistics import median
from ..measurement.validity import reasons_against
from ..store.files import read_json, write_json
from ..tasks.encode import encode, load_tokenizer
from ..tasks.examples import Examples, load
from ..tasks.source import Source
from ..workers.client import Worker

log = logging.getLogger("edgedistil")
RECORD_SCHEMA = 1


def predict(request: dict[str, Any]) -> dict[str, Any]:
    """Answers to the whole validation split, one sentence at a time through the engine, on the bytes that ship."""
    options, folder = request["options"], Path(request["inputs"]["model"])
    examples = _validation(request, folder)
    with Worker(options["engine"]["engine"], threads=1) as worker:
        worker.load(folder, options["task"]["max_length"], examples.texts[0], options["quantization"])
        logits = worker.ask("predict", texts=[list(t) for t in examples.texts])["logits"]
    save_file(
        {"logits": np.array(logits, np.float32), "labels": np.array(examples.labels, np.int64)},
        Path(request["output"]) / "predictions.safetensors",
    )
    return {"n": len(examples)}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Write ``record.json`` and ``samples.json`` (every single time) and return the record."""
    options = request["options"]
    candidate = Path(request["inputs"]["candidate"])
    examples = _validation(request, candidate)
    ids = encode(load_tokenizer(candidate, options["task"]["max_length"]), examples.texts)
    busy_before, load_before = host.busy_cores(), host.load_average()
    started = time.monotonic()
    cold = _cold_starts(options, candidate, examples)
    samples, workers, batches = _times(request, candidate, examples, ids)
    engine = options["device"]["engine"]
    reasons = reasons_against(samples, busy_before)
    record = {
        "schema_version": RECORD_SCHEMA,
        "status": "done",
        "fingerprint": request["fingerprint"],
        "names": options["names"],
        "compression": options["compression"],
        "device": options["device"],
        "quality": _quality(request),
        "latency": {name: latency_figures(rounds) for name, rounds in samples["candidate"].items()},
        "baselines": {
            b: {name: latency_figures(r) for name, r in samples[b].items()} for b in samples if b != "candidate"
        },
        "speedup": {
            b: {name: speedup(samples["candidate"][name], rounds) for name, rounds in samples[b].items()}
            for b in samples
            if b != "candidate"
        },
        "throughput": batches,
        "cold_start": cold,
        "memory": workers["candidate"],
        "baseline_memory": {b: m for b, m in workers.items() if b != "candidate"},
        "size": size_by_part(candidate, engine),
        "model": _model_facts(request),
        "token_lengths": {"mean": round(float(np.mean([len(i) for i in ids])), 2), "max": max(map(len, ids))},
        "environment": {
            **options["host"],
            "engine": options["engine"],
            "torch": options["torch"],
            "busy_cores_before": busy_before,
            "busy_cores_after": host.busy_cores(),
            "load_average_before": load_before,
            "load_average_after": host.load_average(),
            "seconds": round(time.monotonic() - started, 2),
        },
        "measurement": options["measurement"],
        "valid": not reasons,
        "invalid_because": reasons,
    }
    write_json(Path(request["output"]) / "record.json", record)
    write_json(Path(request["output"]) / "samples.json", samples)
    return {"valid": record["valid"]}


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


def _cold_starts(options: dict[str, Any], folder: Path, examples: Examples) -> dict[str, Any]:
    """Fresh processes, one after another; the page cache is warm, because the first one is not counted."""
    runs = []
    for _ in range(options["measurement"]["cold_starts"] + 1):
        with Worker(options["device"]["engine"], options["device"]["threads"]) as worker:
            runs.append(
                worker.load(folder, options["task"]["max_length"], examples.texts[0], _method(options))["cold_start_ms"]
            )
    counted = runs[1:]
    return {
        "page_cache": "warm",
        "n": len(counted),
        "cold_start_ms_p50": {phase: round(median([r[phase] for r in counted]), 3) for phase in counted[0]},
        "cold_start_ms_all": [r["total"] for r in counted],
    }


def _times(
    request: dict[str, Any], candidate: Path, examples: Examples, ids: list[list[int]]
) -> tuple[Samples, dict[str, Any], dict[str, Any]]:
    """Interleaved times of candidate and baselines, their memory, and the candidate's throughput in batches."""
    options = request["options"]
    mode, device = options["measurement"], options["device"]
    places = {"candidate": (device["engine"], candidate, _method(options))}
    if "onnxruntime_fp32" in options["baselines"] and "parent" in request["inputs"]:
        places["onnxruntime_fp32"] = ("onnxruntime", Path(request["inputs"]["parent"]), "none")
    if "torch_fp32" in options["baselines"]:
        places["torch_fp32"] = ("torch", Path(request["inputs"]["torch_parent"]), "none")
    with ExitStack() as stack:
        workers: dict[str, Any] = {
            n: stack.enter_context(Worker(e, device["threads"])) for n, (e, _, _) in places.items()
        }
        loaded = {
            n: workers[n].load(f, options["task"]["max_length"], examples.texts[0], q)
            for n, (_, f, q) in places.items()
        }
        samples = interleave(
            workers,
            scenarios(ids, mode["lengths"], options["seed"]),
            mode["rounds"],
            mode["burst"],
            mode["warmup_calls"],
            options["seed"],
        )
        memory = {
            n: {"after_load": loaded[n]["memory"], "batch_1": workers[n].ask("memory")["memory"]} for n in workers
        }
        batches = _throughput(workers["candidate"], ids, mode)
        memory["candidate"]["batches"] = workers["candidate"].ask("memory")["memory"]
    return samples, memory, batches


def scenarios(ids: list[list[int]], lengths: list[int], seed: int) -> list[Scenario]:
    """Real sentences in random order, and for each exact length the real tokens of sentences joined and cut to it.

    A cut row keeps the first token ([CLS]) and the last ([SEP]), so it is a text as the model knows them.
    """
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    real = [ids[i] for i in order]
    stream = [token for row in real for token in row[1:-1]]
    first, last = real[0][0], real[0][-1]
    made = [Scenario("real", [[row] for row in real])]
    for length in lengths:
        inner = length - 2
        copies = -(-inner * 8 // max(1, len(stream))) + 1
        supply = stream * copies
        made.append(
            Scenario(f"tokens_{length}", [[[first, *supply[i * inner : (i + 1) * inner], last]] for i in range(8)])
        )
    return made


def _throughput(worker: Worker, ids: list[list[int]], mode: dict[str, Any]) -> dict[str, Any]:
    """Sentences a second of real sentences in batches, padded to the longest of each batch."""
    found = {}
    for size in mode["batches"]:
        if mode["batch_rounds"] == 0 or len(ids) < size:
            continue
        rounds = mode["batch_rounds"]
        batches = [[ids[(n * size + i) % len(ids)] for i in range(size)] for n in range(rounds)]
        worker.ask("prepare", name=f"batch_{size}", batches=batches)
        worker.ask("time", name=f"batch_{size}", start=0, count=1)
        wall = worker.ask("time", name=f"batch_{size}", start=0, count=rounds)["wall_ms"]
        found[f"batch_{size}"] = {
            "sentences_per_s": round(1000 * size * rounds / sum(wall), 2),
            "n": rounds,
            "latency_ms_p50": round(median(wall), 4),
        }
    return found


def _quality(request: dict[str, Any]) -> dict[str, Any]:
    options = request["options"]
    own = load_file(Path(request["inputs"]["predictions"]) / "predictions.safetensors")
    result = quality(own["logits"], own["labels"], options["task"]["metrics"])
    result["sample"] = options["task"]["limit_validation"] is not None
    if "parent_predictions" in request["inputs"]:
        parent = load_file(Path(request["inputs"]["parent_predictions"]) / "predictions.safetensors")
        result["against_parent"] = against_parent(own["logits"], parent["logits"], own["labels"])
    return result


def _model_facts(request: dict[str, Any]) -> dict[str, Any]:
    """What the export or training step noted of the model: parameters, structure, sparsity, FLOPs, parity."""
    facts: dict[str, Any] = read_json(Path(request["inputs"]["candidate"]) / "artifact.json")["facts"]
    wanted = ("parameters", "structure", "encoder_sparsity", "gflops_by_tokens", "parity", "onnx_bytes_by_part")
    return {key: facts[key] for key in wanted if key in facts}


def _method(options: dict[str, Any]) -> str:
    return str(options["compression"]["quantization"]["method"]) if options["device"]["engine"] == "torch" else "none"
