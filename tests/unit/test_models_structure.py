"""Conversion without loss, shrunken models that come back bit for bit, and the facts of known architectures."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedistil.compression.structured import Kept, cut
from edgedistil.errors import UserError
from edgedistil.models.conversion import distilbert_from_bert
from edgedistil.models.folder import count_parameters
from edgedistil.models.layers import encoder_layers
from edgedistil.models.reference import predict, read_reference, write_reference
from edgedistil.models.shrunken import is_uneven, load_classifier, structure_of

ANSWER = """
import sys, torch
from edgedistil.models.shrunken import load_classifier
torch.set_num_threads(1)
model = load_classifier(sys.argv[1])
ids = torch.tensor([[2, 9, 14, 30, 3]])
with torch.inference_mode():
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
print(logits.numpy().tobytes().hex())
"""


def answer(model: Any) -> torch.Tensor:
    ids = torch.tensor([[2, 9, 14, 30, 3]])
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def test_bert_becomes_a_distilbert_with_the_same_hidden_states(tiny_model: Callable[..., Any]) -> None:
    bert = tiny_model("bert").bert
    student = distilbert_from_bert(bert, {0: "negative", 1: "positive"}).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 3, 0, 0]])
    mask = (ids != 0).long()
    with torch.inference_mode():
        old = bert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        new = student.distilbert(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    assert len(old) == len(new) == 3
    for a, b in zip(old, new, strict=True):
        assert a[mask.bool()].std() > 0.5
        torch.testing.assert_close(b[mask.bool()], a[mask.bool()], atol=1e-5, rtol=0)
    assert student.config.id2label == {0: "negative", 1: "positive"}


def test_bert_with_another_epsilon_cannot_become_a_distilbert(tiny_model: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="layer_norm_eps=1e-05: DistilBERT's is fixed at 1e-12"):
        distilbert_from_bert(tiny_model("bert", layer_norm_eps=1e-5).bert, {0: "a", 1: "b"})


def test_parameters_of_known_classifiers() -> None:
    from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig
    from transformers import DistilBertForSequenceClassification as DistilBert

    with torch.device("meta"):
        assert count_parameters(DistilBert(DistilBertConfig())) == 66_955_010
        assert count_parameters(BertForSequenceClassification(BertConfig())) == 109_483_778


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_layers_look_alike_for_both_architectures(kind: str, tiny_model: Callable[..., Any],
                                                  uneven_cut: Callable[[Any], Any]) -> None:
    model = tiny_model(kind)
    assert [(x.heads, x.neurons, x.head_size) for x in encoder_layers(model)] == [(4, 64, 8), (4, 64, 8)]
    assert not is_uneven(model)
    uneven_cut(model)
    assert structure_of(model) == {"head_size": 8, "layers": [{"heads": 1, "ffn": 24}, {"heads": 3, "ffn": 40}]}
    assert is_uneven(model)
    assert [x.out.in_features for x in encoder_layers(model)] == [8, 24]


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_unevenly_cut_model_comes_back_bit_for_bit(kind: str, tiny_model: Callable[..., Any],
                                                   uneven_cut: Callable[[Any], Any],
                                                   tiny_folder: Callable[..., Path]) -> None:
    model = uneven_cut(tiny_model(kind))
    folder = tiny_folder(model)
    again = load_classifier(folder)
    assert torch.equal(answer(again), answer(model))
    assert structure_of(again) == structure_of(model)
    assert not again.training
    assert "`structure.json`" in (folder / "README.md").read_text()


def test_unevenly_cut_model_answers_the_same_in_a_fresh_process(tiny_model: Callable[..., Any],
                                                                uneven_cut: Callable[[Any], Any],
                                                                tiny_folder: Callable[..., Path]) -> None:
    model = uneven_cut(tiny_model("distilbert"))
    done = subprocess.run([sys.executable, "-c", ANSWER, str(tiny_folder(model))], capture_output=True, text=True,
                          check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert done.stdout.strip() == answer(model).numpy().tobytes().hex()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_evenly_cut_ffn_with_all_heads_needs_nothing_of_ours(kind: str, tiny_model: Callable[..., Any],
                                                             tiny_folder: Callable[..., Path]) -> None:
    from transformers import AutoModelForSequenceClassification

    model = tiny_model(kind)
    cut(model, [Kept([0, 1, 2, 3], list(range(48)))] * 2)
    folder = tiny_folder(model)
    assert not (folder / "structure.json").exists()
    again = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    # transformers maps the file, so its tensors are aligned otherwise and kernels may add in another order.
    torch.testing.assert_close(answer(again), answer(model), atol=1e-6, rtol=0)
    assert torch.equal(answer(load_classifier(folder)), answer(model))


@pytest.mark.parametrize(("layers", "message"), [
    ([{"heads": 2, "ffn": 24}, {"heads": 3, "ffn": 40}], "weights and structure.json disagree: size mismatch"),
    ([{"heads": 1, "ffn": 16}, {"heads": 3, "ffn": 40}], "weights and structure.json disagree: size mismatch"),
    ([{"heads": 1, "ffn": 24}], "lists 1 layers, config.json says 2"),
    ([{"heads": 0, "ffn": 24}, {"heads": 3, "ffn": 40}], "layer 0 has heads=0, not a number of at least 1"),
    ([{"heads": 1, "ffn": 24.5}, {"heads": 3, "ffn": 40}], "layer 0 has ffn=24.5, not a number of at least 1"),
    ([{"heads": 1}, {"heads": 3, "ffn": 40}], "layer 0 has ffn=None, not a number of at least 1"),
    (None, "has no list 'layers'"),
])
def test_structure_that_disagrees_with_the_weights_is_one_line(layers: Any, message: str,
                                                               tiny_model: Callable[..., Any],
                                                               uneven_cut: Callable[[Any], Any],
                                                               tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder(uneven_cut(tiny_model("distilbert")))
    (folder / "structure.json").write_text(json.dumps({"head_size": 8, "layers": layers}))
    with pytest.raises(UserError) as caught:
        load_classifier(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    ('{"head_size": 8, "layers"', "is no JSON (Expecting"),
    ('{"head_size": 16, "layers": [{"heads": 1, "ffn": 24}, {"heads": 3, "ffn": 40}]}',
     "says heads of 16, config.json of 8"),
    ('{"layers": [{"heads": 1, "ffn": 24}, {"heads": 3, "ffn": 40}]}',
     "has head_size=None, not a number of at least 1"),
    ('{"head_size": 8, "embedding_rank": "4", "layers": [{"heads": 1, "ffn": 24}, {"heads": 3, "ffn": 40}]}',
     "has embedding_rank='4', not a number of at least 1"),
])
def test_structure_file_that_is_broken_is_one_line(text: str, message: str, tiny_model: Callable[..., Any],
                                                   uneven_cut: Callable[[Any], Any],
                                                   tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder(uneven_cut(tiny_model("bert")))
    (folder / "structure.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load_classifier(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cut_weights_without_their_structure_are_refused(tiny_model: Callable[..., Any],
                                                         uneven_cut: Callable[[Any], Any],
                                                         tiny_folder: Callable[..., Path]) -> None:
    folder = tiny_folder(uneven_cut(tiny_model("distilbert")))
    (folder / "structure.json").unlink()
    with pytest.raises(UserError, match=r"weights and config\.json disagree: size mismatch"):
        load_classifier(folder)


def test_weights_that_lack_the_head_are_refused(tiny_folder: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_folder("distilbert")
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"missing \['classifier.weight'\]"):
        load_classifier(folder)


def test_reference_answers_come_back_as_they_were(tmp_path: Path, tiny_model: Callable[..., Any],
                                                  sentence_ids: list[list[int]]) -> None:
    model = tiny_model("bert")
    types = [[0] * (len(row) - 2) + [1] * 2 for row in sentence_ids]
    write_reference(model, tmp_path, sentence_ids, types, seed=1)
    ids, kinds, logits = read_reference(tmp_path)
    assert ids == sentence_ids
    assert kinds == types
    np.testing.assert_array_equal(logits, predict(model, sentence_ids, types))
    assert np.abs(logits - predict(model, sentence_ids)).max() > 1e-3
    write_reference(model, tmp_path, sentence_ids * 20, types * 20, seed=1)
    assert len(read_reference(tmp_path)[0]) == 128
