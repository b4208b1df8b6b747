"""Where plain texts come from and how they are read, one at a time: Parquet, text files, folders of either, the hub.

One line of a text file, or one row of a Parquet column, is one text.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config.places import data_root, user_path
from ..errors import UserError, first_line
from ..store.fingerprint import DigestCache
from .python_docs import digest, paragraphs
from .source import Source
from .tables import hub_table

SUFFIXES = (".parquet", ".txt")
# Bytes without a line end after which a file is taken for no text of lines. An encyclopedia's longest articles on one
# line have some hundred thousand.
LINE_LIMIT = 4 << 20


def locate(task: dict[str, Any], split: str, digests: DigestCache) -> Source:
    """Find the files of one split (or the hub's data set) and digest them, without reading a text.

    Returns:
        A source whose identity holds the files' digests in order, and whose ``files`` maps 0, 1, ... to their paths.

    Raises:
        UserError: nothing there, a file of an unknown kind, an empty file.
    """
    files = _files(task, split)
    if files:
        for path in files:
            if not path.stat().st_size:
                raise UserError(f"task.{split}: {str(path)!r} is empty; give a file with one text a line")
        identity = {"files": [digests.digest(path) for path in files]}
        return Source(identity, {f"{i:06d}": str(path) for i, path in enumerate(files)})
    if task["generator"]:
        if task["generator"] != {"name": "python_docs"}:
            raise UserError(f"task.generator={task['generator']!r} is unknown; of texts: {{name: python_docs}}")
        return Source({"python_docs": digest(split), "split": split})
    if task["hub"]:
        if not task["revision"]:
            raise UserError(f"task.revision is empty: pin the commit of the hub data set {task['hub']!r}")
        return Source({k: task[k] for k in ("hub", "hub_config", "revision")} | {"split": task[f"{split}_split"]})
    raise UserError(
        f"task {task['name']!r} has no {split} texts: give task.{split}=FILE_OR_FOLDER (.txt, .parquet), "
        "task.data_dir=FOLDER, or a hub data set"
    )


def _files(task: dict[str, Any], split: str) -> list[Path]:
    if task[split]:
        return files_of(user_path(task[split], f"task.{split}"), f"task.{split}")
    root = data_root()
    if task["data_dir"]:
        folder, option = user_path(task["data_dir"], "task.data_dir"), "task.data_dir"
    elif root is not None and (root / task["name"]).is_dir():
        folder, option = root / task["name"], "EDGEDISTIL_DATA"
    else:
        return []
    if not folder.is_dir():
        raise UserError(f"{option}={str(folder)!r} is no folder")
    name = task[f"{split}_split"]
    found = [p for p in (folder / name, *(folder / f"{name}{s}" for s in SUFFIXES)) if p.exists()]
    if not found:
        raise UserError(f"{option}: {str(folder)!r} holds no {name}.parquet, {name}.txt or folder {name}")
    return files_of(found[0], option)


def files_of(path: Path, option: str) -> list[Path]:
    """The file at ``path``, or all of a folder in order of name; ``option`` is what a message calls it.

    Raises:
        UserError: nothing there, or a file of an unknown kind.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
        if not found:
            raise UserError(f"{option}: the folder {str(path)!r} holds no file of {', '.join(SUFFIXES)}")
        return found
    if not path.is_file():
        raise UserError(f"{option}: no file {str(path)!r}; check the path (it is taken from the folder you are in)")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{option}: {path.name!r} is of an unknown kind; allowed: {', '.join(SUFFIXES)}")
    return [path]


def read(source: Source, column: str) -> Iterator[str]:
    """Every text of ``source`` in order; holds one line or one batch of rows in memory.

    Raises:
        UserError: not UTF-8, a line without an end, a column that is not there, a hub that can't be reached.
    """
    if "python_docs" in source.identity:
        yield from paragraphs(source.identity["split"])
    elif not source.files:
        yield from _of_hub(source.identity, column)
    for key in sorted(source.files):
        path = Path(source.files[key])
        yield from _of_parquet(path, column) if path.suffix.lower() == ".parquet" else _of_lines(path)


def _of_lines(path: Path) -> Iterator[str]:
    with open(path, "rb") as stream:
        number = 0
        while line := stream.readline(LINE_LIMIT):
            number += 1
            if len(line) == LINE_LIMIT and not line.endswith(b"\n"):
                raise UserError(
                    f"{path}: line {number} has no end within {LINE_LIMIT / 2**20:g} MiB; one line is one text, so "
                    "put a line end after each"
                )
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}: line {number} is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); "
                    "convert the file, e.g. with iconv"
                ) from error


def _of_parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow
    import pyarrow.parquet

    broken = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except broken as error:
        raise UserError(f"{path} can't be read as Parquet: {first_line(error)}") from error
    with file:
        if column not in file.schema_arrow.names:
            raise UserError(
                f"{path} has no column {column!r} among: {', '.join(file.schema_arrow.names)}. "
                "Say which holds the texts: task.text_columns=[NAME]"
            )
        batches = file.iter_batches(4096, columns=[column])
        while True:
            try:
                batch = next(batches, None)
                texts = [] if batch is None else batch.column(0).to_pylist()
            except broken as error:
                raise UserError(f"{path} can't be read as Parquet: {first_line(error)}") from error
            if batch is None:
                return
            yield from (text if isinstance(text, str) else "" for text in texts)


def _of_hub(identity: dict[str, Any], column: str) -> Iterator[str]:
    table = hub_table(identity, identity["split"])
    if column not in table.column_names:
        raise UserError(f"{identity['hub']} has no column {column!r} among: {', '.join(table.column_names)}")
    for row in table:
        yield row[column]
