"""The reproduction report: Tables 1 to 4 of the DistilBERT paper beside the seeds that claimed them and ours.

It reads the cells of runs and the records in the store, and never trains or measures. ``docs/reproduction.md`` says how
to read it.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .filling import Outcome, command
from .pass_record import Record, pass_table, read_pass_record
from .reproduction_cells import CHOICES, Section, cells_of, run_folders, sections
from .reproduction_tables import glue_table, missing_cells, other_tasks_table, retention_table, samples
from .training import training_rows
from .training_table import training_tables

_HOW = (
    "Ours: the median over seeds [least–greatest]. Scores are in points; a task with two metrics contributes their "
    "mean, and the score is the unweighted mean of the nine. ± is the half width of the 95 % interval of a difference "
    "between one run of each model, from the sentences of the validation split, the two taken for independent. Ours is "
    "scored on the validation split once, at the end; the paper doesn't say on what it chose."
)
_LOSSES = (
    "Another quantity than the paper's: ours are held-out losses of masked language modelling after a short "
    "distillation (lower is better), the paper's are points of the GLUE score after fine-tuning everything. Set order "
    "beside order, no figure beside a figure."
)
_ABLATION = "python train.py sweep=loss_ablation experiment=wikitext2_student"


def reproduction(
    folders: Sequence[Path], root: Path, roles: dict[str, str] | None = None, pass_records: Sequence[Path] = ()
) -> str:
    """The whole report in Markdown.

    Args:
        folders: of runs; none: those below ``root`` that hold cells of the reproduction's experiments.
        roles: which model is ``full`` and which ``small``, in place of what the runs say.
        pass_records: records of passes over STS-B (:mod:`.pass_record`).

    Raises:
        UserError: no such runs, a folder without cells, a record that can't be read.
    """
    read = list(folders) or run_folders(root)
    if not read:
        raise UserError(
            f"no run of {', '.join(CHOICES)} under {root / 'multirun'} or {root / 'outputs'}; give folders of runs, or "
            "make them first: python train.py experiment=glue_reproduction"
        )
    records = [read_pass_record(file) for file in pass_records]
    cells, empty = cells_of(read, roles)
    parts = ["# Reproduction of DistilBERT", _read(read, cells, empty), _HOW]
    found = sections(cells)
    unnamed = sum(not c.get("roles") for c in cells if c.get("step") != "pretrain")
    if unnamed:
        parts.append(
            f"{unnamed} cell(s) of runs that name no roles are left out: --roles full=MODEL small=MODEL says which is "
            "which."
        )
    for section in found:
        parts += _tables(section, records)
    if not found:
        parts += ["## Tables 1 and 2", "No cell: `python train.py experiment=glue_reproduction` makes them."]
        parts += ["## Table 3", pass_table(None, records)]
    return "\n\n".join([*parts, "## Table 4: what each part of the triple loss is for", *_ablation(cells)]) + "\n"


def _tables(section: Section, records: Sequence[Record]) -> list[str]:
    models = f"{section.roles.get('full', 'no full model')} and {section.roles.get('small', 'no small model')}"
    parts = [f"## Table 1, GLUE: {models}", glue_table(section), retention_table(section)]
    parts += [f"## Table 2, IMDb and SQuAD 1.1: {models}", other_tasks_table(section)]
    parts += [f"## Table 3, parameters and a full pass over STS-B: {models}", pass_table(section, records)]
    for head, lines in (
        ("Figures on samples of the published splits:", samples(section)),
        ("Cells that are missing, and what makes each:", missing_cells(section)),
        ("Left out, since a table shows one recipe a cell:", [f"- {line}" for line in section.left_out]),
    ):
        parts.append(f"{head}\n\n" + "\n".join(lines) if lines else f"{head} none.")
    if section.without_role:
        parts.append(f"Models of these runs that have no role, and are left out: {', '.join(section.without_role)}.")
    return parts


def _ablation(cells: Sequence[Outcome]) -> list[str]:
    learnt = [c for c in cells if c.get("step") == "pretrain"]
    rows = [r for r in training_rows(learnt) if r["status"] == "done" and r["removed"] is not None] if learnt else []
    waiting = [f"- {c['status']}: `{command(c)}`" for c in learnt if c["status"] != "done"]
    if not rows:
        return [f"Cells missing: `{_ABLATION}`", *(["\n".join(waiting)] if waiting else [])]
    return [_LOSSES, *training_tables(rows, ["distilbert_table4"]), *(["\n".join(waiting)] if waiting else [])]


def _read(folders: Sequence[Path], cells: Sequence[Outcome], empty: Sequence[Path]) -> str:
    """Which runs the report is of, by the folder that they lie in."""
    counts = {s: sum(c["status"] == s for c in cells) for s in ("done", "planned", "failed", "skipped")}
    told = ", ".join(f"{n} cell{'s' if n > 1 else ''} {s}" for s, n in counts.items() if n)
    begun = f", {len(empty)} without a cell that has ended" if empty else ""
    places: dict[Path, int] = {}
    for folder in folders:
        places[folder.parent] = places.get(folder.parent, 0) + 1
    listed = "\n".join(f"- {place} ({n})" for place, n in places.items())
    return f"Read {len(folders)} run{'s' if len(folders) > 1 else ''}, {told}{begun}:\n\n{listed}"
