"""Records as stages/bench.py leaves them, with figures that a test chooses, in sweeps' folders."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

NONE = {"method": "none"}
HOST = {"host": "here", "cpu": "c", "cores": 2, "isa": ["avx2"], "cpu_family_model_stepping": ["1", "2", "3"]}


def around(value: float, spread: float) -> dict[str, float]:
    """``ratio`` with an interval of so much to each side in logarithms."""
    return {"ratio": value, "ci95_low": value / (1 + spread), "ci95_high": value * (1 + spread), "verdict": "faster"}


def record(
    label: str = "dense", /, *, key: str = "", device: str = "cpu", task: str = "sst2", seed: int | None = 1,
    right: int = 900, n: int = 1000, lost: int = 0, gained: int = 0, ms: float = 10.0, spread: float = 0.02,
    parent_ms: float = 20.0, faster: float = 2.0, mb: float = 90.0, peak: float = 100.0, own: float = 60.0,
    starts: tuple[float, ...] = (200.0, 200.0, 200.0), **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """A whole record of schema 3; ``changes`` replace its parts."""
    latency = {f"latency_ms_p{p}": ms for p in (50, 90, 99)} | {"cpu_ms_p50": ms, "n": 64}
    latency |= {"latency_ms_p50_ci95_low": ms / (1 + spread), "latency_ms_p50_ci95_high": ms * (1 + spread)}
    start = {"cold_start_ms_p50": {"total": sorted(starts)[len(starts) // 2]}, "cold_start_ms_all": list(starts)}
    share = right / n
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    memory = {"peak_rss_mb": peak, "rss_anonymous_mb": own}
    found: dict[str, Any] = {
        "schema_version": 3, "status": "done", "timed": True, "valid": True, "invalid_because": [], "seed": seed,
        "fingerprint": key or f"{label}-{device}-{task}-{seed}-{right}-{ms}-{mb}",
        "names": {"model": "m", "task": task, "compression": label, "device": device},
        "compression": {"pruning": NONE, "recovery": NONE, "quantization": NONE, "graph": {"padding": True}},
        "quality": {
            "accuracy": share, "n": n, "right": right, "sample": False,
            "accuracy_ci95_low": share - half, "accuracy_ci95_high": share + half,
            "against_parent": {"accuracy_points": 100 * (gained - lost) / n, "lost": lost, "gained": gained,
                               "flips": lost + gained, "mcnemar_p": 0.5},
        },
        "size": {"model_mb": mb, "total_mb": mb + 1}, "parent_size": {"model_mb": 90.0}, "model": {"parameters": 1},
        "device": {"kind": "cpu", "engine": "onnxruntime", "threads": 1, "name": device}, "environment": dict(HOST),
        "latency": {"tokens_32": latency}, "throughput": {},
        "baselines": {"onnxruntime_fp32": {"tokens_32": {"latency_ms_p50": parent_ms}}},
        "speedup": {"onnxruntime_fp32": {"tokens_32": around(faster, spread)}},
        "cold_start": start, "baseline_cold_start": {"onnxruntime_fp32": {
            "cold_start_ms_p50": {"total": 400.0}, "cold_start_ms_all": [400.0, 400.0, 400.0]}},
        "memory": {phase: dict(memory) for phase in ("after_load", "batch_1", "batches")},
        "baseline_memory": {"onnxruntime_fp32": {p: {"peak_rss_mb": 150.0} for p in ("after_load", "batch_1")}},
        "calibration": {"before": {"fp32_gops_per_s": 100.0}, "after": {"fp32_gops_per_s": 100.0}},
    }  # fmt: skip
    return found | changes


def in_store(store: Path, made: dict[str, Any], right: np.ndarray | None = None) -> Path:
    """A record's artifact in a store and, with ``right``, its answers beside it; the record's folder."""
    folder = store / "artifacts" / "bench" / made["fingerprint"]
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {}
    if right is not None:
        answers = store / "artifacts" / "predict" / f"answers-{made['fingerprint']}"
        answers.mkdir(parents=True)
        logits = np.stack([~right, right], 1).astype(np.float32)
        save_file({"logits": logits, "labels": np.ones(len(right), np.int64)}, answers / "predictions.safetensors")
        task = {"name": made["names"]["task"]}
        (answers / "artifact.json").write_text(json.dumps({"options": {"data": "d", "task": task}}))
        inputs = {"predictions": {"step": "predict", "fingerprint": answers.name}}
    (folder / "artifact.json").write_text(json.dumps({"inputs": inputs, "seconds": 1.0}))
    (folder / "record.json").write_text(json.dumps(made))
    return folder


def sweep_of(folder: Path, *records: dict[str, Any], answers: dict[str, np.ndarray] | None = None) -> Path:
    """A finished sweep of these records in ``folder``; ``answers`` by fingerprint."""
    store = folder / "store"
    for number, made in enumerate(records):
        key = made["fingerprint"]
        place = in_store(store, made, (answers or {}).get(key))
        names = made["names"]
        outcome = {
            "status": "done", "stage": "bench", "step": "bench", "fingerprint": key, "folder": str(place),
            "names": names, "label": " · ".join(names.values()), "seconds": 1.0, "store": str(store),
            "overrides": [f"task={names['task']}", f"compression={names['compression']}"],
            "output_dir": str(folder / str(number)),
        }  # fmt: skip
        leave(folder, number, outcome)
    jobs = [[f"task={r['names']['task']}", f"compression={r['names']['compression']}"] for r in records]
    manifest(folder, jobs)
    return folder


def leave(sweep: Path, number: int, outcome: dict[str, Any]) -> None:
    """A job's outcome."""
    (sweep / str(number)).mkdir(parents=True, exist_ok=True)
    (sweep / str(number) / "cell.json").write_text(json.dumps(outcome))


def manifest(sweep: Path, jobs: list[list[str]]) -> None:
    """The sweep's list of jobs."""
    sweep.mkdir(parents=True, exist_ok=True)
    told = {"schema_version": 1, "jobs": jobs, "command": ["bench.py", "-m", "task=a b"], "directory": str(Path.cwd())}
    (sweep / "sweep.json").write_text(json.dumps(told))
