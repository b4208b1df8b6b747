"""Records to flat rows: one row a cell, a unit in every column's name, nothing that no record says."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .records import read_whole, record_file
from .roles import role_facts

_SCORES = ("accuracy", "f1", "matthews_correlation", "exact_match", "pearson", "spearman")
# of numbers
_NUMBER_FIGURES = tuple(f"{m}_ci95_{side}" for m in ("pearson", "spearman") for side in ("low", "high"))
# of masked language models, in nats; the perplexity is exp(MLM loss)
_LOSSES = ("mlm_loss", "soft_target_loss", "cosine_loss", "teacher_mlm_loss", "perplexity")
_LOSS_DIFFERENCE = ("mlm_loss_difference", "mlm_loss_difference_ci95_low", "mlm_loss_difference_ci95_high")
# of questions with answer spans
_SPAN_FIGURES = ("exact_match_ci95_low", "exact_match_ci95_high", "f1_ci95_low", "f1_ci95_high")
# In an outcome whose record was read: by a command that needs it for several things, and reads it once.
READ = "read"


@dataclass(frozen=True)
class Read:
    """A record, and the SHA-256 of its file's bytes."""

    record: dict[str, Any]
    file: Path
    sha256: str

    @cached_property
    def figures(self) -> dict[str, Any]:
        """The columns of a flat row."""
        return _figures(self.record, self.file)


def read_cell(outcome: dict[str, Any]) -> Read | None:
    """The record of a done bench cell, read now unless it was before; None of any other cell.

    Raises:
        RecordError: it can't be used.
    """
    if outcome["status"] != "done" or outcome.get("step") != "bench":
        return None
    if READ in outcome:
        found: Read = outcome[READ]
        return found
    file = record_file(Path(outcome["folder"]))
    record, digest = read_whole(file)
    return Read(record, file, digest)


def row(outcome: dict[str, Any]) -> dict[str, Any]:
    """One flat row for a cell's outcome; figures only where its record has them."""
    names = outcome.get("names", {})
    flat: dict[str, Any] = {k: names.get(k) for k in ("model", "task", "compression", "device")}
    flat |= {"status": outcome["status"], "why": outcome.get("why"), "fingerprint": outcome.get("fingerprint")}
    flat |= role_facts(outcome)
    read = read_cell(outcome)
    return flat | read.figures if read else flat


def record_row(record: dict[str, Any], file: Path) -> dict[str, Any]:
    """The row of a record alone, without the run that made it: :func:`row` of a done cell."""
    flat: dict[str, Any] = {k: record["names"].get(k) for k in ("model", "task", "compression", "device")}
    flat |= {"status": "done", "why": None, "fingerprint": record["fingerprint"]}
    return flat | _figures(record, file)


