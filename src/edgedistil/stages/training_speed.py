"""Training throughput side by side: our loop and transformers' Trainer on one model, one corpus, one core.

Real tokens per second, in bursts of optimiser steps in shuffled order, over generations of fresh processes; while one
process trains the others wait.
"""

import random
import tempfile
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..devices import host
from ..devices.allocator import KEEP_MEMORY
from ..devices.cores import quietest_cores
from ..errors import StepError, UserError
from ..measurement.interleave import Asked, Effort, Interleaved, Samples, Scenario
from ..measurement.training import training_figures, training_ratio
from ..peers.training import ARMS
from ..reporting.table import markdown
from ..store.files import write_json
from ..workers.client import Worker, WorkerError
from .named import model_group

OBJECTIVE = "masked_language_modelling"
# Interleaved counts the seconds of the worker of this name.
_OURS = "candidate"
# The loops bring their own batches.
_SCENARIO = Scenario("steps", [])
# As conf/task/texts.yaml has them: what the original's corpus leaves out.
_DROP_UP_TO, _DROP_UNKNOWN = 11, 0.5


def training_speed(
    model: str,
    texts: Path,
    batch_size: int = 32,
    seconds: float = 60,
    generations: int = 5,
    burst: int = 2,
    max_length: int = 128,
    learning_rate: float = 5e-5,
    lines: int = 50_000,
    seed: int = 42,
) -> dict[str, Any]:
    """Measure all of :data:`~edgedistil.peers.training.ARMS`.

    Args:
        model: an option of the ``model`` group, or a model folder (BERT or DistilBERT).
        texts: a ``.txt`` or Parquet file, or a folder of them.
        seconds: measured seconds of our own loop; the others take as many steps.
        generations: of fresh processes, among which the seconds are shared out.
        burst: optimiser steps in a burst; as many warm each process up.
        lines: at most so many of the texts.

    Returns:
        The record that ``--output`` writes.

    Raises:
        UserError: accelerate is missing, no such model or texts, fewer texts than a batch, a number out of range.
        StepError: a process died.
    """
    for name, value, least in (("batch-size", batch_size, 1), ("generations", generations, 1), ("burst", burst, 1)):
        if value < least:
            raise UserError(f"--{name}={value} must be at least {least}")
    if not 0 < seconds < float("inf"):
        raise UserError(f"--seconds={seconds:g} must be above 0")
    if find_spec("accelerate") is None:
        raise UserError(
            "transformers' Trainer needs accelerate, which is not installed: make install-peers (or pip install "
            "'edgedistil[peers]')"
        )
    with tempfile.TemporaryDirectory(prefix="edgedistil-training-speed-") as scratch:
        folder, corpus = Path(scratch) / "model", Path(scratch) / "corpus"
        facts = _prepare(model, texts, folder, corpus, max_length, lines, seed)
        if facts["texts"] < batch_size:
            raise UserError(f"--batch-size={batch_size}, but only {facts['texts']} texts are left of {texts}")
        request = {
            "model": str(folder),
            "corpus": str(corpus),
            "batch_size": batch_size,
            "max_length": facts["max_length"],
            "learning_rate": learning_rate,
            "threads": 1,
            "scratch": scratch,
        }
        effort = Effort(2, burst, seconds / generations, _OURS, burst, 1)
        cores, unpinned_because = quietest_cores(1)
        load, began = host.load_average(), time.monotonic()
        try:
            samples = _measure(request, effort, generations, cores, seed)
        except WorkerError as error:
            raise StepError(f"training-speed: {error}", "") from error
    return {
        "schema_version": 1,
        "model": model,
        "objective": OBJECTIVE,
        "corpus": facts,
        "arms": _figures(samples),
        "measurement": {
            "batch_size": batch_size,
            "seconds": seconds,
            "generations": generations,
            "burst": burst,
            "learning_rate": learning_rate,
            "seed": seed,
            "threads": 1,
            "dtype": "float32",
            "variables_of_ours": KEEP_MEMORY,
        },
        "environment": {
            **host.cpu_facts(),
            "versions": host.versions("torch", "transformers", "accelerate", "lightning", "tokenizers", "edgedistil"),
            "pinned_cores": cores,
            "unpinned_because": unpinned_because,
            "load_average_before": load,
            "load_average_after": host.load_average(),
            "seconds": round(time.monotonic() - began, 1),
        },
        "samples": samples,
    }


