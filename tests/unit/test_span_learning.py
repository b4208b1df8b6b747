"""Learning spans: losses by hand, padding, the teacher, model choice, and folders that come back as they were."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, BertForQuestionAnswering

from edgedistil.errors import UserError
from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.named_precision import precision_of
from edgedistil.export.parity import parity, verdict
from edgedistil.export.reading import read_model
from edgedistil.learning.losses import soft_target_loss, span_loss, span_soft_target_loss
from edgedistil.learning.question_answering import SpanDistillation, SpanFineTuning
from edgedistil.learning.schedules import linear_warmup
from edgedistil.models.conversion import distilbert_from_bert
from edgedistil.models.loading import load_for_training
from edgedistil.models.reference import equal_share, read_reference, write_reference
from edgedistil.models.shrunken import load_classifier, load_model, load_span_model
from edgedistil.models.spans import span_logits
from edgedistil.stages.answering import scorer
from edgedistil.stages.teaching import kept_share
from edgedistil.tasks.questions import Questions
from edgedistil.tasks.span_data import SpanDataModule, collate_windows
from edgedistil.tasks.windows import Window
from edgedistil.workers.onnx import OnnxEngine
from edgedistil.workers.torch import TorchEngine

KINDS = ("distilbert", "bert")


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.fixture
def parts(sentence_ids: list[list[int]]) -> list[Window]:
    """Each sentence as a window whose context begins at its third token; token 3 to 4 is the answer."""
    made = []
    for index, ids in enumerate(ids for ids in sentence_ids if len(ids) > 5):
        places = np.array([(0, 0), (0, 0), *((2 * i, 2 * i + 1) for i in range(len(ids) - 3)), (0, 0)], np.int32)
        types = np.array([0, 0] + [1] * (len(ids) - 2), np.int8)
        made.append(Window(index, np.array(ids, np.int32), types, places, (2, len(ids) - 1), 3, 4))
    return made


def rows(parts: list[Window]) -> list[Any]:
    return [(i, part, None) for i, part in enumerate(parts)]


def step(module: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
    logged: dict[str, float] = {}
    module.log = lambda name, value, **options: logged.update({name: float(value)})
    return module.training_step(batch, 0), logged


def test_span_loss_by_hand() -> None:
    # the third token is padding: its great scores count for nothing
    logits = torch.tensor([[[0.0, math.log(3), 50.0], [0.0, 0.0, 50.0]]])
    loss = span_loss(logits, torch.tensor([[1, 0]]), torch.tensor([[1, 1, 0]]))
    assert float(loss) == pytest.approx((-math.log(0.75) - math.log(0.5)) / 2)


def test_span_soft_target_loss_by_hand() -> None:
    # at T = 2 the teacher's start is 3/4 to 1/4, the student knows nothing, their ends are equal
    teacher = torch.tensor([[[2 * math.log(3), 0.0, 9.0], [1.0, 1.0, -9.0]]])
    student = torch.zeros(1, 2, 3, requires_grad=True)
    loss = span_soft_target_loss(student, teacher, torch.tensor([[1, 1, 0]]), 2.0)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert loss.item() == pytest.approx(4 * divergence / 2)
    loss.backward()
    assert student.grad is not None
    # T / 2 (two distributions) times the difference of the probabilities; none at padding
    assert student.grad[0].tolist() == [pytest.approx([-0.25, 0.25, 0.0]), pytest.approx([0.0, 0.0, 0.0])]


def test_both_losses_are_means_over_the_batch() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    mask, spans = torch.ones(3, 5, dtype=torch.long), torch.tensor([[0, 1], [2, 2], [1, 4]])
    each = [span_soft_target_loss(student[i : i + 1], teacher[i : i + 1], mask[:1], 2.0) for i in range(3)]
    assert float(span_soft_target_loss(student, teacher, mask, 2.0)) == pytest.approx(float(sum(each)) / 3)
    # as the original has it: the mean of the start's and the end's divergence
    sides = [float(soft_target_loss(student[:, i], teacher[:, i], 2.0)) for i in range(2)]
    assert float(span_soft_target_loss(student, teacher, mask, 2.0)) == pytest.approx(sum(sides) / 2)
    start, end = (torch.nn.functional.cross_entropy(student[:, i], spans[:, i]) for i in range(2))
    assert float(span_loss(student, spans, mask)) == pytest.approx(float(start + end) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_fine_tuning_is_transformers_loss_where_nothing_is_padded(
    kind: str, span_model: Callable[..., Any], parts: list[Window]
) -> None:
    model = span_model(kind)
    module = SpanFineTuning(model, sgd, linear_warmup, ["f1"], lambda found: {})
    batch = collate_windows(rows([p for p in parts if len(p) == len(parts[0])]), 0)
    loss, logged = step(module, batch)
    start, end = batch["spans"].T
    theirs = model(**module.inputs(batch), start_positions=start, end_positions=end).loss
    assert float(loss) == logged["train/loss"] == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_distillation_is_half_soft_and_half_hard(
    kind: str, span_model: Callable[..., Any], parts: list[Window]
) -> None:
    student, teacher = span_model(kind, seed=1), span_model(kind, seed=2)
    module = SpanDistillation(student, sgd, linear_warmup, ["f1"], lambda found: {}, teacher)
    batch = collate_windows(rows(parts), 0)
    loss, logged = step(module, batch)
    inputs, mask = module.inputs(batch), batch["attention_mask"]
    ours, theirs = (torch.stack([a.start_logits, a.end_logits], 1) for a in (student(**inputs), teacher(**inputs)))
    soft, hard = float(span_soft_target_loss(ours, theirs, mask, 2.0)), float(span_loss(ours, batch["spans"], mask))
    assert logged["train/soft_target_loss"] == pytest.approx(soft, rel=1e-5)
    assert logged["train/hard_label_loss"] == pytest.approx(hard, rel=1e-5)
    assert float(loss) == pytest.approx(0.5 * soft + 0.5 * hard, rel=1e-5)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert student.qa_outputs.weight.grad.abs().sum() > 0


def test_cached_logits_teach_as_the_teacher_does(span_model: Callable[..., Any], parts: list[Window]) -> None:
    student, teacher = span_model("bert", seed=1), span_model("bert", seed=2)
    logits = span_logits(teacher, [p.ids for p in parts], [p.types for p in parts], batch_size=3)
    cached = SpanDistillation(student, sgd, linear_warmup, ["f1"], lambda found: {})
    beside = SpanDistillation(student, sgd, linear_warmup, ["f1"], lambda found: {}, teacher)
    taught = collate_windows([(i, part, z) for i, (part, z) in enumerate(zip(parts, logits, strict=True))], 0)
    assert taught["teacher_logits"].shape == (len(parts), 2, taught["input_ids"].shape[1])
    plain, stored = step(beside, collate_windows(rows(parts), 0))[0], step(cached, taught)[0]
    assert float(stored) == pytest.approx(float(plain), rel=1e-5)


def test_padding_changes_no_term(span_model: Callable[..., Any], parts: list[Window]) -> None:
    weights = {"hidden_weight": 1.0, "attention_weight": 1.0}
    module = SpanDistillation(span_model("bert", seed=1), sgd, linear_warmup, ["f1"], lambda found: {},
                              span_model("bert", seed=2), **weights)
    batch = collate_windows(rows(parts[:3]), 0)
    wide = {k: torch.nn.functional.pad(v, (0, 9)) if k not in ("spans", "window") else v for k, v in batch.items()}
    plain, padded = module.terms(batch), module.terms(wide)
    assert set(plain) == {"soft_target", "hard_label", "hidden_state", "attention"}
    for name, value in plain.items():
        assert float(padded[name]) == pytest.approx(float(value), rel=1e-4), name


def test_no_weight_left_is_the_users_error(span_model: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="every weight of the objective is 0"):
        SpanDistillation(span_model("bert"), sgd, linear_warmup, ["f1"], lambda found: {}, soft_weight=0, hard_weight=0)


def test_held_out_windows_are_scored_by_question(span_model: Callable[..., Any], parts: list[Window]) -> None:
    contexts = ["abcdefghijklmnopqrstuvwxyz" * 2] * len(parts)
    model = span_model("bert")
    logits = span_logits(model, [p.ids for p in parts], [p.types for p in parts], batch_size=1)
    questions = Questions(list(map(str, range(len(parts)))), contexts, ["?"] * len(parts), [["-"]] * len(parts), [0])
    task = {"n_best": 20, "max_answer_length": 30}
    # every second question expects what the model answers
    from edgedistil.tasks.span_answers import answers

    said = [a.text for a in answers(questions, parts, logits, task)]
    for i in range(0, len(parts), 2):
        questions.answers[i] = [said[i]]
    score = scorer(questions, parts, task)
    module = SpanFineTuning(model, sgd, linear_warmup, ["exact_match", "f1"], score)
    logged: dict[str, float] = {}
    module.log = lambda name, value, **options: logged.update({name: float(value)})  # type: ignore[method-assign]
    loader = SpanDataModule(parts[:2], parts, 0, 2, True, seed=1).val_dataloader()
    for index, batch in enumerate(loader):
        module.validation_step(batch, index)
    module.on_validation_epoch_end()
    share = -(-len(parts) // 2) / len(parts)
    assert logged["held_out/score"] == logged["held_out/exact_match"] == pytest.approx(share)
    # a part of the windows: the questions that they belong to
    assert score({0: logits[0], 1: logits[1]})["exact_match"] == 0.5


def test_batches_bring_every_window_once_an_epoch(parts: list[Window]) -> None:
    data = SpanDataModule(parts, parts, 0, 3, True, seed=1)
    seen = [int(i) for batch in data.train_dataloader() for i in batch["window"]]
    assert sorted(seen) == list(range(len(parts)))
    batch = next(iter(data.train_dataloader()))
    part = parts[int(batch["window"][0])]
    assert batch["input_ids"][0, : len(part)].tolist() == part.ids.tolist()
    assert batch["token_type_ids"][0, : len(part)].tolist() == part.types.tolist()
    assert int(batch["attention_mask"][0].sum()) == len(part)
    assert batch["spans"][0].tolist() == [3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_comes_back_in_transformers_and_here(
    kind: str, span_model: Callable[..., Any], tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]
) -> None:
    model = span_model(kind)
    folder = tiny_folder(model)
    types = [[0] * len(row) for row in sentence_ids]
    expected = span_logits(model, sentence_ids, types, batch_size=1)
    for again in (AutoModelForQuestionAnswering.from_pretrained(folder), load_model(folder), load_span_model(folder)):
        for own, other in zip(span_logits(again.eval(), sentence_ids, types), expected, strict=True):
            np.testing.assert_allclose(own, other, atol=1e-4)
    with pytest.raises(UserError, match=r"weights do not fit the model: missing .*classifier"):
        load_classifier(folder)


def test_a_new_head_keeps_the_encoder(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> None:
    classifier = tiny_model("bert")
    network = load_for_training(str(tiny_folder(classifier)), {"origin": "folder", "convert_to": None}, None)
    assert type(network) is BertForQuestionAnswering
    ours, theirs = network.bert.state_dict(), classifier.bert.state_dict()
    assert set(theirs) - set(ours) == {"pooler.dense.weight", "pooler.dense.bias"}
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert network.qa_outputs.weight.shape == (2, 32)
    converted = distilbert_from_bert(classifier.bert, None).eval()
    ids = torch.tensor([[2, 9, 10, 11, 3]])
    expected = classifier.bert(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    found = converted.distilbert(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_answers_as_the_model_through_gate_and_workers(
    kind: str, span_model: Callable[..., Any], tiny_folder: Callable[..., Path], parts: list[Window]
) -> None:
    model = span_model(kind)
    folder = tiny_folder(model)
    ids, types = [p.ids.tolist() for p in parts], [p.types.tolist() for p in parts]
    write_reference(model, folder, ids, types, seed=0)
    kept_ids, kept_types, expected = read_reference(folder)
    assert (kept_ids, kept_types) == (ids, types)
    assert [x.shape for x in expected] == [(2, len(row)) for row in ids]
    precision = precision_of({"method": "none"}, None)
    save(write_graph(read_model(folder), precision, token_types=True), folder / "model.onnx")
    figures = parity(folder / "model.onnx", folder)
    assert figures["max_abs_difference"] < 1e-4
    assert (figures["agreement"], figures["n"]) == (1.0, len(parts))
    assert verdict(figures, {"method": "none"}) is None
    request = {"folder": str(folder), "threads": 1, "max_length": 64, "text": ["is it good", "the film was good"]}
    for engine in (OnnxEngine(), TorchEngine()):
        engine.load(request)
        for row, kinds, want in zip(ids, types, expected, strict=True):
            np.testing.assert_allclose(engine.spans(row, kinds), want, atol=1e-4)


def test_the_gate_sees_an_end_that_moves(
    span_model: Callable[..., Any], tiny_folder: Callable[..., Path], parts: list[Window]
) -> None:
    model = span_model("distilbert")
    folder = tiny_folder(model)
    write_reference(model, folder, [p.ids.tolist() for p in parts], [p.types.tolist() for p in parts], seed=0)
    with torch.no_grad():
        model.qa_outputs.weight[1] += 0.05
    other = tiny_folder(model, "other")
    save(write_graph(read_model(other), precision_of({"method": "none"}, None)), folder / "model.onnx")
    said = verdict(parity(folder / "model.onnx", folder), {"method": "none"})
    assert said is not None
    assert "FP32 logits differ from PyTorch's by" in said


def test_starts_and_ends_are_answers_of_their_own() -> None:
    one, other = np.array([[9.0, 0, 0], [0, 9, 0]]), np.array([[9.0, 0, 0], [9, 0, 0]])
    assert equal_share([one, one], [one, other]) == 0.75
    # the best of three like scores is no answer that could be kept or lost
    unsure = np.array([[0.1, 0, 0], [0, 9, 0]])
    assert equal_share([one[:, ::-1], one], [unsure, one]) == 1.0
    assert equal_share([other], [unsure]) == 0.0
    assert equal_share([one], [np.zeros((2, 3))]) == 1.0
    # classes are few: every text counts
    assert equal_share(np.array([[1, 0], [0, 1]]), np.array([[1, 0], [1, 0]])) == 0.5


def test_what_a_student_keeps() -> None:
    mine, base = np.array([1.0, 0.5, 0.0, 1.0]), np.array([1.0, 1.0, 0.5, 0.5])
    kept = kept_share(4, lambda some: (mine[some].mean(), base[some].mean()))
    assert kept["retention"] == round(2.5 / 3, 6)
    assert kept["retention_ci95_low"] < kept["retention"] < kept["retention_ci95_high"]  # type: ignore[operator]
    assert kept_share(4, lambda some: (mine[some].mean(), 0.0))["retention"] is None
