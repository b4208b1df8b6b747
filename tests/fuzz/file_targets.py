"""Files of a user's own as far as the examples that are made of them, and the lines that ``predict`` reads."""

import io
import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from edgedistil.config.question_answering import QUESTION_ANSWERING
from edgedistil.config.schemas import Task
from edgedistil.shipping.rows import rows
from edgedistil.tasks.examples import load
from edgedistil.tasks.questions import load_questions
from edgedistil.tasks.source import Source
from edgedistil.tasks.table_files import read_file
from edgedistil.tasks.texts import read as read_texts

from .mutation import ODD, odd_bytes, odd_json, odd_json_lines, odd_text
from .target import REFUSED, Target, answered, written

EXAMPLES = [
    {"id": 1, "text": "a good film", "label": "good"},
    {"id": 2, "text": "bad, \"dull\"\nand long", "label": "bad"},
    {"id": 3, "text": "così così", "label": "good"},
]
NUMBERS = [
    {"idx": 0, "sentence1": "a", "sentence2": "b", "label": 0.5},
    {"idx": 1, "sentence1": "c", "sentence2": "d", "label": 3},
]
QUESTIONS = [
    {"id": "q1", "context": "it is red", "question": "what colour", "answers": {"text": ["red"], "answer_start": [6]}},
    {"id": "q2", "context": "it is red", "question": "what is", "answers": {"text": ["it"], "answer_start": [0]}},
]


def check_file(data: bytes, file: Path) -> None:
    """A file through the reader, then through everything that makes examples, numbers or questions of its columns."""
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_bytes(data)
    columns = answered(lambda: read_file(str(file)), file.name)
    if columns is REFUSED:
        return
    assert len({len(values) for values in columns.values()}) <= 1
    source = Source({}, {"train": str(file), "validation": str(file)})
    task = asdict(Task(name="mine"))
    found = answered(lambda: load(task, source, "validation", None, 1))
    if found is not REFUSED:
        assert len(found.texts) == len(found.labels)
        assert all(type(label) is int and 0 <= label < len(found.label_names) for label in found.labels)
        _written([*found.label_names, *(part for text in found.texts for part in text)])
    numbers = {"text_columns": None, "regression": True, "metrics": ["pearson"]}
    found = answered(lambda: load({**task, **numbers}, source, "validation", None, 1))
    if found is not REFUSED:
        assert all(type(label) is float and abs(label) < float("inf") for label in found.labels)
    named = answered(lambda: load({**task, "labels": ["bad", "good"]}, source, "train", None, 1))
    if named is not REFUSED:
        assert set(named.labels) <= {0, 1}
    asked = answered(lambda: load_questions(task, source, "validation", 1))
    if asked is not REFUSED:
        assert all(c[s:].startswith(a[0]) for c, s, a in zip(asked.contexts, asked.starts, asked.answers, strict=True))
        _written([*asked.contexts, *asked.questions, *(text for texts in asked.answers for text in texts)])


def _written(texts: Sequence[str]) -> None:
    """Tokenizers and files take UTF-8, which half of a pair of surrogates is not."""
    for text in texts:
        text.encode()


def separated(separator: str) -> Sequence[bytes]:
    """The examples as Python's own writer gives them, with every kind of line end, with a mark of order, quoted."""
    import csv

    made = []
    for end, quoting in (("\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_MINIMAL)):
        for content in (EXAMPLES, NUMBERS):
            stream = io.StringIO()
            writer = csv.DictWriter(stream, list(content[0]), delimiter=separator, lineterminator=end, quoting=quoting)
            writer.writeheader()
            writer.writerows(content)
            made.append(stream.getvalue().encode())
    return [*made, b"\xef\xbb\xbf" + made[0], made[0].replace(b"good\n", b"1\n").replace(b"bad\n", b"0\n")]


@cache
def lines() -> Sequence[bytes]:
    """JSONL of classes, numbers and questions, one with a mark of order."""
    made = [b"\n".join(json.dumps(row).encode() for row in content) for content in (EXAMPLES, NUMBERS, QUESTIONS)]
    return [*made, b"\xef\xbb\xbf" + made[0] + b"\r\n"]


def lists() -> Sequence[bytes]:
    return [json.dumps(content).encode() for content in (EXAMPLES, NUMBERS, QUESTIONS)]


@cache
def parquets() -> Sequence[bytes]:
    """The same as Parquet."""
    import pyarrow
    import pyarrow.parquet

    made = []
    for content in (EXAMPLES, NUMBERS, QUESTIONS):
        stream = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), stream)
        made.append(stream.getvalue())
    return made


