"""Compression of models that answer by spans: which windows it may see, what it learns from, whose answers it keeps."""

import hashlib
import json
import logging
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from edgedistil.config.schemas import Pruning
from edgedistil.errors import UserError
from edgedistil.learning.answers import answers_of
from edgedistil.learning.distillation import LogitDistillation
from edgedistil.learning.losses import hidden_state_loss, span_soft_target_loss
from edgedistil.learning.schedules import linear_warmup
from edgedistil.models.reference import read_reference, write_reference
from edgedistil.models.shrunken import load_span_model
from edgedistil.models.spans import span_logits
from edgedistil.stages.compress import prune
from edgedistil.stages.held_out import held_out
from edgedistil.stages.trim import _side_by_side, trim
from edgedistil.tasks.encode import load_tokenizer
from edgedistil.tasks.material import material
from edgedistil.tasks.questions import Questions
from edgedistil.tasks.span_answers import answers, share_found
from edgedistil.tasks.span_metrics import span_scores
from edgedistil.tasks.training_part import questions_by_part
from edgedistil.tasks.windows import windows

TASK = {"name": "spans", "kind": "question_answering", "max_length": 48, "stride": 16, "max_question_length": 16,
        "max_answer_length": 8, "n_best": 20, "held_out": 0.2, "limit_train": None}


@pytest.fixture
def folder(spans_tokenizer: Path, span_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> Path:
    """A tiny BERT that answers by spans, with the tokenizer of the generated contexts."""
    content = json.loads(spans_tokenizer.read_text())
    made = tiny_folder(span_model("bert", vocab_size=len(content["model"]["vocab"])))
    (made / "tokenizer.json").write_text(json.dumps(content))
    return made


def request(folder: Path, train: int = 60, **task: Any) -> dict[str, Any]:
    generator = {"name": "spans", "train": train, "validation": 6, "seed": 1}
    return {"options": {"task": TASK | task, "data": {"generator": generator, "version": 1}, "seed": 3},
            "inputs": {"model": str(folder)}, "runtime": {"files": {}}, "label": "tiny"}


def labels_request(tmp_path: Path, texts: int, **task: Any) -> dict[str, Any]:
    rows = "".join(f"{'good' if i % 2 else 'bad'} film,{'yes' if i % 2 else 'no'}\n" for i in range(texts))
    (tmp_path / "train.csv").write_text("text,label\n" + rows)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "no", "1": "yes"}}))
    whole = {"name": "mine", "kind": "sequence_classification", "text_columns": None, "label_column": "label",
             "labels": None, "held_out": 0.0, "limit_train": None}
    return {"options": {"task": whole | task, "data": {}, "seed": 3}, "inputs": {"model": str(tmp_path)},
            "runtime": {"files": {"train": str(tmp_path / "train.csv")}}, "label": "tiny"}


def test_batches_are_windows_of_the_training_part_alone(folder: Path) -> None:
    asked, tokenizer = request(folder), load_tokenizer(folder, 48)
    batches = material(asked, tokenizer).batches(20)
    assert [len(b["input_ids"]) for b in batches] == [20]
    lengths = batches[0]["attention_mask"].sum(1).tolist()
    assert lengths == sorted(lengths)
    everything, *sides = questions_by_part(asked)
    mine, held = (everything.take(side) for side in sides)
    assert len(mine) + len(held) == 60
    assert held.contexts
    assert not set(mine.contexts) & set(held.contexts)
    every, answered = {}, 0
    for part in windows(tokenizer, mine, TASK, offsets=False):
        every[tuple(part.ids.tolist())] = (part.start, part.end)
    for batch in batches:
        for ids, mask, start, end in zip(batch["input_ids"], batch["attention_mask"], batch["start_positions"],
                                         batch["end_positions"], strict=True):
            assert every[tuple(ids[mask.bool()].tolist())] == (int(start), int(end))
            answered += int(end) > 0
        assert not any("label" in name or name == "spans" for name in batch)
    # windows that do not hold their answer are in it, as in training
    assert 0 < answered < 20
    again = material(asked, tokenizer).batches(20)
    assert all(torch.equal(a[k], b[k]) for a, b in zip(batches, again, strict=True) for k in a)


