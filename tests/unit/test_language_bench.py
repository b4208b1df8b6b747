"""Masked language models made small: what their evaluation graph scores is what PyTorch's validation scores."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import save_file

from edgedistil.compression import objective
from edgedistil.compression.importance import FisherImportance, mask_gradients
from edgedistil.compression.shrink import shrink
from edgedistil.config.language_model import check_language_model
from edgedistil.errors import UserError
from edgedistil.learning.masking import DynamicMasking
from edgedistil.learning.pretraining_distillation import PretrainingDistillation
from edgedistil.learning.schedules import linear_warmup
from edgedistil.models.folder import save_model
from edgedistil.models.shrunken import load_model, structure_of
from edgedistil.stages.language_evaluation import evaluate_language
from edgedistil.stages.language_export import export_language
from edgedistil.stages.language_quality import language_quality, lines_and_ids
from edgedistil.stages.masked_texts import calibration_batches, held_out_texts, vocabulary_of
from edgedistil.tasks.corpus import Corpus, Rules
from edgedistil.tasks.corpus_build import build
from edgedistil.tasks.corpus_data import CorpusDataModule
from edgedistil.tasks.python_docs import paragraphs

LINES = [
    "the film is very good and the cast is fresh", "a dull story , never funny and the plot is weak",
    "this movie was not bad but it was long and slow", "the worst drama with an awful script and a weak ending",
    "a warm comedy with heart and a clever story", "dark night , cold day and slow music in the second scene",
] * 4
MASKING = {"_target_": "edgedistil.learning.masking.DynamicMasking", "_partial_": True, "probability": 0.3}
INT8 = {"method": "int8_dynamic", "embeddings": True, "weights": "s8_7bit", "max_rms": 0.5, "min_agreement": 0.5}
FOLDER = {"origin": "folder", "sha256": "-", "convert_to": None}


@pytest.fixture
def corpora(tmp_path: Path, tokenizer_file: Path) -> dict[str, str]:
    rules = Rules(max_length=32, drop_up_to=3, drop_unknown=0.5)
    for name, lines in (("train", LINES), ("held_out", LINES[:18])):
        build(lines, tokenizer_file, rules, tmp_path / f"{name}_work", tmp_path / name)
    return {name: str(tmp_path / name) for name in ("train", "held_out")}


@pytest.fixture
def language_folder(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> Callable[..., Path]:
    def make(kind: str = "distilbert", seed: int = 0, name: str = "language") -> Path:
        from transformers import AutoModelForMaskedLM

        torch.manual_seed(seed)
        return tiny_folder(AutoModelForMaskedLM.from_config(tiny_model(kind, seed).config).eval(), name)

    return make


@pytest.fixture
def run(tmp_path: Path, corpora: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """``run(step, name, options, **inputs)``: the step's facts; its folder is ``tmp_path / name``."""

    def call(step: Any, name: str, options: dict[str, Any], **inputs: Any) -> dict[str, Any]:
        (tmp_path / name).mkdir()
        request = {"options": options, "inputs": {**corpora, **{k: str(v) for k, v in inputs.items()}},
                   "output": str(tmp_path / name), "label": name, "runtime": {"progress": False}}
        facts: dict[str, Any] = step(request)
        (tmp_path / name / "artifact.json").write_text(json.dumps({"facts": facts}))
        return facts

    return call


def options(quantization: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"quantization": quantization or {"method": "none"}, "graph": {"padding": True}}


def evaluation(quantization: dict[str, Any] | None = None) -> dict[str, Any]:
    return {**options(quantization), "masking": MASKING, "temperature": 2.0, "teacher": FOLDER}


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_the_losses_are_those_of_pytorchs_validation(
    run: Any, language_folder: Any, corpora: dict[str, str], tmp_path: Path, kind: str
) -> None:
    import lightning

    student, teacher = language_folder(kind, 1, "student"), language_folder(kind, 2, "teacher")
    run(export_language, "exported", options(), model=student)
    facts = run(evaluate_language, "evaluated", evaluation(), model=student, exported=tmp_path / "exported",
                teacher=teacher)
    train, held_out = (Corpus(Path(corpora[name])) for name in ("train", "held_out"))
    network = load_model(student)
    module = PretrainingDistillation(
        network, load_model(teacher), partial(torch.optim.SGD, lr=0.1), partial(linear_warmup, warmup_fraction=0.0),
        partial(DynamicMasking, probability=0.3), vocabulary_of(student, train, network.config.vocab_size), seed=7)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    found = trainer.validate(module, CorpusDataModule(train, held_out, 0, 4, True, 7), verbose=False)[0]
    for name in ("mlm_loss", "soft_target_loss", "cosine_loss", "teacher_mlm_loss"):
        assert facts["losses"][name] == pytest.approx(found[f"held_out/{name}"], rel=1e-4), name
    assert facts["texts"] == 18
    assert facts["parity_with_shipped"]["max_abs_difference"] < 1e-5


