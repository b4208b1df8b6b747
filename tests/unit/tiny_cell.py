"""A measured cell in a store of its own, written by hand around a real tiny model: every figure is known."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.precision import Float32
from edgedistil.export.reading import read_model

TASK = {"name": "sst2", "kind": "sequence_classification", "max_length": 32, "metrics": ["accuracy"],
        "labels": ["negative", "positive"]}
DATA = {"files": {"train": "a" * 64, "validation": "b" * 64}}
BASE = {"origin": "hub", "location": "distilbert/distilbert-base-uncased", "revision": "c" * 40}
PRUNING = {"method": "structured", "ratio": 0.3, "importance": {"_target_": "edgedistil.x.FisherImportance"}}
INT8 = {"method": "int8_dynamic", "embeddings": True}
OVERRIDES = ["task=sst2", "task.data_dir=/home/somebody/my data", "compression=structured_30", "seed=7"]
QUALITY = {"accuracy": 0.8807, "accuracy_ci95_low": 0.8575, "accuracy_ci95_high": 0.9006, "n": 872, "right": 768,
           "sample": False, "against_parent": {"accuracy_points": -0.46, "mcnemar_p": 0.62}}
TEST = {"accuracy": 0.9, "accuracy_ci95_low": 0.88, "accuracy_ci95_high": 0.91, "n": 5003, "sentences": 414,
        "against_parent": {"accuracy_points": 0.1, "clustered_p": 0.5}}
LATENCY = {"latency_ms_p50": 1.234, "latency_ms_p50_ci95_low": 1.2, "latency_ms_p50_ci95_high": 1.3,
           "latency_ms_p90": 2.5, "latency_ms_p99": 4.0, "n": 128}
RATIO = {"ratio": 6.41, "ci95_low": 6.3, "ci95_high": 6.76, "verdict": "faster"}
RECORD: dict[str, Any] = {
    "schema_version": 3, "status": "done", "fingerprint": "f" * 64, "seed": 7, "random_weights": False,
    "names": {"model": "distilbert", "task": "sst2", "compression": "structured 30 % · INT8", "device": "cpu"},
    "compression": {"pruning": PRUNING, "quantization": INT8, "graph": {"padding": True}},
    "device": {"kind": "cpu", "name": "cpu", "engine": "onnxruntime", "threads": 1},
    "quality": QUALITY, "test_quality": TEST,
    "size": {"model_mb": 19.8, "tokenizer_mb": 0.47, "config_mb": 0.001, "total_mb": 20.27},
    "parent_size": {"total_mb": 91.36},
    "model": {"parameters": 12345, "gflops_by_tokens": {"128": 1.85}, "encoder_sparsity": 0.0,
              "structure": [{"heads": 1, "ffn": 24}, {"heads": 3, "ffn": 40}],
              "onnx_bytes_by_part": {"encoder": 7_590_000, "embeddings": 12_040_000}},
    "latency": {"real": LATENCY, "tokens_32": LATENCY | {"latency_ms_p50": 1.5}},
    "speedup": {"torch_fp32": {"tokens_32": RATIO}, "onnxruntime_fp32": {"tokens_32": RATIO | {"ratio": 3.3}}},
    "throughput": {"batch_32": {"sentences_per_s": 491.0}},
    "cold_start": {"cold_start_ms_p50": {"total": 149.0}},
    "memory": {"after_load": {"peak_rss_mb": 90.0}, "batch_1": {"peak_rss_mb": 106.0}},
    "environment": {"cpu": "AMD EPYC", "isa": ["avx2"], "host": "secret-host", "int8_warning": None,
                    "engine": {"versions": {"onnxruntime": "1.31.1"}}},
    "valid": True, "invalid_because": [],
}


def add_graph(folder: Path, token_types: bool = False) -> Path:
    """Write ``model.onnx`` in FP32 beside a model's weights."""
    save(write_graph(read_model(folder), Float32(), token_types), folder / "model.onnx")
    return folder


def artifact(store: Path, step: str, key: str, inputs: dict[str, tuple[str, str]], **facts: Any) -> Path:
    """A finished step's folder; ``inputs`` are (step, fingerprint) by name."""
    folder = store / "artifacts" / step / key
    folder.mkdir(parents=True, exist_ok=True)
    sources = {name: {"step": s, "fingerprint": f} for name, (s, f) in inputs.items()}
    content = {"step": step, "fingerprint": key, "inputs": sources, "label": step} | facts
    (folder / "artifact.json").write_text(json.dumps(content))
    return folder


def make_cell(root: Path, shipped: Path, base: dict[str, Any] = BASE, **changes: Any) -> Path:
    """The folder of a run's cell whose candidate is a copy of ``shipped``: trained, pruned, exported, measured.

    Args:
        base: ``options.model`` of the training step.
        changes: of the record.
    """
    store = root / "store"
    artifact(store, "train", "1" * 64, {}, facts={"train_texts": 66002, "steps": 1032},
             options={"model": base, "task": TASK, "data": DATA, "seed": 7,
                      "objective": {"_target_": "edgedistil.learning.fine_tuning.FineTuning"}})
    artifact(store, "prune", "2" * 64, {"model": ("train", "1" * 64)},
             facts={"parameters_before": 20000, "parameters": 12345}, options={"pruning": PRUNING})
    shutil.copytree(shipped, store / "artifacts" / "export" / ("3" * 64))
    artifact(store, "export", "3" * 64, {"model": ("prune", "2" * 64)},
             facts={"parity": {"agreement": 0.992, "n": 128}}, options={"quantization": INT8})
    options = {"task": TASK, "data": DATA}
    bench = artifact(store, "bench", "f" * 64, {"candidate": ("export", "3" * 64)}, options=options)
    (bench / "record.json").write_text(json.dumps(deepcopy(RECORD) | changes))
    cell = root / "run" / "0"
    cell.mkdir(parents=True)
    outcome = {"status": "done", "stage": "bench", "step": "bench", "folder": str(bench), "names": RECORD["names"],
               "overrides": OVERRIDES, "output_dir": str(cell), "store": str(store)}
    (cell / "cell.json").write_text(json.dumps(outcome))
    return cell
