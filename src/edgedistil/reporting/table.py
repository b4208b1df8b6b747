"""The matrix as a table for people: Markdown that reads well in a terminal too."""

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]
_FOR_SIZE = ("int4_ort", "nf4", "llm_int8")
_LATENCY_HEAD, _SPEED_HEAD = "p50 ms real / 32 / 128 tokens", "× eager FP32 at 32 [95 %]"
_COLD_HEAD, _BATCH_HEAD = "cold start ms", "batch 32 /s"
# Headings of what may not be quoted of a run that is INVALID.
TIMES = (_LATENCY_HEAD, _SPEED_HEAD, _COLD_HEAD, _BATCH_HEAD)
_EAGER = "tokens_32_times_faster_than_torch_fp32"


def columns(rows: list[Row]) -> list[Column]:
    """What is told of each done cell: (heading, how a row says it). Quality with its interval and the paired test,
    latency, speed, size, memory, cold start."""
    found: list[Column] = [
        ("compression", lambda r: str(r["compression"]) + (" (masked)" if r.get("masked") else "")),
        (_score_name(rows), _accuracy),
        (_difference_name(rows), _paired),
        *_other_metrics(rows),
        *_test_columns(rows),
        (_LATENCY_HEAD, _latency),
        (_SPEED_HEAD, _speed),
        ("model MB", lambda r: f"{r['size_model_mb']:.1f}"),
        ("peak RSS MB", lambda r: _rounded(r, "peak_rss_mb_batch_1")),
        (_COLD_HEAD, lambda r: _rounded(r, "cold_start_total_ms_p50")),
        (_BATCH_HEAD, lambda r: _rounded(r, "batch_32_sentences_per_s", "" if r.get("timed", True) else "-")),
        *([("front", lambda r: str(r.get("front", "")))] if any("front" in r for r in rows) else []),
        ("remarks", _remarks),
    ]
    if any(r.get("host_flips") is not None for r in rows):
        found.insert(3, ("other answers than here (drift)", _against_host))
    return found


def matrix(rows: list[Row]) -> str:
    """One line a cell: see :func:`columns`; of one that is not done, why."""
    told = columns(rows)
    several = [k for k in ("model", "task", "device") if len({r[k] for r in rows}) > 1]
    head = [*several, *(name for name, _ in told)]
    body = []
    for r in rows:
        lead = [str(r[k]) for k in several]
        if r["status"] != "done":
            blank = [""] * (len(told) - 2)
            body.append([*lead, str(r["compression"] or "-"), *blank, f"{r['status']}: {r['why'] or ''}"])
        else:
            body.append(lead + [cell(r) for _, cell in told])
    return markdown(head, body)


