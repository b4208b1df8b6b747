"""Wrong values are said in one line that names the option, the value and what is allowed."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from edgedistil.config.overrides import told_overrides
from edgedistil.config.schemas import register
from edgedistil.config.validation import closest, validate
from edgedistil.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(scope="module")
def bench() -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("bench", ["compression=structured_50", "compression/quantization=int4_ort"])


def changed(cfg: DictConfig, **values: Any) -> DictConfig:
    copy = cfg.copy()
    for name, value in values.items():
        OmegaConf.update(copy, name.replace("__", "."), value, force_add=True)
    return copy


def refusal(cfg: DictConfig) -> str:
    with pytest.raises(UserError) as caught:
        validate(cfg)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(("name", "wrong", "nearest"), [
    ("model__origin", "foldr", "folder"),
    ("compression__pruning__method", "structred", "structured"),
    ("compression__recovery__method", "distilation", "distillation"),
    ("compression__quantization__method", "int8_dynamc", "int8_dynamic"),
    ("device__engine", "onnxruntim", "onnxruntime"),
    ("task__kind", "sequence_clasification", "sequence_classification"),
])
def test_wrong_choice_names_the_nearest(bench: DictConfig, name: str, wrong: str, nearest: str) -> None:
    line = refusal(changed(bench, **{name: wrong}))
    assert line.startswith(f"{name.replace('__', '.')}={wrong!r} is unknown; allowed: ")
    assert line.endswith(f"(did you mean {nearest!r}?)")


def test_wrong_entry_of_a_list_names_the_nearest(bench: DictConfig) -> None:
    line = refusal(changed(bench, task__metrics=["f1", "acuracy"]))
    assert line == ("task.metrics holds 'acuracy'; allowed: accuracy, f1, matthews_correlation, "
                    "exact_match, pearson, spearman (did you mean 'accuracy'?)")


def test_nothing_is_guessed_for_a_word_like_no_other() -> None:
    assert closest("zzzz", ("hub", "folder")) == ""
    assert closest("foldr", ("hub", "folder")) == " (did you mean 'folder'?)"


@pytest.mark.parametrize(("name", "inside", "outside"), [
    ("compression__pruning__ratio", [0.0, 0.999], [-0.01, 1.0]),
    ("compression__pruning__calibration_sentences", [16], [15]),
    ("compression__pruning__ffn_multiple", [1], [0]),
    ("compression__recovery__steps", [0], [-1]),
    ("compression__recovery__warmup_fraction", [0.0, 1.0], [-0.1, 1.01]),
    ("compression__quantization__block_size", [16, 256], [15, 257]),
    ("compression__quantization__accuracy_level", [0, 4], [-1, 5]),
    ("task__max_length", [4, 8192], [3, 8193]),
    ("task__held_out", [0.0, 0.5], [-0.1, 0.51]),
    ("task__limit_train", [2, None], [1]),
    ("loader__batch_size", [1], [0]),
    ("device__threads", [1, 1024], [0, 1025]),
    ("measurement__rounds", [2], [1]),
    ("measurement__burst", [1], [0]),
    ("measurement__cold_starts", [1], [0]),
    ("measurement__generations", [1], [0]),
    ("measurement__seconds", [0], [-1]),
    ("measurement__warmup_limit", [2, 1000], [1, 1001]),
    ("measurement__repeat", [0], [-1]),
    ("store__threads", [1, None], [0]),
])
def test_ranges_hold_at_their_edges(bench: DictConfig, name: str, inside: list[Any], outside: list[Any]) -> None:
    dotted = name.replace("__", ".")
    for value in inside:
        assert OmegaConf.select(OmegaConf.create(validate(changed(bench, **{name: value}))), dotted) == value
    for value in outside:
        assert refusal(changed(bench, **{name: value})).startswith(f"{dotted}={value:g} is out of range")


def test_out_of_range_says_both_ends(bench: DictConfig) -> None:
    line = refusal(changed(bench, compression__pruning__ratio=1.0))
    assert line == "compression.pruning.ratio=1 is out of range: it must be at least 0 and below 1"
    line = refusal(changed(bench, task__max_length=9000))
    assert line == "task.max_length=9000 is out of range: it must be at least 4 and at most 8192"


def test_nan_is_out_of_range(bench: DictConfig) -> None:
    assert "out of range" in refusal(changed(bench, compression__pruning__ratio=float("nan")))


def test_missing_value_is_named_with_an_example(bench: DictConfig) -> None:
    assert refusal(changed(bench, model__location="???")) == \
        "model.location has no value and needs one. Example: model.location=..."


def test_wrong_type_is_one_line_that_names_the_option(bench: DictConfig) -> None:
    cfg = OmegaConf.create(OmegaConf.to_container(bench))
    cfg.device.threads = "many"
    line = refusal(cfg)
    assert line.startswith("device.threads: ")
    assert "many" in line


def test_test_texts_that_every_seed_would_draw_anew_are_refused(bench: DictConfig) -> None:
    message = r"task\.limit_train=200 draws other texts for each seed, so task\.test_texts=40"
    with pytest.raises(UserError, match=message):
        validate(changed(bench, task__test_texts=40, task__limit_train=200))


def test_unknown_key_is_told_what_is_allowed(bench: DictConfig) -> None:
    cfg = OmegaConf.create(OmegaConf.to_container(bench))
    cfg.loader = {"batch_sise": 8}
    line = refusal(cfg)
    assert line.startswith("loader.batch_sise: ")
    assert "batch_size" in line


def test_interpolations_are_resolved(bench: DictConfig) -> None:
    plain = validate(changed(bench, measurement__burst="${device.threads}", device__threads=3))
    assert plain["measurement"]["burst"] == 3


def test_overrides_are_told_with_what_they_give_or_as_typed() -> None:
    cfg = OmegaConf.create({"seed": 3, "task": ["trainer.max_epochs=${seed}", "seed=3"]})
    assert told_overrides(cfg.task) == ["trainer.max_epochs=3", "seed=3"]
    cfg.task = ["seed=${sede}"]
    assert told_overrides(cfg.task) == ["seed=${sede}"]


def test_broken_interpolation_is_one_line(bench: DictConfig) -> None:
    assert "nowhere" in refusal(changed(bench, trainer__max_epochs="${nowhere.at_all}"))


@pytest.mark.parametrize("seed", ["42", None, 1.5, True])
def test_seed_must_be_an_integer(bench: DictConfig, seed: Any) -> None:
    assert refusal(changed(bench, seed=seed)) == f"seed={seed!r} is no integer. Example: seed=42"


def test_a_sentence_has_at_least_three_tokens(bench: DictConfig) -> None:
    assert validate(changed(bench, measurement__lengths=[3]))["measurement"]["lengths"] == [3]
    assert "measurement.lengths holds 2" in refusal(changed(bench, measurement__lengths=[16, 2]))


def test_structured_pruning_needs_an_importance(bench: DictConfig) -> None:
    assert "compression.pruning.importance is empty" in refusal(changed(bench, compression__pruning__importance=None))


def test_own_files_need_validation_beside_train(bench: DictConfig) -> None:
    files = {"task__name": "files", "task__generator": None}
    assert "needs task.validation=FILE" in refusal(changed(bench, **files))
    assert "task.validation is not" in refusal(changed(bench, task__train="a.csv"))
    assert validate(changed(bench, **files, task__validation="b.csv"))["task"]["validation"] == "b.csv"


def test_block_size_that_export_would_refuse_is_refused_before_anything_runs(bench: DictConfig) -> None:
    assert "block_size=48" in refusal(changed(bench, compression__quantization__block_size=48))
