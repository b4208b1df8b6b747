"""The report of a sweep: made once for a set of outcomes, kept in the store, linked into the sweep's folder."""

import csv
import io
import re
import shutil
from pathlib import Path
from typing import Any

from ..config.places import cache_root
from ..store.files import write_text
from ..store.fingerprint import fingerprint
from ..store.integrity import damage
from ..store.store import Store
from .ablation import ablation_tables
from .cells import Measured, measured_cells
from .filling import filler
from .multiply import multiply_tables
from .outcomes import AS_LEFT, swept, told
from .page.page import page, training_page
from .pareto import draw, frontier_tables
from .peers import peers_table
from .quality import scale_of
from .records import RecordError, record_digest, record_file
from .references import compared
from .rows import READ, emulated, rows
from .table import matrix, notes
from .training import training_rows
from .training_table import training_tables

# Raised when the same records would give another table or picture.
REPORT_VERSION = 12
# The name of the one work folder, and its lock, that all reports are drawn in: what a killed run leaves there is the
# next report's to remove, which is seldom the same report.
_WORK = "report"
PAGE = "report.html"
FILES = (PAGE, "results.csv", "results.parquet", "table.md", "pareto.png")


def report(outcomes: list[dict[str, Any]], store: Store, target: Path, references: list[str]) -> str:
    """Write ``report.html``, ``results.csv``, ``results.parquet``, ``table.md`` and ``pareto.png`` into ``target``;
    returns the table. Runs of ``train.py`` have no picture.

    Nothing is drawn again for outcomes that were reported before.

    Args:
        outcomes: with their files checked (:func:`.outcomes.checked`).
        references: names of published tables to set beside the rows (see ``reporting/references.py``).
    """
    key = _key(outcomes, references)
    folder = _drawn(store, key)
    if folder is None:
        with store.lock(_WORK):
            folder = _drawn(store, key) or _make(outcomes, store, key, references)
    return _given(folder, target)


def drawn_before(outcomes: list[dict[str, Any]], store: Store, target: Path, references: list[str]) -> str | None:
    """As :func:`report`, of the same cells with the same records; None where they were never reported.

    Every byte of the records is hashed and none is parsed: what the same bytes say was said before.

    Args:
        outcomes: as the run left them, not checked.
    """
    folder = _drawn(store, _key(outcomes, references))
    return _given(folder, target) if folder else None


def files_of(folder: Path) -> list[Path]:
    """The files of a report that are in a folder; whatever else lies there is not ours."""
    files = [folder / name for name in FILES] + sorted(folder.glob("pareto_*.png"))
    return [file for file in files if file.is_file()]


def _given(folder: Path, target: Path) -> str:
    for file in files_of(folder):
        # A copy: people edit their tables, and what is in the store is never edited.
        shutil.copyfile(file, target / file.name)
    return (folder / "table.md").read_text()


def _key(outcomes: list[dict[str, Any]], references: list[str]) -> str:
    # The page says how each cell is run again; a published table, how a cell that is missing is.
    told_by = ("status", "why", "fingerprint", "names", "folder", "overrides", "roles")
    references_told = ("output_dir",) if references else ()
    left = [o.get(AS_LEFT, o) for o in outcomes]
    identity = [
        {
            **{k: o.get(k) for k in (*told_by, *references_told)},
            "swept": swept(Path(str(o.get("output_dir")))),
            "record": _record_of(o),
        }
        for o in left
    ]
    return fingerprint(
        {
            "version": REPORT_VERSION,
            "outcomes": identity,
            "references": references,
            "frontier": any(o.get("frontier") for o in left),
        }
    )


def _record_of(outcome: dict[str, Any]) -> list[str] | None:
    """Where a done cell's record is and the digest of what it says: a page links to the one and tells the other. Of a
    record that is gone or not what was published, why."""
    if outcome["status"] != "done" or outcome.get("step") != "bench" or "folder" not in outcome:
        return None
    file = record_file(Path(outcome["folder"]))
    if READ in outcome:
        return [str(file.absolute()), outcome[READ].sha256]
    try:
        return [str(file.absolute()), record_digest(file)]
    except RecordError as error:
        return [str(file.absolute()), str(error)]


