"""The unpadded encoder against the padded model, on the processor in float32."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from edgedistil.errors import UserError
from edgedistil.models.kinds import takes_token_types
from edgedistil.models.low_rank import FactoredEmbedding
from edgedistil.models.unpadded import Unpadded, attention_of, packed_inputs

KINDS = pytest.mark.parametrize("kind", ["bert", "distilbert"])
FORMS = pytest.mark.parametrize("form", ["whole", "cut", "factored"])


@pytest.fixture
def formed(uneven_cut: Callable[[Any], Any]) -> Callable[[Any, str], Any]:
    """A tiny model as it is, with layers cut unevenly, or with a factored word table."""

    def make(model: Any, form: str) -> Any:
        if form == "cut":
            uneven_cut(model)
        elif form == "factored":
            words = model.get_input_embeddings()
            rows, projection = torch.randn(words.num_embeddings, 8), torch.randn(words.embedding_dim, 8)
            model.set_input_embeddings(FactoredEmbedding.of(rows, projection, 0))
        return model.eval()

    return make


def padded_answer(model: Any, rows: list[list[int]], types: list[list[int]]) -> Any:
    longest = max(map(len, rows))

    def tensor(values: list[list[int]]) -> torch.Tensor:
        return torch.tensor([v + [0] * (longest - len(v)) for v in values])

    inputs = {"input_ids": tensor(rows), "attention_mask": tensor([[1] * len(r) for r in rows])}
    with torch.inference_mode():
        return model(**inputs, **({"token_type_ids": tensor(types)} if takes_token_types(model) else {}))


def types_of(rows: list[list[int]]) -> list[list[int]]:
    return [[0] * (len(row) // 2) + [1] * (len(row) - len(row) // 2) for row in rows]


@KINDS
@FORMS
def test_class_logits_are_the_padded_models(
    kind: str, form: str, tiny_model: Callable[..., Any], formed: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    model, types = formed(tiny_model(kind), form), types_of(sentence_ids)
    assert len({len(row) for row in sentence_ids}) > 4
    expected = padded_answer(model, sentence_ids, types).logits
    with torch.inference_mode():
        found = Unpadded(model, "repadded")(**packed_inputs(sentence_ids, types))
    assert (expected[0] - expected[1]).abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@KINDS
@FORMS
def test_span_logits_are_the_padded_models(
    kind: str, form: str, span_model: Callable[..., Any], formed: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    model, types = formed(span_model(kind), form), types_of(sentence_ids)
    expected = padded_answer(model, sentence_ids, types)
    with torch.inference_mode():
        found = Unpadded(model, "repadded")(**packed_inputs(sentence_ids, types))
    assert found.shape == (2, sum(map(len, sentence_ids)))
    place = 0
    for row, ids in enumerate(sentence_ids):
        for side, name in enumerate(("start_logits", "end_logits")):
            mine = found[side, place : place + len(ids)]
            torch.testing.assert_close(mine, expected[name][row, : len(ids)], atol=1e-5, rtol=1e-5)
        place += len(ids)


@KINDS
def test_fillers_change_nothing(kind: str, tiny_model: Callable[..., Any], sentence_ids: list[list[int]]) -> None:
    model = tiny_model(kind)
    with torch.inference_mode():
        tight = Unpadded(model, "repadded")(**packed_inputs(sentence_ids))
        loose = Unpadded(model, "repadded")(**packed_inputs(sentence_ids, tokens=200, longest=40))
    torch.testing.assert_close(loose, tight, atol=1e-5, rtol=1e-5)


def test_packed_inputs_say_where_each_token_lies() -> None:
    found = packed_inputs([[2, 5, 3], [2, 3]], [[0, 1, 1], [0, 0]], tokens=7, longest=4)
    assert {name: value if name == "longest" else value.tolist() for name, value in found.items()} == {
        "ids": [2, 5, 3, 2, 3, 0, 0], "types": [0, 1, 1, 0, 0, 0, 0], "positions": [0, 1, 2, 0, 1, 0, 0],
        "slots": [0, 1, 2, 4, 5, 8, 8], "starts": [0, 3, 5], "longest": 4}


def test_texts_do_not_see_each_other(tiny_model: Callable[..., Any], sentence_ids: list[list[int]]) -> None:
    module = Unpadded(tiny_model("bert"), "repadded")
    with torch.inference_mode():
        first = module(**packed_inputs(sentence_ids[:2]))[0]
        other = module(**packed_inputs([sentence_ids[0], sentence_ids[4]]))[0]
        seen = module(**packed_inputs([sentence_ids[0] + sentence_ids[1]]))[0]
    # Products of another size are summed in another order where there is AVX-512.
    torch.testing.assert_close(first, other, atol=1e-5, rtol=1e-5)
    assert (first - seen).abs().max() > 0.01, "a text that is seen moves nothing: nothing is proved"


def test_flash_attention_only_where_it_can_run(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("bert")
    assert attention_of(model, torch.float16, True) == attention_of(model, torch.bfloat16, True) == "varlen"
    assert attention_of(model, torch.float32, True) == attention_of(model, torch.float16, False) == "repadded"
    assert attention_of(tiny_model("bert", num_attention_heads=8), torch.float16, True) == "repadded"


def test_other_heads_and_architectures_are_refused(tiny_model: Callable[..., Any]) -> None:
    from transformers import BertForMaskedLM

    with pytest.raises(UserError, match=r"BertForMaskedLM can't run unpadded.*turn unpadded off"):
        Unpadded(BertForMaskedLM(tiny_model("bert").config), "repadded")
    other = nn.Linear(1, 1)
    other.config = type("Config", (), {"model_type": "roberta"})()
    with pytest.raises(UserError, match="can't run unpadded"):
        Unpadded(other, "repadded")
