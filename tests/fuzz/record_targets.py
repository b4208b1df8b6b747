"""Records and what a run leaves of its cells, up to the rows and tables that are made of them."""

import json
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.unit.tiny_records import record, sweep_of

from edgedistil.reporting.gather import gather, not_done
from edgedistil.reporting.outcomes import checked, outcomes, published, shared_overrides
from edgedistil.reporting.outcomes import told as first_told
from edgedistil.reporting.pass_record import pass_table, read_pass_record
from edgedistil.reporting.records import read_record_file
from edgedistil.reporting.rows import rows
from edgedistil.reporting.status import read_sweep
from edgedistil.reporting.status_text import as_json, lines
from edgedistil.reporting.table import matrix, notes
from edgedistil.store.store import ARTIFACT_FILE

from .mutation import odd_json, odd_text
from .target import REFUSED, Target, answered, written

STATUSES = ("done", "failed", "skipped", "planned", "unreadable", "unfinished")


@cache
def records() -> Sequence[bytes]:
    """Of schema 3: classes with times and a test part, scores alone, a regression, a masked language model."""
    times = ("latency", "throughput", "cold_start", "memory")
    untimed = {k: v for k, v in record(timed=False).items() if k not in times}
    numbers = record(quality={"pearson": 0.9, "spearman": 0.89, "pearson_ci95_low": 0.8, "pearson_ci95_high": 0.95,
                              "n": 100, "sample": False})
    language = record(quality={"mlm_loss": 2.0, "perplexity": 7.4, "n": 50, "sample": True})
    parts = {"throughput": {}, "environment": {"isa": ["avx2"]}}
    tested = {"accuracy": 0.9, "accuracy_ci95_low": 0.88, "accuracy_ci95_high": 0.91, "n": 5003, "sentences": 414,
              "against_parent": {"accuracy_points": 0.1, "clustered_p": 0.5}}  # fmt: skip
    whole = record(test_quality=tested, more_quality={"b": {"accuracy": 0.5, "n": 10}})
    made = (record(), untimed, numbers, language, whole, record(quality=None, **parts))
    return [json.dumps(one).encode() for one in made]


def check_record(data: bytes, folder: Path) -> None:
    file = written(folder, "results/record.json", data)
    found = answered(lambda: read_record_file(file), str(file))
    if found is not REFUSED:
        assert isinstance(found, dict)
        assert found == json.loads(data)
    cells = checked(published(file.parent))
    assert all(cell["status"] in STATUSES for cell in cells)
    assert bool(cells) <= (found is not REFUSED)
    _tell(cells)
    gathered = answered(lambda: gather(file), str(file))
    if gathered is not REFUSED:
        not_done(gathered[0])


@cache
def cells() -> Sequence[bytes]:
    """``cell.json`` of cells that are done, failed and skipped."""
    with tempfile.TemporaryDirectory() as scratch:
        sweep = sweep_of(Path(scratch), record())
        done = json.loads((sweep / "0" / "cell.json").read_text())
    told = {"stage": "bench", "names": done["names"], "label": "a", "overrides": ["a=1"], "output_dir": "x"}
    skipped = {"status": "skipped", "why": "no GPU", "roles": {"full": "m"}, **told}
    failed = {"status": "failed", "why": "out of memory", "seconds": 3.0, "store": "s", **told}
    done |= {"folder": "RECORD", "store": "STORE"}
    return [json.dumps(one).encode() for one in (done, {**done, "roles": {"full": "m"}}, skipped, failed)]


def check_cell(data: bytes, folder: Path) -> None:
    place = folder / "store" / "artifacts" / "bench" / "f"
    written(place, "record.json", records()[0])
    written(place, ARTIFACT_FILE, b'{"inputs": {}, "seconds": 1.0}')
    data = data.replace(b'"RECORD"', json.dumps(str(place)).encode())
    written(folder, "sweep/0/cell.json", data.replace(b'"STORE"', json.dumps(str(folder / "store")).encode()))
    written(folder, "sweep/sweep.json", b'{"jobs": [["a=1"], ["task=b"]], "command": ["bench.py", "-m"]}')
    _look(folder / "sweep")


@cache
def manifests() -> Sequence[bytes]:
    """``sweep.json``."""
    with tempfile.TemporaryDirectory() as scratch:
        return [(sweep_of(Path(scratch), record()) / "sweep.json").read_bytes()]


