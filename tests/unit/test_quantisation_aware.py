"""Training for the rounding to come: PyTorch computes as the exported file will, and learns by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from edgedistil.devices.host import saturates_int8
from edgedistil.export import precision
from edgedistil.export.graph import write_graph
from edgedistil.export.named_precision import precision_of
from edgedistil.export.reading import read_model
from edgedistil.export.rounding import nearest
from edgedistil.learning.distillation import LogitDistillation
from edgedistil.learning.fake_quantisation import fake_quantised
from edgedistil.learning.rounding import FourBits, Int8, Rounding, rounding_of
from edgedistil.learning.schedules import linear_warmup
from edgedistil.models.reference import predict
from edgedistil.models.shrunken import load_classifier
from edgedistil.tasks.batching import collate

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
CALM = {"initializer_range": 0.2}
NATIVE = "s8_7bit" if saturates_int8() else "s8"
FORMS = [
    {"method": "int8_dynamic", "embeddings": True, "weights": NATIVE},
    {"method": "int8_dynamic", "embeddings": True, "weights": "s8_7bit"},
    {"method": "int8_dynamic", "embeddings": False, "weights": "u8"},
    {"method": "int4_ort", "embeddings": True, "block_size": 16, "accuracy_level": 0},
    {"method": "int4_ort", "embeddings": True, "block_size": 64, "accuracy_level": 0},
]


class Exact:
    """No rounding at all."""

    def matrix(self, weight: Any) -> Any:
        return weight

    def rows(self, rows: Any) -> Any:
        return rows

    def activations(self, x: Any, real: Any) -> Any:
        return x


def answers(folder: Path, form: dict[str, Any], ids: list[list[int]]) -> Any:
    """The exported file's logits, one text at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = write_graph(read_model(folder), precision_of(form)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(["logits"], {"input_ids": [row], "attention_mask": [[1] * len(row)]})[0][0]
                     for row in ids])  # fmt: skip


def together(model: Any, ids: list[list[int]], rounding: Rounding) -> Any:
    """The imitation's logits, all texts in one padded batch."""
    batch = collate([(row, [0] * len(row), 0) for row in ids], 0)
    with fake_quantised(model, rounding, False), torch.inference_mode():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.numpy()


def rms(x: Any) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


@KINDS
@pytest.mark.parametrize("uneven", [False, True])
def test_without_rounding_it_is_the_model_itself(kind: str, uneven: bool, tiny_model: Callable[..., Any],
                                                 sentence_ids: list[list[int]],
                                                 uneven_cut: Callable[[Any], Any]) -> None:
    model = uneven_cut(tiny_model(kind)) if uneven else tiny_model(kind)
    expected = predict(model, sentence_ids)
    np.testing.assert_allclose(together(model, sentence_ids, Exact()), expected, rtol=1e-4, atol=1e-5)
    # Outside the context nothing is left of it.
    assert "forward" not in vars(model)
    assert (predict(model, sentence_ids) == expected).all()


