"""One W&B run a step and a cell: options, final figures and its folder as an artifact, whether it was computed or read.

Artifacts carry the chain: a step's run takes the folders that it was made from and gives its own, so that W&B draws
teacher → student → compressed → record.
"""

from pathlib import Path
from typing import Any

from ..store.files import read_json, write_json
from ..store.store import Store
from . import wandb_session
from .quality import scale_of, score
from .rows import record_row
from .wandb_artifacts import give, kind_of, take

# Of a record: what is not asked for again by every reader of figures.
_FIGURES = (
    "quality", "test_quality", "latency", "speedup", "throughput", "throughput_speedup", "cold_start", "memory", "size",
    "valid",
)  # fmt: skip
# W&B refuses longer ones.
_LONGEST_TAG = 64


def run_of(step: dict[str, Any], group: str | None) -> dict[str, Any]:
    """Which run a step is: its id is the step's fingerprint, so that a training's curves, a resumed one's and the final
    figures are one run.

    Args:
        step: ``step``, ``label``, ``fingerprint`` and ``options``, of a request or of an artifact.
    """
    return {
        "id": step["fingerprint"][:32],
        "name": step["label"],
        "group": group,
        "job_type": step["step"],
        "tags": tags(step),
    }


def tags(step: dict[str, Any]) -> list[str]:
    """Model, task, compression, precision and device, as far as a step has them."""
    names = step["options"].get("names")
    if names is None:
        lead, _, compression = step["label"].partition(": ")
        model, _, task = lead.removeprefix("answers of ").removeprefix("losses of ").rpartition(" on ")
        names = {"model": model, "task": task, "compression": compression}
    compression, _, precision = names.get("compression", "").rpartition(" · ")
    found = [names["model"], names["task"], compression, precision, names.get("device", "")]
    return list(dict.fromkeys(tag[:_LONGEST_TAG] for tag in found if tag))


def log_steps(folders: list[Path], node: dict[str, Any], store: Path, group: str | None) -> int:
    """Log every step that has no run yet in this project; returns how many runs were made.

    Args:
        folders: artifacts, each after those that it was made from.
    """
    made = 0
    for folder in folders:
        artifact = read_json(folder / "artifact.json")
        marker = marker_of(store, node, artifact["fingerprint"])
        # Two jobs that share a step would open one run twice, and the second would take the first's log for left over.
        with Store(store).lock(f"wandb-{artifact['fingerprint']}"):
            if marker.exists():
                continue
            run = begin(
                node, **run_of(artifact, group), config=artifact["options"] | {"fingerprint": artifact["fingerprint"]}
            )
            try:
                run.summary.update(flatten(figures(artifact, folder)))
                _lineage(run, artifact, folder, store, str(node.get("models", "none")))
            finally:
                wandb_session.end(run)
            write_json(marker, {"project": run.project, "id": run.id})
            made += 1
    return made


def begin(node: dict[str, Any], **init: Any) -> Any:
    """A run of a step or a report, beside which the machine is not watched."""
    mode = {"mode": "offline"} if node.get("offline") else {}
    where = {"project": str(node.get("project", "edgedistil")), "entity": node.get("entity")}
    return wandb_session.begin(float(node.get("wait_s", 20)), False, **where, **init, **mode)


def marker_of(store: Path, node: dict[str, Any], key: str) -> Path:
    """The file that says that something was logged to a project before."""
    owner = [str(node["entity"])] if node.get("entity") else []
    return Path(store, "wandb", *owner, str(node.get("project", "edgedistil")), f"{key}.json")


def figures(artifact: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The final figures of a step: a record's for a cell, its facts for any other."""
    if (folder / "record.json").is_file():
        record = read_json(folder / "record.json")
        return {k: record[k] for k in _FIGURES if k in record} | {"judged": _judged(record, folder)}
    return {**(artifact["facts"] or {}), "seconds": artifact["seconds"]}


def _judged(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the task is judged by and its score in percent (a loss in nats): one name for all kinds of tasks."""
    row = record_row(record, folder / "record.json")
    scale = scale_of([row])
    found = score(row, scale) if scale else None
    return {"by": scale.name, "score": found.value} if scale and found else {}


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested figures as ``a/b/c`` names; lists and what is not there are left out."""
    if isinstance(value, dict):
        return {k: v for key, child in value.items() for k, v in flatten(child, f"{prefix}{key}/").items()}
    return {} if isinstance(value, list) or value is None else {prefix.rstrip("/"): value}


def _lineage(run: Any, artifact: dict[str, Any], folder: Path, store: Path, models: str) -> None:
    if models == "none" or kind_of(artifact["step"]) is None:
        return
    sources = {(source["step"], source["fingerprint"]): None for source in artifact["inputs"].values()}
    for step, key in sources:
        given = store / "artifacts" / step / key
        if kind_of(step) and (given / "artifact.json").is_file():
            take(run, given, models)
    give(run, folder, models)