def markdown(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table with padded columns; what a cell says is one line that stays in its column."""
    told = [[" ".join(cell.splitlines()).replace("|", "\\|") for cell in line] for line in [head, *body]]
    widths = [max(len(line[i]) for line in told) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in told]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def notes(rows: list[Row]) -> list[str]:
    """What a reader of the table must know: how many sentences, which machine, what is not valid."""
    done = [r for r in rows if r["status"] == "done"]
    if not done:
        return []
    several = len({r.get("device") for r in done}) > 1
    lines = list(dict.fromkeys(_answers_of(r, several) for r in done))
    tested = next((r for r in done if r.get("test_n")), None)
    if tested:
        clusters = tested.get("test_sentences")
        phrases = f" (phrases of {clusters} sentences, which intervals and p are of)" if clusters else ""
        lines.append(
            f"test: {tested['test_n']} texts of the training split{phrases} that nothing was learnt from, calibrated "
            "on or chosen by (task.test_texts)."
        )
    if any(r.get("test_kept_from_training") is False for r in done):
        lines.append("The parent was given fine-tuned: whether it has seen the test texts is not known here.")
    if any(r.get("host_flips") is not None for r in done):
        lines.append(
            "other answers than here: of the same file on this machine's processor; drift: the largest difference of a "
            "logit."
        )
    if kept := sorted({name for r in done for name in (r.get("kept_workers") or "").split()}):
        lines.append(
            f"{', '.join(kept)}: one process in all generations, since it starts slower than "
            "measurement.restart_within_s: an interval against it knows nothing of another process of it."
        )
    if any(r.get("masked") for r in done):
        lines.append("masked: weights are zero in place, so neither size nor speed is claimed.")
    if any(r["quantization"] == "int4_ort" for r in done):
        lines.append("4-bit is a feature for size: compare its latency with the FP32 row above it.")
    return lines


def _answers_of(r: Row, named: bool) -> str:
    """How many texts a row's scores are of, and on what it ran."""
    what, test = {
        "spans": ("questions; Δ of exact match", "McNemar's exact p"),
        "numbers": ("texts; Δ of Pearson's correlation", "the p of a permutation test"),
        "classes": ("sentences; Δ", "McNemar's exact p"),
        "losses": ("texts, losses in nats at the same masked places; Δ of the MLM loss", "its 95 % (resampled texts)"),
    }[score_kind(r)]
    answers = (
        f"n = {r['n']}{' (a sample)' if r['sample'] else ''} {what} and {test} are against the dense FP32 "
        "parent on the same ones"
        if r.get("n")
        else "random weights: speed and size only"
    )
    lead = f"{r['device']}: " if named else ""
    return f"{lead}{answers}; {r['threads']} thread(s); instruction sets: {r['isa'] or 'not told'}."


def _score_name(rows: list[Row]) -> str:
    names = {
        "spans": "EM / F1 % [95 % of F1]",
        "numbers": "Pearson × 100 [95 %]",
        "classes": "accuracy % [95 %]",
        "losses": "MLM loss (perplexity)",
    }
    kinds = {score_kind(r) for r in rows if r["status"] == "done"}
    return " or ".join(names[kind] for kind in sorted(kinds or {"classes"}))


def _difference_name(rows: list[Row]) -> str:
    return "Δ loss [95 %]" if {score_kind(r) for r in rows if r["status"] == "done"} == {"losses"} else "Δ points (p)"


def score_kind(r: Row) -> str:
    """``classes``, ``spans``, ``numbers`` or ``losses``: what a row's score is of."""
    told = {"exact_match": "spans", "pearson": "numbers", "mlm_loss": "losses"}
    return next((kind for figure, kind in told.items() if r.get(figure) is not None), "classes")


def _accuracy(r: Row) -> str:
    if r.get("exact_match") is not None:
        interval = f"[{100 * r['f1_ci95_low']:.1f}, {100 * r['f1_ci95_high']:.1f}]"
        return f"{100 * r['exact_match']:.2f} / {100 * r['f1']:.2f} {interval}"
    if r.get("pearson") is not None:
        return f"{100 * r['pearson']:.2f} [{100 * r['pearson_ci95_low']:.1f}, {100 * r['pearson_ci95_high']:.1f}]"
    if r.get("mlm_loss") is not None:
        return f"{r['mlm_loss']:.4f} ({r['perplexity']:.4g})"
    if r.get("accuracy") is None:
        return "- (random weights)"
    return f"{100 * r['accuracy']:.2f} [{100 * r['accuracy_ci95_low']:.1f}, {100 * r['accuracy_ci95_high']:.1f}]"


def _paired(r: Row) -> str:
    if r.get("parent_pearson_points") is not None:
        return f"{r['parent_pearson_points']:+.2f} ({r['parent_permutation_p']:.2f})"
    if r.get("parent_mlm_loss_difference") is not None:
        low, high = (r[f"parent_mlm_loss_difference_ci95_{side}"] for side in ("low", "high"))
        return f"{r['parent_mlm_loss_difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
    points = r.get("parent_exact_match_points", r.get("parent_accuracy_points"))
    return "-" if points is None else f"{points:+.2f} ({r['parent_mcnemar_p']:.2f})"


def _against_host(r: Row) -> str:
    return (
        ""
        if r.get("host_flips") is None
        else f"{r['host_flips']} of {r['n']}"
        + (f" ({r['host_max_logit_drift']:.1g})" if "host_max_logit_drift" in r else "")
    )


def _other_metrics(rows: list[Row]) -> list[tuple[str, Callable[[Row], str]]]:
    """What classification tasks are ranked by beside accuracy, each with its difference from the parent."""

    def column(metric: str) -> Callable[[Row], str]:
        def cell(r: Row) -> str:
            if r.get(metric) is None or r.get("exact_match") is not None:
                return "-"
            points = r.get(f"parent_{metric}_points")
            return f"{100 * r[metric]:.2f}" + ("" if points is None else f" ({points:+.2f})")

        return cell

    losses = {"soft_target_loss": "soft-target loss", "cosine_loss": "1 − cosine"}

    def loss(name: str) -> Callable[[Row], str]:
        return lambda r: "" if r.get(name) is None else f"{r[name]:.4f}"

    told = [(head, loss(name)) for name, head in losses.items() if any(r.get(name) is not None for r in rows)]
    found = {"f1": "F1 % (Δ)", "matthews_correlation": "MCC × 100 (Δ)", "spearman": "Spearman × 100 (Δ)"}
    present = [m for m in found if any(r.get(m) is not None and r.get("exact_match") is None for r in rows)]
    return [*told, *((found[m], column(m)) for m in present)]


def _test_columns(rows: list[Row]) -> list[tuple[str, Callable[[Row], str]]]:
    if not any(r.get("test_n") for r in rows):
        return []

    def accuracy(r: Row) -> str:
        if not r.get("test_n"):
            return ""
        low, high = 100 * r["test_accuracy_ci95_low"], 100 * r["test_accuracy_ci95_high"]
        return f"{100 * r['test_accuracy']:.2f} [{low:.1f}, {high:.1f}]"

    def paired(r: Row) -> str:
        points = r.get("test_parent_accuracy_points")
        return "" if points is None else f"{points:+.2f} ({r['test_parent_p']:.2f})"

    return [("test accuracy % [95 %]", accuracy), ("test Δ points (p)", paired)]


def _remarks(r: Row) -> str:
    if not r.get("timed", True):
        return "not timed"
    remarks = []
    if r.get("engine") == "torch" and r["quantization"] != "none":
        remarks.append("MB of the FP32 file, which is packed when it is loaded")
    verdicts = [r.get(f"tokens_32_verdict_against_{b}") for b in ("onnxruntime_fp32", "torch_fp32")]
    if r.get("quantization") in _FOR_SIZE and "slower" in verdicts:
        remarks.append("slower than FP32: a feature for size")
    small = [key for key in r if key.endswith("_largest_batch_that_fits")]
    remarks += [f"out of memory at {key.removesuffix('_largest_batch_that_fits')}: {r[key]} texts fit" for key in small]
    remarks += [] if r["valid"] else [f"INVALID: {r['invalid_because']}"]
    return "; ".join(remarks)


def _rounded(r: Row, column: str, without: str = "-") -> str:
    """A figure without decimals; ``without`` where there is none."""
    return f"{r[column]:.0f}" if column in r else without


def _latency(r: Row) -> str:
    if not r.get("timed", True):
        return "-"
    return " / ".join(
        f"{r[k]:.2f}" if k in r else "-"
        for k in ("real_latency_ms_p50", "tokens_32_latency_ms_p50", "tokens_128_latency_ms_p50")
    )


def _speed(r: Row) -> str:
    if _EAGER not in r:
        return "" if r.get("timed", True) else "-"
    return f"{r[_EAGER]:.2f} [{r[_EAGER + '_ci95_low']:.2f}, {r[_EAGER + '_ci95_high']:.2f}]"
