"""What a run prints at its end: a table for people, then one line of JSON for scripts, always the last."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..store.files import read_json
from ..store.store import Store
from .outcomes import MANIFEST_FILE, told


def show(outcomes: list[dict[str, Any]], folder: Path, store: Store, references: list[str]) -> None:
    """Print the outcomes; a bench run and a sweep of trainings also leave their report's files in ``folder``."""
    counts = Counter(o["status"] for o in outcomes)
    summary: dict[str, Any] = dict(counts)
    summary |= {"cells": len(outcomes), "cached": sum(bool(o.get("cached")) for o in outcomes), "folder": str(folder)}
    stage = told(outcomes, "stage", "bench")
    if counts["planned"]:
        _plan(outcomes, summary, store)
    elif stage == "bench" or (stage == "train" and len(outcomes) > 1):
        from .report import report

        print(report(outcomes, store, folder, references))
        summary["results"] = str(folder / "results.csv")
        _to_wandb(outcomes, store, folder)
    else:
        for outcome in outcomes:
            _step(outcome)
    if len(outcomes) == 1:
        summary |= {k: outcomes[0][k] for k in ("status", "why", "step", "fingerprint", "folder") if k in outcomes[0]}
        if outcomes[0]["status"] == "done" and stage != "bench":
            summary["facts"] = _artifact(outcomes[0])["facts"]
    print(json.dumps(summary, sort_keys=True))


def _to_wandb(outcomes: list[dict[str, Any]], store: Store, folder: Path) -> None:
    """With ``logger=wandb``, the report of a sweep as a run of its own."""
    nodes = [o["wandb"] for o in outcomes if o.get("wandb")]
    if nodes and (folder / MANIFEST_FILE).is_file():
        from .wandb_report import log_report
        from .wandb_session import unharmed

        with unharmed("the report"):
            log_report(outcomes, nodes[0], store, nodes[0]["group"], folder)


def _plan(outcomes: list[dict[str, Any]], summary: dict[str, Any], store: Store) -> None:
    """Cells, then the steps that would run, each once however many cells need it, and what like steps took here."""
    from ..store.upkeep import typical

    known = typical(store)
    missing: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        state = "read from the store" if outcome.get("cached") else outcome.get("why") or "to compute"
        print(f"{outcome['status']:8} {outcome['label']}: {state}")
        missing |= {s["fingerprint"]: s for s in outcome.get("steps", []) if not s["cached"]}
    for step in missing.values():
        seconds, size_mb = known.get(step["step"], (None, 0.0))
        cost = f"about {seconds:.0f} s, {size_mb:.0f} MB" if seconds is not None else "no like step in the store yet"
        print(f"  would run {step['step']:8} {step['label']} ({cost})")
    summary["expected_s"] = round(sum(known.get(s["step"], (0.0, 0.0))[0] for s in missing.values()), 1)
    summary["expected_mb"] = round(sum(known.get(s["step"], (0.0, 0.0))[1] for s in missing.values()), 1)
    summary["steps_of_unknown_cost"] = sum(s["step"] not in known for s in missing.values())
    summary["steps_to_compute"] = len(missing)


def _step(outcome: dict[str, Any]) -> None:
    if outcome["status"] != "done":
        print(f"{outcome['status']}: {outcome.get('label', '')}: {outcome.get('why', '')}")
        return
    facts = _artifact(outcome)["facts"]
    print(f"{outcome['label']}{' (from the store)' if outcome['cached'] else ''}")
    for key, value in facts.items():
        print(f"  {key}: {json.dumps(value)}")
    print(f"  folder: {outcome['folder']}")


def _artifact(outcome: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = read_json(Path(outcome["folder"]) / "artifact.json")
    return facts
