"""A user's file becomes examples, or one line that says what is wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from edgedistil.errors import UserError
from edgedistil.tasks.examples import Examples, load
from edgedistil.tasks.source import Source

SENTENCES = ["a good film", "dull, and \"awful\"", "größer – ünïcode", "the end"]
LABELS = [1, 0, 1, 0]


@pytest.fixture
def read(tmp_path: Path, task_group: Callable[..., dict[str, Any]]) -> Callable[..., Examples]:
    """Writes columns as ``validation.KIND`` and loads them; other names are values of the task group."""

    def run(columns: dict[str, list[Any]], kind: str = "parquet", names: list[str] | None = None,
            **task: Any) -> Examples:
        return load(task_group(**task), written(tmp_path, columns, kind), "validation", names, seed=1)

    return run


def written(folder: Path, columns: dict[str, list[Any]], kind: str) -> Source:
    frame, path = pandas.DataFrame(columns), folder / f"validation.{kind}"
    if kind.lower() == "parquet":
        frame.to_parquet(path)
    elif kind in ("jsonl", "json"):
        frame.to_json(path, orient="records", lines=kind == "jsonl")
    else:
        frame.to_csv(path, sep="\t" if kind == "tsv" else ",", index=False)
    return Source({}, {"validation": str(path)})


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_kind_of_file_gives_the_same(read: Callable[..., Examples], kind: str) -> None:
    examples = read({"sentence": SENTENCES, "label": LABELS}, kind)
    assert examples == Examples([(s,) for s in SENTENCES], LABELS, ["0", "1"])


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_words_that_look_like_a_missing_value_stay_text(read: Callable[..., Examples], kind: str) -> None:
    texts = ["None", "null", "n/a", "nan"]
    assert read({"sentence": texts, "label": LABELS}, kind).texts == [(t,) for t in texts]


def test_suffix_in_capitals_is_the_same_kind_of_file(read: Callable[..., Examples]) -> None:
    assert read({"sentence": SENTENCES, "label": LABELS}, "PARQUET").labels == LABELS


def test_excel_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, task_group: Callable[..., Any]) -> None:
    (tmp_path / "v.csv").write_bytes("\ufefftext,label\ngood,1\nbad,0\n".encode())
    examples = load(task_group(), Source({}, {"validation": str(tmp_path / "v.csv")}), "validation", None, 0)
    assert examples.texts == [("good",), ("bad",)]


@pytest.mark.parametrize("raw", [[1, 0, 1, 0], [1.0, 0.0, 1.0, 0.0],
                                 ["positive", "negative", "Positive", "NEGATIVE"]])
def test_labels_may_be_numbers_or_names_in_any_case(read: Callable[..., Examples], raw: list[Any]) -> None:
    examples = read({"sentence": SENTENCES, "label": raw}, names=["negative", "positive"])
    assert examples.labels == [1, 0, 1, 0]
    assert examples.label_names == ["negative", "positive"]


def test_the_models_order_of_names_wins_over_the_tasks(read: Callable[..., Examples]) -> None:
    raw = ["pos", "neg", "pos", "neg"]
    assert read({"text": SENTENCES, "label": raw}, names=["pos", "neg"], labels=["neg", "pos"]).labels == [0, 1, 0, 1]
    assert read({"text": SENTENCES, "label": raw}, labels=["neg", "pos"]).labels == [1, 0, 1, 0]
    assert read({"text": SENTENCES, "label": raw}).label_names == ["neg", "pos"]


@pytest.mark.parametrize(("first", "second"), [("sentence1", "sentence2"), ("question1", "question2"),
                                               ("premise", "hypothesis"), ("question", "sentence")])
def test_pairs_of_columns(read: Callable[..., Examples], first: str, second: str) -> None:
    columns = {first: SENTENCES, second: SENTENCES[::-1], "label": LABELS}
    if second == "sentence":
        # A column "sentence" alone is the usual text; the pair must be asked for.
        assert read(columns).texts == [(s,) for s in SENTENCES[::-1]]
        columns["text_columns"] = [0] * 4
    examples = read(columns, text_columns=[first, second])
    assert examples.texts == list(zip(SENTENCES, SENTENCES[::-1], strict=True))


def test_pairs_with_usual_names_are_found_unasked(read: Callable[..., Examples]) -> None:
    examples = read({"premise": SENTENCES, "hypothesis": SENTENCES[::-1], "label": LABELS})
    assert examples.texts[0] == (SENTENCES[0], SENTENCES[3])


@pytest.mark.parametrize("name", ["labels", "target", "class"])
def test_usual_label_columns_are_found(read: Callable[..., Examples], name: str) -> None:
    assert read({"text": SENTENCES, name: LABELS}).labels == LABELS


@pytest.mark.parametrize(("columns", "task", "message"), [
    ({"words": SENTENCES, "label": LABELS}, {}, "no text column found among: words, label. Say which: task.text"),
    ({"sentence": SENTENCES, "label": LABELS}, {"text_columns": ["body"]}, "names 'body', but the file has: sentence"),
    ({"sentence": SENTENCES, "score": LABELS}, {}, "no label column 'label' among: sentence, score. Say which"),
    ({"sentence": ["a", None, "b", "c"], "label": LABELS}, {}, "row 2 of the validation split has no text in column"),
    ({"sentence": SENTENCES, "label": [1, 0, 1, 2]}, {"labels": ["no", "yes"]},
     "row 4 of the validation split has label 2; known labels: no, yes"),
    ({"sentence": SENTENCES, "label": ["yes", "no", "maybe", "no"]}, {"labels": ["no", "yes"]},
     "row 3 of the validation split has label 'maybe'; known labels: no, yes"),
    ({"sentence": SENTENCES, "label": [1, 0, 0.5, 0]}, {"labels": ["no", "yes"]}, "row 3 of the validation split"),
    ({"sentence": SENTENCES, "label": [-1] * 4}, {"labels": ["no", "yes"]},
     "has label -1 (-1 marks an unlabelled split); known labels: no, yes"),
    ({"sentence": SENTENCES, "label": [1] * 4}, {"labels": ["no", "yes"]}, "holds one class only ('yes', 4 texts)"),
    ({"sentence": [], "label": []}, {"labels": ["no", "yes"]}, "the validation split of task 'mine' is empty"),
])
def test_faults_are_said_in_one_line(read: Callable[..., Examples], columns: dict[str, list[Any]], task: dict[str, Any],
                                     message: str) -> None:
    assert message in refusal(lambda: read(columns, **task))


@pytest.mark.parametrize("labels", [["no", "yes"], None])
def test_missing_label_is_the_users_error(read: Callable[..., Examples], labels: list[str] | None) -> None:
    line = refusal(lambda: read({"sentence": SENTENCES, "label": [1, 0, None, 0]}, "csv", labels=labels))
    assert "row 3 of the validation split has label nan" in line


@pytest.mark.parametrize(("name", "content"), [
    ("v.csv", b""), ("v.csv", b"\xff\xfe\xff"), ("v.csv", b"a,b\n1,2\n1,2,3\n"), ("v.jsonl", b"{nothing"),
    ("v.parquet", b"not parquet"), ("missing.csv", None),
])
def test_unreadable_file_is_named(tmp_path: Path, task_group: Callable[..., Any], name: str,
                                  content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    source = Source({}, {"validation": str(tmp_path / name)})
    line = refusal(lambda: load(task_group(), source, "validation", None, 0))
    assert line.startswith(f"'{tmp_path / name}' can't be read: ")


def test_missing_split_says_which_option_gives_it(tmp_path: Path, task_group: Callable[..., Any]) -> None:
    source = written(tmp_path, {"sentence": SENTENCES, "label": LABELS}, "csv")
    line = refusal(lambda: load(task_group(), source, "train", None, 0))
    assert line == "task 'mine' has no train file; give task.train=FILE"


def test_limit_is_drawn_at_random_and_keeps_the_order_of_the_file(read: Callable[..., Examples]) -> None:
    texts, labels = [f"text {i:03}" for i in range(200)], [0] * 100 + [1] * 100
    examples = read({"sentence": texts, "label": labels}, limit_validation=40)
    assert len(examples) == 40
    assert 8 <= sum(examples.labels) <= 32
    assert examples.texts == sorted(set(examples.texts))
    assert examples == read({"sentence": texts, "label": labels}, limit_validation=40)
    assert len(read({"sentence": texts, "label": labels}, limit_validation=500)) == 200


def test_numbers_are_codes_of_the_task_whatever_order_the_model_has(tmp_path: Path) -> None:
    file = tmp_path / "dev.csv"
    file.write_text("sentence,label\nbad,0\ngood,1\n")
    task = {
        "name": "t", "text_columns": ["sentence"], "label_column": "label", "labels": ["negative", "positive"],
        "limit_validation": None,
    }
    source = Source({"files": {}}, {"validation": str(file)})
    assert load(task, source, "validation", ["POSITIVE", "NEGATIVE"], 0).labels == [1, 0]
    assert load(task, source, "validation", ["negative", "positive"], 0).labels == [0, 1]
