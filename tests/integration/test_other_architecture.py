"""A MobileBERT as a user brings it: fine-tuned, exported by PyTorch in FP32 and INT8; the rest is skipped."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgedistil.measurement.flops import module_flops
from edgedistil.models.shrunken import load_classifier

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def mobilebert(reviews_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without a head, as the hub has it."""
    import torch
    from tokenizers import Tokenizer
    from transformers import MobileBertConfig, MobileBertModel

    torch.manual_seed(0)
    config = MobileBertConfig(vocab_size=Tokenizer.from_file(str(reviews_tokenizer)).get_vocab_size(),
                              embedding_size=16, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                              intermediate_size=32, intra_bottleneck_size=16, num_feedforward_networks=2,
                              max_position_embeddings=64, initializer_range=0.1, classifier_activation=False)
    folder = tmp_path_factory.mktemp("mobilebert")
    MobileBertModel(config).save_pretrained(folder)
    shutil.copyfile(reviews_tokenizer, folder / "tokenizer.json")
    return folder


def test_a_mobilebert_is_trained_exported_and_measured_and_is_not_cut(
    mobilebert: Path, run: Any, rapid: list[str], tmp_path: Path
) -> None:
    model = ["model.origin=folder", f"model.location={mobilebert}", "model.convert_to=null"]
    small = ["task.generator.train=200", "task.generator.validation=80", "trainer.max_epochs=1", "loader.batch_size=16"]
    cells = ["compression/pruning=none,structured", "compression/quantization=int8_dynamic"]
    ran = run("bench.py", "-m", *model, *small, *rapid, *cells, cwd=tmp_path, store=tmp_path / "store").ok()
    assert (ran.summary["done"], ran.summary["skipped"]) == (1, 1)
    assert ran.computed == ["train", "export", "predict", "export", "predict", "bench"]
    assert "compression/pruning=structured needs an architecture whose layers are known here" in ran.out
    (record,) = [json.loads(path.read_text()) for path in (tmp_path / "store").glob("artifacts/bench/*/record.json")]
    (trained,) = (tmp_path / "store").glob("artifacts/train/*/model.safetensors")
    network = load_classifier(trained.parent)
    assert record["model"]["gflops_by_tokens"]["16"] == round(module_flops(network, 16) / 1e9, 6)
    assert record["model"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert "structure" not in record["model"]
    assert record["quality"]["n"] == 80
    assert record["latency"]["tokens_16"]["latency_ms_p50"] > 0
    assert set(record["speedup"]) == {"onnxruntime_fp32"}
    # INT8 of its own making, not the parent's file again.
    assert record["model"]["parity"]["max_abs_difference"] > 1e-4
