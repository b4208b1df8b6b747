"""Training runs as tables for people: language models with what was removed from their losses, and fine-tuned ones."""

from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

from .glue import macro_rows
from .references import Fill, about_losses, beside, compared
from .table import markdown
from .training import BETWEEN, START, Row, option

_PARTS = {
    "soft_target_loss": "− L_ce (soft targets)",
    "mlm_loss": "− L_mlm (masked tokens)",
    "cosine_loss": "− L_cos (hidden states)",
}
_MEASURED = (
    ("mlm_loss", "MLM loss", "{:.4f}"),
    ("soft_target_loss", "soft-target loss", "{:.4f}"),
    ("cosine_loss", "1 − cos", "{:.4f}"),
    ("perplexity", "perplexity", "{:,.1f}"),
)
# Of validation, but no scores.
_COUNTS = ("validation_n", "validation_right", "validation_texts_in_train", "validation_windows")
_OF_SEEDS = "median [least–greatest]"
_NONE = "-"
Column = tuple[str, Callable[[list[Row]], str]]


def training_tables(rows: list[Row], references: list[str], fill: Fill | None = None) -> list[str]:
    """Tables and the notes that a reader needs, a line for each run; runs that differ in their seed alone are one line.

    Args:
        references: published tables whose figures stand beside the lines that they are about.
        fill: says of a cell that a published table asks for how to make it.
    """
    done = [r for r in rows if r["status"] == "done"]
    learnt = [r for r in done if r["step"] == "pretrain"]
    tuned = [r for r in done if r["step"] != "pretrain"]
    parts = []
    if learnt:
        parts += [*_language_models(_groups(learnt), [n for n in references if about_losses(n)]), *_notes(learnt)]
    if tuned:
        parts += _classifiers(_groups(tuned))
        others = [n for n in references if not about_losses(n)]
        parts += [compared(name, [*tuned, *macro_rows(tuned)], fill) for name in others]
    parts += [f"{r['status']}: {r['run'] or r['model']}: {r['why'] or ''}" for r in rows if r["status"] != "done"]
    return parts


def removed_label(removed: str) -> str:
    """A person's name for what was left out of the triple loss."""
    names = removed.split("+") if removed else []
    losses = [_PARTS[name] for name in names if name != START]
    if START in names:
        return f"{' '.join(losses)}, random initialisation" if losses else "triple loss + random initialisation"
    if len(losses) == 2 and "mlm_loss" not in names:
        return f"{' '.join(losses)}: masked tokens alone"
    return " ".join(losses) or "nothing removed"