def test_the_evaluation_graph_is_quantised_as_what_ships(run: Any, language_folder: Any, tmp_path: Path) -> None:
    student = language_folder()
    run(export_language, "plain", options(), model=student)
    run(export_language, "small", options(INT8), model=student)
    plain = run(evaluate_language, "of_plain", evaluation(), model=student, exported=tmp_path / "plain",
                teacher=student)
    small = run(evaluate_language, "of_small", evaluation(INT8), model=student, exported=tmp_path / "small",
                teacher=student)
    assert plain["losses"]["soft_target_loss"] == pytest.approx(0, abs=1e-6)
    assert plain["losses"]["cosine_loss"] == pytest.approx(0, abs=1e-6)
    assert small["losses"]["soft_target_loss"] > 1e-5
    assert small["parity_with_shipped"]["rms_ratio"] <= 1e-3
    # Neither file of what ships knows of the hidden state, and the losses are no part of its folder.
    for name in ("plain", "small"):
        shipped = onnx.load(tmp_path / name / "model.onnx", load_external_data=False)
        assert [o.name for o in shipped.graph.output] == ["logits"]
        assert sorted(p.name for p in (tmp_path / name).glob("model.onnx*")) == ["model.onnx", "model.onnx.data"]
    large, less = ((tmp_path / name / "model.onnx.data").stat().st_size for name in ("plain", "small"))
    assert less < large


def test_another_file_than_the_one_that_ships_is_refused(run: Any, language_folder: Any, tmp_path: Path) -> None:
    run(export_language, "exported", options(), model=language_folder("distilbert", 1, "one"))
    with pytest.raises(RuntimeError, match="does not answer as what ships"):
        run(evaluate_language, "evaluated", evaluation(), model=language_folder("distilbert", 2, "two"),
            exported=tmp_path / "exported", teacher=tmp_path / "one")


def test_masks_are_the_same_for_every_model(corpora: dict[str, str], language_folder: Any) -> None:
    train, held_out = (Corpus(Path(corpora[name])) for name in ("train", "held_out"))
    folder = language_folder()
    known = vocabulary_of(folder, train, load_model(folder).config.vocab_size)
    first, second = (list(held_out_texts(held_out, DynamicMasking(known, 0.3))) for _ in range(2))
    assert all(torch.equal(a.shown, b.shown) and torch.equal(a.target, b.target)
               for a, b in zip(first, second, strict=True))
    assert any(bool(text.target.any()) for text in first)
    assert all(bool((text.true == text.shown)[~text.target].all()) for text in first)


def hidden_tokens(folder: Path, corpora: dict[str, str], count: int = 12) -> list[Any]:
    train = Corpus(Path(corpora["train"]))
    known = vocabulary_of(folder, train, load_model(folder).config.vocab_size)
    return calibration_batches(train, DynamicMasking(known, 0.3), 0, count, seed=3)


def test_a_language_model_is_really_cut_and_comes_back(
    language_folder: Any, corpora: dict[str, str], tmp_path: Path
) -> None:
    folder = language_folder()
    network, dense = load_model(folder), load_model(folder)
    pruning = {"ratio": 0.4, "rounds": 1, "ffn_multiple": 8, "labels": False, "reconstruction": "least_squares",
               "ridge": 1e-3}
    facts = shrink(network, dense, hidden_tokens(folder, corpora), pruning, FisherImportance())
    assert facts["removed_share"] == pytest.approx(0.4, abs=0.12)
    save_model(network, tmp_path / "cut", {"title": "cut", "lines": []})
    again = load_model(tmp_path / "cut")
    assert structure_of(again) == structure_of(network) != structure_of(dense)
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        assert torch.allclose(again(ids).logits, network(ids).logits)


