"""Planning a cell that also answers the test part of the training split, and one that is not timed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from edgedistil.config.schemas import register
from edgedistil.config.validation import validate
from edgedistil.errors import UserError
from edgedistil.stages.chain import Planner
from edgedistil.stages.step import Step
from edgedistil.store.store import Store

CONF = Path(__file__).resolve().parents[2] / "conf"
LOCAL = ["task=reviews", "device.baselines=[onnxruntime_fp32,torch_fp32]", "compression=int8"]


@pytest.fixture
def record(
    tmp_path: Path, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> Iterator[Callable[..., Step]]:
    """``record(*overrides)``: the step that measures the cell of a model that is fine-tuned already."""
    register()
    folder = tiny_folder(tiny_model("distilbert"), "classifier")

    def run(*overrides: str) -> Step:
        model = ["model=folder", f"model.location={folder}", "measurement.lengths=[16]"]
        cfg = compose("bench", [*LOCAL, *model, *overrides], return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg.hydra
        return Planner(validate(cfg), Store(tmp_path / "store"), "bench", choices, None, False).cell().steps["record"]

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield run


def test_without_a_test_part_nothing_is_added(record: Callable[..., Step]) -> None:
    step = record()
    assert set(step.inputs) == {"candidate", "predictions", "parent", "parent_predictions", "torch_parent"}
    assert "test_kept_from_training" not in step.options
    assert "split" not in step.inputs["predictions"].options
    assert step.fingerprint == record("task.test_texts=0").fingerprint


def test_candidate_and_parent_answer_the_test_part_with_the_bytes_that_ship(record: Callable[..., Step]) -> None:
    plain, step = record(), record("task.test_texts=40")
    assert set(step.inputs) - set(plain.inputs) == {"test_predictions", "test_parent_predictions"}
    own, parent = step.inputs["test_predictions"], step.inputs["test_parent_predictions"]
    assert own.inputs["model"] is step.inputs["candidate"]
    assert parent.inputs["model"] is step.inputs["parent"]
    assert own.options["split"] == "test"
    assert own.options["task"]["test_texts"] == 40
    assert own.options["engine"] == step.inputs["predictions"].options["engine"]
    # Answers to the validation split are those of a cell without a test part.
    assert step.inputs["predictions"].fingerprint == plain.inputs["predictions"].fingerprint
    # What a model that is given fine-tuned was trained on is not known here.
    assert step.options["test_kept_from_training"] is False
    assert own.fingerprint != record("task.test_texts=41").inputs["test_predictions"].fingerprint


def test_a_cell_that_is_not_timed_depends_on_nothing_that_times(record: Callable[..., Step]) -> None:
    quality = record("measurement=quality")
    assert quality.options["measurement"] == {"mode": "quality", "repeat": 0}
    assert set(quality.inputs) == {"candidate", "predictions", "parent", "parent_predictions"}
    assert quality.options["baseline_workers"] == {}
    assert quality.exclusive is None
    assert record().exclusive is not None
    same = record("measurement=quality", "measurement.rounds=7", "device.threads=2", "device.baselines=[torch_fp32]")
    assert same.fingerprint == quality.fingerprint
    assert quality.inputs["predictions"].fingerprint == record().inputs["predictions"].fingerprint
    assert record("measurement=quality", "measurement.repeat=1").fingerprint != quality.fingerprint


def test_lengths_beyond_the_positions_stop_only_what_measures_them(record: Callable[..., Step]) -> None:
    with pytest.raises(UserError, match=r"measurement\.lengths asks for 4096 tokens"):
        record("measurement.lengths=[4096]")
    assert record("measurement=quality", "measurement.lengths=[4096]").options["measurement"]["mode"] == "quality"