def _groups(rows: list[Row]) -> list[list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault((row["model"], row["task"], row["run"]), []).append(row)
    return list(found.values())


def _language_models(groups: list[list[Row]], references: list[str]) -> list[str]:
    columns: list[Column] = _leading(groups)
    if any(g[0]["removed"] is not None for g in groups):
        columns.append(("removed", lambda g: removed_label(g[0]["removed"]) if g[0]["removed"] is not None else ""))
    columns.append(("n", lambda g: str(len(g))))
    for name, head, form in _MEASURED:
        if any(f"validation_{name}" in r for g in groups for r in g):
            columns.append((head, _change(name, form)))
    columns.append(("tokens seen", lambda g: _spread(g, "tokens_seen", "{:,.0f}")))
    columns.append(("tokens/s", lambda g: _spread(g, "tokens_per_s", "{:,.0f}")))
    if any("mlm_loss_difference" in r for g in groups for r in g):
        columns.append(("Δ MLM loss", lambda g: _spread(g, "mlm_loss_difference", "{:+.4f}")))
    notes = []
    for name in references:
        head, claimed, note = beside(name, [g[0] for g in groups])
        columns.append((head, _listed(groups, claimed)))
        notes.append(note)
    return [_table(columns, groups), *notes]


def _notes(rows: list[Row]) -> list[str]:
    texts = sorted({r["held_out_texts"] for r in rows if "held_out_texts" in r})
    lines = [
        f"Before → after training, on {' / '.join(f'{n:,}' for n in texts)} held-out texts whose masks are the same in "
        "every run; losses in nats; perplexity is exp(MLM loss) at masked places, not a left-to-right model's. "
        "tokens/s are of training on this machine."
    ]
    theirs = sorted({round(r["validation_teacher_mlm_loss"], 4) for r in rows if "validation_teacher_mlm_loss" in r})
    if theirs:
        lines.append(f"The teacher's own MLM loss there: {', '.join(f'{value:.4f}' for value in theirs)}.")
    if any("mlm_loss_difference" in r for r in rows):
        lines.append("Δ MLM loss: against the run of the same seed that nothing was removed from; above 0 is worse.")
    if len({r["seed"] for r in rows}) > 1:
        lines.append(f"Lines of several seeds (n): {_OF_SEEDS}.")
    return [" ".join(lines)]


def _classifiers(groups: list[list[Row]]) -> list[str]:
    columns: list[Column] = _leading(groups)
    columns.append(("seeds", lambda g: str(len(g))))
    scores = [k for k in dict.fromkeys(k for g in groups for r in g for k in r) if _is_score(k)]
    for key in scores:
        columns.append((f"{key.removeprefix('validation_')} %", partial(_spread, key=key, form="{:.2f}", scale=100)))
    columns.append(("accuracy's 95 %", lambda g: _interval(g, "validation_accuracy")))
    columns.append(("n", lambda g: _spread(g, "validation_n", "{:,.0f}")))
    if any("validation_texts_in_train" in r for g in groups for r in g):
        columns.append(("of them in train too", lambda g: _spread(g, "validation_texts_in_train", "{:,.0f}") or "0"))
    columns.append(("parameters", lambda g: _spread(g, "parameters", "{:,.0f}")))
    if any("teacher_retention" in r for g in groups for r in g):
        columns.append(("retention of the teacher %", lambda g: _spread(g, "teacher_retention", "{:.1f}", 100)))
        columns.append(("its 95 %", lambda g: _interval(g, "teacher_retention")))
    table = _table(columns, groups)
    told = []
    if any(len(g) > 1 for g in groups):
        told.append(f"Lines of several seeds: {_OF_SEEDS}; an interval is one run's.")
    if f" {_NONE} " in table:
        told.append(f"{_NONE}: another task's metric, or a figure that these runs don't have.")
    return [table, *([" ".join(told)] if told else [])]


def _is_score(key: str) -> bool:
    return key.startswith("validation_") and key not in _COUNTS and "_ci95_" not in key


def _leading(groups: list[list[Row]]) -> list[Column]:
    """The columns that tell the lines apart; what ``removed`` says already is not said again."""

    def name(g: list[Row]) -> str:
        return BETWEEN.join(o for o in g[0]["run"].split(BETWEEN) if g[0]["removed"] is None or option(o) != "ablation")

    columns: list[Column] = []
    for key in ("model", "task"):
        if len({g[0][key] for g in groups}) > 1:
            columns.append((key, partial(_first, key=key)))
    if any(name(g) for g in groups):
        columns.append(("run", name))
    elif not columns and all(g[0]["removed"] is None for g in groups):
        columns.append(("model", partial(_first, key="model")))
    return columns


def _first(group: list[Row], key: str) -> str:
    return str(group[0][key])


def _table(columns: list[Column], groups: list[list[Row]]) -> str:
    return markdown([head for head, _ in columns], [[cell(group) or _NONE for _, cell in columns] for group in groups])


def _listed(groups: list[list[Row]], values: Iterable[str]) -> Callable[[list[Row]], str]:
    by_group = {id(group): value for group, value in zip(groups, values, strict=True)}
    return lambda group: by_group[id(group)]


def _change(name: str, form: str) -> Callable[[list[Row]], str]:
    return lambda g: " → ".join(_spread(g, f"{when}_{name}", form) or "?" for when in ("before", "validation"))


def _spread(group: list[Row], key: str, form: str, scale: float = 1) -> str:
    """Median over a group's seeds, with the least and the greatest where they differ; empty where no record says."""
    values = [scale * r[key] for r in group if r.get(key) is not None]
    if not values:
        return ""
    low, middle, high = (form.format(v) for v in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} [{low}–{high}]"


def _interval(group: list[Row], key: str) -> str:
    """The interval of one run; that of several seeds is not theirs to give."""
    if len(group) > 1 or group[0].get(f"{key}_ci95_low") is None:
        return ""
    low, high = (100 * group[0][f"{key}_ci95_{side}"] for side in ("low", "high"))
    return f"[{low:.1f}, {high:.1f}]"