def _drawn(store: Store, key: str) -> Path | None:
    """The report that was drawn before; one that was touched since is no report of ours, and is drawn again."""
    folder = store.find("report", key)
    if folder is None or damage(store, folder):
        return None
    store.tidy(_WORK)
    return folder


def _make(outcomes: list[dict[str, Any]], store: Store, key: str, references: list[str]) -> Path:
    output = store.open_work(_WORK) / "output"
    trains = _trains(outcomes)
    flat = training_rows(outcomes) if trains else rows(outcomes)
    done = [r for r in flat if r["status"] == "done"]
    kept = cache_root() / "pages"
    if trains:
        tables = {"matrix": training_tables(flat, references, filler(outcomes))}
        text = training_page(outcomes, flat, tables, kept)
    else:
        measured = measured_cells(outcomes, also_emulated=True)
        tables = _tables(flat, outcomes, measured, references)
        text = page(outcomes, flat, measured, tables, kept)
    write_text(output / "table.md", "\n\n".join(part for own in tables.values() for part in own) + "\n")
    write_text(output / PAGE, text)
    write_text(output / "results.csv", as_csv(flat))
    if done:
        import pandas

        pandas.DataFrame(flat).to_parquet(output / "results.parquet")
    if not trains:
        for name, own in pictures(done).items():
            draw(own, output / name)
    return store.publish("report", key, {"label": f"report of {len(flat)} cells"}, _WORK)


def pictures(done: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each picture of a front by its file's name: a task on a device has a front of its own. The one with
    most cells has the plain name; the others say their device, and their task where there are several."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in done:
        if not r.get("emulated") and scale_of([r]):
            groups.setdefault((str(r["task"]), str(r["device"])), []).append(r)
    largest_first = sorted((g for g in groups if len(groups[g]) > 1), key=lambda g: (-len(groups[g]), g))
    several = len({task for task, _ in groups}) > 1
    named: dict[str, list[dict[str, Any]]] = {}
    for task, device in largest_first:
        whose = f"_{task}_{device}" if several else f"_{device}"
        # Anybody's task may be called anything.
        named["pareto" + (re.sub(r"[^\w.-]+", "-", whose) if named else "") + ".png"] = groups[task, device]
    return named


def _tables(
    flat: list[dict[str, Any]],
    outcomes: list[dict[str, Any]],
    measured: list[Measured],
    references: list[str],
) -> dict[str, list[str]]:
    """Markdown by what it is about, in the order of ``table.md``."""
    done = [r for r in flat if r["status"] == "done"]
    timed = [r for r in done if not r.get("emulated")]
    cells = [cell for cell in measured if not emulated(cell.record)]
    frontier = any(o.get("frontier") for o in outcomes)
    return {
        "matrix": _matrices(flat),
        "frontier": frontier_tables(timed) if frontier and timed else [],
        "ablation": ablation_tables(cells),
        "multiply": multiply_tables(cells),
        "peers": _peers(measured),
        "references": [compared(name, done, filler(outcomes)) for name in references],
    }


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
    return bool(told(outcomes, "stage", "bench") == "train")


def _peers(measured: list[Measured]) -> list[str]:
    """A table for each cell that was measured beside more engines than its own parent's."""
    own = {"onnxruntime_fp32", "torch_fp32"}
    return [peers_table(cell.record) for cell in measured if not set(cell.record.get("baselines", {})) <= own]


def as_csv(flat: list[dict[str, Any]]) -> str:
    """Rows as CSV with the union of their columns, in order of first appearance; empty where a row has no figure."""
    columns = list(dict.fromkeys(column for r in flat for column in r))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return stream.getvalue()