def test_the_same_windows_as_ids_and_to_train_on(folder: Path) -> None:
    asked, tokenizer = request(folder), load_tokenizer(folder, 48)
    ids = material(asked, tokenizer).ids(20)
    batches = material(asked, tokenizer).batches(20)
    assert sorted((row for row, _ in ids), key=len) == [row[m.bool()].tolist() for row, m in
                                       zip(batches[0]["input_ids"], batches[0]["attention_mask"], strict=True)]
    assert {1} <= {t for _, types in ids for t in types}
    data, count = material(asked, tokenizer).data(20, 6)
    assert count == sum(len(batch["spans"]) for batch in data.train_dataloader()) == 20


@pytest.mark.parametrize("kind", ["spans", "labels"])
def test_too_few_texts_are_refused_and_fewer_than_asked_are_said(
    kind: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = load_tokenizer(folder, 48)
    few = request(folder, 4, held_out=0.0) if kind == "spans" else labels_request(tmp_path, 15)
    with pytest.raises(UserError, match=r"has \d+ texts to calibrate on, at least 16 are needed"):
        material(few, tokenizer).batches(64)
    some = request(folder, 24) if kind == "spans" else labels_request(tmp_path, 40)
    with caplog.at_level(logging.WARNING, logger="edgedistil"):
        found = sum(len(b["input_ids"]) for b in material(some, tokenizer).batches(64))
    assert 16 <= found < 64
    assert f"64 texts asked for calibration, the training part has {found}" in caplog.text


def test_a_cut_folder_can_be_cut_again_and_knows_its_parents(folder: Path, tmp_path: Path) -> None:
    tokenizer, model = load_tokenizer(folder, 48), load_span_model(folder)
    windows_of = material(request(folder), tokenizer).ids(20)
    write_reference(model, folder, [ids for ids, _ in windows_of], [types for _, types in windows_of], seed=0)
    fisher = {"_target_": "edgedistil.compression.importance.FisherImportance"}
    places, facts = [folder], []
    for name, ratio in (("once", 0.3), ("twice", 0.4)):
        (tmp_path / name).mkdir()
        asked = request(places[-1]) | {"output": str(tmp_path / name)}
        options = asdict(Pruning("structured", ratio, importance=fisher)) | {"calibration_sentences": 40}
        asked["options"]["pruning"] = options
        facts.append(prune(asked))
        places.append(tmp_path / name)
    for path, found in zip(places[1:], facts, strict=True):
        ids, types, expected = read_reference(path)
        again = span_logits(load_span_model(path), ids, types, batch_size=1)
        assert all((own == want).all() for own, want in zip(again, expected, strict=True))
        assert found["calibration_sentences"] == 40
        assert found["held_out"]["texts"] > 0
    sizes = [model.num_parameters(), *(found["parameters"] for found in facts)]
    assert sizes[0] > sizes[1] > sizes[2]
    # The second ratio is of what the first left, so both together are 1 - 0.7 * 0.6.
    assert [p["parameters"] for p in facts[1]["parents"]] == sizes[:2]
    assert [p["ratio"] for p in facts[1]["parents"]] == [0.3, 0.4]
    digests = [hashlib.sha256((p / "model.safetensors").read_bytes()).hexdigest() for p in places[:2]]
    assert [p["sha256"] for p in facts[1]["parents"]] == digests
    assert json.loads((places[2] / "config.json").read_text())["edgedistil_parents"] == facts[1]["parents"]
    assert facts[0]["removed_share"] == pytest.approx(0.3, abs=0.15)
    assert facts[1]["removed_share"] == pytest.approx(0.4, abs=0.2)


def test_a_trimmed_tokenizer_finds_every_answer_at_its_place(folder: Path, tmp_path: Path) -> None:
    asked = request(folder) | {"output": str(tmp_path / "trimmed")}
    (tmp_path / "trimmed").mkdir()
    asked["options"]["vocabulary"] = {"min_count": 12, "first": 0, "positions": 48}
    whole = load_tokenizer(folder, 48)
    validation = Questions(*map(list, zip(*[_question("boris", "lamp"), _question("lena", "key")], strict=True)))
    parts = windows(whole, validation, TASK, offsets=True)
    model = load_span_model(folder)
    write_reference(model, folder, [p.ids for p in parts], [p.types for p in parts], seed=0)
    facts = trim(asked)
    assert facts["word_pieces"] < facts["word_pieces_before"]
    assert facts["held_out"]["new_unknown_tokens"] == 0
    assert facts["held_out"]["texts_cut_otherwise"] > 0
    assert facts["held_out"]["answers_found_share"] == 1.0
    assert facts["held_out"]["questions"] == len(questions_by_part(asked)[2])

    # the tokenizer in the folder cuts the same characters out of the same context
    trimmed = load_tokenizer(tmp_path / "trimmed", 48)
    for tokenizer in (whole, trimmed):
        assert share_found(validation, windows(tokenizer, validation, TASK, offsets=True)) == 1.0
    assert len(windows(trimmed, validation, TASK, offsets=True)) >= len(parts)
    asked_of = "where did boris put the lamp ?"
    spelt = ["".join(t.encode(asked_of, add_special_tokens=False).tokens).replace("##", "") for t in (whole, trimmed)]
    assert spelt == [asked_of.replace(" ", "")] * 2

    # and the folder answers as it says, bit for bit
    again = load_span_model(tmp_path / "trimmed")
    ids, types, expected = read_reference(tmp_path / "trimmed")
    for own, want in zip(span_logits(again, ids, types, batch_size=1), expected, strict=True):
        np.testing.assert_array_equal(own, want)
    assert max(map(len, ids)) <= 48
    separator = trimmed.token_to_id("[SEP]")
    assert all(row[-1] == separator and kinds[row.index(separator) + 1] == 1 and kinds[row.index(separator)] == 0
               for row, kinds in zip(ids, types, strict=True))


def _question(name: str, thing: str) -> tuple[str, str, str, list[str], int]:
    filler = " ".join(random.Random(name).choices(["nobody knew why .", "it was raining ."], k=12))
    context = f"{filler} {name} put the {thing} in the harbour at noon . {filler}"
    return name, context, f"who had the {thing} ?", [name], context.index(name)


def test_pairs_keep_their_border_and_their_last_token() -> None:
    double = {1: [1], 2: [2, 2], 3: [3], 9: [9]}

    def again(row: list[int]) -> list[int]:
        return [new for old in row for new in double[old]]

    assert _side_by_side(again, [1, 2, 9, 3, 9], [0, 0, 0, 1, 1], 10) == ([1, 2, 2, 9, 3, 9], [0, 0, 0, 0, 1, 1])
    assert _side_by_side(again, [1, 2, 9, 2, 3, 9], [0, 0, 0, 1, 1, 1], 6) == ([1, 2, 2, 9, 2, 9], [0, 0, 0, 0, 1, 1])
    assert _side_by_side(again, [1, 2, 9], [0, 0, 0], 10) == ([1, 2, 2, 9], [0, 0, 0, 0])


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_recovery_learns_starts_and_ends_and_hidden_states(
    kind: str, span_model: Callable[..., Any], folder: Path
) -> None:
    size = load_span_model(folder).config.vocab_size
    student, teacher = (span_model(kind, seed=s, vocab_size=size) for s in (1, 2))
    batch = next(iter(material(request(folder), load_tokenizer(folder, 48)).data(8, 8)[0].train_dataloader()))
    module = LogitDistillation(student, teacher, lambda p: torch.optim.SGD(p, lr=0.1), linear_warmup)
    logged: dict[str, float] = {}
    module.log = lambda name, value, **options: logged.update({name: float(value)})  # type: ignore[method-assign]
    loss = module.training_step(batch, 0)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask", *(("token_type_ids",) if kind == "bert" else ()))}
    with torch.no_grad():
        ours, theirs = (m(**inputs, output_hidden_states=True) for m in (student, teacher))
        logits = [torch.stack([o.start_logits, o.end_logits], 1) for o in (ours, theirs)]
        soft = span_soft_target_loss(*logits, batch["attention_mask"], 2.0)
        hidden = hidden_state_loss(*(torch.stack(o.hidden_states[1:]) for o in (ours, theirs)), batch["attention_mask"])
    assert logged["train/soft_target_loss"] == pytest.approx(float(soft), rel=1e-5)
    assert logged["train/hidden_state_loss"] == pytest.approx(float(hidden), rel=1e-5)
    assert float(loss) == pytest.approx(float(soft + hidden), rel=1e-5)
    loss.backward()
    assert student.qa_outputs.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in teacher.parameters())


