"""What a card can say of one measured cell, gathered from its record, the run that asked for it, and the artifacts that
its model came from."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..reporting.outcomes import CELL_FILE, outcomes
from ..reporting.records import RECORD_FILE, read_record
from ..store.files import read_json
from .ancestry import Made, ancestors, made_by, missing, task_of, teachers
from .known import BASES, EMBEDDED, GENERATED_LANGUAGE, TASKS, DataSet

# A value that names a place on this machine, alone or in a list.
_PATH = re.compile(r"""(^|[\[,{:=\s"'])(~|/|\.{1,2}/|[A-Za-z]:\\)""")


@dataclass(frozen=True)
class Facts:
    """Beside the record: ``candidate`` is the folder that was measured, ``steps`` made it (the last first).

    ``gone`` names a step that the store no longer has; ``base`` and ``licence`` are of the model that all began with,
    None where it is not known.
    """

    record: dict[str, Any]
    candidate: Path
    steps: list[Made]
    teachers: list[Made]
    gone: str | None
    task: dict[str, Any]
    command: str | None
    base: str | None
    licence: str | None

    @property
    def title(self) -> str:
        names = self.record["names"]
        return f"{names['model']} · {names['task']} · {names['compression']}"

    @property
    def data_set(self) -> DataSet | None:
        """Of a task whose name is one of the configs'."""
        return TASKS.get(str(self.task.get("name")))

    @property
    def generated(self) -> bool:
        """Whether the texts were written by a program."""
        return any("generator" in made.options.get("data", {}) for made in self.steps)

    @property
    def language(self) -> str | None:
        if self.data_set:
            return self.data_set.language
        return GENERATED_LANGUAGE if self.generated else None

    @property
    def engine(self) -> str:
        return str(self.record["device"]["engine"])

    @property
    def method(self) -> str:
        """Of the quantisation."""
        return str((self.record["compression"] or {}).get("quantization", {}).get("method", "none"))

    @property
    def architecture(self) -> str | None:
        """``model_type`` of the model's config; None of a bare ONNX file, which has none."""
        kind = read_json(self.candidate / "config.json").get("model_type")
        return None if kind is None else str(kind)


def gather(place: Path, base: str | None = None, licence: str | None = None) -> Facts:
    """All that is known of the cell at ``place``.

    Args:
        place: a cell's folder of a bench run, an artifact of ``bench``, or the ``cell.json`` or ``record.json`` in one.
        base, licence: of the model that all began with, in place of what the artifacts say.

    Raises:
        UserError: no done cell of ``bench.py`` there, several, a model that the store no longer has, random weights.
    """
    folder, command = _record_folder(Path(place))
    record = read_record(folder)
    if record.get("random_weights") or "random" in str(record["model"].get("head")):
        raise UserError(f"{place}: the model has random weights: its speed and size are real, its answers mean nothing")
    candidate = _candidate(folder, command)
    steps = ancestors(candidate, adopted=True)
    named = base or _origin(steps)
    known = BASES.get(named or "")
    task = task_of(steps) or {}
    measured = made_by(folder)
    if measured is not None and "task" in measured.options:
        # The measured task says how texts were cut; a training step also what it learnt from.
        task = {**task, **measured.options["task"]}
    return Facts(
        record=record,
        candidate=candidate,
        steps=steps,
        teachers=teachers(steps),
        gone=missing(steps),
        task=task,
        command=command,
        base=named,
        licence=licence or (known.licence if known else None),
    )


def _record_folder(place: Path) -> tuple[Path, str | None]:
    """(folder of the record, the command that made it where a run says it)."""
    folder = place.parent if place.is_file() else place
    if not folder.is_dir():
        raise UserError(f"{str(place)!r} is neither a folder nor a file")
    if (folder / RECORD_FILE).is_file():
        return folder, None
    cells = outcomes(folder)
    if not cells:
        raise UserError(f"{place} has no {CELL_FILE} and no {RECORD_FILE}; give a cell of a bench run, multirun/.../0")
    if len(cells) > 1:
        # Of a cell that was stopped, or whose file is damaged, less is known.
        known = [c for c in cells if "output_dir" in c]
        listed = ", ".join(f"{Path(c['output_dir']).name} ({c.get('names', {}).get('compression')})" for c in known[:4])
        raise UserError(
            f"{place} holds {len(cells)} cells, and a product is made of one: give {place}/NUMBER"
            + (f": {listed}" if listed else "")
        )
    cell = cells[0]
    if cell["status"] != "done":
        raise UserError(f"{place} is {cell['status']} ({cell.get('why')}): there is no model to ship")
    if cell.get("step") != "bench":
        raise UserError(f"{place} is a cell of {cell['stage']}.py, which measures nothing; give one of bench.py")
    if not (Path(cell["folder"]) / RECORD_FILE).is_file():
        raise UserError(f"the record {cell['folder']}/{RECORD_FILE} is no longer in the store; run: {command_of(cell)}")
    return Path(cell["folder"]), command_of(cell)


def command_of(cell: dict[str, Any]) -> str:
    """The command that makes a cell again; places on the machine that made it are words in capitals."""
    words = [f"{cell['stage']}.py", *(_placeless(word) for word in cell.get("overrides", []))]
    return "python " + " ".join(shlex.quote(word) for word in words)


def _placeless(override: str) -> str:
    key, _, value = override.partition("=")
    if not _PATH.search(value):
        return override
    # task.data_dir=/home/me/sst2 -> task.data_dir=DATA_DIR
    return f"{key}={key.rsplit('.', 1)[-1].lstrip('+').upper()}"


def _candidate(folder: Path, command: str | None) -> Path:
    made = made_by(folder)
    if made is None:
        raise UserError(f"{folder} is a copy of a record; give the cell's folder, or the record in the store")
    source = made.inputs["candidate"]
    found = folder.resolve().parents[1] / source["step"] / source["fingerprint"]
    if made_by(found) is None:
        raise UserError(
            f"the model of {folder} ({source['step']} {source['fingerprint'][:12]}) is no longer in the store; run the "
            f"cell again{': ' + command if command else ''}"
        )
    return found


def _origin(steps: list[Made]) -> str | None:
    """The hub's name of the model that all began with."""
    if not steps:
        return None
    model = steps[-1].options.get("model", {})
    if model.get("origin") == "package":
        return EMBEDDED
    return str(model["location"]) if model.get("origin") == "hub" else None
