"""The native runner beside the Python worker of the same ONNX Runtime: the same requests, the same answers."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.precision import DynamicInt8, Float32
from edgedistil.export.reading import read_model
from edgedistil.workers.client import Worker, WorkerError

# The build fetches ONNX Runtime's headers, which is nothing for a CI that is to need no network but the package index.
pytestmark = pytest.mark.long
# Seven-bit weights saturate on no processor, so that every host has the same integers.
INT8 = DynamicInt8(embeddings=True, weights="s8_7bit")


@pytest.fixture(scope="module")
def program(built: Callable[[str], Path]) -> str:
    return str(built("host") / "edgedistil_runner")


@pytest.fixture
def model(tiny_folder: Callable[..., Path], tiny_model: Callable[..., Any]) -> Callable[..., Path]:
    def make(kind: str = "distilbert", precision: Any = None, spans: bool = False) -> Path:
        network = tiny_model(kind)
        if spans:
            from transformers import DistilBertForQuestionAnswering

            network = DistilBertForQuestionAnswering(network.config).eval()
        folder = tiny_folder(network)
        save(write_graph(read_model(folder), precision or Float32(), kind == "bert"), folder / "model.onnx")
        return folder

    return make


def native(program: str, *options: str, threads: int = 1, cores: list[int] | None = None) -> Worker:
    return Worker("native", threads, cores, command=[program, *options])


def load(worker: Worker, folder: Path, **more: Any) -> dict[str, Any]:
    return worker.load(folder, 64, ("the film is good",), ids=[[2, 5, 6, 7, 3]], **more)


@pytest.fixture
def running(program: str) -> Iterator[Worker]:
    with native(program) as worker:
        yield worker


@pytest.mark.parametrize("precision", [None, INT8], ids=["fp32", "int8"])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_logits_are_those_of_the_python_worker_to_the_last_bit(
    kind: str, precision: Any, program: str, model: Callable[..., Path], sentence_ids: list[list[int]]
) -> None:
    folder = model(kind, precision)
    types = [[int(place > 2) for place in range(len(ids))] for ids in sentence_ids]
    with native(program) as ours, Worker("onnxruntime", 1) as theirs:
        load(ours, folder)
        theirs.load(folder, 64, ("the film is good",))
        for request in ({"ids": sentence_ids, "types": types}, {"ids": sentence_ids}):
            found, expected = (worker.ask("predict", **request)["logits"] for worker in (ours, theirs))
            assert found == expected
            assert len({tuple(row) for row in found}) > 8
        with_types = ours.ask("predict", ids=sentence_ids, types=types)["logits"]
        assert (with_types != found) == (kind == "bert")


def test_ids_and_the_text_that_they_stand_for_get_the_same_logits(model: Callable[..., Path]) -> None:
    from tokenizers import Tokenizer

    folder = model("bert")
    pair = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("the film", "is good")
    with Worker("onnxruntime", 1) as worker:
        worker.load(folder, 64, ("the film",))
        assert (worker.ask("predict", ids=[pair.ids], types=[pair.type_ids])
                == worker.ask("predict", texts=[["the film", "is good"]]))
        with pytest.raises(WorkerError, match="could not predict"):
            worker.ask("predict", ids=[[2, 5, 3]], types=[])


def test_spans_are_those_of_the_python_worker(
    program: str, model: Callable[..., Path], sentence_ids: list[list[int]]
) -> None:
    folder, types = model(spans=True), [[0] * len(ids) for ids in sentence_ids]
    with native(program) as ours, Worker("onnxruntime", 1) as theirs:
        load(ours, folder)
        theirs.ask("load", folder=str(folder), threads=1, max_length=64, text=["the film"])
        found, expected = (w.ask("spans", ids=sentence_ids, types=types)["logits"] for w in (ours, theirs))
    assert found == expected
    assert [[len(side) for side in row] for row in found] == [[len(ids)] * 2 for ids in sentence_ids]


def test_every_answer_has_the_fields_of_the_python_worker(program: str, model: Callable[..., Path]) -> None:
    folder, core = model(), sorted(os.sched_getaffinity(0))[-1]
    with native(program, cores=[core]) as ours, Worker("onnxruntime", 1, [core]) as theirs:
        found, expected = load(ours, folder), theirs.load(folder, 64, ("the film is good",))
        facts = found.pop("facts")
        assert set(found) == set(expected)
        assert found["cores"] == expected["cores"] == [core]
        # No tokenizer, all else alike and in the same order.
        phases = [phase for phase in expected["cold_start_ms"] if phase != "tokenizer"]
        assert list(found["cold_start_ms"]) == phases
        assert all(value > 0 for value in found["cold_start_ms"].values())
        assert set(found["memory"]) == set(expected["memory"])
        assert {name: set(values) for name, values in found["memory_by_phase"].items()} == {
            name: set(values) for name, values in expected["memory_by_phase"].items() if name != "tokenizer"}
        peaks = [phase["peak_rss_mb"] for phase in found["memory_by_phase"].values()]
        assert found["memory"]["peak_rss_mb"] == pytest.approx(max(peaks), abs=1)
        assert found["memory"]["rss_model_files_mb"] > 0
        assert 5 < found["memory"]["rss_mb"] < expected["memory"]["rss_mb"]
        for worker in (ours, theirs):
            assert worker.ask("prepare", name="x", batches=[[[2, 5, 3]], [[2, 3], [2, 5, 6, 3]]]) == {"batches": 2}
        mine, other = (w.ask("time", name="x", start=1, count=5) for w in (ours, theirs))
        assert set(mine) == set(other)
        assert [len(mine[name]) for name in ("wall_ms", "cpu_ms")] == [5, 5]
        assert all(0 < cpu < wall * 1.5 + 0.1 for wall, cpu in zip(mine["wall_ms"], mine["cpu_ms"], strict=True))
        assert set(ours.ask("usage")) == set(theirs.ask("usage"))
        assert set(ours.ask("memory")["memory"]) == set(theirs.ask("memory")["memory"])
    import onnxruntime

    from edgedistil.devices.host import cpu_facts

    assert facts["ort_version"] == onnxruntime.__version__
    assert (facts["machine"], facts["isa"]) == (cpu_facts()["machine"], cpu_facts()["isa"])
    assert facts["inputs"] == ["input_ids", "attention_mask"]
    assert facts["outputs"] == ["logits"]


def test_batches_of_32_rows_take_longer_than_one_row_and_start_goes_round(
    running: Worker, model: Callable[..., Path]
) -> None:
    load(running, model())
    running.ask("prepare", name="two", batches=[[[2, 3]], [list(range(2, 62))] * 32])
    wall = running.ask("time", name="two", start=3, count=6)["wall_ms"]
    # Calls 3, 5, 7 meet the large batch.
    assert min(wall[0::2]) > 3 * max(sorted(wall[1::2])[:2])


def test_threads_are_as_many_as_asked_for(program: str, model: Callable[..., Path]) -> None:
    folder, found = model(), []
    for threads in (1, 2, 3):
        with native(program, threads=threads) as worker:
            load(worker, folder)
            found.append(len(os.listdir(f"/proc/{worker._process.pid}/task")))
    # The library has one of its own.
    assert found == [found[0], found[0] + 1, found[0] + 2]


def test_cores_by_option_go_before_those_of_the_environment(program: str) -> None:
    cores = sorted(os.sched_getaffinity(0))
    text = f"{cores[0]}-{cores[0]}"
    with native(program, "--cores", text, cores=[cores[-1]]) as worker:
        worker.ask("usage")
        assert os.sched_getaffinity(worker._process.pid) == {cores[0]}


def test_session_options_reach_onnx_runtime(running: Worker, model: Callable[..., Path]) -> None:
    folder = model()
    with pytest.raises(WorkerError, match="could not load: ONNX Runtime: "):
        load(running, folder, session_options={"session.load_model_format": "ORT"})
    assert load(running, folder, session_options={"mlas.disable_kleidiai": "1"})["facts"]["outputs"] == ["logits"]


@pytest.mark.parametrize(
    ("op", "fields", "message"),
    [
        ("dance", {}, "unknown op 'dance'"),
        ("tokenize", {"texts": []}, "no tokenizer"),
        ("probe", {}, "measures nothing of the processor"),
        ("load", {"folder": "x", "threads": 1, "text": ["a"]}, "needs the first text as 'ids'"),
        ("load", {"folder": "/no/such", "threads": 1, "ids": [[1]]}, "no model.onnx in /no/such"),
        ("load", {"folder": "x", "threads": 0, "ids": [[1]]}, "'threads' is not a number from 1"),
        ("load", {"folder": "x", "threads": 1, "ids": [[1]], "quantization": "nf4"}, "quantises nothing"),
        ("prepare", {"name": "x", "batches": [[[1]]]}, "no model is loaded"),
        ("time", {"name": "x", "start": 0, "count": 1}, "nothing was prepared as 'x'"),
        ("time", {"start": 0, "count": 1}, "the request has no 'name'"),
        ("predict", {"texts": [["a"]]}, "needs 'ids' in place of 'texts'"),
        ("predict", {"ids": [[1]]}, "no model is loaded"),
        ("predict", {"ids": [[1.5]]}, "'ids' is not made of rows of whole numbers"),
        ("predict", {"ids": [[True]]}, "whole numbers"),
        ("predict", {"ids": [7]}, "whole numbers"),
        ("predict", {"ids": [[1]], "types": [[0, 0]]}, "ids and types differ in length"),
        ("spans", {"ids": [[1]], "types": []}, "differ in their number of rows"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_the_runner_lives_on(
    op: str, fields: dict[str, Any], message: str, running: Worker
) -> None:
    with pytest.raises(WorkerError, match=f"the native worker could not {op}: .*{message}"):
        running.ask(op, **fields)
    assert running.ask("usage")["cpu_s"] > 0


def test_models_and_inputs_that_do_not_fit_are_errors(running: Worker, model: Callable[..., Path]) -> None:
    folder = model()
    load(running, folder)
    good = running.ask("predict", ids=[[2, 5, 3]])
    for fields, message in (({"ids": [[2, 10**6, 3]]}, "ONNX Runtime: .*indices"), ({"ids": [[]]}, "without ids")):
        with pytest.raises(WorkerError, match=message):
            running.ask("predict", **fields)
    with pytest.raises(WorkerError, match="without rows"):
        running.ask("prepare", name="none", batches=[[]])
    with pytest.raises(WorkerError, match="does not answer by spans"):
        running.ask("spans", ids=[[2, 5, 3]], types=[[0, 0, 0]])
    assert running.ask("predict", ids=[[2, 5, 3]]) == good
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WorkerError, match="could not load: ONNX Runtime: "):
        load(running, folder)
    with pytest.raises(WorkerError, match="no model is loaded"):
        running.ask("predict", ids=[[2, 5, 3]])


def conversation(program: str, text: str | bytes, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and all lines of a runner that reads ``text`` as its standard input."""
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([program, *options], input=data, capture_output=True, timeout=60)
    assert done.stdout.endswith(b"\n")
    return done.returncode, [json.loads(line) for line in done.stdout.decode()[:-1].split("\n")]


