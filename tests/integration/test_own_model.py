"""Bring your own model: a fine-tuned folder, a bare ONNX file, a task of pairs; nothing is trained."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FP32 = {"quantization": {"method": "none"}, "graph": {"padding": True}}
LOOSE = ["compression.quantization.max_rms=10", "compression.quantization.min_agreement=0"]


def _csv(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, str]]:
    from edgedistil.tasks.generated import generate

    made = generate("validation", "reviews", 1, 60, 7, 0.0)
    return [(t, ("negative", "positive")[k]) for t, k in zip(made["sentence"], made["label"], strict=True)]


@pytest.fixture(scope="module")
def own(models: dict[str, Path], texts: list[tuple[str, str]], tmp_path_factory: Any) -> dict[str, Any]:
    """A store, and overrides that name the fine-tuned tiny BERT and two CSV files with labels by name."""
    root = tmp_path_factory.mktemp("own")
    dev = _csv(root / "dev.csv", ["label", "id", "text"], [[k, str(i), t] for i, (t, k) in enumerate(texts)])
    train = _csv(root / "train.csv", ["text", "label"], [[t, k.upper()] for t, k in texts[:40]])
    model = ["model.origin=folder", f"model.location={models['bert']}"]
    files = ["task=files", f"task.validation={dev}"]
    return {"root": root, "store": root / "store", "model": model, "files": files, "train": f"task.train={train}"}


@pytest.fixture(scope="module")
def compressed(own: dict[str, Any], run: Any) -> Any:
    command = [*own["model"], *own["files"], *LOOSE, "compression=int8"]
    return run("compress.py", *command, cwd=own["root"] / "compress", store=own["store"]).ok()


@pytest.fixture(scope="module")
def benched(own: dict[str, Any], run: Any, rapid: list[str], compressed: Any) -> Any:
    baselines = "device.baselines=[onnxruntime_fp32,torch_fp32]"
    command = [*own["model"], *own["files"], *rapid, "compression=int8", baselines]
    return run("bench.py", *command, cwd=own["root"] / "bench", store=own["store"]).ok()


def _logits_of(folder: Path, texts: list[str]) -> Any:
    """What transformers itself answers, one text at a time."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with torch.inference_mode():
        return np.stack([model(torch.tensor([tokenizer.encode(t).ids])).logits[0].numpy() for t in texts])


