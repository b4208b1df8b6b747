"""Conversions for the peers, and the engines on what they made: the same answers as PyTorch's within stated bounds."""

import json
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file

from edgedistil.errors import UserError
from edgedistil.export.exporter import export_standard
from edgedistil.models.reference import read_reference, write_reference
from edgedistil.peers import convert as conversions
from edgedistil.peers.convert import convert
from edgedistil.peers.registry import PEERS
from edgedistil.workers.client import Worker

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
# Softmax far from saturation: with larger weights a rounding error grows tenfold from layer to layer.
CALM = {"initializer_range": 0.2}
SENTENCES = [
    "the film is very good",
    "a dull story , never funny",
    "superb !",
    "this movie was not bad",
    "i love it",
    "dark night , cold day and slow music in the second scene",
    "the worst drama",
    "great plot",
] * 8
# Peer → (packages that may be absent, engine, largest share of the logits' spread by which they may move (RMS), largest
# difference between a sentence alone and in a padded batch, in standard deviations of the logits). INT8 costs a model
# of width 32 more than a real one. CTranslate2 has no 7-bit weights for processors whose 16-bit sums overflow. Where
# the scale of activations is the batch's own, the rounding of a sentence changes with its company.
ENGINES: dict[str, tuple[tuple[str, ...], str, float, float]] = {
    "openvino_fp32": (("openvino",), "openvino:OpenVinoEngine", 1e-4, 1e-5),
    "openvino_int8": (("openvino", "nncf"), "openvino:OpenVinoEngine", 0.4, 1e-5),
    "openvino_int8_trimmed": (("openvino", "nncf"), "openvino:OpenVinoEngine", 0.4, 1e-5),
    "ctranslate2_int8": (("ctranslate2",), "ctranslate2:CTranslate2Engine", 0.5, 1e-5),
    "torch_dynamic_int8": ((), "torch_dynamic:TorchDynamicEngine", 0.15, 0.4),
}


def needs(peer: str) -> None:
    for package in ENGINES[peer][0]:
        # Not importorskip: importing OpenVINO outside no_reports() would report its use.
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed (make install-peers)")