def test_a_whole_run_ends_with_its_marker(program: str) -> None:
    for text in ('{"op":"usage"}\n{"op":"exit"}\n{"op":"usage"}\n', '{"op":"usage"}\n', '{"op":"usage"}'):
        code, lines = conversation(program, text)
        assert code == 0
        assert len(lines) == 2
        assert lines[1] == {"end": 0}


MALFORMED = [
    b"", b"{", b'{"op": "usage"', b'{"op": "usa', b'{"op": "usage"} x', b'{"op": "usage",}', b"{op: 1}", b"nul",
    b"[1,]", b'{"op": "usage", "op": "usage"}', b'{"a": 01}', b'{"a": +1}', b'{"a": 1.}', b'{"a": .5}', b'{"a": 1e}',
    b'{"a": -}', b'{"a": 1e999}', b'{"a": NaN}', b'{"a": "\\x"}', b'{"a": "\\u12"}', b'{"a": "\\ud800"}',
    b'{"a": "\\udc00\\ud800"}', b'{"a": "\t"}', b'{"a": "\xff"}', b'{"a": "\xc0\xaf"}', b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\xf5\x80\x80\x80"}', b'{"a": "\xe2\x82', b'{"a": \x00}', b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
]


@pytest.mark.parametrize("line", MALFORMED, ids=lambda line: repr(line)[2:34])
def test_a_malformed_line_ends_the_run_with_an_error_and_the_marker(program: str, line: bytes) -> None:
    code, lines = conversation(program, b'{"op":"usage"}\n' + line + b'\n{"op":"usage"}\n')
    assert code == 1
    assert len(lines) == 3
    assert lines[1]["fatal"] is True
    assert lines[1]["error"].startswith("malformed JSON: ")
    assert lines[2] == {"end": 1}


