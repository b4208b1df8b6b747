"""Keys of ``_target_`` nodes are checked against signatures before anything is built."""

from pathlib import Path

import pytest

from edgedistil.config import places
from edgedistil.config.build import build, build_all, check_nodes
from edgedistil.errors import UserError

ADAMW = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-4}


def refusal(node: object, handed_in: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        check_nodes(node, "optimizer", handed_in)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_right_keys_pass() -> None:
    check_nodes(ADAMW | {"weight_decay": 0.1}, "optimizer", ("params",))


def test_wrong_key_of_adamw_is_named_with_what_it_takes() -> None:
    line = refusal(ADAMW | {"learning_rate": 1.0})
    assert line.startswith("optimizer.learning_rate is no argument of torch.optim.AdamW; it takes ")
    assert "weight_decay" in line
    assert "self" not in line.split("takes ")[1].split(", ")


def test_all_wrong_keys_are_named_at_once() -> None:
    line = refusal(ADAMW | {"learning_rate": 1.0, "decay": 0.1})
    assert "optimizer.learning_rate" in line
    assert "optimizer.decay" in line


@pytest.mark.parametrize("target", ["torch.optim.AdamWW", "no_such_package.Thing", "edgedistil.learning.nothing.X"])
def test_unknown_target_is_named(target: str) -> None:
    line = refusal({"_target_": target})
    assert line.startswith(f"optimizer._target_={target!r} can't be imported: ")


def test_names_handed_in_by_the_program_are_accepted() -> None:
    node = {"_target_": "edgedistil.export.precision.DynamicInt8", "embeddings": True, "later": 1}
    assert "optimizer.later" in refusal(node)
    check_nodes(node, "optimizer", ("later",))


def test_nested_nodes_and_lists_are_checked_by_path() -> None:
    nested = {"first": [{"inner": ADAMW | {"lrr": 1}}]}
    assert refusal(nested).startswith("optimizer.first[0].inner.lrr is no argument")


def test_target_with_free_keywords_accepts_any() -> None:
    check_nodes({"_target_": "argparse.Namespace", "anything": 1}, "node")


def test_build_gives_plain_containers_and_build_all_skips_nulls() -> None:
    entry = build({"_target_": "edgedistil.measurement.interleave.Scenario", "name": "x", "batches": [[[1, 2]]]})
    assert type(entry.batches) is list
    assert type(entry.batches[0]) is list
    built = build_all({"a": {"_target_": "builtins.dict", "x": 1}, "b": None}, y=2)
    assert built == [{"x": 1, "y": 2}]
    assert build_all(None) == []


def test_store_root_is_option_then_variable_then_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEDISTIL_STORE", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert places.store_root(str(tmp_path / "option")) == tmp_path / "option"
    assert places.store_root() == tmp_path / "variable"
    monkeypatch.delenv("EDGEDISTIL_STORE")
    assert places.store_root() == tmp_path / "cache" / "edgedistil" / "store"
    assert places.data_root() is None
