"""The worker processes of one measured cell: who stands beside whom, their starts, their times, their memory."""

import random
import resource
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..measurement.inputs import batch_scenarios, exact_batches, scenarios
from ..measurement.interleave import Asked, Effort, Interleaved, Samples
from ..measurement.statistics import median
from ..store.progress import tell
from ..workers.client import Worker, WorkerError
from ..workers.cuda_capacity import is_out_of_memory, largest_batch
from .site import Place, Site


@dataclass
class Measured:
    """All that one run of the workers brought.

    Attributes:
        samples: of real texts and exact lengths; ``batches`` of batches.
        memory: worker → phase → MB, in the first generation's process.
        starts: worker → cold starts (ms by phase) of all generations, page cache warm.
        pinned: worker → cores that it was really on.
        saturates: form of INT8 weights → whether products with them saturate on this processor.
        kept: workers that stayed for the whole run, because they start too slowly to be restarted.
        meanwhile: :meth:`Watch.stop`'s figures, and ``seconds``.
        facts: worker → what it says of its engine and device, where it does.
        out_of_memory: scenario → worker → what was said, and how many texts of the longest batch do fit.
    """

    samples: Samples = field(default_factory=dict)
    batches: Samples = field(default_factory=dict)
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)
    starts: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    pinned: dict[str, list[int] | None] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)
    tokenization: dict[str, Any] = field(default_factory=dict)
    calibration_before: dict[str, float] = field(default_factory=dict)
    calibration_after: dict[str, float] = field(default_factory=dict)
    saturates: dict[str, bool] = field(default_factory=dict)
    meanwhile: dict[str, Any] = field(default_factory=dict)
    out_of_memory: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)


def places(request: dict[str, Any]) -> dict[str, Place]:
    """The candidate first, then every baseline, as the request describes them.

    ``options.baseline_workers`` maps a baseline's name to ``engine``, ``input`` (a key of the request's inputs) and
    ``quantization``; ``runtime.interpreters`` names another Python for those that need one.
    """
    options, inputs = request["options"], request["inputs"]
    interpreters = request["runtime"].get("interpreters", {})
    found = {
        "candidate": Place(options["engine"]["engine"], Path(inputs["candidate"]), _method(options), candidate=True)
    }
    for name, place in options["baseline_workers"].items():
        folder = Path(inputs[place["input"]])
        found[name] = Place(place["engine"], folder, place["quantization"], interpreters.get(name))
    return found


