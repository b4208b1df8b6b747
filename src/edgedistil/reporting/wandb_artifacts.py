"""Folders of the store as W&B artifacts, and which run gave or took them.

An artifact is told by its files' names and digests, so the same folder is the same version wherever it is logged from:
a run that takes a folder says what it holds, and the server finds the version that the folder's own run gave. This
works in runs that are only written to disk too, where wandb's ``use_artifact`` refuses, because it asks the server.
"""

import re
from pathlib import Path
from typing import Any

from ..store.files import read_json

_MODELS = (
    "train", "pretrain", "adopt", "adopt_onnx", "twin", "prune", "prune_gradually", "recover", "factorise", "qat",
    "trim", "export", "export_language", "peer",
)  # fmt: skip
_LONGEST_NAME = 128


def kind_of(step: str) -> str | None:
    """``model`` or ``record``; None for what is neither (answers, tokens, profiles)."""
    return "model" if step in _MODELS else "record" if step == "bench" else None


def give(run: Any, folder: Path, models: str) -> None:
    """Log a step's folder as what its run made; ``models``: ``references`` or ``files``."""
    _publish(run, _artifact(folder, models), ["latest", read_json(folder / "artifact.json")["fingerprint"][:12]], False)


def take(run: Any, folder: Path, models: str) -> None:
    """Log a step's folder as what another step's run was made from."""
    _publish(run, _artifact(folder, models), [], True)


def give_report(run: Any, name: str, files: list[Path]) -> None:
    """Log a report's files; they are small, so they are uploaded."""
    import wandb

    artifact = wandb.Artifact(_name(f"report-{name}"), type="report")
    for file in files:
        artifact.add_file(str(file), name=file.name, policy="immutable", skip_cache=True)
    _publish(run, artifact, ["latest"], False)


def _artifact(folder: Path, models: str) -> Any:
    import wandb

    facts = read_json(folder / "artifact.json")
    step, known = facts["step"], facts["facts"] or {}
    metadata = {
        **{key: facts[key] for key in ("step", "label", "fingerprint")},
        **{key: known[key] for key in ("parameters", "encoder_sparsity") if key in known},
    }
    kind = kind_of(step) or "other"
    artifact = wandb.Artifact(_name(f"{step}-{facts['label']}"), type=kind, metadata=metadata)
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = file.relative_to(folder).as_posix()
        # A record is small, and what people want to read.
        if models == "files" or kind == "record":
            # Finished folders are never edited, so no copy is needed.
            artifact.add_file(str(file), name=name, policy="immutable", skip_cache=True)
        else:
            artifact.add_reference(file.absolute().as_uri(), name=name, checksum=True)
    return artifact


def _publish(run: Any, artifact: Any, aliases: list[str], taken: bool) -> None:
    # As Run.log_artifact does it offline: online that would first ask the server for the artifact's type, and
    # Run.use_artifact would wait until it is uploaded, both for as long as the server likes. What is taken is said to
    # be the user's own, or this run would count as its maker where it comes first.
    artifact.finalize()
    run._interface.publish_artifact(run, artifact, aliases, None, is_user_created=taken, use_after_commit=taken)


def _name(text: str) -> str:
    """A name of the letters that W&B allows."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text.replace("%", "pct")).strip("-")[:_LONGEST_NAME]