def _onnx_logits(folder: Path, texts: list[str]) -> Any:
    import onnxruntime
    from tokenizers import Tokenizer

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = [tokenizer.encode(t).ids for t in texts]
    feeds = [{"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)} for ids in encoded]
    return np.stack([session.run(["logits"], feed)[0][0] for feed in feeds])


def test_compress_trains_nothing(compressed: Any, own: dict[str, Any], artifacts: Any) -> None:
    assert compressed.computed == ["adopt", "export"]
    assert set(artifacts(own["store"])) >= {"adopt", "export"}
    assert not {"train", "prune", "recover"} & set(artifacts(own["store"]))
    folder = Path(compressed.summary["folder"])
    assert {"model.onnx", "model.onnx.data", "tokenizer.json", "config.json"} <= {p.name for p in folder.iterdir()}
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "negative", "1": "positive"}
    onnx_bytes = sum((folder / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))
    assert 2 * onnx_bytes < (folder / "model.safetensors").stat().st_size


def test_bench_of_the_own_model(benched: Any, own: dict[str, Any], models: dict[str, Path], texts: Any) -> None:
    assert Counter(benched.computed) == {"export": 1, "predict": 2, "bench": 1}
    record = json.loads((Path(benched.summary["folder"]) / "record.json").read_text())
    assert record["names"]["model"] == "bert"
    assert record["quality"]["n"] == 60
    assert set(record["speedup"]) == {"onnxruntime_fp32", "torch_fp32"}
    assert record["engines"]["torch_fp32"]["versions"]["torch"]
    assert record["quality"]["against_parent"]["max_logit_drift"] > 0
    with open(benched.summary["results"], newline="") as stream:
        assert next(csv.DictReader(stream))["tokens_32_times_faster_than_torch_fp32"]
    answers = _logits_of(models["bert"], [t for t, _ in texts]).argmax(-1)
    accuracy = float(np.mean(answers == [("negative", "positive").index(k) for _, k in texts]))
    points = record["quality"]["against_parent"]["accuracy_points"]
    assert 100 * record["quality"]["accuracy"] - points == pytest.approx(100 * accuracy, abs=0.01)


def test_fp32_file_answers_as_the_folder_does(
    benched: Any, own: dict[str, Any], models: dict[str, Path], texts: Any
) -> None:
    sentences = [t for t, _ in texts[:10]] + ["never seen , nor heard of !"]
    files = [p.parent for p in own["store"].glob("artifacts/export/*/artifact.json")]
    (folder,) = [f for f in files if json.loads((f / "artifact.json").read_text())["options"] == FP32]
    expected = _logits_of(models["bert"], sentences)
    assert np.ptp(expected, axis=0).min() > 0.1, "a model that answers all texts alike shows nothing"
    np.testing.assert_allclose(_onnx_logits(folder, sentences), expected, atol=1e-4, rtol=0)


def test_structured_cut_of_the_own_model(own: dict[str, Any], run: Any, benched: Any, artifacts: Any) -> None:
    command = [*own["model"], *own["files"], own["train"], *LOOSE, "compression/pruning=structured"]
    ran = run("compress.py", *command, cwd=own["root"] / "cut", store=own["store"]).ok()
    # A training file beside the same validation file makes no other model.
    assert ran.computed == ["prune", "export"]
    assert "train" not in artifacts(own["store"])
    pruned = json.loads(next(own["store"].glob("artifacts/prune/*/artifact.json")).read_text())["facts"]
    assert pruned["parameters"] < pruned["parameters_before"]
    assert pruned["removed_share"] == pytest.approx(0.5, abs=0.15)
    assert pruned["calibration_sentences"] < 40


def test_structured_cut_without_a_training_file(own: dict[str, Any], run: Any, tmp_path: Path) -> None:
    command = [*own["model"], *own["files"], "compression/pruning=structured"]
    ran = run("compress.py", *command, cwd=tmp_path, store=own["store"])
    assert ran.code == 2
    assert "task.train=FILE" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_bare_onnx_file(own: dict[str, Any], compressed: Any, run: Any, rapid: list[str], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("model.onnx", "model.onnx.data", "tokenizer.json", "config.json"):
        shutil.copyfile(Path(compressed.summary["folder"]) / name, bare / name)
    command = ["model.origin=folder", f"model.location={bare / 'model.onnx'}", *own["files"], *rapid]
    ran = run("bench.py", *command, cwd=tmp_path / "bench", store=tmp_path / "bare_store").ok()
    assert ran.computed == ["adopt_onnx", "predict", "bench"]
    record = json.loads((Path(ran.summary["folder"]) / "record.json").read_text())
    assert record["quality"]["n"] == 60
    assert record["baselines"] == {}
    size = sum((bare / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))
    assert record["size"]["model_mb"] == pytest.approx(size / 1e6, abs=1e-6)
    kept = next((tmp_path / "bare_store").glob("artifacts/adopt_onnx/*/model.onnx")).parent
    for name in ("model.onnx", "model.onnx.data"):
        assert (kept / name).read_bytes() == (bare / name).read_bytes()
    (bare / "model.onnx.data").rename(bare / "elsewhere.bin")
    lost = run("bench.py", *command, cwd=tmp_path / "lost", store=tmp_path / "bare_store")
    assert lost.code == 2
    assert "keeps weights in model.onnx.data, which must lie beside it" in lost.out + lost.err

    skipped = run("compress.py", *command[:4], "compression=int8", cwd=tmp_path / "compress", store=tmp_path / "other")
    assert skipped.ok().summary["status"] == "skipped"
    assert "bare ONNX file is measured as it is" in skipped.summary["why"]
    assert skipped.computed == []
    plain = run("compress.py", *command[:4], cwd=tmp_path / "plain", store=tmp_path / "other")
    assert plain.code == 2
    assert "can only be measured on labels: python bench.py" in plain.err


@pytest.mark.long
def test_pairs_of_texts(
    models: dict[str, Path], texts: Any, run: Any, rapid: list[str], tmp_path: Path
) -> None:
    import onnxruntime
    from safetensors.numpy import load_file

    rows = [[a, b, k] for (a, k), (b, _) in zip(texts[:40], texts[20:], strict=False)]
    dev = _csv(tmp_path / "pairs.csv", ["sentence1", "sentence2", "label"], rows)
    command = ["model.origin=folder", f"model.location={models['bert']}", "task=files", f"task.validation={dev}"]
    ran = run("compress.py", *command, cwd=tmp_path / "cwd", store=tmp_path / "store").ok()
    assert ran.summary["facts"]["parity"]["max_abs_difference"] <= 1e-4
    folder = Path(ran.summary["folder"])
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} == {"input_ids", "attention_mask", "token_type_ids"}
    kept = load_file(folder / "reference.safetensors")
    length = int(kept["lengths"][0])
    ids, types = kept["input_ids"][:1, :length], kept["token_type_ids"][:1, :length]
    assert set(types[0]) == {0, 1}
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}
    (right,) = session.run(["logits"], feed)
    (blind,) = session.run(["logits"], feed | {"token_type_ids": np.zeros_like(types)})
    np.testing.assert_allclose(right[0], kept["logits"][0], atol=1e-4, rtol=0)
    assert np.abs(right - blind).max() > 1e-3, "the third input changes nothing"

    bench = run("bench.py", *command, *rapid, cwd=tmp_path / "bench", store=tmp_path / "store").ok()
    record = json.loads((Path(bench.summary["folder"]) / "record.json").read_text())
    adopted = json.loads(next((tmp_path / "store").glob("artifacts/adopt/*/artifact.json")).read_text())
    assert record["quality"]["accuracy"] == adopted["facts"]["validation"]["accuracy"]