def check_manifest(data: bytes, folder: Path) -> None:
    written(folder, "sweep/0/cell.json", cells()[2])
    # A name that Python takes for digits and not for a number.
    (folder / "sweep" / "²").mkdir()
    written(folder, "sweep/sweep.json", data)
    _look(folder / "sweep")


@cache
def plans() -> Sequence[bytes]:
    """``begun.json`` of a job that goes on."""
    steps = [{"step": "train", "fingerprint": "a" * 64, "label": "train"}]
    told = {"label": "a · b", "store": "STORE", "steps": steps, "process": 12, "host": "h", "command": ["bench.py"]}
    return [json.dumps(told).encode()]


def check_plan(data: bytes, folder: Path) -> None:
    data = data.replace(b'"STORE"', json.dumps(str(folder / "store")).encode())
    written(folder, "sweep/sweep.json", b'{"jobs": [["a=1"], ["task=b"]], "command": ["bench.py", "-m"]}')
    written(folder, "sweep/0/begun.json", data)
    _look(folder / "sweep")
    written(folder, "alone/begun.json", data)
    _look(folder / "alone")


@cache
def tables() -> Sequence[bytes]:
    """``results.csv``."""
    head = "status,model,task,compression,device,seed,accuracy,n,fingerprint"
    return [f"{head}\ndone,m,sst2,int8,cpu,1,0.9,100,f\nfailed,m,sst2,none,cpu,1,,,\n".encode()]


def check_table(data: bytes, folder: Path) -> None:
    file = written(folder, "results.csv", data)
    found = answered(lambda: gather(file), str(file))
    if found is not REFUSED:
        assert len(found[0]) >= 1
        [cell.label for cell in found[0]]
        not_done(found[0])


@cache
def passes() -> Sequence[bytes]:
    """What ``pass-time --output`` writes."""
    model = {"parameters": 66_000_000, "pass_s": 100.0, "random_weights": True}
    interval = {"ratio": 1.6, "ci95_low": 1.5, "ci95_high": 1.7, "bursts_ci95_low": 1.5, "bursts_ci95_high": 1.7}
    made = {"schema_version": 1, "kind": "pass_time", "texts": 1500, "all_texts": 1500, "task": {"name": "stsb"},
            "measurement": {"engine": "torch", "threads": 1, "pad_to": None}, "environment": {"cpu": "c"},
            "models": {"bert": {**model, "parameters": 110_000_000}, "distilbert": model},
            "ratios": {"distilbert": interval}, "valid": True, "invalid_because": []}  # fmt: skip
    return [json.dumps(made).encode()]


def check_pass(data: bytes, folder: Path) -> None:
    file = written(folder, "pass.json", data)
    found = answered(lambda: read_pass_record(file), str(file))
    if found is not REFUSED:
        pass_table(None, [found])


def _look(sweep: Path) -> None:
    """Everything that reads a sweep's folder."""
    found = outcomes(sweep)
    assert all(cell["status"] in STATUSES for cell in found)
    usable = checked(found)
    assert [cell["status"] for cell in found if cell["status"] != "done"] == [
        cell["status"] for cell, before in zip(usable, found, strict=True) if before["status"] != "done"
    ]
    shared_overrides(usable)
    first_told(usable, "stage", None)
    _tell(usable)
    state = answered(lambda: read_sweep(sweep), str(sweep))
    if state is not REFUSED:
        "\n".join(lines(state)).encode()
        json.dumps(as_json(state))
    answered(lambda: gather(sweep), str(sweep))


def _tell(cells: list[dict[str, Any]]) -> None:
    """The table of cells that were checked; it must be written, so that every sign in it is one."""
    # Steps of other stages have tables of their own.
    flat = rows([cell for cell in cells if cell["status"] != "done" or cell.get("step") == "bench"])
    if flat:
        "\n".join([matrix(flat), *notes(flat)]).encode()


TARGETS = (
    Target("record", records, odd_json, check_record),
    Target("cell", cells, odd_json, check_cell),
    Target("manifest", manifests, odd_json, check_manifest),
    Target("begun", plans, odd_json, check_plan),
    Target("results_csv", tables, odd_text, check_table),
    Target("pass_record", passes, odd_json, check_pass),
)
