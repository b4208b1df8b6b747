"""Model folders in the hands of others, in processes of their own: what transformers and Optimum load, what needs our
loader, and the same answers from all of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistil.compression.structured import Kept, cut
from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.precision import DynamicInt8, Float32
from edgedistil.export.reading import read_model
from edgedistil.models.depth import keep_layers
from edgedistil.models.folder import save_model
from edgedistil.peers.registry import interpreter, missing
from edgedistil.workers.onnx import OnnxEngine

TEXTS = ["the film is very good", "a dull story , never funny", "superb !", "dark night , cold day and slow music"]
EVEN, UNEVEN = ("dense_bert", "dense_distilbert", "layer_dropped", "even_ffn"), "uneven"
# Largest difference of a logit: the same products in FP32, added in another order.
CLOSE = 2e-5

TRANSFORMERS = """
import json, sys
from pathlib import Path
import torch, transformers
torch.set_num_threads(1)
texts, found = json.loads(sys.argv[1]), {}
for folder in map(Path, sys.argv[2:]):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    except Exception as error:
        from edgedistil.models.shrunken import load_model
        model, found[folder.name] = load_model(folder), {"refused": type(error).__name__}
    else:
        assert "edgedistil" not in sys.modules
        pipeline = transformers.pipeline("text-classification", model=str(folder))
        found[folder.name] = {"pipeline": [pipeline(text)[0] for text in texts]}
    with torch.inference_mode():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0].tolist() for text in texts]
    found[folder.name] |= {"logits": logits, "names": model.config.id2label}
print(json.dumps(found))
"""
OPTIMUM = """
import json, sys
from pathlib import Path
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer
texts, found = json.loads(sys.argv[1]), {}
for folder in map(Path, sys.argv[2:]):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), ORTModelForSequenceClassification.from_pretrained(folder)
    logits = [model(**tokenizer(text, return_tensors="pt")).logits[0].tolist() for text in texts]
    found[folder.name] = {"logits": logits, "names": model.config.id2label}
assert "edgedistil" not in sys.modules
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], tokenizer_file: Path,
            uneven_cut: Callable[[Any], Any]) -> dict[str, Path]:
    """By name: models as trained, with a layer left out, with FFNs cut evenly and with layers of sizes of their own."""
    root, calm = tmp_path_factory.mktemp("folders"), {"initializer_range": 0.2}
    models = {
        "dense_bert": tiny_model("bert", **calm),
        "dense_distilbert": tiny_model("distilbert", **calm),
        "layer_dropped": keep_layers(tiny_model("distilbert", **calm), [1]),
        "even_ffn": tiny_model("distilbert", **calm),
        "uneven": uneven_cut(tiny_model("distilbert", **calm)),
    }
    cut(models["even_ffn"], [Kept([0, 1, 2, 3], list(range(48)))] * 2)
    for name, model in models.items():
        save_model(model, root / name, {"title": name, "lines": []})
        shutil.copyfile(tokenizer_file, root / name / "tokenizer.json")
        save(write_graph(read_model(root / name), Float32(), name == "dense_bert"), root / name / "model.onnx")
    shutil.copytree(root / "uneven", root / "uneven_int8")
    save(write_graph(read_model(root / "uneven"), DynamicInt8(True, "s8_7bit")), root / "uneven_int8" / "model.onnx")
    return {name: root / name for name in (*models, "uneven_int8")}


@pytest.fixture(scope="module")
def ours(folders: dict[str, Path]) -> dict[str, Any]:
    """Logits ``[texts, 2]`` of our worker's engine, by folder."""
    found = {}
    for name, folder in folders.items():
        engine = OnnxEngine()
        engine.load({"folder": folder, "max_length": 64, "threads": 1, "text": ["superb !"]})
        found[name] = np.array(engine.predict([[text] for text in TEXTS]))
        assert np.ptp(found[name][:, 0]) > 1e-2, "the same answer to everything proves nothing"
    return found


def ask(python: str, program: str, folders: list[Path]) -> dict[str, Any]:
    """What a fresh process says; one that may use no hub."""
    own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, "-c", program, json.dumps(TEXTS), *map(str, folders)], capture_output=True,
                          text=True, env={**os.environ, **own}, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def theirs(folders: dict[str, Path]) -> dict[str, Any]:
    return ask(sys.executable, TRANSFORMERS, [folders[name] for name in (*EVEN, UNEVEN)])


@pytest.mark.parametrize("name", EVEN)
def test_transformers_alone_loads_what_is_even(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    found = theirs[name]
    assert "refused" not in found
    np.testing.assert_allclose(found["logits"], ours[name], atol=CLOSE, rtol=0)
    assert found["names"] == {"0": "negative", "1": "positive"}
    powers = np.exp(ours[name] - ours[name].max(1, keepdims=True))
    likely = powers / powers.sum(1, keepdims=True)
    assert [p["label"] for p in found["pipeline"]] == [["negative", "positive"][i] for i in likely.argmax(1)]
    np.testing.assert_allclose([p["score"] for p in found["pipeline"]], likely.max(1), atol=CLOSE)


def test_transformers_refuses_what_is_uneven_and_our_loader_takes_it(
    theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    """Loud, never with weights left at random."""
    assert theirs[UNEVEN]["refused"] == "RuntimeError"
    np.testing.assert_allclose(theirs[UNEVEN]["logits"], ours[UNEVEN], atol=CLOSE, rtol=0)
    assert theirs[UNEVEN]["names"] == {"0": "negative", "1": "positive"}


@pytest.mark.long
def test_optimum_loads_every_graph(folders: dict[str, Path], ours: dict[str, Any]) -> None:
    """In an environment of its own (make install-peers): optimum-onnx 0.1.0 holds transformers below 5."""
    if why := missing("optimum_int8"):
        pytest.skip(why)
    python = interpreter("optimum_int8")
    assert python
    found = ask(python, OPTIMUM, list(folders.values()))
    assert set(found) == set(folders)
    for name in folders:
        np.testing.assert_allclose(found[name]["logits"], ours[name], atol=CLOSE, rtol=0)
        assert found[name]["names"] == {"0": "negative", "1": "positive"}
