"""Which steps make a compressed model, in which order, and what each of them reads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from edgedistil.config.schemas import register
from edgedistil.config.validation import validate
from edgedistil.errors import UserError
from edgedistil.stages.chain import Cell, Planner
from edgedistil.store.store import Store

CONF = Path(__file__).resolve().parents[2] / "conf"
PRUNED = ["compression/pruning=structured", "compression/recovery=distillation"]
LOW_RANK, TRIMMED = "compression/embeddings=low_rank", "compression/vocabulary=trimmed"
INT8, QAT = "compression/quantization=int8_dynamic", "compression/qat=distillation"
LOGITS_ALONE = "compression.recovery.objective.hidden_weight=0.0"
NEAR = "augmentation=embedding_neighbours"


@pytest.fixture
def cell(tmp_path: Path, tiny_folder: Callable[..., Path]) -> Iterator[Callable[..., Cell]]:
    """``cell(*overrides)``: the cell of compress.py on a folder that is fine-tuned already."""
    register()
    folder = tiny_folder("distilbert")

    def run(*overrides: str) -> Cell:
        given = ["task=reviews", "model=folder", f"model.location={folder}", *overrides]
        cfg = compose("compress", given, return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg.hydra
        return Planner(validate(cfg), Store(tmp_path / "store"), "compress", choices, None, False).cell()

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield run


def made(cell: Cell) -> list[str]:
    return [step.name for step in cell.steps["exported"].ancestry()]


def test_every_part_in_its_place(cell: Callable[..., Cell]) -> None:
    everything = cell(*PRUNED, "compression.recovery.again=true", LOW_RANK, TRIMMED, INT8, QAT)
    assert made(everything) == ["adopt", "prune", "recover", "factorise", "trim", "recover", "teacher_logits", "qat",
                                "export"]
    assert everything.names["compression"] == \
        "structured 50 % + recovery · rank 128 · vocabulary + recovery · INT8 QAT"
    assert everything.steps["exported"].inputs["model"] is everything.steps["quantisation_aware"]
    parent = everything.steps["model"].fingerprint
    for name in ("recovered", "tables_recovered", "quantisation_aware"):
        assert everything.steps[name].inputs["teacher"].fingerprint == parent
    assert everything.steps["tables_recovered"].inputs["model"] is everything.steps["trimmed"]


@pytest.mark.parametrize(("parts", "steps"), [
    ([LOW_RANK], ["adopt", "factorise", "export"]),
    ([LOW_RANK, PRUNED[1]], ["adopt", "factorise", "recover", "export"]),
    ([TRIMMED, PRUNED[1]], ["adopt", "trim", "export"]),
    ([TRIMMED, PRUNED[1], LOGITS_ALONE, "compression.vocabulary.min_count=2"],
     ["adopt", "trim", "teacher_logits", "recover", "export"]),
    ([*PRUNED, LOW_RANK], ["adopt", "prune", "recover", "factorise", "export"]),
    ([*PRUNED, "compression.recovery.again=true"], ["adopt", "prune", "recover", "export"]),
    ([*PRUNED, LOGITS_ALONE], ["adopt", "prune", "teacher_logits", "recover", "export"]),
    ([QAT], ["adopt", "export"]),
    ([QAT, INT8, "compression.qat.steps=0"], ["adopt", "export"]),
])  # fmt: skip
def test_recovery_follows_what_needs_it(parts: list[str], steps: list[str], cell: Callable[..., Cell]) -> None:
    assert made(cell(*parts)) == steps


def test_options_that_are_off_are_no_part_of_a_step(cell: Callable[..., Cell]) -> None:
    recovery = cell(*PRUNED).steps["recovered"].options["recovery"]
    assert set(recovery) == {"method", "objective", "optimizer", "steps", "batch_size", "warmup_fraction"}
    epochs = cell(*PRUNED, "compression.recovery.epochs=2").steps["recovered"].options["recovery"]
    assert ("steps" in epochs, epochs["epochs"]) == (False, 2)


def test_pieces_that_are_gone_need_the_parents_own_answers(cell: Callable[..., Cell]) -> None:
    common = [LOW_RANK, TRIMMED, PRUNED[1]]
    assert set(cell(*common).steps["tables_recovered"].inputs) == {"model", "teacher"}
    cut = cell(*common, "compression.vocabulary.min_count=2")
    assert set(cut.steps["tables_recovered"].inputs) == {"model", "teacher", "teacher_logits"}


def test_copies_are_labelled_by_the_parent(cell: Callable[..., Cell]) -> None:
    step = cell(*PRUNED, LOGITS_ALONE, NEAR, "compression.recovery.augmentation=true").steps["recovered"]
    assert step.inputs["augmented"].name == "augment"
    assert step.inputs["teacher_logits"].inputs["augmented"] is step.inputs["augmented"]
    with pytest.raises(UserError, match=r"augmentation=embedding_neighbours adds texts to .*, but .* as it is"):
        cell(*PRUNED, NEAR)


def test_training_for_a_rounding_knows_which(cell: Callable[..., Cell]) -> None:
    def rounding(*overrides: str) -> Any:
        return cell(QAT, *overrides).steps["quantisation_aware"].options["quantization"]

    s8 = "compression.quantization.weights=s8"
    assert rounding(INT8, s8) == {"method": "int8_dynamic", "embeddings": True, "weights": "s8"}
    assert rounding(INT8)["weights"] in ("s8", "s8_7bit")
    assert rounding(INT8, s8, "compression.quantization.max_rms=9") == rounding(INT8, s8)
    four = {"method": "int4_ort", "embeddings": True, "block_size": 64, "accuracy_level": 4}
    assert rounding("compression/quantization=int4_ort", "compression.quantization.block_size=64") == four


def test_what_can_not_go_together_says_so(cell: Callable[..., Cell]) -> None:
    static = cell(QAT, "compression/quantization=int8_static").impossible
    assert static == "quantisation-aware training knows the rounding of int8_dynamic and int4_ort, not of int8_static"
    magnitude = cell(QAT, INT8, "compression/pruning=magnitude").impossible
    assert "would fill the zeros of magnitude pruning" in str(magnitude)


@pytest.mark.parametrize(("overrides", "message"), [
    ([*PRUNED, "compression.recovery.augmentation=true"], "compression.recovery.augmentation=true has no texts to add"),
    ([QAT, INT8, "compression.qat.objective.hidden_weight=1.0"], "compression.qat.objective.hidden_weight=1: the"),
    ([QAT, INT8, "~compression.qat.objective.hidden_weight"], "compression.qat.objective.hidden_weight=1: the"),
    (["compression.qat.method=distillation"], "compression.qat.objective is empty; use compression/qat=distillation"),
    ([LOW_RANK, "compression.embeddings.rank=0"], "compression.embeddings.rank=0 is out of range"),
    (["compression.embeddings.method=low"], "compression.embeddings.method='low' is unknown; allowed: none, low_rank"),
    ([*PRUNED, "compression.recovery.epochs=0"], "compression.recovery.epochs=0 is out of range"),
])  # fmt: skip
def test_bad_input_is_one_line(overrides: list[str], message: str, cell: Callable[..., Cell]) -> None:
    with pytest.raises(UserError) as caught:
        cell(*overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cuts_without_training_between_them_know_no_schedule(cell: Callable[..., Cell]) -> None:
    bare = ["compression/pruning=gradual", "compression.pruning.ratio=0.5", "compression.pruning.between.steps=0"]
    one, other = (cell(*bare, f"scheduler={name}").steps["pruned"] for name in ("linear_warmup", "distilbert"))
    assert one.fingerprint == other.fingerprint
    assert not {"scheduler", "trainer"} & one.options.keys()
    assert {"scheduler", "trainer"} <= cell(*bare[:2]).steps["pruned"].options.keys()
