"""docs/configuration.md is what ``python -m edgedistil list options`` prints, and that says all there is."""

import dataclasses
from pathlib import Path

import pytest

from edgedistil.__main__ import main
from edgedistil.config import reference
from edgedistil.config.meanings import GROUPS, MEANINGS
from edgedistil.config.reference import groups, options, read_option, schema_of
from edgedistil.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "options"]) == 0
    printed = capsys.readouterr().out
    assert (ROOT / "docs" / "configuration.md").read_text() == printed, (
        "conf/ or config/ has changed. Regenerate: python -m edgedistil list options > docs/configuration.md")
    for group in groups():
        for option in options(group):
            assert f"\n**`{group}={option.name}`**: {option.about}\n" in printed
            # Whatever stands in the file stands on the page, in the order of the file.
            assert option.values.strip("{}") in printed


def test_every_group_is_described_and_every_option_says_what_it_does_and_how_it_is_chosen() -> None:
    assert set(GROUPS) == set(groups()), "say in config/meanings.py what the group is for"
    for group in groups():
        for option in options(group):
            assert option.about, f"conf/{group}/{option.name}.yaml: say below its command what it does"
            assert option.commands, f"conf/{group}/{option.name}.yaml: say how it is chosen"


@pytest.mark.parametrize("name", MEANINGS)
def test_every_key_of_a_schema_has_a_meaning(name: str) -> None:
    keys = {f.name for f in dataclasses.fields(schema_of(name)) if f"{name}.{f.name}" not in MEANINGS}
    nested = {f.name for f in dataclasses.fields(schema_of(name))} - keys
    assert set(MEANINGS[name]) - nested == keys, "config/meanings.py and config/schemas.py differ"


def test_a_file_is_taken_apart(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("# @package _global_\n# WANDB_MODE=offline python train.py some=some    and so on\n# What it,\n"
                    "# in two lines.\ndefaults: [/schema/task@_here_, _self_]\n# inside\nkey: 1   # why\n")
    option = read_option(file)
    assert option == reference.Option("some", ["WANDB_MODE=offline python train.py some=some"],
                                      "and so on What it, in two lines.", "# inside\nkey: 1   # why")
    file.write_text("# python bench.py x=y\n# More.\ndefaults:\n  - /schema/device@_here_\n  - other: a\n  - _self_\n")
    assert read_option(file).values == "defaults:\n  - other: a\n  - _self_"


def test_types_defaults_and_allowed_values_of_keys() -> None:
    printed = reference.reference()
    for row in ("| `compression.pruning.ratio` | number | `0.0` | 0 to below 1 |",
                "| `compression.quantization.smooth` | number or null | `null` | 0 to 1 |",
                "| `task.metrics` | list of text | `[accuracy]` | `accuracy`, `f1`, `matthews_correlation`,",
                "| `model.origin` | text | by option | `hub`, `folder`, `package`, `recipe` |",
                "| `device.phone.serial` | text or null | `null` |  |",
                "| `measurement.repeat` | integer | `0` | ≥ 0 |"):
        assert row in printed
    # What a class of ours knows besides, of its own and not of what the program hands in.
    assert "- It knows besides (defaults): `damping=0.001`, `weighted=true`\n" in printed
    assert "- `objective` knows besides (defaults): `hard_weight=0.0`, `layer_map=null`\n" in printed
    assert "teacher_ids" not in printed


def test_without_a_checkout_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reference, "CONF", tmp_path / "conf")
    with pytest.raises(UserError, match="options are listed from a checkout"):
        reference.reference()
