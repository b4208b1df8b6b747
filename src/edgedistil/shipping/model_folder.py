"""What a folder with ``model.onnx`` answers, read from the files beside it: a product, an artifact of the store, or a
folder from elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.allowed import MASKED_LM
from ..config.question_answering import QUESTION_ANSWERING, WINDOW_OPTIONS
from ..errors import UserError, first_line
from ..models.kinds import MASKED_LM as MASKED_LM_HEAD
from ..models.kinds import SPANS as SPAN_HEAD
from ..store.files import read_json
from ..store.fingerprint import file_digest
from ..store.integrity import changed
from ..store.store import ARTIFACT_FILE
from .ancestry import ancestors, task_of

# What a product folder says of itself, for this program; the card says it for people.
PRODUCT_FILE = "edgedistil.json"
CLASSIFICATION = "sequence_classification"
# What the hub calls each kind of task.
PIPELINES = {
    CLASSIFICATION: "text-classification",
    QUESTION_ANSWERING: "question-answering",
    MASKED_LM: "fill-mask",
}
# Of folders that say nothing of it: SQuAD's usual windows (conf/task/squad.yaml).
_WINDOWS = {"stride": 128, "max_question_length": 64, "max_answer_length": 30, "n_best": 20}
_LONGEST_WINDOW = 384


@dataclass(frozen=True)
class ModelFolder:
    """``kind`` is a task's kind; ``labels`` are in the model's order; ``windows`` cut contexts of questions."""

    path: Path
    kind: str
    labels: list[str]
    max_length: int
    windows: dict[str, int]

    @property
    def regression(self) -> bool:
        """Whether the answer is a number."""
        return self.kind == CLASSIFICATION and len(self.labels) == 1


def read_model_folder(folder: Path, max_length: int | None = None) -> ModelFolder:
    """Look at a folder before anything heavy is imported.

    Args:
        max_length: tokens of a text at most; None: what the model was trained with where that is known, else all of
            its positions.

    Raises:
        UserError: no folder, no ``model.onnx``, a file that is missing, cut off, another than was written, or no JSON.
    """
    folder = Path(folder)
    _check_there(folder)
    try:
        return _read(folder, max_length)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        # Parts of another form than ours and transformers', whichever of the files has them.
        raise UserError(
            f"{folder}: config.json or a file beside it is of another form ({first_line(error)}); take the whole "
            "folder as it was written"
        ) from error


def _read(folder: Path, max_length: int | None) -> ModelFolder:
    config, notes = _json(folder / "config.json"), _notes(folder)
    _check_files(folder, notes.get("files", {}))
    task = notes["task"] if "task" in notes else task_of(ancestors(folder))
    kind = _kind(config, task)
    found = ModelFolder(folder, kind, _labels(config), _longest(folder, config, task, kind), _windows(task))
    if kind == CLASSIFICATION and not found.labels:
        raise UserError(f"{folder}/config.json names no classes (id2label); take the whole folder as it was written")
    if max_length is None:
        return found
    if not 3 <= max_length <= _positions(config):
        raise UserError(f"--max-length={max_length} is not between 3 and the model's {_positions(config)} positions")
    return ModelFolder(folder, kind, found.labels, max_length, found.windows)


def _check_there(folder: Path) -> None:
    if not folder.is_dir():
        what = "is a file; give the folder that it lies in" if folder.exists() else "is no folder"
        raise UserError(f"{str(folder)!r} {what}")
    if not (folder / "model.onnx").is_file():
        if (folder / "model.safetensors").is_file():
            raise UserError(
                f"{folder} has weights for PyTorch but no model.onnx; make one: python compress.py model=folder "
                f"model.location={folder} task=TASK compression=int8"
            )
        if (folder / "cell.json").is_file() or (folder / "record.json").is_file():
            raise UserError(
                f"{folder} holds a measurement, not a model; make a model folder of it: python -m edgedistil package "
                f"{folder} --output DIR"
            )
        raise UserError(f"{folder} has no model.onnx: it is no model folder of compress.py, bench.py or package")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name} beside model.onnx; take the whole folder as it was written")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} can't be read ({error}); take the whole folder as it was written") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object; take the whole folder as it was written")
    return found


def _notes(folder: Path) -> dict[str, Any]:
    """What a product or an artifact says of its own files; nothing of other folders."""
    if (folder / PRODUCT_FILE).is_file():
        return _json(folder / PRODUCT_FILE)
    if (folder / ARTIFACT_FILE).is_file():
        return {"files": _json(folder / ARTIFACT_FILE).get("files", {})}
    return {}


def _check_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    if files and (folder / ARTIFACT_FILE).is_file() and (wrong := changed(folder / ARTIFACT_FILE)):
        raise UserError(f"{wrong}. store.repair=true computes it again")
    for name, wanted in files.items():
        if not name.startswith("model.onnx") and name != "tokenizer.json":
            continue
        has = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if has != wanted["bytes"]:
            raise UserError(f"{folder / name} has {has} bytes, not {wanted['bytes']}: copy the folder again")
        if wanted.get("sha256") not in (None, file_digest(folder / name)):
            raise UserError(f"{folder / name} is another file than was written (by its SHA-256): copy the folder again")


def _kind(config: dict[str, Any], task: dict[str, Any]) -> str:
    heads = config.get("architectures") or []
    if any(head.endswith(SPAN_HEAD) for head in heads):
        return QUESTION_ANSWERING
    if any(head.endswith(MASKED_LM_HEAD) for head in heads):
        return MASKED_LM
    return str(task.get("kind", CLASSIFICATION))


def _labels(config: dict[str, Any]) -> list[str]:
    names = config.get("id2label") or {}
    return [str(names[key]) for key in sorted(names, key=int)]


def _positions(config: dict[str, Any]) -> int:
    return int(config.get("max_position_embeddings", 512))


def _longest(folder: Path, config: dict[str, Any], task: dict[str, Any], kind: str) -> int:
    if "max_length" in task:
        return min(int(task["max_length"]), _positions(config))
    lengths = [_positions(config)]
    try:
        said = read_json(folder / "tokenizer_config.json").get("model_max_length")
        lengths += [int(said)] if said else []
    except (OSError, ValueError):
        pass
    return min(*lengths, _LONGEST_WINDOW) if kind == QUESTION_ANSWERING else min(lengths)


def _windows(task: dict[str, Any]) -> dict[str, int]:
    return {name: int(task.get(name, _WINDOWS[name])) for name in WINDOW_OPTIONS}
