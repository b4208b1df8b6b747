"""Files of a user's own as columns (CSV, TSV, JSONL, JSON, Parquet), with what is wrong with one said in one line.

CSV is read strictly (RFC 4180 with any line end): a quote that is never closed, or a row with a value too many, would
else move texts and labels against each other without a word.
"""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UserError, first_line
from ..store.files import parse_json

# First bytes of files that people rename.
_OTHER_KINDS = (
    (b"\x1f\x8b", "is compressed by gzip: unpack it (gunzip)"),
    (b"PK\x03\x04", "is a zip file or an Excel sheet: save it as CSV (UTF-8)"),
    (b"PAR1", "is Parquet: name it .parquet"),
    (b"\xff\xfe", "is UTF-16, not UTF-8: convert it (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "is UTF-16, not UTF-8: convert it (iconv -f UTF-16 -t UTF-8)"),
)
# Python reads no more than 4,300 digits as a number.
_WHOLE = re.compile(r"[+-]?[0-9]{1,300}")
# A digit has one place in it only: of two, a long field that is no number would be tried at each.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def read_file(path: str) -> dict[str, list[Any]]:
    """Columns of a file by its suffix. Missing values are None; in CSV and TSV an empty field is missing (nan), and a
    column of numbers alone is read as numbers.

    Raises:
        UserError: it can't be read, is not UTF-8, or its rows don't fit its columns.
    """
    kind = path.lower().rsplit(".", 1)[-1]
    try:
        if kind == "parquet":
            return _parquet(path)
        _check_kind(path)
        if kind == "jsonl":
            return _columns(path, list(_json_lines(path)))
        if kind == "json":
            return _json(path)
        return _separated(path, "\t" if kind == "tsv" else ",")
    except UnicodeDecodeError as error:
        raise UserError(_not_utf8(path, error)) from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _unreadable(path: str, why: str) -> UserError:
    return UserError(f"{path!r} can't be read: {why}")


def _check_kind(path: str) -> None:
    with open(path, "rb") as stream:
        begin = stream.read(4)
    for magic, what in _OTHER_KINDS:
        if begin.startswith(magic):
            raise _unreadable(path, f"it {what}")
    line = 1
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            if b"\0" in chunk:
                line += chunk[: chunk.index(b"\0")].count(b"\n")
                raise _unreadable(path, f"line {line} holds a zero byte: is it a binary file, or UTF-16?")
            line += chunk.count(b"\n")


def _not_utf8(path: str, error: UnicodeDecodeError) -> str:
    lines = enumerate(Path(path).read_bytes().split(b"\n"), 1)
    line = next((n for n, raw in lines if raw.decode("utf-8", "ignore").encode() != raw), 1)
    return (
        f"{path!r} can't be read: line {line} is not UTF-8 (byte {error.object[error.start]:#04x}); convert it, e.g. "
        "iconv -f WINDOWS-1252 -t UTF-8"
    )


def _parquet(path: str) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        # read_table would import pyarrow's data sets, and pandas with them.
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read()
        twice = next((name for i, name in enumerate(table.column_names) if name in table.column_names[:i]), None)
        if twice is not None:
            raise _unreadable(path, f"it has two columns {twice!r}")
        return {name: table.column(name).to_pylist() for name in table.column_names}
    except (pyarrow.ArrowException, ValueError, OverflowError) as error:
        # Damaged pages, texts that are no UTF-8, days that Python has no name for.
        raise _unreadable(path, first_line(error)) from error


def _json_lines(path: str) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8-sig", newline="\n") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                raise _unreadable(path, f"line {number} is no JSON ({error})") from error
            if not isinstance(row, dict):
                raise _unreadable(path, f"line {number} is no object like {{'text': ..., 'label': ...}}")
            yield row


def _json(path: str) -> dict[str, list[Any]]:
    try:
        content = parse_json(Path(path).read_text("utf-8-sig"))
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise _unreadable(path, f"no JSON ({error}); one object a line is .jsonl") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise _unreadable(path, "JSON should be a list of objects [{'text': ..., 'label': ...}, ...]")
    return _columns(path, content)


def _columns(path: str, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _separated(path: str, separator: str) -> dict[str, list[Any]]:
    # Python refuses fields of more than 131,072 characters by default.
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as stream:
        rows = _rows(path, csv.reader(stream, delimiter=separator, strict=True))
        header = next(rows, None)
        if header is None:
            raise _unreadable(path, "it is empty; the first line should name the columns")
        names = header[1]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise _unreadable(path, f"the first line names two columns {twice!r}")
        columns: list[list[Any]] = [[] for _ in names]
        for line, row in rows:
            if len(row) != len(names):
                raise _unreadable(
                    path,
                    f"line {line} has {len(row)} values, but the first line names {len(names)} columns "
                    f"({', '.join(names)}); put texts that hold a separator in double quotes",
                )
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    return {name: _typed(column) for name, column in zip(names, columns, strict=True)}


def _rows(path: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, values) of each row that is not blank."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _unreadable(
                path,
                f"the row that begins on line {line} has a broken quote ({error}); in a quoted text double each quote, "
                "or save it as JSONL or Parquet",
            ) from error
        if row:
            yield line, row


def _typed(values: list[str]) -> list[Any]:
    """Numbers where all values are, as every reader of CSV does; ``nan`` where nothing stands."""
    given = [v for v in values if v]
    if given and all(_WHOLE.fullmatch(v) for v in given):
        return [int(v) if v else math.nan for v in values]
    if (
        given
        and all(_NUMBER.fullmatch(v) or v.lower() == "nan" for v in given)
        and any(_NUMBER.fullmatch(v) for v in given)
    ):
        return [float(v) if v else math.nan for v in values]
    return [v or math.nan for v in values]
