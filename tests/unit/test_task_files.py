"""Files of a user's own: every kind with one or two text columns and labels as names or numbers, and every fault."""

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from edgedistil.errors import UserError
from edgedistil.tasks.examples import Examples, load
from edgedistil.tasks.source import Source
from edgedistil.tasks.table_files import read_file

FIRST = ["a good film", 'dull, and "awful"', "größer – ünïcode\nin two lines", "tab\there; \\ the end"]
SECOND = ["it was good", "it was fun", "42", "the beginning , or so"]
KINDS = ("csv", "tsv", "jsonl", "json", "parquet")


def write(folder: Path, columns: dict[str, list[Any]], kind: str, split: str = "validation") -> Path:
    frame, path = pandas.DataFrame(columns), folder / f"{split}.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind in ("jsonl", "json"):
        frame.to_json(path, orient="records", lines=kind == "jsonl")
    else:
        frame.to_csv(path, sep="\t" if kind == "tsv" else ",", index=False)
    return path


@pytest.fixture
def read(task_group: Callable[..., dict[str, Any]]) -> Callable[..., Examples]:
    """``read(validation=PATH, split="validation", names=None, **task)``."""

    def run(split: str = "validation", names: list[str] | None = None, files: dict[str, Path] | None = None,
            **task: Any) -> Examples:
        source = Source({}, {k: str(v) for k, v in (files or {}).items()})
        return load(task_group(**task), source, split, names, seed=1)

    return run


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [{"body": FIRST}, {"first": FIRST, "second": SECOND}])
@pytest.mark.parametrize(("raw", "task", "ids", "names"), [
    (["yes", "no", "no", "yes"], {}, [1, 0, 0, 1], ["no", "yes"]),
    (["yes", "no", "no", "yes"], {"labels": ["yes", "no"]}, [0, 1, 1, 0], ["yes", "no"]),
    ([2, 0, 1, 2], {}, [2, 0, 1, 2], ["0", "1", "2"]),
    ([2, 0, 1, 2], {"labels": ["a", "b", "c"]}, [2, 0, 1, 2], ["a", "b", "c"]),
    ([1.0, 0.0, 0.0, 1.0], {"labels": ["bad", "good"]}, [1, 0, 0, 1], ["bad", "good"]),
])
def test_every_kind_of_file_gives_the_same(
    read: Callable[..., Examples], tmp_path: Path, kind: str, columns: dict[str, list[str]], raw: list[Any],
    task: dict[str, Any], ids: list[int], names: list[str],
) -> None:
    path = write(tmp_path, {**columns, "verdict": raw}, kind)
    found = read(files={"validation": path}, text_columns=list(columns), label_column="verdict", **task)
    assert found == Examples(list(zip(*columns.values(), strict=True)), ids, names)


def test_order_of_text_columns_is_the_one_asked_for(read: Callable[..., Examples], tmp_path: Path) -> None:
    path = write(tmp_path, {"a": FIRST, "b": SECOND, "label": [0, 1, 0, 1]}, "csv")
    assert read(files={"validation": path}, text_columns=["b", "a"]).texts[0] == (SECOND[0], FIRST[0])


@pytest.mark.parametrize("content", [
    "\ufefftext,label\ngood,1\nbad,0\n".encode(), b"text,label\r\ngood,1\r\nbad,0\r\n", b"text,label\rgood,1\rbad,0",
    b'\n"text","label"\n"good","1"\n\n"bad",0\n\n', b"text,label\ngood,1.0\nbad,0e0",
])
def test_line_ends_byte_order_marks_and_blank_lines(
    read: Callable[..., Examples], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "v.csv").write_bytes(content)
    assert read(files={"validation": tmp_path / "v.csv"}) == Examples([("good",), ("bad",)], [1, 0], ["0", "1"])