def test_a_teachers_cached_logits_come_with_the_windows_that_they_are_of(
    folder: Path, span_model: Callable[..., Any], tmp_path: Path
) -> None:
    asked, tokenizer, teacher = request(folder), load_tokenizer(folder, 48), load_span_model(folder)
    everything, _, held = questions_by_part(asked)
    parts = windows(tokenizer, everything, TASK, offsets=False)
    flat = np.concatenate(span_logits(teacher, [p.ids for p in parts], [p.types for p in parts]), axis=1)
    save_file({"logits": flat}, tmp_path / "teacher_logits.safetensors")
    data, count = material(asked, tokenizer).data(30, 8, tmp_path / "teacher_logits.safetensors")
    assert count == 30
    student = span_model("bert", seed=5, vocab_size=teacher.config.vocab_size)
    cached = LogitDistillation(student, None, lambda p: torch.optim.SGD(p, lr=0.1), linear_warmup, hidden_weight=0.0)
    beside = LogitDistillation(student, teacher, lambda p: torch.optim.SGD(p, lr=0.1), linear_warmup, hidden_weight=0.0)
    for batch in data.train_dataloader():
        stored = cached.terms(batch)["soft_target"]
        alone = beside.terms({k: v for k, v in batch.items() if k != "teacher_logits"})["soft_target"]
        assert float(stored.detach()) == pytest.approx(float(alone.detach()), rel=1e-4)
    everyone, count = material(asked, tokenizer).data(None, 8, tmp_path / "teacher_logits.safetensors")
    assert count == sum(p.question not in set(held) for p in parts)
    assert len(everyone._train) == count


