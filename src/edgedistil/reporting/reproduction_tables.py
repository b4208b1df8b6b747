"""Tables 1 and 2 of the DistilBERT paper beside the seeds and ours, and what each small model keeps of its full one."""

from collections.abc import Sequence
from typing import Any

from .filling import command
from .glue import MISMATCHED, NAMES, WHOLE, metric
from .reference_answers import sampled
from .reproduction_cells import TASKS, Section
from .reproduction_scores import (
    Claims,
    Difference,
    claims,
    difference,
    mean_difference,
    mean_over,
    medians,
    points,
    retention,
    scores,
    shared,
    whole,
)
from .table import markdown
from .training import Row

_PAPER = ("distilbert_table1", "distilbert_table2")
# Heading, table of GLUE, table of the other tasks, role.
_CLAIMED = (
    ("paper: BERT-base", *_PAPER, "full"),
    ("paper: DistilBERT", *_PAPER, "small"),
    ("seed 0: DistilBERT", "seed0_glue", None, "small"),
    ("seed 2: BERT-base", "seed2_glue", "seed2_tasks", "full"),
    ("seed 2: DistilBERT", "seed2_glue", "seed2_tasks", "small"),
    ("seed 3: its student", "seed3_glue", "seed3_tasks", "small"),
)
_ROLES = ("full", "small")
# Title, task, whether a teacher stood by, column of a training's row, name of the claimed figure.
_OTHERS = (
    ("IMDb, accuracy", "imdb", False, "validation_accuracy", "accuracy"),
    ("SQuAD, EM", "squad", False, "validation_exact_match", "EM"),
    ("SQuAD, F1", "squad", False, "validation_f1", "F1"),
    ("SQuAD (D), EM", "squad", True, "validation_exact_match", "EM"),
    ("SQuAD (D), F1", "squad", True, "validation_f1", "F1"),
)
_REMARKS = {"wnli": "at or under the majority's 56.3 is normal: validation contradicts training"}


def glue_table(section: Section) -> str:
    """Table 1: a line a task and the mean of nine."""
    columns = [("paper: ELMo, as published", "distilbert_table1", "elmo")]
    columns += [(head, glue, role) for head, glue, _, role in _CLAIMED]
    tables = {name: claims(name) for _, name, _ in columns}
    body = []
    for task in NAMES:
        theirs = [_claimed(tables[name], task, role) for _, name, role in columns]
        body.append(
            [NAMES[task], metric(task), *theirs, *(ours(section.of(task, role), "glue_score") for role in _ROLES)]
        )
    theirs = [_claimed_score(tables[name], role) for _, name, role in columns]
    body.append(["score", "mean of nine", *theirs, *(_our_score(section, role) for role in _ROLES)])
    heads = [f"ours: {section.roles.get(role, f'no model is {role}')}" for role in _ROLES]
    return markdown(["task", "metric", *(head for head, _, _ in columns), *heads], body)


def retention_table(section: Section) -> str:
    """What the small model keeps of the full one, the paper's and ours, and whether one run each could tell."""
    paper = claims("distilbert_table1")
    full, small = (scores(paper, role) for role in _ROLES)
    own = {role: medians(section, role) for role in _ROLES}
    body = []
    for task in NAMES:
        rows = [section.of(task, role) for role in _ROLES]
        body.append(
            [
                NAMES[task],
                _percent(retention(small[task], full[task])),
                _percent(retention(own["small"].get(task), own["full"].get(task))),
                f"{small[task] - full[task]:+.1f}",
                *_told(difference(rows[0], rows[1])),
                _remarks(task, rows),
            ]
        )
    both = shared(section)
    sums = [("score", list(NAMES))]
    if 1 < len(both) < len(NAMES):
        sums.append((f"mean of the {len(both)} that both have", both))
    for name, tasks in sums:
        theirs = [mean_over(values, tasks) for values in (full, small)]
        mine = [mean_over(own[role], tasks) for role in _ROLES]
        body.append(
            [
                name,
                _percent(retention(theirs[1], theirs[0])),
                _percent(retention(mine[1], mine[0])),
                f"{(theirs[1] or 0) - (theirs[0] or 0):+.1f}",
                *_told(mean_difference(section, tasks)),
                "with MNLI 84.7" if "mnli" in tasks else "-",
            ]
        )
    head = [
        "task",
        "kept, paper %",
        "kept, ours %",
        "small − full, paper",
        "small − full, ours [95 %]",
        "verdict",
        "remarks",
    ]
    return markdown(head, body)