def rows(outcomes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of all cells; cells with the same fingerprint are one."""
    seen: set[str] = set()
    result = []
    for outcome in outcomes:
        key = outcome.get("fingerprint")
        if key and key in seen:
            continue
        seen.add(key or "")
        result.append(row(outcome))
    return result


def _figures(record: dict[str, Any], file: Path) -> dict[str, Any]:
    quality, size, model = record["quality"] or {}, record["size"], record["model"]
    flat: dict[str, Any] = {
        "seed": record.get("seed"),
        "pruning": _method(record, "pruning"),
        "recovery": _method(record, "recovery"),
        # A cut within another budget has no ratio of its own.
        "pruning_ratio": _pruning(record).get("ratio", None if "target" in _pruning(record) else 0.0),
        "masked": _method(record, "pruning") == "magnitude",
        "quantization": _method(record, "quantization"),
        "kind": record["device"].get("kind"),
        "engine": record["device"].get("engine"),
        "head": "vocabulary" if str(model.get("head")).startswith("vocabulary") else "task",
        **{m: quality[m] for m in (*_SCORES, *_SPAN_FIGURES, *_NUMBER_FIGURES) if m in quality},
        **{m: quality.get(m) for m in ("n", "right", "sample", "accuracy_ci95_low", "accuracy_ci95_high")},
    }
    for key in ("accuracy_points", "mcnemar_p", "flips", "max_logit_drift"):
        flat[f"parent_{key}"] = quality.get("against_parent", {}).get(key)
    for key in (
        *(f"{m}_points" for m in _SCORES[1:]),
        "permutation_p",
        *_LOSS_DIFFERENCE,
        "f1_points_ci95_low",
        "f1_points_ci95_high",
    ):
        if key in quality.get("against_parent", {}):
            flat[f"parent_{key}"] = quality["against_parent"][key]
    for key in ("flips", "accuracy_points", "max_logit_drift"):
        if key in quality.get("against_host", {}):
            flat[f"host_{key}"] = quality["against_host"][key]
    flat |= {m: quality[m] for m in _LOSSES if m in quality}
    for split, scores in (record.get("more_quality") or {}).items():
        flat |= {f"{split}_{m}": scores[m] for m in (*_SCORES, "n") if m in scores}
    flat |= _test_figures(record)
    flat |= _timed_figures(record) if timed(record) else {"timed": False}
    return flat | {
        **{f"size_{part}": value for part, value in size.items()},
        "parameters": model.get("parameters"),
        "encoder_sparsity": model.get("encoder_sparsity"),
        **{f"gflops_{n}_tokens": v for n, v in model.get("gflops_by_tokens", {}).items()},
        "parity_max_abs_difference": model.get("parity", {}).get("max_abs_difference"),
        "emulated": emulated(record),
        "valid": record.get("valid"),
        "invalid_because": "; ".join(record.get("invalid_because", [])),
        "isa": " ".join(record["environment"]["isa"]),
        "kept_workers": " ".join(record["environment"].get("kept_workers") or ()) or None,
        "threads": record["device"]["threads"],
        "record": str(file),
    }


def timed(record: dict[str, Any]) -> bool:
    """Whether a record has times beside scores and sizes (``measurement=quality`` takes none)."""
    return bool(record.get("timed", True))


def valid(record: dict[str, Any]) -> bool:
    """Whether a record's times may be quoted; one without times says nothing against it."""
    return bool(record.get("valid", True))


def emulated(record: dict[str, Any]) -> bool:
    """Whether the device was emulated, as it said of itself: its answers count, its times mean nothing."""
    environment = record["environment"]
    return bool(environment.get("device_facts", environment).get("emulated"))


def _test_figures(record: dict[str, Any]) -> dict[str, Any]:
    """Columns of the test part of the training split, where there is one."""
    test = record.get("test_quality")
    if test is None:
        return {}
    keys = ("n", "sentences", "right", "accuracy_ci95_low", "accuracy_ci95_high", "kept_from_training")
    flat = {f"test_{m}": test[m] for m in (*_SCORES, *keys) if m in test}
    paired = test.get("against_parent", {})
    flat |= {f"test_parent_{key}": paired.get(key) for key in ("accuracy_points", "flips")}
    return flat | {"test_parent_p": paired.get("clustered_p", paired.get("mcnemar_p"))}


def _timed_figures(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    latency = record["latency"]
    for scenario, figures in latency.items():
        for percent in ("p50", "p90", "p99"):
            flat[f"{scenario}_latency_ms_{percent}"] = figures[f"latency_ms_{percent}"]
            for side in ("low", "high"):
                # Records of schema 1 have no bounds.
                flat[f"{scenario}_latency_ms_{percent}_ci95_{side}"] = figures.get(f"latency_ms_{percent}_ci95_{side}")
        flat[f"{scenario}_cpu_ms_p50"] = figures["cpu_ms_p50"]
        if "device_ms_p50" in figures:
            flat[f"{scenario}_device_ms_p50"] = figures["device_ms_p50"]
        flat[f"{scenario}_calls"] = figures["n"]
        if "share_of_peak" in figures:
            flat[f"{scenario}_share_of_peak"] = figures["share_of_peak"]
    for part in ("speedup", "throughput_speedup"):
        for baseline, by_scenario in record.get(part, {}).items():
            for scenario, figures in by_scenario.items():
                flat[f"{scenario}_times_faster_than_{baseline}"] = figures["ratio"]
                flat[f"{scenario}_times_faster_than_{baseline}_ci95_low"] = figures["ci95_low"]
                flat[f"{scenario}_times_faster_than_{baseline}_ci95_high"] = figures["ci95_high"]
                flat[f"{scenario}_verdict_against_{baseline}"] = figures["verdict"]
    for batch, figures in record["throughput"].items():
        flat[f"{batch}_sentences_per_s"] = figures["sentences_per_s"]
        for figure in ("tflops_per_s", "share_of_peak"):
            if figure in figures:
                flat[f"{batch}_{figure}"] = figures[figure]
    for scenario, workers in record.get("out_of_memory", {}).items():
        if "candidate" in workers:
            flat[f"{scenario}_largest_batch_that_fits"] = workers["candidate"]["largest_batch_that_fits"]
    for phase in ("after_load", "batch_1", "batches"):
        for name, value in (record["memory"][phase].get("gpu") or {}).items():
            flat[f"gpu_{name}_{phase}"] = value
    cold = record["cold_start"]["cold_start_ms_p50"]
    flat |= {f"cold_start_{phase}_ms_p50": value for phase, value in cold.items()}
    dropped = record["cold_start"].get("dropped", {}).get("cold_start_ms_p50", {})
    flat["cold_start_dropped_cache_total_ms_p50"] = dropped.get("total")
    flat["tokenization_ms_p50"] = record.get("tokenization", {}).get("tokenization_ms_p50")
    calibration = record.get("calibration", {}).get("before", {})
    flat |= {f"calibration_{name}": value for name, value in calibration.items()}
    memory = record["memory"]
    return flat | {
        "peak_rss_mb_load": memory["after_load"]["peak_rss_mb"],
        "peak_rss_mb_batch_1": peak_rss_mb(record),
        "peak_rss_mb_batches": memory["batches"]["peak_rss_mb"],
    }


def peak_rss_mb(record: dict[str, Any]) -> float:
    """The highest resident size of the worker from its load to the end of batch-1 inference."""
    memory = record["memory"]
    return float(max(memory["after_load"]["peak_rss_mb"], memory["batch_1"]["peak_rss_mb"]))


def _pruning(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (record["compression"] or {}).get("pruning", {})
    return found


def _method(record: dict[str, Any], part: str) -> str:
    return str((record["compression"] or {}).get(part, {}).get("method", "none"))
