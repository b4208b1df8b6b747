"""Profile: the milliseconds of one text by structure on a device, from graphs of random weights in a model's shape."""

import logging
import random
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..devices.cores import Watch, quietest_cores
from ..measurement.interleave import Asked, Effort, Interleaved, Round, Scenario
from ..measurement.latency_table import Design, LatencyTable, Point, design, fit
from ..measurement.statistics import median, percentile
from ..models.shape import shape_of_folder
from ..store.files import read_json, write_json
from ..workers.client import Worker

log = logging.getLogger("edgedistil")
TABLE_FILE = "latency_table.json"
_SCENARIO = "tokens"
# Models that stand beside the reference in one group: all are in memory at once.
_BESIDE = 7
# Structures that no part was measured on, to hold the table's sums against: shares of heads and neurons by layer.
_CHECKS = ((1.0, 1.0), (0.5, 0.5), (0.25, 0.15))


def profile(request: dict[str, Any]) -> dict[str, Any]:
    """Measure a design of structures side by side, fit a table, hold it against structures that it has not seen.

    Writes ``latency_table.json``: the table, its checks, and every median.

    Raises:
        WorkerError: the engine can't load a graph.
    """
    options, work = request["options"], Path(request["work"])
    shape = options["shape"] or shape_of_folder(Path(request["inputs"]["model"]))
    plan = design(shape["heads"], shape["neurons"], options["ffn_multiple"], distinct_last=not shape["spans"])
    repeated = max(1, shape["layers"] - 1)
    checked = [_check(shape, options["ffn_multiple"], *shares) for shares in _CHECKS]
    structures = {point: _structure(point, repeated) for point in plan.points}
    models = {p.name: s for p, s in structures.items()} | {f"check_{i}": s for i, s in enumerate(checked)}
    cores, unpinned_because = quietest_cores(options["device"]["threads"])
    watch, began = Watch(cores), time.monotonic()
    try:
        times, unsteady = _measured(request, shape, models, plan, cores)
    finally:
        shutil.rmtree(work / "models", ignore_errors=True)
    meanwhile = watch.stop(0.0, 0.0)
    table = fit(plan, {p: times[p.name] for p in plan.points}, repeated, options["tokens"])
    checks = [_compared(table, structure, times[f"check_{i}"]) for i, structure in enumerate(checked)]
    write_json(
        Path(request["output"]) / TABLE_FILE,
        {
            **table.to_json(),
            "device": options["device"],
            "engine": options["engine"],
            "host": options["host"],
            "precision": options["quantization"],
            "shape": shape,
            "checks": checks,
            "measured_ms": {name: round(ms, 6) for name, ms in times.items()},
        },
    )
    worst = max(abs(c["error"]) for c in checks)
    log.info("%s: sums differ from %d unseen structures by at most %.1f %%", request["label"], len(checks), 100 * worst)
    return {
        "models": len(models),
        "checks": checks,
        "largest_error": worst,
        "unsteady": unsteady,
        "cores": cores,
        "unpinned_because": unpinned_because,
        # The workers' own time is in it: they are all that was asked for on these cores.
        "busy_cores": meanwhile["others_cores"],
        "seconds": round(time.monotonic() - began, 2),
    }


def read_table(folder: Path) -> LatencyTable:
    """The table of a finished profile."""
    return LatencyTable.from_json(read_json(folder / TABLE_FILE))


def _structure(point: Point, repeated: int) -> list[tuple[int, int]]:
    return [*([point.inner] * repeated if point.inner else []), point.last]


def _check(shape: dict[str, Any], multiple: int, heads: float, neurons: float) -> list[tuple[int, int]]:
    """A model whose layers have about these shares, the first ones more and the last ones less."""
    found, count = [], shape["layers"]
    for index in range(count):
        slope = 1.0 if heads == 1 or count == 1 else 1.5 - index / (count - 1)
        units = max(1, min(shape["heads"], round(slope * heads * shape["heads"])))
        width = round(slope * neurons * shape["neurons"] / multiple) * multiple
        found.append((units, min(shape["neurons"], max(min(multiple, shape["neurons"]), width))))
    if heads == 1:
        found = [(shape["heads"], shape["neurons"])] * count
    return found