def other_tasks_table(section: Section) -> str:
    """Table 2: IMDb and SQuAD 1.1, without and with the second distillation."""
    columns = [(head, other, role) for head, _, other, role in _CLAIMED if other]
    tables = {name: claims(name) for _, name, _ in columns}
    body = []
    for title, task, taught, column, what in _OTHERS:
        theirs = [_figure(tables[name], task, role, taught, what) for _, name, role in columns]
        rows = [section.of(task, role, taught and role == "small") for role in _ROLES]
        paper = [_number(tables["distilbert_table2"], task, role, taught, what) for role in _ROLES]
        kept = [retention(paper[1], paper[0]), retention(points(rows[1], column), points(rows[0], column))]
        body.append(
            [
                title,
                *theirs,
                *(ours(r, column) for r in rows),
                *map(_percent, kept),
                *_told(difference(rows[0], rows[1], column)),
            ]
        )
    heads = [f"ours: {section.roles.get(role, f'no model is {role}')}" for role in _ROLES]
    tail = ["kept, paper %", "kept, ours %", "small − full, ours [95 %]", "verdict"]
    return markdown(["task", *(head for head, _, _ in columns), *heads, *tail], body)


def ours(rows: Sequence[Row], column: str) -> str:
    """Ours: the median [least–greatest] and how many seeds; that it is of a sample; or that it is missing."""
    values = sorted(100 * r[column] for r in rows if r.get(column) is not None)
    if not values:
        return "missing: its command is below"
    spread = f" [{values[0]:.2f}–{values[-1]:.2f}]" if len(values) > 1 else ""
    seeds = f" ({len(values)} seed{'s' if len(values) > 1 else ''})"
    return f"{points(rows, column):.2f}{spread}{seeds}{', sample' if sampled(rows[0]) else ''}"


def missing_cells(section: Section) -> list[str]:
    """A line for each cell of Tables 1 and 2 that no finished run answers, and for each run that has not finished, with
    the command that makes it."""
    lines = []
    for task, taught in [*((t, False) for t in TASKS), ("squad", True)]:
        for role in _ROLES[1:] if taught else _ROLES:
            if not section.of(task, role, taught):
                fill = section.fill({"task": task, "role": role, "taught": taught})
                lines.append(f"- {TASKS[task]}{' (D)' if taught else ''}, {role}: {fill}")
    listed = "\n".join(lines)
    for outcome in section.waiting:
        text = f"`{command(outcome)}`"
        if text not in listed:
            why = "not run yet" if outcome["status"] == "planned" else f"{outcome['status']}: {outcome.get('why')}"
            lines.append(f"- another seed or recipe, {why}: {text}")
            listed += text
    return lines


def samples(section: Section) -> list[str]:
    """A line for each cell that was trained or scored on a sample of the published split."""
    found = dict.fromkeys((r["task"], sampled(r)) for r in section.rows if sampled(r))
    return [f"- {TASKS[task]}: {what}" for task, what in found]


def _claimed(table: Claims, task: str, role: str) -> str:
    figures = table.get((task, role, False))
    if not figures:
        return "not claimed"
    figure = figures[0]
    plain = figure["what"] == metric(task)
    text = figure["claimed"] + ("" if plain else f" ({figure['what']})")
    return f"{text}, a misprint of {figure['meant']}" if "meant" in figure else text


def _claimed_score(table: Claims, role: str) -> str:
    figures = table.get((WHOLE, role, False))
    if figures:
        return str(figures[0]["claimed"])
    found = mean_over(scores(table, role), list(NAMES))
    return "not claimed" if found is None else f"not claimed; its nine: {found:.1f}"


def _our_score(section: Section, role: str) -> str:
    found = whole(section, role)
    if found is not None:
        return f"{found:.2f}"
    lacking = [NAMES[t] for t in NAMES if t not in medians(section, role)]
    return f"not whole: {', '.join(lacking)} missing"


def _figure(table: Claims, task: str, role: str, taught: bool, what: str) -> str:
    figure = _find(table, task, role, taught, what)
    if figure is None:
        return "not claimed" if not (taught and role == "full") else "as without (D)"
    return f"none: {figure['really']}" if figure["claimed"] == "none" else str(figure["claimed"])


def _number(table: Claims, task: str, role: str, taught: bool, what: str) -> float | None:
    # The full model has no second distillation: it is what the taught one is held against.
    figure = _find(table, task, role, taught and role == "small", what)
    return float(figure["claimed"]) if figure else None


def _find(table: Claims, task: str, role: str, taught: bool, what: str) -> dict[str, Any] | None:
    return next((f for f in table.get((task, role, taught), []) if f["what"] == what), None)


def _told(found: Difference | None) -> list[str]:
    if found is None:
        return ["missing", "-"]
    return [f"{found.points:+.2f}" + ("" if found.half is None else f" ± {found.half:.2f}"), found.verdict]


def _percent(share: float | None) -> str:
    return "missing" if share is None else f"{share:.1f}"


def _remarks(task: str, rows: Sequence[Sequence[Row]]) -> str:
    told = [_REMARKS[task]] if task in _REMARKS else []
    first = next((r for own in rows for r in own), {})
    if sampled(first):
        told.append(f"sample: {sampled(first)}")
    if task == "mnli" and first and MISMATCHED not in first:
        told.append("matched split alone")
    if first.get("validation_n"):
        told.append(f"n = {first['validation_n']:,}")
    return "; ".join(told) or "-"
