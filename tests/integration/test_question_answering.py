"""Questions from training to the record, as a user runs them: a tiny BERT on generated contexts."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

TASK = ["task=spans", "task.generator.train=24", "task.generator.validation=15", "task.held_out=0.2"]
LEARN = ["loader.batch_size=8", "trainer.max_epochs=12", "optimizer.lr=5e-3", "trainer.val_check_interval=1.0",
         "trainer.log_every_n_steps=1", "~callbacks.early_stopping"]


@pytest.fixture(scope="module")
def encoder(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], spans_tokenizer: Path
) -> Path:
    """A folder with a tiny BERT without a head, whose tokenizer knows the words of the generated contexts."""
    folder = tmp_path_factory.mktemp("encoder")
    size = len(json.loads(spans_tokenizer.read_text())["model"]["vocab"])
    tiny_model("bert", vocab_size=size, initializer_range=0.1).bert.save_pretrained(folder)
    shutil.copyfile(spans_tokenizer, folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run: Any, encoder: Path) -> Any:
    """``store`` with the trained model, its run ``train`` and the overrides ``model``."""
    root = tmp_path_factory.mktemp("questions")
    model = ["model=folder", f"model.location={encoder}", *TASK, *LEARN]
    done = run("train.py", *model, cwd=root, store=root / "store").ok()
    return SimpleNamespace(store=root / "store", train=done, model=model)


def losses(folder: Path) -> list[float]:
    with open(next(folder.glob("logs/run_0/metrics.csv")), newline="") as stream:
        return [float(r["train/loss"]) for r in csv.DictReader(stream) if r.get("train/loss")]


def test_it_learns_and_the_folder_loads_in_transformers(trained: Any) -> None:
    from transformers import AutoModelForQuestionAnswering

    facts, folder = trained.train.summary["facts"], Path(trained.train.summary["folder"])
    assert (facts["train_questions"], facts["held_out_questions"], facts["validation"]["n"]) == (18, 6, 15)
    assert facts["train_windows"] > facts["train_questions"]
    assert facts["train_windows_without_answer"] > 0
    assert set(facts["validation"]) >= {"f1", "exact_match", "exact_match_ci95_low", "f1_ci95_high"}
    assert facts["held_out_score"] is not None
    assert losses(folder)[-1] < 0.6 * losses(folder)[0]
    AutoModelForQuestionAnswering.from_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForQuestionAnswering"]


def test_record_scores_the_file_that_ships(trained: Any, run: Any, rapid: list[str], tmp_path: Path) -> None:
    shutil.copytree(trained.store, tmp_path / "store")
    command = ["bench.py", "-m", *trained.model, *rapid, "compression=none,int8", "measurement.lengths=[16]"]
    ran = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    assert ran.computed.count("train") == 0
    records = [json.loads(p.read_text()) for p in tmp_path.glob("store/artifacts/bench/*/record.json")]
    by_method = {r["compression"]["quantization"]["method"]: r for r in records}
    dense, int8 = by_method["none"], by_method["int8_dynamic"]
    # through ONNX Runtime, window by window, what PyTorch answered in batches
    expected = trained.train.summary["facts"]["validation"]
    assert {k: dense["quality"][k] for k in expected} == expected
    assert dense["quality"]["against_parent"] | {"mcnemar_p": 1} == {
        "exact_match_points": 0, "gained": 0, "lost": 0, "mcnemar_p": 1, "f1_points": 0, "f1_points_ci95_low": 0,
        "f1_points_ci95_high": 0, "flips": 0,
    }
    assert dense["model"]["parity"]["max_abs_difference"] <= 1e-4
    assert int8["quality"]["n"] == 15
    # windows are what is timed: no longer than task.max_length
    assert dense["token_lengths"]["max"] == 48
    assert set(dense["latency"]) == {"real", "tokens_16"}
    assert "EM / F1 % [95 % of F1]" in ran.out
    with open(ran.summary["results"], newline="") as stream:
        flat = {r["quantization"]: r for r in csv.DictReader(stream)}
    assert float(flat["none"]["exact_match"]) == expected["exact_match"]
    assert float(flat["int8_dynamic"]["parent_f1_points"]) == int8["quality"]["against_parent"]["f1_points"]
    answers = json.loads(next(tmp_path.glob("store/artifacts/predict/*/answers.json")).read_text())
    assert sorted(answers) == sorted(f"validation-{i}" for i in range(15))


RELOAD = """
import json
import sys
from pathlib import Path

import numpy as np
from edgedistil.models.folder import count_parameters
from edgedistil.models.reference import read_reference
from edgedistil.models.shrunken import load_model, structure_of
from edgedistil.models.spans import span_logits
from transformers import AutoTokenizer

found = []
for folder in map(Path, sys.argv[1:]):
    model, (ids, types, expected) = load_model(folder), read_reference(folder)
    again = span_logits(model, ids, types, batch_size=1)
    found.append({
        "equal": all(bool((a == b).all()) for a, b in zip(again, expected, strict=True)),
        "spread": float(min(np.ptp(x, axis=1).min() for x in expected)),
        "layers": structure_of(model)["layers"],
        "parameters": count_parameters(model),
        "pieces": len(AutoTokenizer.from_pretrained(folder)),
    })