@pytest.mark.parametrize("line", ["7", "null", "[]", "{}", '{"op": 1}', '{"OP": "usage"}'])
def test_json_that_is_no_request_is_fatal_too(program: str, line: str) -> None:
    code, lines = conversation(program, line + "\n")
    assert (code, lines[0]["fatal"], lines[-1]) == (1, True, {"end": 1})


@pytest.mark.parametrize("name", ["ä ö", 'a"b\\c', "雪😀", "tab\tand\x7f", "/" * 3, "\u2028"])
def test_texts_come_through_in_every_spelling(program: str, name: str) -> None:
    for escaped in (True, False):
        request = {"op": "load", "folder": name, "threads": 1, "ids": [[1]]}
        code, lines = conversation(program, json.dumps(request, ensure_ascii=escaped) + "\n")
        assert lines == [{"error": f"no model.onnx in {name}"}, {"end": 0}]
        assert code == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--fast"], 2, "unknown option '--fast'"),
        (["--cores"], 2, "no value for --cores"),
        (["--cores", "2-1"], 2, "cores '2-1' are none"),
        (["--cores", "1,,2"], 2, "cores '1,,2' are none"),
        (["--cores", "99999"], 2, "cores '99999' are none"),
        (["--cores", "1000"], 1, "cores asked for"),
    ],
)
def test_options_that_cannot_be_had_are_fatal(program: str, options: list[str], code: int, message: str) -> None:
    found, lines = conversation(program, '{"op":"usage"}\n', *options)
    assert found == code
    assert message in lines[0]["error"]
    assert lines[1:] == [{"end": code}]


