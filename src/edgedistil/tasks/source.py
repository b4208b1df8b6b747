"""Where a task's texts come from, decided without reading them: explicit files, a folder, ``$EDGEDISTIL_DATA``,
a generator, or the hub."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.places import data_root, user_path
from ..errors import UserError
from ..store.fingerprint import DigestCache

log = logging.getLogger("edgedistil")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
# Raised when the sentences that a generator writes for the same arguments change.
GENERATOR_VERSION = 1
# Further splits have their answers beside these in a record.
_TAKEN = {
    "test": "the test part of train (task.test_texts)",
    "parent": "the dense model's answers",
    "host": "the answers of the machine that a phone hangs on",
}


@dataclass(frozen=True)
class Source:
    """``identity`` enters fingerprints; ``files`` (split name → path) is only how to get there on this machine."""

    identity: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)


def locate(task: dict[str, Any], digests: DigestCache, needs_train: bool) -> Source:
    """Find the task's splits and digest what lies on disk.

    Args:
        task: the validated ``task`` group.
        needs_train: whether a step of this run reads the training split.

    Raises:
        UserError: a file is missing, of an unknown kind, or there is no source at all.
    """
    files = _files(task, needs_train)
    if files:
        identity = {"files": {split: digests.digest(Path(path)) for split, path in files.items()}}
        return Source(identity, files)
    if task["generator"]:
        return Source({"generator": task["generator"], "version": GENERATOR_VERSION})
    if task["hub"]:
        if not task["revision"]:
            raise UserError(
                f"task.revision is empty: pin the commit of the hub data set {task['hub']!r}, "
                "or give files with task.train=... task.validation=..."
            )
        keys = ("hub", "hub_config", "revision", "train_split", "validation_split")
        more = {"more_splits": task["more_splits"]} if task.get("more_splits") else {}
        return Source({k: task[k] for k in keys} | more)
    raise UserError(
        f"task {task['name']!r} has no data: give task.validation=FILE (and task.train=FILE), "
        "task.data_dir=FOLDER, or a hub data set"
    )


def _files(task: dict[str, Any], needs_train: bool) -> dict[str, str]:
    explicit = {s: task[s] for s in ("train", "validation") if task[s]}
    if explicit:
        if needs_train and "train" not in explicit:
            raise UserError(
                "this run trains and needs task.train=FILE beside task.validation; a model that is already "
                "fine-tuned is given with model.origin=folder model.location=FOLDER"
            )
        # Splits of a data set that is not read here have no files.
        more = {n: value for n, value in _more(task).items() if Path(value).suffix.lower() in SUFFIXES}
        named = {**{s: (p, f"task.{s}") for s, p in explicit.items()}}
        named |= {n: (p, f"task.more_splits.{n}") for n, p in more.items()}
        return {split: str(_existing(Path(path), option)) for split, (path, option) in named.items()}
    folder, option = _folder(task)
    if folder is None:
        return {}
    if not folder.is_dir():
        raise UserError(
            f"{option}={str(folder)!r} is no folder; it should hold {task['train_split']}.parquet and "
            f"{task['validation_split']}.parquet"
        )
    names = {"train": task["train_split"], "validation": task["validation_split"], **_more(task)}
    if not needs_train and not list(folder.glob(f"{names['train']}*.parquet")):
        del names["train"]
    return {split: str(_existing(_of_split(folder, name, split), option)) for split, name in names.items()}


def _more(task: dict[str, Any]) -> dict[str, str]:
    """Further splits by name.

    Raises:
        UserError: one is called as the splits that every task has, or as other answers are in a record.
    """
    more: dict[str, str] = task.get("more_splits") or {}
    for name in ("train", "validation"):
        if name in more:
            raise UserError(f"task.more_splits.{name}: this name is taken; use task.{name}, or another name")
    for name, what in _TAKEN.items():
        if name in more:
            raise UserError(f"task.more_splits.{name}: this name is taken by {what}; use another name")
    return more


def _of_split(folder: Path, name: str, split: str) -> Path:
    """``NAME.parquet``, else the only file whose name begins so (``train-00000-of-00001.parquet`` of the hub).

    Raises:
        UserError: several do.
    """
    others = sorted(folder.glob(f"{name}*.parquet"))
    if (folder / f"{name}.parquet").exists() or not others:
        return folder / f"{name}.parquet"
    if len(others) > 1:
        option = f"task.{split}_split" if split in ("train", "validation") else f"task.more_splits.{split}"
        raise UserError(
            f"{folder} has no {name}.parquet but {', '.join(o.name for o in others)}: say which with "
            f"{option}={others[0].stem}"
        )
    log.info("%s split: %s", split, others[0].name)
    return others[0]


def _folder(task: dict[str, Any]) -> tuple[Path | None, str]:
    if task["data_dir"]:
        return user_path(task["data_dir"], "task.data_dir"), "task.data_dir"
    root = data_root()
    if root is not None and task["hub"]:
        return root / task["name"], "EDGEDISTIL_DATA"
    return None, ""


def _existing(path: Path, option: str) -> Path:
    path = user_path(path, option)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{option}: {path.name!r} is of an unknown kind; allowed: {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"{option}: {str(path)!r} is a folder, not a file (a folder of splits: task.data_dir)")
    if not path.is_file():
        raise UserError(f"{option}: no file {str(path)!r}; check the path (it is taken from the folder you are in)")
    return path