def test_random_signs_give_the_fisher_information_in_expectation(language_folder: Any) -> None:
    network = load_model(language_folder())
    ids = torch.tensor([[2, 7, 4, 9, 4, 3]])
    labels = torch.tensor([[-100, -100, 11, -100, 12, -100]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "masked_labels": labels}

    def every_entry(model: Any, some: Any) -> list[torch.Tensor]:
        (logits,) = objective.answers(model, some)
        p = logits.detach().softmax(-1)
        return list((p.sqrt() * (logits - (p * logits).sum(-1, keepdim=True))).flatten()[:, None])

    exact = sum(found[0] ** 2 for found in mask_gradients(network, [batch], every_entry))
    torch.manual_seed(0)
    rounds = 300
    drawn = sum(found[0] ** 2 / rounds
                for _ in range(rounds) for found in mask_gradients(network, [batch], objective.curvature))
    assert torch.allclose(drawn, exact, rtol=0.3)


def test_a_records_quality_holds_the_losses_and_the_difference_by_text(tmp_path: Path) -> None:
    targets = np.array([2.0, 3.0, 5.0])
    for name, losses in (("own", [4.0, 6.0, 5.0]), ("parent", [3.0, 6.0, 5.0])):
        (tmp_path / name).mkdir()
        save_file({"targets": targets, "mlm_loss": np.array(losses)}, tmp_path / name / "losses.safetensors")
        facts = {"losses": {"mlm_loss": sum(losses) / 10}, "texts": 3, "targets": 10, "parity_with_shipped": {}}
        (tmp_path / name / "artifact.json").write_text(json.dumps({"facts": facts}))
    request = {"inputs": {"evaluated": str(tmp_path / "own"), "parent_evaluated": str(tmp_path / "parent")},
               "options": {"task": {"limit_validation": None}}}
    found = language_quality(request, "predictions")
    assert found is not None
    assert (found["mlm_loss"], found["n"], found["sample"]) == (1.5, 3, False)
    against = found["against_parent"]
    assert against["mlm_loss_difference"] == pytest.approx(0.1)
    assert against["mlm_loss_difference_ci95_low"] == 0 < against["mlm_loss_difference_ci95_high"] <= 0.5
    parent = language_quality(request, "parent_predictions")
    assert parent is not None
    assert parent["mlm_loss"] == 1.4
    assert "against_parent" not in parent


def test_times_are_taken_on_lines_that_are_long_enough(
    tmp_path: Path, language_folder: Any, tokenizer_file: Path
) -> None:
    text = tmp_path / "lines.txt"
    text.write_text("= heading =\n\nthe film is very <unk> good\nshort\nthe worst drama with a weak ending\n")
    task = {"text_columns": None, "max_length": 16, "unknown_marker": "<unk>", "limit_validation": None,
            "drop_up_to": 5}
    request = {"options": {"task": task, "data": {}}, "runtime": {"files": {"000000": str(text)}}}
    texts, ids = lines_and_ids(request, language_folder())
    assert texts == [("the film is very [UNK] good",), ("the worst drama with a weak ending",)]
    assert [len(i) for i in ids] == [10, 9]
    assert 1 in ids[0]


def config(**compression: Any) -> dict[str, Any]:
    none = {"method": "none"}
    quantization = {"method": "none", "smooth": None, "max_drop": None, "sensitivity": False, "exclude": []}
    pruning = {"budget": "ratio", "steps": 1, "labels": False}
    groups = {"recovery": none, "vocabulary": none, "embeddings": none, "qat": none, "quantization": quantization,
              "pruning": pruning}
    task = {"name": "t", "kind": "masked_language_modelling", "train": None, "validation": None, "text_columns": None,
            "test_texts": 0}
    return {"task": task, "model": {"layers": None}, "student": None, "compression": groups | compression}


@pytest.mark.parametrize(("wrong", "said"), [
    ({"recovery": {"method": "distillation"}}, "compression/recovery=none"),
    ({"vocabulary": {"method": "trimmed"}}, "compression/vocabulary=none"),
    ({"quantization": {"method": "nf4", "smooth": None, "max_drop": None, "sensitivity": False}}, "int8_dynamic"),
    ({"pruning": {"budget": "ratio", "steps": 4, "labels": False}}, "cuts at once"),
    ({"pruning": {"budget": "ratio", "steps": 1, "labels": True}}, "without labels"),
])
def test_what_needs_labels_is_refused(wrong: dict[str, Any], said: str) -> None:
    check_language_model(config())
    with pytest.raises(UserError, match=said):
        check_language_model(config(**wrong))


def test_prose_of_pythons_own_is_there_and_divided_by_topic() -> None:
    train, held_out = paragraphs("train"), paragraphs("validation")
    assert len(train) > 500
    assert len(held_out) > 50
    assert not set(train) & set(held_out)
    assert all(len(text.split()) >= 12 for text in held_out)
