"""One W&B run a step and a cell: config and final figures, written once, whether the work was new or read."""

from pathlib import Path
from typing import Any

from ..store.files import read_json, write_json


def wandb_node(loggers: dict[str, Any] | None) -> dict[str, Any] | None:
    """The config of the W&B logger among the chosen loggers, or None."""
    return next((n for n in (loggers or {}).values() if n and n["_target_"].endswith("WandbLogger")), None)


def log_artifacts(folders: list[Path], node: dict[str, Any], store: Path, sweep: str | None) -> int:
    """Log every artifact that has no run yet in this project; returns how many runs were made.

    A run's id is the artifact's fingerprint: the final figures of a training step join the run that Lightning's logger
    began with its curves.
    """
    project = str(node.get("project", "edgedistil"))
    made = 0
    for folder in folders:
        artifact = read_json(folder / "artifact.json")
        marker = store / "wandb" / project / f"{artifact['fingerprint']}.json"
        if marker.exists():
            continue
        _log(artifact, folder, project, node, sweep)
        write_json(marker, {"project": project, "id": artifact["fingerprint"][:32]})
        made += 1
    return made


def _log(artifact: dict[str, Any], folder: Path, project: str, node: dict[str, Any], sweep: str | None) -> None:
    import wandb

    figures = artifact["facts"] or {}
    if (folder / "record.json").is_file():
        record = read_json(folder / "record.json")
        wanted = ("quality", "test_quality", "latency", "speedup", "throughput", "cold_start", "memory", "size")
        figures = {k: record[k] for k in wanted if k in record}
    run = wandb.init(
        project=project,
        id=artifact["fingerprint"][:32],
        group=sweep,
        job_type=artifact["step"],
        name=artifact["label"],
        config=artifact["options"],
        resume="allow",
        mode="offline" if node.get("offline") else None,
        settings=wandb.Settings(silent=True),
    )
    try:
        run.summary.update(flatten(figures))
    finally:
        run.finish()


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested figures as ``a/b/c`` names; lists are left out."""
    if isinstance(value, dict):
        return {k: v for key, child in value.items() for k, v in flatten(child, f"{prefix}{key}/").items()}
    return {} if isinstance(value, list) else {prefix.rstrip("/"): value}