def _compared(table: LatencyTable, structure: list[tuple[int, int]], measured: float) -> dict[str, Any]:
    predicted = table.predict(structure)
    return {
        "structure": [list(layer) for layer in structure],
        "predicted_ms": round(predicted, 6),
        "measured_ms": round(measured, 6),
        "error": round(predicted / measured - 1, 6),
    }


def _measured(
    request: dict[str, Any],
    shape: dict[str, Any],
    models: dict[str, list[tuple[int, int]]],
    plan: Design,
    cores: list[int] | None,
) -> tuple[dict[str, float], list[str]]:
    """Milliseconds by model, and what never settled.

    Groups of models are timed one after the other, in random order and each beside the reference; a model's time is
    its ratio to the reference in the same rounds, times the reference's of the whole run. So a machine that slows down
    between two groups slows both sides.
    """
    options = request["options"]
    names = [name for name in models if name != plan.reference.name]
    random.Random(0).shuffle(names)
    groups = [names[i : i + _BESIDE] for i in range(0, len(names), _BESIDE)]
    seconds = options["seconds"] / len(groups)
    effort = Effort(rounds=8, burst=8, seconds=seconds, seconds_of="run", warmup_calls=8, warmup_limit=8)
    # One thread works or waits for the processor: its own time leaves out what others took. A device beside the
    # processor, and several threads, are seen by the wall's clock alone.
    alone = options["device"]["kind"] == "cpu" and options["device"]["threads"] == 1
    clock = "cpu_ms" if alone else "wall_ms"
    ratios, references, unsteady = {plan.reference.name: 1.0}, [], []
    for group in groups:
        timed = Interleaved([_scenario(options["tokens"])], effort, seed=0)
        with ExitStack() as stack:
            workers: dict[str, Asked] = {}
            for name in [plan.reference.name, *group]:
                folder = _written(request, shape, name, models[name])
                engine, threads = options["engine"]["engine"], options["device"]["threads"]
                worker = stack.enter_context(Worker(engine, threads, cores))
                worker.load(folder, options["tokens"], ("a",))
                workers[name] = worker
            timed.generation(workers)
        unsteady += timed.unsteady
        beside = timed.samples[plan.reference.name][_SCENARIO]
        references += [_undisturbed(r, clock) for r in beside]
        for name in group:
            pairs = zip(timed.samples[name][_SCENARIO], beside, strict=True)
            ratios[name] = median([_undisturbed(own, clock) / _undisturbed(other, clock) for own, other in pairs])
        for name in group:
            shutil.rmtree(Path(request["work"]) / "models" / name, ignore_errors=True)
    reference = median(references)
    return {name: ratio * reference for name, ratio in ratios.items()}, unsteady


def _undisturbed(burst: Round, clock: str) -> float:
    """The lower quartile of a burst: on a quiet machine next to its median, on a busy one still a call in peace."""
    return percentile(burst[clock], 25)


def _scenario(tokens: int) -> Scenario:
    from ..export.random_weights import VOCABULARY

    chance = random.Random(0)
    return Scenario(_SCENARIO, [[[chance.randrange(VOCABULARY) for _ in range(tokens)]] for _ in range(8)])


def _written(request: dict[str, Any], shape: dict[str, Any], name: str, structure: list[tuple[int, int]]) -> Path:
    """The folder of a model of this structure, as an export would leave it; written once."""
    from ..export.files import save
    from ..export.graph import write_graph
    from ..export.named_precision import precision_of
    from ..export.random_weights import random_weights

    options, folder = request["options"], Path(request["work"]) / "models" / name
    if not (folder / "tokenizer.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        weights = random_weights(shape, structure, max(16, options["tokens"]))
        graph = write_graph(weights, precision_of(options["quantization"]), padding=options["padding"])
        save(graph, folder / "model.onnx")
        _write_tokenizer(folder / "tokenizer.json")
    return folder


def _write_tokenizer(path: Path) -> None:
    """Workers load a tokenizer and answer one text; any will do."""
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(path))
