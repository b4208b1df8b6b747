"""The steps that a model folder of the store came from, the last first, read from each one's ``artifact.json``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.files import read_object
from ..store.store import ARTIFACT_FILE, artifact_facts

# What a step changes or starts from, by the name that it gives it; a teacher is only listened to.
_CHANGED = ("model", "base")
_WEIGHTS = "model.safetensors"
# Steps whose folders people give back as models of their own.
_LEARNT = ("train", "pretrain")


@dataclass(frozen=True)
class Made:
    """One finished step: its folder and what its ``artifact.json`` says."""

    folder: Path
    facts: dict[str, Any]

    @property
    def step(self) -> str:
        return str(self.facts["step"])

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.facts.get("options", {}))

    @property
    def found(self) -> dict[str, Any]:
        """What the step returned when it was done."""
        return dict(self.facts.get("facts") or {})

    @property
    def inputs(self) -> dict[str, dict[str, str]]:
        return dict(self.facts.get("inputs", {}))


def made_by(folder: Path) -> Made | None:
    """The step that left a folder; None for a folder that is no artifact.

    Raises:
        UserError: what it says of itself is damaged.
    """
    return Made(Path(folder), artifact_facts(folder)) if (Path(folder) / ARTIFACT_FILE).is_file() else None


def ancestors(folder: Path, adopted: bool = False) -> list[Made]:
    """The step that left ``folder`` and those before it, as far back as the store still has them.

    Args:
        adopted: look beyond a model that was given as a folder, for the step of this store that wrote the same weights.
    """
    made = made_by(folder)
    found: list[Made] = []
    while made is not None and made.folder not in {m.folder for m in found}:
        found.append(made)
        made = _before(made, adopted)
    return found


def missing(steps: list[Made]) -> str | None:
    """The step that the store no longer has and the oldest of ``steps`` was made from; None when nothing is missing."""
    before = _source(steps[-1]) if steps else None
    return before["step"] if before else None


def teachers(steps: list[Made]) -> list[Made]:
    """The teachers that the store still has, of the latest step first, each once."""
    found: list[Made] = []
    for made in steps:
        teacher = _find(made, made.inputs.get("teacher"))
        if teacher is not None and teacher.folder not in {m.folder for m in found}:
            found.append(teacher)
    return found


def task_of(steps: list[Made]) -> dict[str, Any]:
    """The task's options of the latest step that read its texts; empty where none is known."""
    return next((dict(made.options["task"]) for made in steps if "task" in made.options), {})


def _before(made: Made, adopted: bool) -> Made | None:
    source = _source(made)
    if source is not None:
        return _find(made, source)
    weights = made.options.get("model", {}).get("files", {}).get(_WEIGHTS)
    return _that_wrote(weights, made) if adopted and weights else None


def _source(made: Made) -> dict[str, str] | None:
    for name in _CHANGED:
        if name in made.inputs:
            return made.inputs[name]
    # A student of pre-training may be made of its teacher's layers.
    if made.step == "pretrain" and made.options.get("student", {}).get("init") == "teacher":
        return made.inputs.get("teacher")
    return None


def _find(made: Made, source: dict[str, str] | None) -> Made | None:
    """An input of a step; None where it has none, or the store no longer has it."""
    steps = _artifacts(made)
    return made_by(steps / source["step"] / source["fingerprint"]) if source and steps else None


def _that_wrote(sha256: str, made: Made) -> Made | None:
    steps = _artifacts(made)
    for file in sorted(steps.glob(f"*/*/{ARTIFACT_FILE}")) if steps else []:
        facts = read_object(file)
        written = facts.get("files")
        weights = written.get(_WEIGHTS) if isinstance(written, dict) else None
        if isinstance(weights, dict) and weights.get("sha256") == sha256 and facts.get("step") in _LEARNT:
            return Made(file.parent, facts)
    return None


def _artifacts(made: Made) -> Path | None:
    """``artifacts`` of the store that a step lies in; None of a copy elsewhere."""
    # STORE/artifacts/STEP/FINGERPRINT
    step = made.folder.resolve().parent
    return step.parent if step.parent.name == "artifacts" and step.name == made.step else None