def odd_parquet(chance: random.Random, data: bytes) -> bytes:
    """Another table that pyarrow can write (types of all kinds, names that are there twice), or changed bytes."""
    import pyarrow
    import pyarrow.parquet

    if chance.random() < 0.5:
        return odd_bytes(chance, data)
    content = chance.choice((EXAMPLES, NUMBERS, QUESTIONS))
    others = ("text", "label", "id", "", "²", *content[0])
    names = [chance.choice(others) if chance.random() < 0.2 else name for name in content[0]]
    columns = [_odd_column(chance, [row[name] for row in content]) for name in content[0]]
    try:
        stream = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, names), stream)
    except (pyarrow.ArrowException, OverflowError, ValueError):
        return odd_bytes(chance, data)
    return stream.getvalue()


def _odd_column(chance: random.Random, values: list[Any]) -> Any:
    import pyarrow

    kinds = (
        pyarrow.timestamp("ns"), pyarrow.date64(), pyarrow.decimal128(9, 2), pyarrow.binary(), pyarrow.duration("ns"),
        pyarrow.float16(), pyarrow.uint64(), pyarrow.time64("ns"), pyarrow.list_(pyarrow.int64()), pyarrow.null(),
        pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), pyarrow.large_string(), pyarrow.bool_(),
    )  # fmt: skip
    if chance.random() < 0.4:
        return pyarrow.array(values)
    try:
        if chance.random() < 0.4:
            return pyarrow.array([chance.choice(ODD) for _ in values])
        kind = chance.choice(kinds)
        if chance.random() < 0.3:
            numbers = [chance.randrange(-(2**40), 2**62) for _ in values]
            return pyarrow.array(numbers, pyarrow.int64()).cast(kind, safe=False)
        return pyarrow.array([None, *values[1:]], kind)
    except (pyarrow.ArrowException, ValueError, OverflowError, TypeError):
        return pyarrow.array([b"\xff" for _ in values])


def check_texts(data: bytes, folder: Path) -> None:
    """A corpus: lines of text, or the same bytes as Parquet."""
    for name in ("train.txt", "train.parquet"):
        file = written(folder, name, data)
        found = answered(lambda file=file: list(read_texts(Source({}, {"0": str(file)}), "text")), str(file))
        if found is not REFUSED:
            _written(found)


def asked_lines() -> Sequence[bytes]:
    """Lines of ``predict``: texts, pairs, JSON objects."""
    objects = [{"text": "a"}, {"text": "a", "text_pair": "b"}, {"question": "what", "context": "it is red"}]
    return [b"a gripping film\na\tb\r\n", b"\xef\xbb\xbf" + b"\n".join(json.dumps(o).encode() for o in objects[:2]),
            json.dumps(objects[2]).encode()]  # fmt: skip


def check_asked(data: bytes, folder: Path) -> None:
    kinds = {"sequence_classification": {"text", "text_pair"}, QUESTION_ANSWERING: {"question", "context"}}
    for kind, fields in kinds.items():
        read = answered(lambda kind=kind: list(rows(io.BytesIO(data), kind, "line")), "line ")
        for where, row in () if read is REFUSED else read:
            assert where.startswith("line ")
            assert row.keys() <= fields
            assert all(text.strip() for text in row.values())
            _written(list(row.values()))
        # As words of a command line, where bytes that are no UTF-8 come as half surrogates.
        words = data.decode("utf-8", "surrogateescape").split("\n")
        read = answered(lambda kind=kind, words=words: list(rows(words, kind, "text")), "text ")
        for _, row in () if read is REFUSED else read:
            _written(list(row.values()))


def _of(name: str) -> Any:
    return lambda data, folder: check_file(data, folder / name)


TARGETS = (
    Target("csv", lambda: separated(","), odd_text, _of("mine.csv")),
    Target("tsv", lambda: separated("\t"), odd_text, _of("mine.tsv")),
    Target("jsonl", lines, odd_json_lines, _of("mine.jsonl")),
    Target("json", lists, odd_json, _of("mine.json")),
    Target("parquet", parquets, odd_parquet, _of("mine.parquet")),
    Target("corpus", lambda: [b"one text\nand another\n", *parquets()], odd_bytes, check_texts),
    Target("predict_lines", asked_lines, odd_json_lines, check_asked),
)
