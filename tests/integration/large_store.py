"""A store as large as a year of sweeps leaves it: finished artifacts and records, and the sweeps that made them.

Every artifact goes through :meth:`Store.publish`; only its flushes to disk are left out, and the file of digests is
written once at the end. Records are those of docs/results, under names, seeds and figures of their own.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from published_sweep import FULL, RESULTS, published

from edgedistil.stages.step import Step
from edgedistil.store.store import Store

OTHERS = (RESULTS / "2026-11-21-glue-squad-50-avx2", RESULTS / "2026-11-21-sst2-goals-avx2")
MODELS, CHAIN = 5, ("train", "parent", "prune", "export", "predict")


@dataclass
class Large:
    """What was made: the store, folders of sweeps, and the steps of the records with all that they need."""

    store: Path
    sweeps: list[Path] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    artifacts: int = 0


def large_store(root: Path, artifacts: int, records: int, sweeps: int = 1) -> Large:
    """``artifacts`` of training, pruning, export and answers, and ``records``, in ``root/store``.

    Args:
        sweeps: among how many folders under ``root/multirun`` the cells are divided.
    """
    made = Large(root / "store")
    with _unflushed(Store(made.store)) as store:
        chains = [_chain(store, number) for number in range(artifacts // len(CHAIN))]
        made.artifacts = len(chains) * len(CHAIN)
        told = [_record(store, number, chains) for number in range(records)]
    made.steps = [step for step, _ in told]
    each = records // sweeps
    made.sweeps = [
        _sweep(root, made.store, number, told[number * each : (number + 1) * each]) for number in range(sweeps)
    ]
    return made


def half_done(sweep: Path) -> Path:
    """A sweep of the same jobs of which every other has an outcome."""
    half = sweep.with_name(f"{sweep.name}-half")
    half.mkdir()
    shutil.copyfile(sweep / "sweep.json", half / "sweep.json")
    for place in sweep.iterdir():
        if place.name.isdigit() and int(place.name) % 2:
            shutil.copytree(place, half / place.name)
    return half


def finished(root: Path, keys: list[str]) -> None:
    """Records under fingerprints that a plan has told, in the store ``root``."""
    text = json.dumps(published(FULL)[0], indent=2, sort_keys=True)
    with _unflushed(Store(root)) as store:
        for number, key in enumerate(keys):
            output = store.open_work(key) / "output"
            marked = text.replace(json.loads(text)["fingerprint"], key)
            (output / "record.json").write_text(marked.replace('"seed": 42', f'"seed": {number}') + "\n")
            store.publish("bench", key, {"label": "cell", "options": {}, "seconds": 1.0, "facts": {}, "inputs": {}})


@contextmanager
def _unflushed(store: Store) -> Iterator[Store]:
    kept, digests = store.digests, {}

    class Later:
        remember = staticmethod(digests.update)

    with patch("edgedistil.store.store.sync_tree"), patch("os.fsync"):
        store.digests = Later()  # type: ignore[assignment]
        yield store
        store.digests = kept
        kept.remember(digests)


def _publish(store: Store, step: Step, files: dict[str, bytes | str], facts: dict[str, Any]) -> Step:
    output = store.open_work(step.fingerprint) / "output"
    for name, content in files.items():
        file = output / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    inputs = {name: {"step": s.name, "fingerprint": s.fingerprint} for name, s in step.inputs.items()}
    told = {"label": step.label, "options": step.options, "seconds": 12.5, "facts": facts, "inputs": inputs}
    store.publish(step.name, step.fingerprint, told)
    return step


def _chain(store: Store, number: int) -> dict[str, Step]:
    """A model, its cut and their files for ONNX, and answers."""
    config = json.dumps({"dim": 384, "n_heads": 12, "hidden_dim": 1536, "n_layers": 6})
    weights = hashlib.sha256(str(number).encode()).digest() * 64
    files: dict[str, bytes | str] = {"config.json": config, "model.safetensors": weights, "tokenizer.json": "{}"}
    task = {"name": "sst2", "kind": "sequence_classification", "labels": ["negative", "positive"], "max_length": 128}
    options = {"seed": number, "task": task}
    log = "epoch,step,train/loss\n" + "".join(f"0,{10 * n},{1 / (n + 1):.4f}\n" for n in range(20))
    train = Step("train", f"model {number}", options)
    _publish(store, train, files | {"logs/metrics.csv": log}, {"accuracy": 0.9})
    parent = Step("export", f"model {number}", options, {"model": train})
    _publish(store, parent, files | {"model.onnx": weights}, {"parity": {"max_abs_difference": 1e-6}})
    layers = [{"heads": 6, "ffn": 768}] * 6
    structure = {"layers": layers, "head_size": 32}
    curves = [
        {"layer": n, "kind": kind, "units": units, "damage": [0.0, 0.1 + 0.01 * n, 0.4]}
        for n in range(6) for kind, units in (("heads", [12, 6, 0]), ("neurons", [1536, 768, 0]))
    ]
    prune = Step("prune", f"model {number}, half", options | {"ratio": 0.5}, {"model": train})
    cut = files | {"structure.json": json.dumps(structure)}
    _publish(store, prune, cut, {"structure": structure, "curves": curves})
    export = Step("export", f"model {number}, half", options, {"model": prune})
    _publish(store, export, files | {"model.onnx": weights}, {"parity": {"max_abs_difference": 1e-6}})
    predict = Step("predict", f"answers of model {number}", options, {"model": export})
    _publish(store, predict, {"predictions.safetensors": _answers(number)}, {"n": 872})
    return {"train": train, "parent": parent, "prune": prune, "export": export, "predict": predict}


def _answers(number: int) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    random = np.random.default_rng(number)
    labels = np.arange(872) % 2
    right = random.random(872) < 0.9
    logits = np.zeros((872, 2), np.float32)
    logits[np.arange(872), np.where(right, labels, 1 - labels)] = 1
    return bytes(save({"logits": logits, "labels": labels}))


def _templates() -> list[tuple[str, dict[str, Any]]]:
    """Records as texts, with marks in place of what differs between copies; and what the figures are there."""
    found = []
    for base in [*published(FULL), *(r for folder in OTHERS for r in published(folder, emulated=False))]:
        marks: dict[str, float] = {}

        def mark(holder: dict[str, Any], key: str, name: str, marks: dict[str, float] = marks) -> None:
            if isinstance(holder.get(key), float):
                marks[name], holder[key] = holder[key], f"@{name}@"

        scores = base["quality"] or {}
        for key, name in (("accuracy", "accuracy"), ("accuracy_ci95_low", "low"), ("accuracy_ci95_high", "high")):
            mark(scores, key, name)
        mark(base.get("latency", {}).get("tokens_32", {}), "latency_ms_p50", "ms")
        mark(base["size"], "model_mb", "mb")
        base["fingerprint"], base["seed"], base["names"]["model"] = "@fingerprint@", "@seed@", "@model@"
        text = json.dumps(base, indent=2, sort_keys=True)
        found.append((text, {"marks": marks, "names": base["names"]}))
    return found


# Texts: JSON of 25 kB takes longer to write than all else here.
_KNOWN: list[tuple[str, dict[str, Any]]] = []


def _record(store: Store, number: int, chains: list[dict[str, Step]]) -> tuple[Step, dict[str, Any]]:
    """One bench record, and the outcome of its cell."""
    if not _KNOWN:
        _KNOWN.extend(_templates())
    text, about = _KNOWN[number % len(_KNOWN)]
    turn = number // len(_KNOWN)
    model, seed, chain = f"model{turn % MODELS}", turn // MODELS, chains[turn % len(chains)]
    inputs = {"candidate": chain["export"], "parent": chain["parent"], "torch_parent": chain["train"]}
    inputs |= {"predictions": chain["predict"], "parent_predictions": chain["predict"]}
    names = about["names"] | {"model": model}
    label = " · ".join(str(names[k]) for k in ("model", "task", "compression", "device"))
    step = Step("bench", label, {"number": number, "names": names, "seed": seed}, inputs)
    small = 7919 * number % 1000 / 1000
    for name, value in about["marks"].items():
        changed = value * (0.8 + 0.4 * small) if name in ("ms", "mb") else min(1.0, value + 0.02 * small - 0.01)
        text = text.replace(f'"@{name}@"', repr(changed))
    text = text.replace('"@seed@"', str(seed)).replace("@fingerprint@", step.fingerprint).replace("@model@", model)
    samples = json.dumps({"candidate": {"tokens_32": [small] * 10}})
    _publish(store, step, {"record.json": text + "\n", "samples.json": samples}, {"valid": True})
    outcome = {"status": "done", "step": "bench", "names": names, "label": label, "fingerprint": step.fingerprint}
    place = store.path("bench", step.fingerprint)
    outcome |= {"folder": str(place), "cached": False, "seconds": 30.0, "stage": "bench", "store": str(store.root)}
    sort = ["task=" + names["task"], "model=" + model, f"compression={names['compression'].replace(' ', '')}"]
    overrides = [*sort, f"device={names['device']}", f"seed={seed}"]
    return step, outcome | {"overrides": overrides, "references": []}


def _sweep(root: Path, store: Path, number: int, told: list[tuple[Step, dict[str, Any]]]) -> Path:
    sweep = root / "multirun" / "2026-11-22" / f"12-{number:02d}-00"
    sweep.mkdir(parents=True)
    for job, (_, outcome) in enumerate(told):
        place = sweep / str(job)
        place.mkdir()
        cell = outcome | {"output_dir": str(place)}
        (place / "cell.json").write_text(json.dumps(cell, indent=2, sort_keys=True) + "\n")
    manifest = {"schema_version": 1, "jobs": [outcome["overrides"] for _, outcome in told], "directory": str(root)}
    manifest |= {"command": ["bench.py", "-m", "sweep=large"], "overrides": [], "params": {}}
    (sweep / "sweep.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return sweep