def test_token_types_are_the_graphs_third_input(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("bert")
    inputs = {"input_ids": torch.tensor([[2, 9, 3, 11, 12, 3]]), "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    types = {"token_type_ids": torch.tensor([[0, 0, 0, 1, 1, 1]])}
    with torch.inference_mode():
        expected = model(**inputs, **types).logits
        with fake_quantised(model, Exact(), token_types=True):
            torch.testing.assert_close(model(**inputs, **types).logits, expected, rtol=1e-4, atol=1e-5)
        with fake_quantised(model, Exact(), token_types=False):
            assert (model(**inputs, **types).logits - expected).abs().max() > 0.01


@KINDS
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_rounded_answers_are_the_exported_files(kind: str, form: dict[str, Any], tiny_model: Callable[..., Any],
                                                tiny_folder: Callable[..., Path], sentence_ids: list[list[int]],
                                                uneven_cut: Callable[[Any], Any]) -> None:
    model = uneven_cut(tiny_model(kind, **CALM))
    folder = tiny_folder(model)
    found = together(load_classifier(folder), sentence_ids, rounding_of(form))
    shipped, exact = answers(folder, form, sentence_ids), predict(model, sentence_ids)
    # Equal, but where a sum in another order moves an activation by a step.
    assert np.median(np.abs(found - shipped)) < 1e-5
    assert rms(found - shipped) < 0.5 * rms(exact - shipped)


def test_level_4_rounds_activations_too(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
                                        sentence_ids: list[list[int]]) -> None:
    form = {"method": "int4_ort", "embeddings": False, "block_size": 16, "accuracy_level": 4}
    model = tiny_model("distilbert", **CALM)
    shipped = answers(tiny_folder(model), form, sentence_ids)
    with_it, without = (together(model, sentence_ids, FourBits(False, 16, level)) for level in (4, 0))
    assert rms(with_it - shipped) < 0.5 * rms(without - shipped)


def test_weights_are_rounded_to_the_very_values_that_are_stored() -> None:
    weight = torch.randn(48, 33, generator=torch.Generator().manual_seed(0))
    for limit, form in ((127, "s8"), (63, "s8_7bit"), (127, "u8")):
        values, scale = precision._symmetric(weight.T.numpy(), 0, limit)
        np.testing.assert_allclose(Int8(True, form).matrix(weight).numpy(), (values * scale).T, rtol=1e-6, atol=1e-7)
    padded = np.zeros((48, 48), np.float32)
    padded[:, :33] = weight.numpy()
    values, scale = nearest(padded.reshape(48, 3, 16))
    stored = (values * scale[..., None]).reshape(48, 48)[:, :33]
    np.testing.assert_allclose(FourBits(True, 16, 0).matrix(weight).numpy(), stored, rtol=1e-6, atol=1e-7)


def test_a_text_is_rounded_by_its_own_range_and_padding_has_no_say() -> None:
    x = torch.tensor([[[0.0, 1.0], [0.5, 0.3]], [[-4.0, 8.0], [900.0, -900.0]]])
    real = torch.tensor([[[True], [True]], [[True], [False]]])
    found = Int8(True, "s8").activations(x, real)
    steps = [1 / 255, 12 / 255]
    for text, step in zip(found, steps, strict=True):
        on_the_grid = text[0] / step
        torch.testing.assert_close(on_the_grid, on_the_grid.round(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[0], x[0], atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(Int8(True, "s8").activations(torch.zeros(1, 2, 3), None), torch.zeros(1, 2, 3))


@pytest.mark.parametrize("rounding", [Int8(True, "s8"), FourBits(True, 16, 4)])
def test_gradients_pass_as_if_nothing_were_rounded(rounding: Rounding) -> None:
    x = torch.randn(2, 3, 20, requires_grad=True)
    for rounded in (rounding.matrix(x), rounding.rows(x), rounding.activations(x, None)):
        assert not torch.equal(rounded, x)
        (gradient,) = torch.autograd.grad(rounded.sum(), x)
        assert torch.equal(gradient, torch.ones_like(x))


def test_other_precisions_have_no_rounding() -> None:
    with pytest.raises(ValueError, match="nf4 has no rounding"):
        rounding_of({"method": "nf4"})


def test_training_with_4_bits_brings_the_file_back_to_its_parent(tiny_model: Callable[..., Any],
                                                                tiny_folder: Callable[..., Path]) -> None:
    """On texts that it did not learn from: smaller error of the logits, and fewer answers changed."""
    form = {"method": "int4_ort", "embeddings": True, "block_size": 64, "accuracy_level": 0}
    parent, student = (tiny_model("distilbert", initializer_range=0.2) for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    texts = [[2, *torch.randint(5, 90, (n,), generator=generator).tolist(), 3] for n in [8, 12, 16] * 100]
    unseen, seen = texts[:150], texts[150:]
    expected = predict(parent, unseen)
    before = answers(tiny_folder(student, "before"), form, unseen)

    module = LogitDistillation(student, parent, lambda groups: torch.optim.Adam(groups), linear_warmup, 1.0, 0.0)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-4)
    with fake_quantised(student, rounding_of(form), False):
        for step in range(60):
            some = [seen[i % len(seen)] for i in range(30 * step, 30 * step + 30)]
            terms = module.terms(collate([(row, [0] * len(row), 0) for row in some], 0))
            optimizer.zero_grad()
            terms["soft_target"].backward()
            optimizer.step()
    after = answers(tiny_folder(student, "after"), form, unseen)
    # Softmax does not see what moves both classes alike.
    margins = [x[:, 0] - x[:, 1] for x in (before, after, expected)]
    assert rms(margins[1] - margins[2]) < 0.7 * rms(margins[0] - margins[2])
    flips = [int((x.argmax(-1) != expected.argmax(-1)).sum()) for x in (before, after)]
    assert flips[1] < flips[0]
