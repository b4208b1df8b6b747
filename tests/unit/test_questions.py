"""Reading SQuAD's columns: what is taken, what is refused, which side a paragraph is on."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from edgedistil.config.question_answering import check_question_answering
from edgedistil.config.schemas import Compression, Pruning, Quantization, Recovery
from edgedistil.errors import UserError
from edgedistil.store.fingerprint import DigestCache
from edgedistil.tasks.generated import generate
from edgedistil.tasks.questions import Questions, hold_out_paragraphs, load_questions
from edgedistil.tasks.source import Source, locate

CONTEXT = "the film was very good"
ROW = {"id": "q1", "title": "t", "context": CONTEXT, "question": "how was it?",
       "answers": {"text": ["very good", "good"], "answer_start": [13, 18]}}


@pytest.fixture
def read(tmp_path: Path, task_group: Callable[..., dict[str, Any]]) -> Callable[..., Questions]:
    """``read(rows, **task)``: the rows of a Parquet file as validation questions."""

    def go(rows: list[dict[str, Any]], **task: Any) -> Questions:
        pandas.DataFrame(rows).to_parquet(tmp_path / "v.parquet")
        source = Source({}, {"validation": str(tmp_path / "v.parquet")})
        return load_questions(task_group(kind="question_answering", **task), source, "validation", seed=1)

    return go


def test_all_answers_are_kept_and_the_first_is_pointed_at(read: Callable[..., Questions]) -> None:
    found = read([ROW, ROW | {"id": "q2"}])
    assert (found.ids, found.starts) == (["q1", "q2"], [13, 13])
    assert found.answers[0] == ["very good", "good"]
    assert found.texts()[1] == ("how was it?", CONTEXT)
    assert found.take([1]).ids == ["q2"]


def test_rows_without_ids_are_numbered(read: Callable[..., Questions]) -> None:
    rows = [{k: v for k, v in ROW.items() if k not in ("id", "title")}] * 3
    assert read(rows).ids == ["0", "1", "2"]


def test_a_limit_takes_the_same_questions_again(read: Callable[..., Questions]) -> None:
    rows = [ROW | {"id": str(i)} for i in range(20)]
    taken = read(rows, limit_validation=5).ids
    assert len(taken) == 5 != taken[-1]
    assert read(rows, limit_validation=5).ids == taken == sorted(taken, key=int)
    assert len(read(rows, limit_validation=50)) == 20


@pytest.mark.parametrize(("change", "words"), [
    ({"answers": {"text": ["good"], "answer_start": [17]}},
     "answers.answer_start=17 points at ' goo', but the answer is 'good'; starts count characters from 0"),
    ({"answers": {"text": ["good"], "answer_start": [-4]}}, "points at '', but the answer is 'good'"),
    ({"answers": {"text": ["very good", "bad"], "answer_start": [13, 18]}}, "points at 'goo', but the answer is 'bad'"),
    ({"answers": {"text": ["good", "very"], "answer_start": [18]}}, "answers has 2 texts and 1 starts"),
    ({"answers": {"text": [""], "answer_start": [3]}}, "has an empty answer"),
    ({"answers": {"text": [], "answer_start": []}}, "row 1 of the validation split has no answer; questions without"),
    ({"answers": "good"}, "answers is 'good', not a structure"),
    ({"context": "  "}, "row 1 of the validation split has an empty context (got '  ')"),
    ({"context": None}, "has an empty context (got None)"),
    ({"question": ""}, "has an empty question (got '')"),
])
def test_faults_are_said_in_one_line(read: Callable[..., Questions], change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        read([ROW | change])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["context", "question", "answers"])
def test_a_missing_column_is_named(read: Callable[..., Questions], column: str) -> None:
    with pytest.raises(UserError, match=f"has no column '{column}' but id, title"):
        read([{k: v for k, v in ROW.items() if k != column}])


def test_ids_must_differ(read: Callable[..., Questions]) -> None:
    with pytest.raises(UserError, match="row 2 of the validation split has an id that occurs before: 'q1'"):
        read([ROW, ROW])


def test_a_paragraph_is_on_one_side() -> None:
    contexts = [f"paragraph {i // 3}" for i in range(60)]
    questions = Questions([str(i) for i in range(60)], contexts, ["?"] * 60, [["p"]] * 60, [0] * 60)
    rest, held = hold_out_paragraphs(questions, 0.1, seed=3)
    assert len(held) == 6
    assert sorted(rest + held) == list(range(60))
    assert not {contexts[i] for i in rest} & {contexts[i] for i in held}
    assert hold_out_paragraphs(questions, 0.1, seed=3) == (rest, held)
    assert hold_out_paragraphs(questions, 0.1, seed=4) != (rest, held)
    assert hold_out_paragraphs(questions, 0.0, seed=3) == (list(range(60)), [])
    with pytest.raises(UserError, match=r"train has 1 paragraph\(s\) and task.held_out=0.02 takes 1"):
        hold_out_paragraphs(questions.take([0, 1]), 0.02, seed=3)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_generated_answers_stand_where_they_say(split: str, task_group: Callable[..., dict[str, Any]]) -> None:
    generator = {"name": "spans", "train": 40, "validation": 10, "seed": 1}
    task = task_group(kind="question_answering", generator=generator)
    found = load_questions(task, Source({"generator": generator}), split, seed=0)
    assert len(found) == {"train": 40, "validation": 10}[split]
    assert generate(split, **generator)["question"] == found.questions
    # three questions a context, all answerable by what it says
    assert len(set(found.contexts)) == -(-len(found) // 3)
    assert len({answer[0] for answer in found.answers}) > 3


def test_the_only_parquet_file_of_a_split_is_taken(
    tmp_path: Path, task_group: Callable[..., dict[str, Any]]
) -> None:
    for name in ("train-00000-of-00001", "validation"):
        pandas.DataFrame([ROW]).to_parquet(tmp_path / f"{name}.parquet")
    task, digests = task_group(data_dir=str(tmp_path)), DigestCache(tmp_path / "digests")
    found = locate(task, digests, needs_train=True)
    assert found.files["train"].endswith("train-00000-of-00001.parquet")
    pandas.DataFrame([ROW]).to_parquet(tmp_path / "train_sample.parquet")
    with pytest.raises(UserError, match=r"no train.parquet but train-0.*, train_sample.*task.train_split=train-0"):
        locate(task, digests, needs_train=True)
    named = locate(task | {"train_split": "train_sample"}, digests, needs_train=True)
    assert named.files["train"].endswith("train_sample.parquet")
    pandas.DataFrame([ROW]).to_parquet(tmp_path / "train.parquet")
    assert locate(task, digests, needs_train=True).files["train"].endswith("/train.parquet")


def config(**changes: Any) -> dict[str, Any]:
    task = {"metrics": ["f1", "exact_match"], "phrases": False, "test_texts": 0}
    compression = asdict(Compression(Pruning("none"), Recovery("none"), quantization=Quantization("int8_dynamic")))
    for group, values in changes.get("compression", {}).items():
        compression[group] |= values
    return {"task": task | changes.get("task", {}), "compression": compression,
            "device": {"baselines": changes.get("baselines", ["torch_fp32"])}}


@pytest.mark.parametrize(("changes", "words"), [
    ({"task": {"metrics": ["accuracy"]}}, r"task.metrics=\['accuracy'\]: a question answering task knows f1, exact_m"),
    ({"task": {"metrics": []}}, r"task.metrics=\[\]"),
    ({"task": {"phrases": True}}, "task.phrases=true is for texts with labels"),
    ({"task": {"test_texts": 5}}, "task.test_texts=5 is for texts with labels"),
    ({"compression": {"pruning": {"method": "structured", "ratio": 0.5, "steps": 8}}},
     "compression.pruning.steps=8 is made for classifiers"),
    ({"compression": {"embeddings": {"method": "low_rank"}}},
     "compression.embeddings.method=low_rank is made for classifiers; for question answering: none"),
    ({"compression": {"qat": {"method": "distillation", "steps": 5}}}, "compression.qat.method=distillation is made"),
    ({"compression": {"quantization": {"method": "int8_static"}}}, "for question answering: none, fp16"),
    ({"baselines": ["openvino_int8"]}, "device.baselines=openvino_int8 is made for classifiers"),
])
def test_what_only_classifiers_have_is_refused(changes: dict[str, Any], words: str) -> None:
    check_question_answering(config())
    with pytest.raises(UserError, match=words):
        check_question_answering(config(**changes))


def test_starts_may_come_as_numpy_arrays(read: Callable[..., Questions]) -> None:
    given = {"text": np.array(["good"], object), "answer_start": np.array([18], np.int32)}
    assert read([ROW | {"answers": given}]).starts == [18]
