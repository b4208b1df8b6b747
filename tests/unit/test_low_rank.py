"""Word tables of low rank: the best approximation where the texts are, and models that keep it through everything."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgedistil.compression.low_rank import factorise_words
from edgedistil.compression.vocabulary import trim_embeddings
from edgedistil.devices.host import saturates_int8
from edgedistil.errors import UserError
from edgedistil.export.graph import write_graph
from edgedistil.export.lint import bytes_by_part, lint
from edgedistil.export.precision import Blocks4Bit, DynamicInt8, Float32, Precision
from edgedistil.export.reading import read_model
from edgedistil.learning.fake_quantisation import fake_quantised
from edgedistil.learning.rounding import FourBits, Int8
from edgedistil.measurement.flops import graph_flops
from edgedistil.models.folder import count_parameters
from edgedistil.models.reference import predict
from edgedistil.models.shrunken import load_classifier, structure_of

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
NATIVE = "s8_7bit" if saturates_int8() else "s8"


def even(model: Any) -> list[int]:
    return [1] * model.config.vocab_size


def logits(model: onnx.ModelProto, ids: list[list[int]]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"input_ids": [r], "attention_mask": [[1] * len(r)]})[0][0] for r in ids])


@KINDS
def test_full_rank_is_the_model_itself(kind: str, tiny_model: Callable[..., Any],
                                       sentence_ids: list[list[int]]) -> None:
    model = tiny_model(kind, initializer_range=0.2)
    expected = predict(model, sentence_ids)
    facts = factorise_words(model, even(model), 32)
    np.testing.assert_allclose(predict(model, sentence_ids), expected, atol=1e-5)
    assert (facts["rank"], facts["energy_kept"], facts["energy_kept_unweighted"]) == (32, 1.0, 1.0)
    size = model.config.vocab_size
    assert (facts["values"], facts["values_before"]) == (32 * size + 32 * 32, 32 * size)


def test_the_table_is_the_best_of_its_rank_where_pieces_count(tiny_model: Callable[..., Any]) -> None:
    """Against the truncated singular value decomposition of the scaled table, and against no weights."""
    model = tiny_model("distilbert")
    table = model.get_input_embeddings().weight.detach().double().clone()
    counts = [200 if i % 7 == 0 else 0 for i in range(len(table))]
    weights = torch.tensor(counts, dtype=torch.float64)[:, None] + 1
    u, s, v = torch.linalg.svd(table * weights.sqrt(), full_matrices=False)
    best = (u[:, :8] * s[:8] @ v[:8]) / weights.sqrt()
    facts = factorise_words(model, counts, 8)
    words = model.get_input_embeddings()
    found = words(torch.arange(len(table))).detach().double()
    torch.testing.assert_close(found, best, atol=1e-5, rtol=1e-4)
    assert facts["energy_kept"] == pytest.approx(float(s[:8].square().sum() / s.square().sum()), abs=1e-6)

    plain = tiny_model("distilbert")
    factorise_words(plain, [0] * len(table), 8)
    common = torch.arange(0, len(table), 7)
    with torch.inference_mode():
        errors = [float((m.get_input_embeddings()(common).double() - table[common]).square().sum())
                  for m in (model, plain)]
    assert errors[0] < 0.8 * errors[1]


RELOAD = """
import sys
import numpy as np
from pathlib import Path
from edgedistil.models.reference import predict
from edgedistil.models.shrunken import load_classifier
folder = Path(sys.argv[1])
ids = [[2, 9, 17, 3], [2, 5, 7, 12, 16, 18, 3]]
sys.exit(0 if (predict(load_classifier(folder), ids) == np.load(folder / "expected.npy")).all() else 1)
"""


@KINDS
@pytest.mark.parametrize("uneven", [False, True])
def test_a_fresh_process_gives_the_very_same_answers(kind: str, uneven: bool, tiny_model: Callable[..., Any],
                                                     tiny_folder: Callable[..., Path],
                                                     uneven_cut: Callable[[Any], Any]) -> None:
    model = uneven_cut(tiny_model(kind)) if uneven else tiny_model(kind)
    factorise_words(model, even(model), 12)
    folder = tiny_folder(model)
    structure = json.loads((folder / "structure.json").read_text())
    assert structure["embedding_rank"] == 12
    again = load_classifier(folder)
    assert structure_of(again) == structure_of(model) == structure
    assert count_parameters(again) == count_parameters(model)
    assert again.get_input_embeddings().padding_idx == 0
    np.save(folder / "expected.npy", predict(model, [[2, 9, 17, 3], [2, 5, 7, 12, 16, 18, 3]]))
    if kind == "bert" and uneven:
        assert subprocess.run([sys.executable, "-c", RELOAD, str(folder)], check=False).returncode == 0
    else:
        assert (predict(again, [[2, 9, 17, 3], [2, 5, 7, 12, 16, 18, 3]]) == np.load(folder / "expected.npy")).all()


@KINDS
@pytest.mark.parametrize("precision", [Float32(), DynamicInt8(True, NATIVE), Blocks4Bit(True, 16, 0)])
def test_the_graph_looks_up_and_multiplies(kind: str, precision: Precision, tiny_model: Callable[..., Any],
                                           tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]) -> None:
    model = tiny_model(kind, initializer_range=0.2)
    whole = read_model(tiny_folder(model, "whole"))
    factorise_words(model, even(model), 16)
    weights = read_model(tiny_folder(model))
    written = write_graph(weights, precision)
    stored = {t.name: list(t.dims) for t in written.graph.initializer}
    assert stored["words.table"] == [model.config.vocab_size, 16]
    quantised = not isinstance(precision, Float32)
    assert lint(written, quantised=quantised) == []
    expected, found = predict(model, sentence_ids), logits(written, sentence_ids)
    if quantised:
        assert 0 < np.sqrt(np.mean((found - expected) ** 2) / np.mean((expected - expected.mean(0)) ** 2)) < 0.8
        # As PyTorch rounds the narrow table and the shared matrix.
        rounding = FourBits(True, 16, 0) if isinstance(precision, Blocks4Bit) else Int8(True, NATIVE)
        with fake_quantised(model, rounding, token_types=False):
            assert np.median(np.abs(predict(model, sentence_ids) - found)) < 1e-5
        types = {t.name: t.data_type for t in written.graph.initializer}
        assert types["words.shared.weight"] in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    else:
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert weights.parameters == count_parameters(model)
    assert graph_flops(weights, 10) == graph_flops(whole, 10) + 2 * 10 * 16 * 32
    assert bytes_by_part(written)["embeddings"] < bytes_by_part(write_graph(whole, precision))["embeddings"]


@pytest.mark.parametrize("first", ["rank", "vocabulary"])
def test_it_goes_with_a_trimmed_vocabulary_in_either_order(first: str, tiny_model: Callable[..., Any],
                                                           tiny_folder: Callable[..., Path],
                                                           sentence_ids: list[list[int]]) -> None:
    model, untrimmed = tiny_model("distilbert"), tiny_model("distilbert")
    kept = sorted({i for row in sentence_ids for i in row} | {0, 1, 4})
    again = [[kept.index(i) for i in row] for row in sentence_ids]
    counts = [10_000 * (i in kept) for i in range(model.config.vocab_size)]
    factorise_words(untrimmed, counts, 16)
    if first == "rank":
        factorise_words(model, counts, 16)
        trim_embeddings(model, kept, None)
    else:
        trim_embeddings(model, kept, None)
        factorise_words(model, [counts[i] for i in kept], 16)
    assert model.get_input_embeddings().weight.shape == (len(kept), 16)
    assert model.get_input_embeddings().padding_idx == 0
    found = predict(load_classifier(tiny_folder(model)), again)
    assert (found == predict(model, again)).all()
    # The pieces that went hardly counted.
    np.testing.assert_allclose(found, predict(untrimmed, sentence_ids), atol=1e-5 if first == "rank" else 0.05)


def test_what_can_not_be_factorised(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("bert")
    with pytest.raises(UserError, match=r"compression\.embeddings\.rank=33 is more than .* at most 32, and saves bytes "
                                        r"below \d\d$"):
        factorise_words(model, even(model), 33)
    factorise_words(model, even(model), 4)
    with pytest.raises(UserError, match="has rank 4 already"):
        factorise_words(model, even(model), 2)