print(json.dumps({"found": found}))
"""


@pytest.mark.long
def test_a_cut_recovered_trimmed_and_quantised_cell_answers_questions(
    trained: Any, run: Any, rapid: list[str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(trained.store, store)
    chain = ["compression=structured_50", "compression.recovery.steps=6", "compression.recovery.batch_size=8",
             "compression/vocabulary=trimmed", "compression.vocabulary.min_count=2"]
    # FP32 first: of the cut, recovered and trimmed model the ONNX file answers as PyTorch does
    compressed = run("compress.py", *trained.model, *chain, cwd=tmp_path, store=store).ok()
    assert compressed.computed == ["prune", "recover", "trim", "export"]
    assert compressed.summary["facts"]["parity"]["max_abs_difference"] <= 1e-4
    quantised = [*chain, "compression/quantization=int8_dynamic", "measurement.lengths=[16]"]
    ran = run("bench.py", *trained.model, *rapid, *quantised, cwd=tmp_path, store=store).ok()
    record = json.loads((Path(ran.summary["folder"]) / "record.json").read_text())
    assert record["quality"]["n"] == 15
    assert set(record["quality"]) >= {"f1", "exact_match", "against_parent"}

    folders = {step: next(store.glob(f"artifacts/{step}/*")) for step in ("train", "prune", "recover", "trim")}
    facts = {step: json.loads((path / "artifact.json").read_text())["facts"] for step, path in folders.items()}
    found = run("-c", RELOAD, *map(str, folders.values()), cwd=tmp_path / "reload", store=store).ok().summary["found"]
    dense, cut, recovered, trimmed = found
    assert all(one["equal"] and one["spread"] > 0 for one in found)
    assert dense["layers"] == [{"heads": 4, "ffn": 64}] * 2
    assert cut["layers"] == recovered["layers"] == trimmed["layers"] != dense["layers"]
    assert abs(facts["prune"]["removed_share"] - 0.5) < 0.15
    # fewer than the 1024 asked for: what there was, and said so
    assert 18 <= facts["prune"]["calibration_sentences"] <= 60
    assert facts["recover"]["steps"] == 6
    assert facts["trim"]["held_out"]["answers_found_share"] == 1.0
    assert trimmed["pieces"] == facts["trim"]["word_pieces"] < dense["pieces"]
    lost = (dense["pieces"] - trimmed["pieces"]) * 32
    assert recovered["parameters"] - trimmed["parameters"] == lost


@pytest.mark.long
def test_a_student_learns_from_the_trained_model(trained: Any, run: Any, encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(trained.store, tmp_path / "store")
    student = ["objective=task_distillation", "model.layers=[1]", "model@teacher=folder"]
    command = ["train.py", *trained.model, *student]
    ran = run(*command, f"teacher.location={encoder}", cwd=tmp_path, store=tmp_path / "store").ok()
    # the teacher is the fine-tuning that the store holds already
    assert ran.computed == ["teacher_logits", "train"]
    facts = ran.summary["facts"]
    assert facts["teacher"]["validation"] == trained.train.summary["facts"]["validation"]
    if facts["teacher"]["validation"]["f1"]:
        ratio = facts["validation"]["f1"] / facts["teacher"]["validation"]["f1"]
        assert abs(facts["teacher"]["retention"] - ratio) < 1e-4
    header = next(Path(ran.summary["folder"]).glob("logs/run_0/metrics.csv")).read_text().splitlines()[0].split(",")
    assert {"train/soft_target_loss", "train/hard_label_loss", "train/loss", "held_out/f1"} <= set(header)

    # a folder that answers questions already teaches as it is, and then runs along for its hidden states
    ready = [f"teacher.location={trained.train.summary['folder']}", "objective.hidden_weight=1.0"]
    ran = run(*command, *ready, "trainer.max_epochs=1", cwd=tmp_path, store=tmp_path / "store").ok()
    assert ran.computed == ["adopt", "train"]


@pytest.mark.long
def test_a_random_twin_is_measured_for_speed(trained: Any, run: Any, rapid: list[str], tmp_path: Path) -> None:
    command = ["bench.py", *trained.model, *rapid, "model.weights=random", "measurement.lengths=[16]"]
    ran = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    assert ran.computed == ["twin", "export", "bench"]


@pytest.mark.parametrize(("script", "wrong", "words"), [
    ("compress.py", "compression/quantization=int8_static", "quantization.method=int8_static is made for classifiers"),
    ("bench.py", "device=cpu_peers", "is made for classifiers; for question answering: onnxruntime_fp32, torch_fp32"),
    ("train.py", "task.metrics=[accuracy]", "a question answering task knows f1, exact_match"),
    ("train.py", "task.stride=40", "lower task.stride or task.max_question_length"),
    ("train.py", "objective=masked_language_modelling", "use objective=fine_tuning or objective=task_distillation"),
])
def test_what_can_not_be_is_one_line(
    trained: Any, run: Any, tmp_path: Path, script: str, wrong: str, words: str
) -> None:
    ran = run(script, *trained.model, wrong, cwd=tmp_path / "cwd", store=tmp_path / "store")
    lines = [line for line in ran.err.splitlines() if line.startswith("error:")]
    assert (ran.code, len(lines)) == (2, 1), ran.err
    assert words in lines[0]
