"""Sweeps made of records that are kept in docs/results: real figures, with every kind of cell beside them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
FULL = RESULTS / "2026-11-22-sst2-full-avx2"


def published(folder: Path = FULL, emulated: bool = True) -> list[dict[str, Any]]:
    """The records of one folder of results."""
    files = sorted((folder / "records").glob("*.json"))
    files += sorted((folder / "records_emulated").glob("*.json")) if emulated else []
    return [json.loads(file.read_text()) for file in files]


def sweep_of(records: Iterable[dict[str, Any]], root: Path, more: Iterable[dict[str, Any]] = ()) -> Path:
    """A sweep's folder under ``root`` with a done cell for each record, in a store of its own.

    Args:
        more: further outcomes, as ``cell.json`` holds them, at the end.
    """
    store, sweep = root / "store", root / "multirun" / "2026-11-22" / "12-00-00"
    outcomes = []
    for record in records:
        folder = store / "artifacts" / "bench" / record["fingerprint"]
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
        artifact = {"step": "bench", "fingerprint": record["fingerprint"], "label": "cell", "inputs": {}, "facts": {}}
        (folder / "artifact.json").write_text(json.dumps(artifact))
        told = {"status": "done", "step": "bench", "names": record["names"], "fingerprint": record["fingerprint"]}
        outcomes.append({**told, "folder": str(folder), "label": record["names"]["compression"]})
    for number, outcome in enumerate([*outcomes, *more]):
        place = sweep / str(number)
        place.mkdir(parents=True)
        common = {
            "stage": "bench", "overrides": ["task=sst2", f"seed={number}"], "output_dir": str(place),
            "store": str(store), "references": [],
        }
        (place / "cell.json").write_text(json.dumps({**common, **outcome}))
    (sweep / "sweep.json").write_text(json.dumps({"schema_version": 1, "jobs": None, "command": [], "overrides": []}))
    return sweep
