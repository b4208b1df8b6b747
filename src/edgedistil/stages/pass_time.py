"""How long models take for one whole pass over a task's validation texts, one at a time: DistilBERT's Table 3.

Sanh et al. 2019 time a pass over STS-B's validation split on a CPU with batches of 1. Here the models stand side by
side: bursts of the same texts in turns, in shuffled order, over generations of fresh processes that share out a pass.
"""

import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..devices import host
from ..devices.cores import Watch, quietest_cores
from ..errors import StepError, UserError
from ..measurement.interleave import Round, Samples, warm_up
from ..measurement.validity import reasons_against
from ..measurement.whole_pass import pass_figures, pass_ratio
from ..reporting.pass_record import interval
from ..reporting.table import markdown
from ..store.files import write_json
from ..workers.client import Worker, WorkerError
from .named import model_group, task_group
from .pass_models import prepare

RECORD_SCHEMA = 1
# As validity.py knows real texts, whose halves may differ.
_SCENARIO = "real"
_WARM_UP_CALLS, _WARM_UP_LIMIT = 8, 12
_SESSIONS = {
    "torch": "eager, scaled-dot-product attention, set_num_threads(threads), inference_mode",
    "onnxruntime": "FP32 graph, intra_op_num_threads=threads, other options default",
}


def pass_time(
    models: list[str],
    task: str,
    data: Path | None = None,
    engine: str = "torch",
    threads: int = 1,
    random_weights: bool = False,
    texts: int | None = None,
    pad_to: int | None = None,
    generations: int = 5,
    passes: int = 1,
    burst: int = 10,
    seed: int = 42,
) -> dict[str, Any]:
    """Measure one whole pass of each model, FP32, batch 1, tokenised beforehand.

    Args:
        models: options of ``conf/model`` or model folders; ratios are of the first over each other one.
        task: an option of ``conf/task``; ``data`` is its ``task.data_dir``.
        engine: ``torch`` (PyTorch eager) or ``onnxruntime``.
        random_weights: twins of the models' shapes, nothing is downloaded.
        texts: only so many texts of the split, drawn with ``seed``.
        pad_to: tokens that every text is padded to (and cut at); None leaves texts at their own lengths.
        generations: of fresh processes, among which each pass is shared out.
        burst: texts in a burst; the models take turns by bursts.

    Returns:
        The record that ``--output`` writes.

    Raises:
        UserError: fewer than two models, no such model, task or texts, a number out of range.
        StepError: a process died.
    """
    counts = {"threads": threads, "generations": generations, "passes": passes, "burst": burst, "texts": texts}
    _check(models, engine, counts, pad_to)
    groups = [model_group(name, "--models") | ({"weights": "random"} if random_weights else {}) for name in models]
    made = [name for name, group in zip(models, groups, strict=True) if group["origin"] == "recipe"]
    if made and not random_weights:
        raise UserError(f"--models: {made[0]} is what a training makes: give the folder that it left, or --random")
    chosen = task_group(task) | ({"data_dir": str(data)} if data is not None else {})
    if chosen["kind"] != "sequence_classification":
        raise UserError(f"--task={task} is of kind {chosen['kind']}: a pass is over texts, e.g. stsb, mrpc, sst2")
    names = [_name(name) for name in models]
    with tempfile.TemporaryDirectory(prefix="edgedistil-pass-time-") as scratch:
        stand = Path(scratch)
        facts, rows = prepare(dict(zip(names, groups, strict=True)), chosen, stand, engine, texts, pad_to, seed)
        if facts["texts"] < generations:
            raise UserError(f"--generations={generations}, but there are only {facts['texts']} texts to share out")
        cores, unpinned_because = quietest_cores(threads)
        load, busy, began, watch = host.load_average(), host.busy_cores(), time.monotonic(), Watch(cores)
        try:
            samples, unsteady, own_cpu_s = _measure(
                stand, rows, engine, threads, cores, pad_to, generations, passes, burst, seed
            )
        except WorkerError as error:
            raise StepError(f"pass-time: {error}", "") from error
        meanwhile = watch.stop(own_cpu_s, 0.0)
    conditions = {
        "mode": "",
        "cores": threads,
        "busy_cores_before": busy,
        "busy_cores_after": host.busy_cores(),
        "meanwhile": meanwhile,
        "calibration_before": {},
        "calibration_after": {},
        "unsteady": unsteady,
    }
    reasons = reasons_against(samples, conditions)
    rounds = {name: samples[name][_SCENARIO] for name in names}
    return {
        "schema_version": RECORD_SCHEMA,
        "kind": "pass_time",
        "task": facts.pop("task"),
        "texts": facts.pop("texts"),
        "all_texts": facts.pop("all_texts"),
        "models": {name: {**facts["models"][name], **pass_figures(rounds[name])} for name in names},
        "ratios": {name: {"of": names[0], **pass_ratio(rounds[names[0]], rounds[name])} for name in names[1:]},
        "measurement": {
            "engine": engine,
            "session": _SESSIONS[engine],
            "threads": threads,
            "batch_size": 1,
            "dtype": "float32",
            "pad_to": pad_to,
            "generations": generations,
            "passes": passes,
            "burst": burst,
            "seed": seed,
        },
        "environment": {
            **host.cpu_facts(),
            "versions": host.versions("torch", "transformers", "onnxruntime", "tokenizers", "edgedistil"),
            "pinned_cores": cores,
            "unpinned_because": unpinned_because,
            **{key: conditions[key] for key in ("busy_cores_before", "busy_cores_after", "meanwhile")},
            "load_average_before": load,
            "load_average_after": host.load_average(),
            "seconds": round(time.monotonic() - began, 1),
        },
        "valid": not reasons,
        "invalid_because": reasons,
        "samples": rounds,
    }