def test_json_lines_with_a_byte_order_mark_and_a_key_that_is_not_everywhere(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_bytes('\ufeff{"text": "1", "label": 1}\r\n\n{"label": 0, "more": "é"}\n'.encode())
    assert read_file(str(tmp_path / "v.jsonl")) == {"text": ["1", None], "label": [1, 0], "more": [None, "é"]}


@pytest.mark.parametrize(("values", "found"), [
    (["1", "-2", "+3"], [1, -2, 3]), (["1", "2.5", "1e-3"], [1.0, 2.5, 0.001]), (["1", "two"], ["1", "two"]),
    (["1_0", "2"], ["1_0", "2"]), (["None", "nan"], ["None", "nan"]), (["True", "False"], ["True", "False"]),
    (["٣", "1"], ["٣", "1"]),
])
def test_a_column_is_numbers_only_when_all_of_it_is(tmp_path: Path, values: list[str], found: list[Any]) -> None:
    (tmp_path / "v.csv").write_text("x,y\n" + "".join(f"{v},-\n" for v in values))
    assert read_file(str(tmp_path / "v.csv"))["x"] == found


def test_an_empty_field_is_a_missing_value(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("x,y\n1,\n,b\n")
    found = read_file(str(tmp_path / "v.csv"))
    assert found["x"][0] == 1
    assert math.isnan(found["x"][1])
    assert math.isnan(found["y"][0])


BROKEN = {
    "quote never closed": ("v.csv", b'text,label\ngood,1\n"bad film,0\nfine,1\n',
                           "the row that begins on line 3 has a broken quote"),
    "quote closed too early": ("v.csv", b'text,label\n"a "good" film",1\nbad,0\n', "on line 2 has a broken quote"),
    "quote in TSV": ("v.tsv", b'text\tlabel\n"half quoted\t1\nbad\t0\n', "on line 2 has a broken quote"),
    "a value too many": ("v.csv", b"text,label\ngood,1\nbad, really,0\n",
                         "line 3 has 3 values, but the first line names 2 columns (text, label)"),
    "a value too many everywhere": ("v.csv", b"text,label\na,b,1\nc,d,0\n", "line 2 has 3 values"),
    "a value missing": ("v.csv", b"text,label\ngood\nbad,0\n", "line 2 has 1 values"),
    "latin-1": ("v.csv", "text,label\ngood,1\ncafé,0\n".encode("latin-1"), "line 3 is not UTF-8 (byte 0xe9); convert"),
    "latin-1 JSONL": ("v.jsonl", '{"text": "café", "label": 1}\n'.encode("latin-1"), "line 1 is not UTF-8 (byte 0xe9)"),
    "UTF-16": ("v.csv", "text,label\ngood,1\n".encode("utf-16"), "it is UTF-16, not UTF-8: convert it (iconv"),
    "gzip": ("v.csv", gzip.compress(b"text,label\ngood,1\nbad,0\n"), "it is compressed by gzip: unpack it (gunzip)"),
    "Excel": ("v.csv", b"PK\x03\x04rest", "Excel sheet: save it as CSV"),
    "Parquet named CSV": ("v.csv", b"PAR1rest", "it is Parquet: name it .parquet"),
    "nothing": ("v.csv", b"", "it is empty; the first line should name the columns"),
    "two columns of one name": ("v.csv", b"text,text,label\na,b,1\n", "the first line names two columns 'text'"),
    "no JSON": ("v.jsonl", b'{"text": "a", "label": 1}\n{"text": "b",}\n', "line 2 is no JSON"),
    "no object": ("v.jsonl", b'["a", 1]\n', "line 1 is no object"),
    "JSON that is no list": ("v.json", b'{"text": {"0": "a"}}', "JSON should be a list of objects"),
    "JSON lines named JSON": ("v.json", b'{"text": "a"}\n{"text": "b"}\n', "one object a line is .jsonl"),
}


@pytest.mark.parametrize(("name", "content", "needle"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_says_where_and_how(tmp_path: Path, name: str, content: bytes, needle: str) -> None:
    (tmp_path / name).write_bytes(content)
    line = refusal(lambda: read_file(str(tmp_path / name)))
    assert line.startswith(f"'{tmp_path / name}' can't be read: ")
    assert needle in line


ROWS = {
    "header only": ("text,label\n", {"labels": ["no", "yes"]}, "the validation split of task 'mine' is empty"),
    "header only, labels unknown": ("text,label\n", {}, "the validation split of task 'mine' is empty"),
    "wrong column": ("text,label\na,1\nb,0\n", {"text_columns": ["body"]},
                     "task.text_columns names 'body', but the file has: text, label"),
    "wrong second column": ("text,label\na,1\nb,0\n", {"text_columns": ["text", "other"]}, "names 'other'"),
    "wrong label column": ("text,verdict\na,1\nb,0\n", {"label_column": "stars"}, "no label column 'stars' among"),
    "second text missing": ("sentence1,sentence2,label\na,b,1\nc,,0\n", {},
                            "row 2 of the validation split has no text in column 'sentence2' (got nan): fill it"),
    "blank text": ("text,label\na,1\n   ,0\n", {}, "row 2 of the validation split has an empty text in text"),
    "one class": ("text,label\na,1\nb,1\n", {"labels": ["no", "yes"]}, "holds one class only ('yes', 2 texts)"),
    "unlabelled": ("text,label\na,-1\nb,-1\n", {"labels": ["no", "yes"]}, "(-1 marks an unlabelled split)"),
    "unlabelled, labels unknown": ("text,label\na,-1\nb,-1\n", {},
                                   "every label of the validation split is -1, which marks an unlabelled split"),
    "f1 of three classes": ("text,label\na,x\nb,y\nc,z\n", {"metrics": ["accuracy", "f1"]},
                            "GLUE's F1 of the second of two classes, and the validation split has 3 (x, y, z)"),
    "label outside the list": ("text,label\na,no\nb,maybe\n", {"labels": ["no", "yes"]},
                               "row 2 of the validation split has label 'maybe'; known labels: no, yes"),
    "code outside the list": ("text,label\na,0\nb,2\n", {"labels": ["no", "yes"]}, "row 2"),
    "label missing": ("text,label\na,no\nb,\n", {}, "row 2 of the validation split has label nan"),
    "number missing": ("text,label\na,1\nb,\nc,0\n", {}, "row 2 of the validation split has label nan"),
    "id twice, another text": ("id,text,label\n7,a,1\n8,b,0\n7,c,1\n", {},
                               "row 3 of the validation split has id=7 as row 1 has, and another text: keep one"),
    "id twice, another label": ("idx,text,label\nx,a,1\ny,b,0\nx,a,0\n", {}, "idx='x' as row 1 has, and another label"),
}


@pytest.mark.parametrize(("content", "task", "needle"), ROWS.values(), ids=ROWS.keys())
def test_bad_rows_are_named(
    read: Callable[..., Examples], tmp_path: Path, content: str, task: dict[str, Any], needle: str
) -> None:
    (tmp_path / "v.csv").write_text(content)
    assert needle in refusal(lambda: read(files={"validation": tmp_path / "v.csv"}, **task))


def test_rows_that_are_there_twice_as_they_are_do_no_harm(read: Callable[..., Examples], tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("id,text,label\n7,a,1\n,b,0\n7,a,1\n,c,0\n")
    assert len(read(files={"validation": tmp_path / "v.csv"})) == 4


def test_one_text_of_a_pair_may_be_the_empty_string_but_not_both(
    read: Callable[..., Examples], tmp_path: Path
) -> None:
    rows = [{"question1": "why ?", "question2": "", "label": 0}, {"question1": "who ?", "question2": "who", "label": 1}]
    path = tmp_path / "v.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert read(files={"validation": path}).texts == [("why ?", ""), ("who ?", "who")]
    path.write_text("".join(json.dumps(r) + "\n" for r in [*rows, {"question1": " ", "question2": "", "label": 0}]))
    assert "row 3 of the validation split has an empty text in question1 and question2 (got ' ', '')" in refusal(
        lambda: read(files={"validation": path})
    )


def test_a_name_that_training_never_showed(read: Callable[..., Examples], tmp_path: Path) -> None:
    files = {"train": tmp_path / "t.csv", "validation": tmp_path / "v.csv"}
    files["train"].write_text("text,label\na,good\nb,bad\n")
    files["validation"].write_text("text,label\nc,bad\nd,mixed\n")
    names = read("train", files=files).label_names
    line = refusal(lambda: read(names=names, files=files))
    assert "row 2 of the validation split has label 'mixed'; known labels: bad, good" in line


def test_a_text_of_a_hundred_thousand_characters(read: Callable[..., Examples], tmp_path: Path) -> None:
    long = "word " * 40_000
    path = write(tmp_path, {"text": [long, "short"], "label": [0, 1]}, "csv")
    assert read(files={"validation": path}).texts == [(long,), ("short",)]