def test_a_library_that_is_none_is_fatal(program: str, tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(b"nothing")
    request = json.dumps({"op": "load", "folder": "x", "threads": 1, "ids": [[1]]}) + "\n"
    code, lines = conversation(program, request * 2, "--library", str(tmp_path / "lib.so"))
    assert (code, len(lines)) == (1, 2)
    assert "cannot open ONNX Runtime" in lines[0]["error"]


@pytest.mark.parametrize("got_through", ["", '{"cpu_', '{"end":1}\\n'])
def test_an_answer_that_was_torn_is_an_error(got_through: str) -> None:
    torn = Worker("native", 1, command=["sh", "-c", f"read request; printf '{got_through}'; exit 0"])
    with pytest.raises(WorkerError, match=r"the native worker died at usage \(exit code 0\)"), torn:
        torn.ask("usage")


def test_a_run_without_its_marker_is_an_error_although_the_carrier_says_0(program: str) -> None:
    carrier = ["sh", "-c", f"{program} | sed -u /end/d"]
    with pytest.raises(WorkerError, match="end marker is missing"), Worker("native", 1, command=carrier) as worker:
        assert worker.ask("usage")["cpu_s"] > 0


def test_own_clock_counts_from_the_start_of_the_process_on_its_device(
    program: str, model: Callable[..., Path]
) -> None:
    folder, totals = model(), []
    for options in ("", "--own-clock"):
        with Worker("native", 1, command=["sh", "-c", f"sleep 0.5; exec {program} {options}"]) as worker:
            cold = load(worker, folder)["cold_start_ms"]
        assert cold["total"] == pytest.approx(sum(v for k, v in cold.items() if k != "total"), abs=0.01)
        assert cold["started"] > 0
        totals.append(cold["started"])
    assert totals[0] > 500 > 400 > totals[1]


def test_own_clock_works_where_the_loader_was_called_by_name(program: str) -> None:
    shown = subprocess.run(["readelf", "-l", program], capture_output=True, text=True, check=True).stdout
    loader = shown.split("interpreter: ")[1].split("]")[0]
    done = subprocess.run([loader, program, "--own-clock", "--cores", "none"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "cores 'none' are none" in done.stdout
    done = subprocess.run([loader, program, "--own-clock"], input='{"op":"usage"}\n', capture_output=True, text=True)
    assert [list(json.loads(line)) for line in done.stdout.splitlines()] == [["cpu_s"], ["end"]]
