"""The report of a sweep: made once for a set of outcomes, kept in the store, linked into the sweep's folder."""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

from ..store.files import read_json, write_text
from ..store.fingerprint import fingerprint
from ..store.store import Store
from .ablation import ablation_tables
from .cells import measured_cells
from .filling import filler
from .multiply import multiply_tables
from .pareto import draw, frontier_tables
from .peers import peers_table
from .references import compared
from .rows import rows
from .table import matrix, notes
from .training import training_rows
from .training_table import training_tables

# Raised when the same records would give another table or picture.
REPORT_VERSION = 7
FILES = ("results.csv", "results.parquet", "table.md", "pareto.png")


def report(outcomes: list[dict[str, Any]], store: Store, target: Path, references: list[str]) -> str:
    """Write ``results.csv``, ``results.parquet``, ``table.md`` and ``pareto.png`` into ``target``; returns the table.
    Runs of ``train.py`` have no picture.

    Nothing is drawn again for outcomes that were reported before.

    Args:
        references: names of published tables to set beside the rows (see ``reporting/references.py``).
    """
    # A line of training is told from the next by its overrides, a cell of the matrix by its names.
    references_told = ("overrides", "roles", "output_dir") if references else ()
    told_by = ("status", "why", "fingerprint", "names", "folder", *(("overrides",) if _trains(outcomes) else ()))
    identity = [{k: o.get(k) for k in dict.fromkeys((*told_by, *references_told))} for o in outcomes]
    frontier = any(o.get("frontier") for o in outcomes)
    key = fingerprint({"version": REPORT_VERSION, "outcomes": identity, "references": references, "frontier": frontier})
    folder = store.find("report", key)
    if folder is None:
        with store.lock(key):
            folder = store.find("report", key) or _make(outcomes, store, key, references, frontier)
    for file in [folder / name for name in FILES] + sorted(folder.glob("pareto_*.png")):
        if file.is_file():
            # A copy: people edit their tables, and what is in the store is never edited.
            shutil.copyfile(file, target / file.name)
    return (folder / "table.md").read_text()


def _make(outcomes: list[dict[str, Any]], store: Store, key: str, references: list[str], frontier: bool) -> Path:
    output = store.open_work(key) / "output"
    flat = training_rows(outcomes) if _trains(outcomes) else rows(outcomes)
    done = [r for r in flat if r["status"] == "done"]
    if _trains(outcomes):
        parts = training_tables(flat, references, filler(outcomes))
    else:
        timed = [r for r in done if not r.get("emulated")]
        chosen = frontier_tables(timed) if frontier and timed else []
        cells = measured_cells(outcomes)
        parts = [*_matrices(flat), *chosen, *ablation_tables(cells), *multiply_tables(cells)]
        parts += [*_peers(done), *(compared(name, done, filler(outcomes)) for name in references)]
    write_text(output / "table.md", "\n\n".join(parts) + "\n")
    write_text(output / "results.csv", as_csv(flat))
    if done:
        import pandas

        pandas.DataFrame(flat).to_parquet(output / "results.parquet")
    drawn = [r for r in done if r.get("accuracy") is not None and not r.get("emulated")]
    # A device has a front of its own; the one with most cells has the plain name.
    devices = sorted({r["device"] for r in drawn}, key=lambda d: -sum(r["device"] == d for r in drawn))
    for number, device in enumerate(devices):
        own = [r for r in drawn if r["device"] == device]
        if len(own) > 1:
            draw(own, output / ("pareto.png" if number == 0 else f"pareto_{device}.png"))
    return store.publish("report", key, {"label": f"report of {len(flat)} cells"})


def _matrices(flat: list[dict[str, Any]]) -> list[str]:
    """The matrix, and what was emulated apart from it."""
    real, emulated = ([r for r in flat if bool(r.get("emulated")) is which] for which in (False, True))
    parts = [matrix(real), *notes(real)] if real else []
    if emulated:
        parts += [
            "**Emulated devices**: answers, sizes and the way are those of the device; times and memory are an "
            "emulator's, and stand here to show that they are taken.",
            matrix(emulated),
            *notes(emulated),
        ]
    return parts


def _trains(outcomes: list[dict[str, Any]]) -> bool:
    return outcomes[0].get("stage") == "train"


def _peers(done: list[dict[str, Any]]) -> list[str]:
    """A table for each cell that was measured beside more engines than its own parent's."""
    parts = []
    for r in done:
        record = read_json(Path(r["record"]))
        if not set(record.get("baselines", {})) <= {"onnxruntime_fp32", "torch_fp32"}:
            parts.append(peers_table(record))
    return parts


def as_csv(flat: list[dict[str, Any]]) -> str:
    """Rows as CSV with the union of their columns, in order of first appearance; empty where a row has no figure."""
    columns = list(dict.fromkeys(column for r in flat for column in r))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return stream.getvalue()