def test_held_out_questions_are_scored_for_recovery(folder: Path) -> None:
    asked = request(folder)
    asked["options"]["task"] = asked["options"]["task"] | {"metrics": ["f1", "exact_match"]}
    tokenizer, model = load_tokenizer(folder, 48), load_span_model(folder)
    judged = held_out(asked, tokenizer)
    everything, _, held = questions_by_part(asked)
    assert len(judged) == len(held) > 0
    parts = windows(tokenizer, everything.take(held), TASK, offsets=True)
    said = answers(everything.take(held), parts, span_logits(model, [p.ids for p in parts], [p.types for p in parts]),
                   asked["options"]["task"])
    scores = span_scores([a.text for a in said], everything.take(held).answers)
    assert judged.scores(model) == {k: round(float(scores[k].mean()), 6) for k in ("f1", "exact_match")}


def test_answers_of_a_span_model_take_what_its_batches_bring(span_model: Callable[..., Any]) -> None:
    ours = answers_of(span_model("bert"))
    logits = torch.tensor([[[0.0, 2.0, 9.0], [0.0, 0.0, 9.0]]])
    batch = {"spans": torch.tensor([[1, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    expected = (-torch.log_softmax(logits[0, 0, :2], -1)[1] - torch.log_softmax(logits[0, 1, :2], -1)[0]) / 2
    assert float(ours.loss(logits, batch)) == pytest.approx(float(expected))