def table(record: dict[str, Any]) -> str:
    """The record as a table and the sentence that says how to read it."""
    body = []
    for name, arm in record["arms"].items():
        ratio = arm.get("ours_over_this")
        body.append(
            [
                f"{name}: {ARMS[name]}",
                f"{arm['real_tokens_per_s']:,.0f}",
                f"{100 * arm['padding_share']:.1f}",
                f"{ratio['ratio']:.2f} [{ratio['ci95_low']:.2f}, {ratio['ci95_high']:.2f}]" if ratio else "",
                f"{arm['steps']} steps",
            ]
        )
    head = ["loop", "real tokens/s", "padding %", "ours / this [95 %]", "n"]
    measured, environment = record["measurement"], record["environment"]
    generations = measured["generations"]
    note = (
        f"{record['model']}, batches of {measured['batch_size']} texts, {measured['dtype']}, 1 thread, "
        f"{environment['cpu']}; {generations} {'generation' if generations == 1 else 'generations'} of processes, "
        f"bursts of {measured['burst']} steps in shuffled order, one core; intervals are of the generations."
    )
    return f"{markdown(head, body)}\n\n{note}"


def write(record: dict[str, Any], output: Path) -> None:
    """Write the record, samples included, as JSON."""
    write_json(output, record)


def _prepare(
    model: str, texts: Path, folder: Path, corpus: Path, max_length: int, lines: int, seed: int
) -> dict[str, Any]:
    """Put the model with its head and the tokenised texts where every arm reads them; returns the corpus's facts."""
    from ..models import origin
    from ..store.fingerprint import DigestCache
    from ..tasks.texts import files_of, read

    digests = DigestCache(folder.parent / "digests.json")
    files = files_of(texts.expanduser().absolute(), "--texts")
    found = origin.locate(model_group(model), digests)
    # Heavy from here on: what can be wrong with the arguments is known.
    from ..learning.quiet import quiet

    quiet()
    import torch

    from ..models.folder import count_parameters, save_model
    from ..models.loading import save_tokenizer
    from ..models.masked_lm import load_masked_lm
    from ..tasks.corpus import Rules
    from ..tasks.corpus_build import build
    from ..tasks.source import Source

    torch.manual_seed(seed)
    # A model knows no positions beyond its own.
    max_length = min(max_length, found.max_positions or max_length)
    network = load_masked_lm(found.location, found.identity, needs_head=False)
    save_model(network, folder, {"title": model, "lines": []})
    save_tokenizer(found.location, found.identity, folder)
    facts = build(
        read(Source({}, {f"{i:06d}": str(path) for i, path in enumerate(files)}), "text"),
        folder / "tokenizer.json",
        Rules(max_length, _DROP_UP_TO, _DROP_UNKNOWN, "<unk>"),
        folder.parent / "chunks",
        corpus,
        limit=lines,
    )
    return {
        **facts,
        "max_length": max_length,
        "files": [digests.digest(path) for path in files],
        "parameters": count_parameters(network),
    }


def _measure(request: dict[str, Any], effort: Effort, generations: int, cores: list[int] | None, seed: int) -> Samples:
    timed, chance = Interleaved([_SCENARIO], effort, seed), random.Random(seed)
    for number in range(generations):
        with ExitStack() as processes:
            workers: dict[str, Asked] = {}
            for arm in chance.sample(sorted(ARMS), len(ARMS)):
                # Our trainings run with it, so ours has it here; the others are as people run them.
                variables = KEEP_MEMORY if arm == "edgedistil" else {}
                worker = processes.enter_context(Worker("edgedistil.peers.training", 1, cores, variables=variables))
                # Another seed each time: other texts come first.
                worker.ask("load", arm=arm, seed=seed + number, **request)
                workers[_OURS if arm == "edgedistil" else arm] = worker
            timed.generation(workers)
    return {arm: timed.samples[_OURS if arm == "edgedistil" else arm] for arm in ARMS}


def _figures(samples: Samples) -> dict[str, Any]:
    rounds = {arm: found[_SCENARIO.name] for arm, found in samples.items()}
    figures = {arm: training_figures(own) for arm, own in rounds.items()}
    for arm in figures:
        if arm != "edgedistil":
            figures[arm]["ours_over_this"] = training_ratio(rounds["edgedistil"], rounds[arm])
    return figures
