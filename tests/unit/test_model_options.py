"""The models of conf/model in their full size: parameters and operations, counted on tensors without values."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest

from edgedistil.errors import UserError
from edgedistil.measurement.flops import module_flops
from edgedistil.models.folder import count_parameters
from edgedistil.models.kinds import TWINS
from edgedistil.models.origin import locate
from edgedistil.stages.named import model_group
from edgedistil.store.fingerprint import DigestCache

HUB = ("bert_base", "distilbert", "distilbert_cased", "tinybert_4", "tinybert_6", "mobilebert", "minilm_l6",
       "minilm_l12")


@functools.cache
def shape(option: str) -> Any:
    """The option's classifier of two classes, without values."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    architecture = dict(model_group(option)["architecture"])
    config = AutoConfig.for_model(architecture.pop("model_type"), **architecture)
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(config).eval()


def bert(layers: int, width: int, neurons: int, types: int = 2, vocabulary: int = 30522) -> int:
    """Parameters of an encoder with its embeddings: four square matrices and two of the FFN a layer, two norms."""
    embeddings = (vocabulary + 512 + types) * width + 2 * width
    layer = 4 * (width * width + width) + 2 * width * neurons + neurons + width + 2 * 2 * width
    return embeddings + layers * layer


def head(width: int) -> int:
    """A dense layer and a classifier of two classes."""
    return width * width + width + 2 * width + 2


@pytest.mark.parametrize(("option", "expected", "published_millions"), [
    ("bert_base", bert(12, 768, 3072) + head(768), 110),
    ("distilbert", bert(6, 768, 3072, types=0) + head(768), 66),
    ("distilbert_cased", bert(6, 768, 3072, types=0, vocabulary=28996) + head(768), 65),
    ("tinybert_4", bert(4, 312, 1200) + head(312), 14.5),
    ("tinybert_6", bert(6, 768, 3072) + head(768), 67),
    ("minilm_l6", bert(6, 384, 1536) + head(384), 22.7),
    ("minilm_l12", bert(12, 384, 1536) + head(384), 33),
    ("mobilebert", 24_582_914, 25.3),
])
def test_parameters_are_those_of_the_published_models(option: str, expected: int, published_millions: float) -> None:
    found = count_parameters(shape(option))
    assert found == expected
    assert found / 1e6 == pytest.approx(published_millions, rel=0.03)


def test_known_totals_and_the_reduction_by_39_percent() -> None:
    large, small = (count_parameters(shape(name)) for name in ("bert_base", "distilbert"))
    assert (large, small) == (109_483_778, 66_955_010)
    assert round(100 * (1 - small / large)) == 39


def test_parameters_of_mobilebert_part_by_part() -> None:
    def dense(rows: int, columns: int) -> int:
        return rows * columns + columns

    # Words of 128 values, three neighbours at a time, to 512; positions, types, NoNorm's scale and shift.
    embeddings = 30522 * 128 + dense(3 * 128, 512) + (512 + 2) * 512 + 2 * 512
    bottlenecks = 2 * (dense(512, 128) + 2 * 128) + dense(128, 512) + 2 * 512
    attention = 2 * dense(128, 128) + dense(512, 128) + dense(128, 128) + 2 * 128
    feed_forward = dense(128, 512) + dense(512, 128) + 2 * 128
    layer = bottlenecks + attention + 4 * feed_forward
    assert embeddings + 24 * layer + dense(512, 2) == 24_582_914


@pytest.mark.parametrize(("option", "published_billions"), [
    ("bert_base", 22.5), ("tinybert_4", 1.2), ("tinybert_6", 11.3), ("mobilebert", 5.7),
])
def test_operations_at_128_tokens_are_those_of_tinyberts_table(option: str, published_billions: float) -> None:
    # Jiao et al. 2020, table 1, which counts a few things beside the products.
    found = module_flops(shape(option), 128) / 1e9
    assert 0.94 * published_billions < found < 1.05 * published_billions


def test_operations_of_a_base_model_by_hand() -> None:
    tokens, width = 16, 768
    layer = tokens * (4 * width * width + 2 * width * 3072) + 2 * tokens * tokens * width
    assert module_flops(shape("bert_base"), tokens) == 2 * (12 * layer + width * width + 2 * width)


@pytest.mark.parametrize("option", HUB)
def test_every_hub_option_is_pinned_and_has_a_shape_only_twin(option: str, tmp_path: Path) -> None:
    group = model_group(option)
    assert group["origin"] == "hub"
    assert group["architecture"]["model_type"] in TWINS
    digests = DigestCache(tmp_path / "digests.json")
    if option != "mobilebert":
        assert re.fullmatch("[0-9a-f]{40}", group["revision"])
        assert locate(group, digests).model_type == group["architecture"]["model_type"]
        return
    with pytest.raises(UserError, match=r"revision is empty: .*'google/mobilebert-uncased' \(model\.revision=COMMIT\)"):
        locate(group, digests)
    assert locate(group | {"revision": "a" * 40}, digests).identity["revision"] == "a" * 40
