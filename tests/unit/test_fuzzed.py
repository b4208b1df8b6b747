"""Every parser of our own answers whatever it gets with a value or with one line: valid input, valid input made odd,
any bytes, and what broke a promise once."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.fuzz.all_targets import TARGETS
from tests.fuzz.target import REFUSED, answered, counts, empty_folder
from tests.unit.fuzzed_inputs import FOUND
from tests.unit.tiny_records import record

from edgedistil.errors import UserError
from edgedistil.workers.client import WorkerError

# Those that write and flush many files for each input.
SLOW = ("record", "cell", "manifest", "begun", "artifact", "digests", "config", "card", "parquet", "model_folder")


def check(name: str, data: bytes, in_memory: Path) -> None:
    with empty_folder(in_memory) as folder:
        TARGETS[name].check(data, folder)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_input_made_odd_is_a_value_or_one_line(name: str, in_memory: Path) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())

    @settings(max_examples=20 if name in SLOW else 60)
    @given(st.sampled_from(seeds), st.lists(st.randoms(use_true_random=True), min_size=1, max_size=3))
    def hold(data: bytes, chances: list[Any]) -> None:
        for chance in chances:
            data = target.change(chance, data)
        check(name, data, in_memory)

    assert seeds
    counts.update(value=0, refused=0)
    for seed in seeds:
        check(name, seed, in_memory)
    # Some targets ask several readers, of which not each takes every kind. What gpu asks so is of a variable of the
    # environment, which no seed names.
    assert counts["value"] or not counts["refused"] or name == "gpu"
    hold()


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_a_value_or_one_line(name: str, in_memory: Path) -> None:
    deep = [b"[" * 100_000, b'{"a":' * 50_000]

    @settings(max_examples=10 if name in SLOW else 30)
    @given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
    @example(b"")
    @example(deep[0])
    @example(deep[1])
    @example("\ufeff".encode("utf-16"))
    def hold(data: bytes) -> None:
        check(name, data, in_memory)

    hold()


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, found in FOUND.items() for data in found])
def test_what_broke_a_promise_once_keeps_it(name: str, data: bytes, in_memory: Path) -> None:
    check(name, data, in_memory)


def product(**files: Any) -> bytes:
    return json.dumps({"config.json": {}, **{f"{k}.json": json.dumps(v) for k, v in files.items()}}).encode()


def tables(*columns: tuple[str, list[Any], Any]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    arrays = [pyarrow.array(values).cast(kind or pyarrow.array(values).type, safe=False) for _, values, kind in columns]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, [name for name, _, _ in columns]), stream)
    return stream.getvalue()


def header(**entries: Any) -> bytes:
    told = json.dumps(entries).encode()
    return len(told).to_bytes(8, "little") + told


LONG: dict[str, tuple[str, Any]] = {
    "a record without its size": ("record", lambda: json.dumps(record(size={})).encode()),
    "a figure that is a text": ("record", lambda: json.dumps(record(size={"model_mb": "big"})).encode()),
    "a fingerprint that is an object": ("record", lambda: json.dumps(record(fingerprint={"a": 1})).encode()),
    "a name that is no text": ("record", lambda: json.dumps(record(names={"model": None, "task": "\ud800"})).encode()),
    "a column of 5,000 digits": ("csv", lambda: b"text,label\na," + b"9" * 5000 + b"\nb,1\n"),
    "a label above what a range counts": ("jsonl", lambda: b'{"text": "a", "label": 9223372036854775808}\n'
                                          b'{"text": "b", "label": 0}'),
    "a label above every float": ("jsonl", lambda: b'{"text": "a", "label": 1}\n{"text": "b", "label": 1'
                                  + b"0" * 400 + b"}"),
    "two columns of one name": ("parquet", lambda: tables(("text", ["a"], None), ("id", [1], None), ("id", [2], None))),
    "a day that Python has no name for": ("parquet", lambda: tables(("label", [2**60], "date64"))),
    "a text that is no UTF-8": ("corpus", lambda: tables(("text", [b"\x95"], "string"))),
    "a page that is damaged": ("corpus", lambda: (lambda whole: whole[:30] + b"\xff" * 20 + whole[50:])(
        tables(("text", ["a text of some length"] * 20, None)))),
    "a footer that is damaged": ("corpus", lambda: (lambda whole: whole[:64] + b"\xff" * 6 + whole[70:])(
        tables(("text", ["a"], None)))),
    "a store whose name is too long": ("begun", lambda: json.dumps({"store": "x" * 300, "steps": [
        {"step": "a", "label": "a", "fingerprint": "f"}]}).encode()),
    "a digest of a file with too long a name": ("digests", lambda: json.dumps({"x" * 300: ""}).encode()),
    "a core of 5,000 digits": ("phone", lambda: b"[ro.product.cpu.abi]: [arm64-v8a]\n" + b"9" * 5000 + b" 1 a\n"),
    "a battery above every float": ("phone", lambda: b"level: " + b"9" * 400),
    "a heat above every float": ("phone", lambda: b"Thermal Status: " + b"9" * 400),
    "cores without end": ("phone", lambda: b"0-999999999999"),
    "memory above every float": ("kernel", lambda: b"MemTotal: " + b"9" * 400),
    "times above every float": ("kernel", lambda: b"cpu0 " + b"9" * 400),
    "a line of brackets": ("predict_lines", lambda: b'{"a":' * 50_000),
    "a runner's file with too long a name": ("runner_manifest", lambda: json.dumps(
        {"target": "linux-arm64", "onnxruntime": "1", "files": {"x" * 300: {"sha256": "0"}}, "start": []}).encode()),
    "a header of brackets": ("safetensors_header", lambda: (60_000).to_bytes(8, "little") + b"[" * 60_000),
    "a shape that is a text": ("safetensors_header", lambda: header(
        **{"layer.0.ffn.lin1.weight": {"shape": ["x"], "data_offsets": [0, 0]}})),
    "heads that are no names": ("model_folder", lambda: product(config={"architectures": [{}]})),
    "a task that is no object": ("model_folder", lambda: product(edgedistil={"task": "a"})),
    "settings of a tokenizer that are a list": ("model_folder", lambda: product(tokenizer_config=[])),
    "an endless tokenizer": ("model_folder", lambda: product(tokenizer_config={"model_max_length": float("inf")})),
    "positions that are no number": ("model_folder", lambda: product(config={"max_position_embeddings": "a"})),
    "classes that are not numbered": ("model_folder", lambda: product(config={"id2label": {"a": "b"}})),
    "a length without end": ("model_folder", lambda: product(edgedistil={"task": {"max_length": float("inf")}})),
    "a file without its length": ("model_folder", lambda: product(edgedistil={"files": {"model.onnx": {}}})),
    "files that are a list": ("model_folder", lambda: product(edgedistil={"files": []})),
    "an artifact without a step": ("model_folder", lambda: product(artifact={"options": []})),
    "starts that are no numbers": ("jsonl", lambda: json.dumps(
        {"context": "a", "question": "b", "answers": {"text": ["a"], "answer_start": ["/"]}}).encode()),
}  # fmt: skip


@pytest.mark.parametrize("case", LONG)
def test_what_broke_a_promise_once_and_is_long_keeps_it(case: str, in_memory: Path) -> None:
    name, made = LONG[case]
    check(name, made(), in_memory)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("name", "data"), [
    ("csv", b"text,label\n1,a\n2,b\n" + b"9" * 400_000 + b"x,b\n"), ("tsv", b"text\n" + b"0" * 400_000 + b"x\n"),
    ("phone", b"\n" * 100_000 + b"x"), ("phone", b"[a\n" * 50_000)])
def test_long_input_is_read_in_a_time_that_is_in_proportion(name: str, data: bytes, in_memory: Path) -> None:
    began = time.process_time()
    check(name, data, in_memory)
    assert time.process_time() - began < 5


def test_a_promise_that_is_broken_is_seen() -> None:
    def say(error: Exception) -> Any:
        raise error

    assert answered(lambda: 3) == 3
    assert answered(lambda: say(UserError("a.csv is empty")), "a.csv") is REFUSED
    with pytest.raises(AssertionError, match="without a word"):
        answered(lambda: say(WorkerError(" ")))
    with pytest.raises(AssertionError, match="does not name"):
        answered(lambda: say(UserError("it is empty")), "a.csv")
    with pytest.raises(KeyError):
        answered(lambda: say(KeyError("a")))