def run(
    options: dict[str, Any],
    site: Site,
    stand: dict[str, Place],
    texts: Sequence[tuple[str, ...]],
    ids: list[list[int]],
    cores: list[int] | None,
) -> Measured:
    """Times of all places side by side, over generations of fresh processes, between two calibrations.

    Raises:
        WorkerError: a place can't start or answer; a comparison with a missing side is none.
    """
    mode, seed = options["measurement"], options["seed"]
    each = mode["generations"]
    timed = Interleaved(scenarios(ids, mode["lengths"], seed), _effort(mode), seed)
    batches = Interleaved(
        [
            *batch_scenarios(ids, _batch_sizes(options), mode["batch_rounds"], seed),
            *exact_batches(ids, mode.get("exact_batches", []), mode["batch_rounds"], seed),
        ],
        # These processes are warm; a new shape only has its buffers to allocate, in one call.
        Effort(-(-mode["batch_rounds"] // each), 1, 0, "run", 1, 1),
        seed,
    )
    found, chance = Measured(), random.Random(seed)
    site.ready(stand)
    with site.gauge(cores) as gauge:
        found.saturates = gauge.saturates()
        found.calibration_before = gauge.rates()
        gauge_cpu_s, asking_cpu_s = gauge.cpu_s(), time.process_time()
        watch, began, ended_cpu_s = site.watch(cores), time.monotonic(), _ended_children_cpu_s()
        with ExitStack() as whole_run:
            kept: dict[str, Asked] = {}
            for number in range(each):
                site.before_generation()
                with ExitStack() as generation:
                    workers = dict(kept)
                    for name in chance.sample(sorted(set(stand) - set(kept)), len(stand) - len(kept)):
                        own = generation.enter_context(ExitStack())
                        workers[name] = own.enter_context(site.start(stand[name], cores))
                        _load(found, workers[name], name, site, stand[name], texts[0])
                        if name != "candidate" and found.starts[name][0]["total"] > 1000 * mode["restart_within_s"]:
                            whole_run.push(own.pop_all())
                            kept[name] = workers[name]
                    timed.generation(workers)
                    _note_memory(found, workers, "batch_1", number)
                    if number == 0 and site.small:
                        _leave_out_what_does_not_fit(found, workers, batches)
                    batches.generation(workers)
                    _note_memory(found, workers, "batches", number)
                    site.after_generation()
                    # The last part are cold starts.
                    tell(number + 1, each + 1, "parts")
                    if number == 0:
                        found.tokenization = _tokenization(site, workers["candidate"], texts)
            found.kept = sorted(kept)
        own_cpu_s = _ended_children_cpu_s() - ended_cpu_s + gauge.cpu_s() - gauge_cpu_s
        found.meanwhile = {
            **watch.stop(own_cpu_s, time.process_time() - asking_cpu_s),
            "seconds": round(time.monotonic() - began, 2),
        }
        found.calibration_after = gauge.rates()
    found.samples, found.batches = timed.samples, batches.samples
    found.unsteady = timed.unsteady
    return found


def _leave_out_what_does_not_fit(found: Measured, workers: dict[str, Asked], batches: Interleaved) -> None:
    """Batches that a worker has no memory for are an outcome: the others go on without it, and what a baseline can't do
    the candidate still does."""
    for scenario in batches.scenarios:
        for name, worker in workers.items():
            assert isinstance(worker, Worker)
            try:
                worker.ask("prepare", name=scenario.name, batches=scenario.batches)
                worker.ask("time", name=scenario.name, start=0, count=len(scenario.batches))
            except WorkerError as error:
                if not is_out_of_memory(error):
                    raise
                longest = max(scenario.batches, key=lambda rows: max(map(len, rows)))
                batches.left_out.add((name, scenario.name))
                found.out_of_memory.setdefault(scenario.name, {})[name] = {
                    "why": str(error),
                    # Beside the others of the run, which hold memory too.
                    "largest_batch_that_fits": _largest(worker, longest),
                }


def _largest(worker: Worker, rows: list[list[int]]) -> int | None:
    return largest_batch(worker, lambda count: rows[:count], len(rows) - 1) if len(rows) > 1 else None


def _load(found: Measured, worker: Asked, name: str, site: Site, place: Place, text: tuple[str, ...]) -> None:
    assert isinstance(worker, Worker)
    loaded = site.load(worker, place, text)
    found.starts.setdefault(name, []).append(loaded["cold_start_ms"])
    found.pinned[name] = loaded["cores"]
    if "facts" in loaded:
        found.facts[name] = loaded["facts"]
    if name not in found.memory:
        found.memory[name] = {
            **loaded["memory_by_phase"],
            "after_load": loaded["memory"],
            "peaks_are_of_phases": loaded["peak_resettable"],
        }


def cold_starts(
    options: dict[str, Any],
    site: Site,
    place: Place,
    text: tuple[str, ...],
    warm: list[dict[str, float]],
    cores: list[int] | None,
) -> dict[str, Any]:
    """Cold starts by phase with the page cache warm, and with the shipped files dropped from it.

    Args:
        warm: starts that were measured already, one a generation; more are made when they are too few.
    """
    count = options["measurement"]["cold_starts"]

    def start() -> dict[str, float]:
        with site.start(place, cores) as worker:
            loaded = site.load(worker, place, text)
        phases: dict[str, float] = loaded["cold_start_ms"]
        return phases

    warm = warm + [start() for _ in range(count - len(warm))]
    dropped, why = [], None
    for _ in range(count):
        why = site.drop_cache(place)
        if why:
            break
        dropped.append(start())
    site.warm_cache(place)
    return {
        **start_figures(warm),
        "page_cache": "warm",
        "dropped": {**start_figures(dropped), "page_cache": "shipped files dropped"}
        if not why
        else {"page_cache": f"warm: {why}", "n": 0},
    }


def start_figures(starts: list[dict[str, float]]) -> dict[str, Any]:
    """n, the median of each phase, every total and every phase of cold starts (ms)."""
    return {
        "n": len(starts),
        "cold_start_ms_p50": {phase: round(median([s[phase] for s in starts]), 3) for phase in starts[0]},
        "cold_start_ms_all": [s["total"] for s in starts],
        "cold_start_ms_by_phase_all": {phase: [s[phase] for s in starts] for phase in starts[0]},
    }


def _effort(mode: dict[str, Any]) -> Effort:
    each = mode["generations"]
    return Effort(
        rounds=-(-mode["rounds"] // each),
        burst=mode["burst"],
        seconds=mode["seconds"] / each,
        seconds_of=mode["seconds_of"],
        warmup_calls=mode["warmup_calls"],
        warmup_limit=mode["warmup_limit"],
    )


def _batch_sizes(options: dict[str, Any]) -> list[int]:
    """The sizes asked for; of a file without a mask only 1, since it can't tell padding from text."""
    padding = (options["compression"] or {}).get("graph", {}).get("padding", True)
    return [size for size in options["measurement"]["batches"] if padding or size == 1]


def _note_memory(found: Measured, workers: dict[str, Asked], phase: str, generation: int) -> None:
    for name, worker in workers.items():
        memory = worker.ask("memory")["memory"]
        if generation == 0:
            found.memory[name][phase] = memory


def _ended_children_cpu_s() -> float:
    """CPU time of all processes that this one started and waited for, from their first instruction to their last."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tokenization(site: Site, worker: Asked, texts: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    assert isinstance(worker, Worker)
    return site.tokenization(worker, texts)


def _method(options: dict[str, Any]) -> str:
    return str(options["compression"]["quantization"]["method"]) if options["device"]["engine"] == "torch" else "none"