@pytest.fixture
def trained(
    tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]
) -> Callable[..., Path]:
    """Factory of a model folder with reference answers, as training leaves it."""

    def make(kind: str, change: Callable[[Any], Any] | None = None, pairs: bool = False) -> Path:
        model = tiny_model(kind, **CALM)
        folder = tiny_folder(change(model) if change else model)
        types = [[0] * (len(row) - len(row) // 2 * pairs) + [1] * (len(row) // 2 * pairs) for row in sentence_ids]
        write_reference(model, folder, sentence_ids, types, seed=0)
        return folder

    return make


@pytest.fixture
def request_for(tmp_path: Path, task_group: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Factory of a step's request, with a small training file and an empty output folder."""
    file = tmp_path / "train.jsonl"
    lines = [json.dumps({"sentence": s, "label": ("negative", "positive")[i % 2]}) for i, s in enumerate(SENTENCES)]
    file.write_text("\n".join(lines))

    def make(peer: str, source: Path, **options: Any) -> dict[str, Any]:
        output = tmp_path / "output"
        output.mkdir()
        task = task_group(text_columns=["sentence"], labels=["negative", "positive"], max_length=32, held_out=0.1)
        return {
            "label": peer,
            "inputs": {"model": str(source)},
            "runtime": {"files": {"train": str(file)}},
            "options": {"peer": peer, "task": task, "data": {"files": {"train": "x"}}, "seed": 0, **options},
            "output": str(output),
        }

    return make


def engine_of(peer: str, folder: Path) -> Any:
    module, _, name = ENGINES[peer][1].partition(":")
    engine = getattr(import_module(f"edgedistil.peers.{module}"), name)()
    clock = engine.load({"folder": str(folder), "threads": 1, "max_length": 32, "text": ["superb !"]})
    assert list(clock) == ["imported", "tokenizer", "read", "session", "first_logits"]
    assert sorted(clock.values()) == list(clock.values())
    return engine


def spread_moved(found: Any, expected: Any) -> float:
    return float(np.sqrt(np.mean((found - expected) ** 2)) / np.sqrt(np.mean((expected - expected.mean(0)) ** 2)))


def answers(model: onnx.ModelProto, ids: list[list[int]]) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = [{"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)} for row in ids]
    return np.concatenate([session.run(["logits"], feed)[0] for feed in feeds])


@KINDS
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("pairs", [False, True])
def test_exporters_graph_answers_as_pytorch(
    kind: str, uneven: bool, pairs: bool, trained: Callable[..., Path], uneven_cut: Callable[[Any], Any], tmp_path: Path
) -> None:
    source = trained(kind, uneven_cut if uneven else None, pairs)
    figures = export_standard(source, tmp_path / "model.onnx", token_types=pairs)
    assert figures["max_abs_difference"] < 1e-4
    inputs = [i.name for i in onnx.load(tmp_path / "model.onnx").graph.input]
    third = ["token_type_ids"] if pairs and kind == "bert" else []
    assert inputs == ["input_ids", "attention_mask", *third]


def test_export_that_answers_otherwise_is_refused(trained: Callable[..., Path], tmp_path: Path) -> None:
    source = trained("distilbert")
    reference = load_file(source / "reference.safetensors")
    save_file(reference | {"logits": reference["logits"] + 0.01}, source / "reference.safetensors")
    with pytest.raises(RuntimeError, match=r"differ from PyTorch's by 1\.00e-02, allowed 1e-04"):
        export_standard(source, tmp_path / "model.onnx", token_types=False)


def test_calibration_takes_training_sentences_at_their_true_length(
    trained: Callable[..., Path], request_for: Callable[..., dict[str, Any]]
) -> None:
    source = trained("bert")
    rows = conversions._calibration(request_for("openvino_int8", source), source)
    assert 50 <= len(rows) < len(SENTENCES)
    assert len({row["input_ids"].shape[1] for row in rows}) > 3
    for row in rows:
        assert {value.shape for value in row.values()} == {row["input_ids"].shape}
        assert {value.dtype for value in row.values()} == {np.dtype(np.int64)}
        assert row["input_ids"][0, 0] == 2
        assert row["input_ids"][0, -1] == 3
        assert row["attention_mask"].all()


@pytest.mark.parametrize("peer", ENGINES)
@KINDS
def test_engine_answers_as_pytorch_alone_and_in_padded_batches(
    peer: str, kind: str, trained: Callable[..., Path], request_for: Callable[..., dict[str, Any]]
) -> None:
    needs(peer)
    # Pairs were in no static calibration here: the training file has single sentences.
    source = trained(kind, pairs=not PEERS[peer].precision.endswith("static"))
    request = request_for(peer, source, reduce_range=True)
    facts = convert(request)
    assert facts["peer"] == peer
    assert facts["precision"] == PEERS[peer].precision
    assert None not in facts["versions"].values()
    output = Path(request["output"])
    assert facts["files"]
    assert facts["files"] == {name: (output / name).stat().st_size for name in facts["files"]}
    for name in ("config.json", "tokenizer.json", "reference.safetensors"):
        assert (output / name).read_bytes() == (source / name).read_bytes()
    engine = engine_of(peer, output)
    ids, types, expected = read_reference(source)
    alone = np.concatenate([np.asarray(engine.run(engine.pack([i], [t]))) for i, t in zip(ids, types, strict=True)])
    together = np.asarray(engine.run(engine.pack(ids, types)))
    _, _, moved, padding = ENGINES[peer]
    assert spread_moved(alone, expected) <= moved
    np.testing.assert_allclose(together, alone, atol=padding * float(expected.std()))


@pytest.mark.parametrize("peer", ["openvino_int8", "ctranslate2_int8", "torch_dynamic_int8"])
def test_worker_process_serves_the_converted_folder(
    peer: str, trained: Callable[..., Path], request_for: Callable[..., dict[str, Any]]
) -> None:
    needs(peer)
    request = request_for(peer, trained("distilbert"))
    convert(request)
    with Worker(PEERS[peer].worker, threads=1) as worker:
        loaded = worker.load(request["output"], 32, ("superb !",))
        assert set(loaded["cold_start_ms"]) >= {"imported", "tokenizer", "session", "first_logits", "total"}
        worker.ask("prepare", name="batch", batches=[[[2, 10, 11, 3], [2, 3]]])
        assert len(worker.ask("time", name="batch", start=0, count=3)["wall_ms"]) == 3
        logits = worker.ask("predict", texts=[["superb !"], ["the worst drama", "a warm comedy"]])["logits"]
    assert np.array(logits).shape == (2, 2)


def test_recipe_runs_on_our_own_worker(
    trained: Callable[..., Path], request_for: Callable[..., dict[str, Any]]
) -> None:
    source = trained("distilbert")
    request = request_for("onnxruntime_int8_recipe", source, reduce_range=True)
    facts = convert(request)
    assert list(facts["files"]) == ["model.onnx"]
    assert facts["exporter_parity"]["agreement"] == 1.0
    graph = onnx.load(Path(request["output"]) / "model.onnx")
    assert "MatMulInteger" in {node.op_type for node in graph.graph.node}
    ids, _, expected = read_reference(source)
    assert spread_moved(answers(graph, ids), expected) < 0.3
    with Worker(PEERS["onnxruntime_int8_recipe"].worker, threads=1) as worker:
        worker.load(request["output"], 32, ("superb !",))


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ("ctranslate2_int8", "CTranslate2 has one number of heads for all layers"),
        ("optimum_int8", "Optimum can't load the model: its own loader knows one number of heads"),
    ],
)
def test_engine_that_cannot_hold_a_shrunken_model_says_so(
    peer: str,
    words: str,
    trained: Callable[..., Path],
    uneven_cut: Callable[[Any], Any],
    request_for: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversions, "missing", lambda name: None)
    facts = convert(request_for(peer, trained("distilbert", uneven_cut)))
    assert set(facts) == {"peer", "skipped"}
    assert words in facts["skipped"]


@pytest.mark.parametrize("peer", ["openvino_fp32", "openvino_int8_trimmed", "torch_dynamic_int8"])
def test_shrunken_model_runs_where_its_graph_can_be_held(
    peer: str,
    trained: Callable[..., Path],
    uneven_cut: Callable[[Any], Any],
    request_for: Callable[..., dict[str, Any]],
) -> None:
    needs(peer)
    source = trained("distilbert", uneven_cut)
    request = request_for(peer, source, reduce_range=True)
    convert(request)
    engine = engine_of(peer, Path(request["output"]))
    ids, _, expected = read_reference(source)
    found = np.concatenate([np.asarray(engine.run(engine.pack([row]))) for row in ids])
    assert spread_moved(found, expected) <= ENGINES[peer][2]


def test_missing_package_stops_a_conversion_before_anything_is_written(
    trained: Callable[..., Path], request_for: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversions, "missing", lambda name: f"{name} needs wings: make install-peers")
    request = request_for("openvino_int8", trained("bert"))
    with pytest.raises(UserError, match="openvino_int8 needs wings: make install-peers"):
        convert(request)
    assert not list(Path(request["output"]).iterdir())
