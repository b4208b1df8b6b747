"""A student of some of the layers: bit-equal, known by them, and a wrong list said in one line."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from edgedistil.config.schemas import Model
from edgedistil.errors import UserError
from edgedistil.models.depth import keep_layers
from edgedistil.models.layers import encoder
from edgedistil.models.loading import load_for_training
from edgedistil.models.origin import locate
from edgedistil.store.fingerprint import DigestCache

DEEP = {"distilbert": {"n_layers": 5}, "bert": {"num_hidden_layers": 5}}


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_kept_layers_and_all_else_are_bit_equal(
    kind: str, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    deep = tiny_model(kind, **DEEP[kind])
    folder = tiny_folder(deep)
    found = load_for_training(str(folder), {"origin": "folder", "layers": [0, 2, 4]}, ["negative", "positive"])
    assert found.config.num_hidden_layers == len(encoder(found).layer) == 3
    for kept, index in zip(encoder(found).layer, (0, 2, 4), strict=True):
        for name, value in encoder(deep).layer[index].state_dict().items():
            assert torch.equal(kept.state_dict()[name], value), (index, name)
    rest = {n: v for n, v in deep.state_dict().items() if ".layer." not in n}
    state = found.state_dict()
    assert all(torch.equal(state[name], value) for name, value in rest.items())
    again = tiny_folder(found, "again")
    assert (
        json.loads((again / "config.json").read_text())["n_layers" if kind == "distilbert" else "num_hidden_layers"]
        == 3
    )
    ids = torch.tensor([[2, 9, 11, 3]])
    reloaded = load_for_training(str(again), {"origin": "folder"}, ["negative", "positive"])
    torch.testing.assert_close(reloaded.eval()(ids).logits, found.eval()(ids).logits)


def test_layers_are_part_of_the_identity_only_when_given(
    tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder, digests = tiny_folder("bert"), DigestCache(tmp_path / "digests.json")

    def origin(**values: Any) -> Any:
        return locate(asdict(Model(origin="folder", location=str(folder))) | values, digests)

    plain, cut = origin(), origin(layers=[1])
    assert "layers" not in plain.identity
    assert cut.identity == {**plain.identity, "layers": [1]}
    assert (plain.layers, cut.layers, plain.heads) == (2, 1, 4)
    with pytest.raises(UserError, match=r"takes layers of a pretrained model, not of a random twin"):
        origin(layers=[1], weights="random", architecture={"model_type": "bert"})


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([0, 2], r"model.layers=[0, 2] names layer 2, but the encoder has layers 0 to 1"),
        ([-1], "names layer -1"),
        ([], "model.layers is empty"),
        ([1, 0], "must be ascending"),
        ([1, 1], "name each layer once"),
    ],
)
def test_layers_that_are_not_there(
    layers: list[int], words: str, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path], tmp_path: Path
) -> None:
    model = asdict(Model(origin="folder", location=str(tiny_folder("bert")), layers=layers))
    with pytest.raises(UserError, match=re.escape(words)):
        locate(model, DigestCache(tmp_path / "digests.json"))
    with pytest.raises(UserError, match=re.escape(words)):
        keep_layers(tiny_model("bert"), layers)