def table(record: dict[str, Any]) -> str:
    """The record as a table and the sentences that say how to read it."""
    body = []
    for name, model in record["models"].items():
        ratio = record["ratios"].get(name)
        times = f"{ratio['ratio']:.2f} {interval(ratio)}" if ratio else ""
        label = name + (" (random)" if model["random_weights"] else "")
        millions, tokens = f"{model['parameters'] / 1e6:.2f}", f"{model['tokens']['mean']:.1f}"
        body.append([label, millions, tokens, f"{model['pass_s']:.2f}", f"{model['latency_ms_p50']:.2f}", times])
    first, measured = next(iter(record["models"])), record["measurement"]
    head = ["model", "M parameters", "tokens a text", "pass s", "p50 ms a text", f"{first} / this [95 %]"]
    part = "all" if record["texts"] == record["all_texts"] else f"a part of {record['all_texts']}:"
    padding = "unpadded" if measured["pad_to"] is None else f"padded to {measured['pad_to']} tokens"
    note = (
        f"{record['task']['name']}, {part} {record['texts']} validation texts one at a time, {padding}; "
        f"{measured['engine']} FP32, {measured['threads']} thread(s), {record['environment']['cpu']}; "
        f"{measured['generations']} generation(s) of processes a pass, bursts of {measured['burst']} texts in turns."
    )
    if not record["valid"]:
        note += "\nINVALID, not to be quoted: " + "; ".join(record["invalid_because"]) + "."
    return f"{markdown(head, body)}\n\n{note}"


def write(record: dict[str, Any], output: Path) -> None:
    """Write the record, every burst's times included, as JSON."""
    write_json(output, record)


def _check(models: list[str], engine: str, numbers: dict[str, int | None], pad_to: int | None) -> None:
    names = [_name(model) for model in models]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"--models={' '.join(models)}: give two or more of different names, the slowest first")
    if engine not in _SESSIONS:
        raise UserError(f"--engine={engine!r} is unknown; allowed: {', '.join(_SESSIONS)}")
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise UserError(f"--{name}={value} must be at least 1")
    if pad_to is not None and pad_to < 3:
        raise UserError(f"--pad-to={pad_to} must be at least 3 ([CLS] word [SEP])")


def _name(model: str) -> str:
    return Path(model).name


def _measure(
    stand: Path,
    rows: dict[str, list[list[int]]],
    engine: str,
    threads: int,
    cores: list[int] | None,
    pad_to: int | None,
    generations: int,
    passes: int,
    burst: int,
    seed: int,
) -> tuple[Samples, list[str], float]:
    """(bursts of every model, warm-ups that never settled, CPU seconds of the workers)."""
    chance, unsteady = random.Random(seed), set()
    samples: Samples = {name: {_SCENARIO: []} for name in rows}
    count, own_cpu_s = len(next(iter(rows.values()))), 0.0
    more = {} if pad_to is None else {"pad_to": pad_to}
    for number in range(passes):
        order = chance.sample(range(count), count)
        for part in range(generations):
            own = order[part::generations]
            with ExitStack() as processes:
                workers: dict[str, Worker] = {}
                for name in chance.sample(sorted(rows), len(rows)):
                    worker = processes.enter_context(Worker(engine, threads, cores))
                    worker.load(stand / name, 512, ("a text",))
                    worker.ask("prepare", name=_SCENARIO, batches=[[rows[name][i]] for i in own], **more)
                    if not warm_up(worker, _SCENARIO, min(_WARM_UP_CALLS, len(own)), _WARM_UP_LIMIT):
                        unsteady.add(f"{_SCENARIO} on {name}")
                    workers[name] = worker
                for start in range(0, len(own), burst):
                    length = min(burst, len(own) - start)
                    for name in chance.sample(sorted(rows), len(rows)):
                        times = workers[name].ask("time", name=_SCENARIO, start=start, count=length)
                        found: Round = {"pass": number, "generation": number * generations + part, **times}
                        samples[name][_SCENARIO].append(found)
                own_cpu_s += sum(worker.ask("usage")["cpu_s"] for worker in workers.values())
    return samples, sorted(unsteady), own_cpu_s
