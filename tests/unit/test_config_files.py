"""Every option under conf/ composes with the command in its own header and passes validation."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from edgedistil.config.schemas import register
from edgedistil.config.validation import validate

CONF = Path(__file__).resolve().parents[2] / "conf"
OPTIONS = sorted(str(path.relative_to(CONF)) for path in CONF.rglob("*.yaml"))
GROUPED = [option for option in OPTIONS if "/" in option]


@pytest.fixture(autouse=True)
def hydra_conf():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(script: str, overrides: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    cfg = compose(script, overrides, return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg.hydra
    return validate(cfg), choices


def header(option: str) -> tuple[str, list[str]]:
    text = (CONF / option).read_text()
    command = re.search(r"^# .*python (train|compress|bench)\.py (.*)$", text, re.MULTILINE)
    assert command, f"conf/{option} does not say in its header how it is chosen"
    return command[1], [word for word in shlex.split(command[2]) if word != "-m"]


@pytest.mark.parametrize("option", GROUPED)
def test_header_command_chooses_the_option_and_validates(option: str) -> None:
    group, name = option.removesuffix(".yaml").rsplit("/", 1)
    script, overrides = header(option)
    plain, choices = composed(script, overrides)
    assert choices[group] == name
    # Published recipes bring their own.
    assert plain["seed"] == {"experiment/distilbert.yaml": 56}.get(option, 42)


@pytest.mark.parametrize("script", ["train", "compress", "bench"])
def test_entry_config_validates_without_overrides(script: str) -> None:
    plain, choices = composed(script, [])
    assert (choices["model"], choices["task"]) == ("distil_minilm", "reviews")
    assert ("compression" in plain, "measurement" in plain) == (script != "train", script == "bench")


def test_unnamed_options_of_a_group_have_their_defaults() -> None:
    plain, _ = composed("bench", ["compression=structured_50", "compression/quantization=int8_dynamic"])
    assert plain["compression"]["pruning"]["ratio"] == 0.5
    assert plain["compression"]["pruning"]["ffn_multiple"] == 16
    assert plain["compression"]["quantization"]["embeddings"] is True
    assert plain["task"]["metrics"] == ["accuracy"]


@pytest.mark.parametrize("option", [o for o in GROUPED if o.startswith("sweep/")])
def test_every_value_that_a_sweep_goes_through_is_an_option(option: str) -> None:
    params = OmegaConf.to_container(OmegaConf.load(CONF / option))["hydra"]["sweeper"]["params"]
    assert params
    script, overrides = header(option)
    for name, values in params.items():
        for value in str(values).split(","):
            if (CONF / name).is_dir():
                assert (CONF / name / f"{value.strip()}.yaml").is_file(), f"{name}={value} of {option}"
            else:
                composed(script, [*overrides, f"{name}={value.strip()}"])


def test_a_ratio_belongs_to_each_structured_option() -> None:
    for percent in (30, 40, 50):
        plain, _ = composed("compress", [f"compression=structured_{percent}"])
        assert plain["compression"]["pruning"]["ratio"] == percent / 100
        assert plain["compression"]["recovery"]["steps"] == 600


def test_the_importance_is_chosen_by_name_or_by_class() -> None:
    def node(*overrides: str) -> Any:
        return composed("compress", ["compression=one_shot_50", *overrides])[0]["compression"]["pruning"]["importance"]

    assert node() == {"_target_": "edgedistil.compression.importance.FisherImportance"}
    assert node("compression/pruning/importance=second_order") == {
        "_target_": "edgedistil.compression.second_order.SecondOrderImportance"}
    assert node("compression.pruning.importance._target_=my.Score", "+compression.pruning.importance.power=3") == {
        "_target_": "my.Score", "power": 3}


def test_one_shot_trains_nothing_and_reads_no_labels() -> None:
    compression = composed("compress", ["compression=one_shot_50"])[0]["compression"]
    assert compression["recovery"]["method"] == "none"
    assert (compression["pruning"]["ratio"], compression["pruning"]["labels"]) == (0.5, False)
    assert compression["pruning"]["reconstruction"] == "least_squares"


def test_every_preset_of_compression_names_every_group() -> None:
    groups = {path.name for path in (CONF / "compression").iterdir() if path.is_dir()}
    for preset in (CONF / "compression").glob("*.yaml"):
        named = {key for entry in OmegaConf.load(preset).defaults if not isinstance(entry, str) for key in entry}
        assert named == groups, preset.name
