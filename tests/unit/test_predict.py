"""``python -m edgedistil predict``: answers are the model's, one line a text; what can't be read is one line too."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.tiny_cell import add_graph
from tokenizers import Tokenizer

from edgedistil.__main__ import main
from edgedistil.models.folder import save_model
from edgedistil.shipping.model_folder import read_model_folder
from edgedistil.tasks.encode import load_tokenizer
from edgedistil.tasks.questions import Questions
from edgedistil.tasks.span_answers import answers
from edgedistil.tasks.windows import windows

TEXTS = ["the film is very good", "a dull story , never funny", "superb !"]
Say = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def shipped(tiny_folder: Callable[..., Path]) -> Callable[..., Path]:
    """A tiny model's folder with its graph in FP32."""

    def make(model: Any, name: str = "tiny", token_types: bool = False) -> Path:
        return add_graph(tiny_folder(model, name), token_types)

    return make


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """``say(folder, *arguments)``: exit code, printed objects, what standard error says."""

    def run(folder: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        code = main(["predict", str(folder), *arguments])
        printed = capsys.readouterr()
        return code, [json.loads(line) for line in printed.out.splitlines()], printed.err

    return run


def expected(model: Any, folder: Path, *texts: tuple[str, ...]) -> np.ndarray:
    """Logits of PyTorch, one text or pair at a time."""
    rows = []
    for text in texts:
        encoding = load_tokenizer(folder, 64).encode(*text)
        inputs = {"input_ids": torch.tensor([encoding.ids])}
        if model.config.model_type == "bert":
            inputs["token_type_ids"] = torch.tensor([encoding.type_ids])
        with torch.inference_mode():
            rows.append(model(**inputs).logits[0].numpy())
    return np.stack(rows)


def test_classes_come_by_name_with_their_probability(shipped: Callable[..., Path], tiny_model: Callable[..., Any],
                                                     say: Say) -> None:
    model = tiny_model("distilbert", initializer_range=0.2)
    folder = shipped(model)
    code, found, err = say(folder, *TEXTS, "--logits")
    assert (code, err) == (0, "")
    logits = expected(model, folder, *((text,) for text in TEXTS))
    np.testing.assert_allclose([f["logits"] for f in found], logits, atol=1e-5)
    likely = torch.softmax(torch.from_numpy(logits), -1)
    assert [f["label"] for f in found] == [["negative", "positive"][i] for i in likely.argmax(-1)]
    np.testing.assert_allclose([f["score"] for f in found], likely.max(-1).values, atol=1e-5)
    assert [f["text"] for f in found] == TEXTS
    assert list(say(folder, TEXTS[0])[1][0]) == ["text", "label", "score"]
    assert len({round(f["score"], 3) for f in found}) == 3, "the same answer to everything proves nothing"


def test_a_pair_with_its_token_types_by_tab_and_by_json(shipped: Callable[..., Path], tiny_model: Callable[..., Any],
                                                        say: Say, tmp_path: Path) -> None:
    model = tiny_model("bert", initializer_range=0.2)
    folder, pair = shipped(model, token_types=True), (TEXTS[0], TEXTS[2])
    file = tmp_path / "pairs.txt"
    lines = ["\t".join(pair), json.dumps({"text_pair": pair[1], "text": pair[0]}), pair[0]]
    file.write_text("\n".join(lines) + "\n")
    code, found, _ = say(folder, "--file", str(file), "--logits")
    assert code == 0
    assert [f.get("text_pair") for f in found] == [pair[1], pair[1], None]
    wanted = expected(model, folder, pair, pair, (pair[0],))
    np.testing.assert_allclose([f["logits"] for f in found], wanted, atol=1e-5)
    assert np.abs(wanted[0] - wanted[2]).max() > 1e-2


def test_a_number(shipped: Callable[..., Path], tiny_model: Callable[..., Any], say: Say) -> None:
    model = tiny_model("distilbert", num_labels=1, id2label={0: "score"}, label2id={"score": 0})
    folder = shipped(model)
    assert read_model_folder(folder).regression
    _, found, _ = say(folder, TEXTS[0])
    assert list(found[0]) == ["text", "value"]
    assert found[0]["value"] == pytest.approx(float(expected(model, folder, (TEXTS[0],))[0, 0]), abs=1e-5)


def test_an_answer_is_cut_out_of_the_context_by_the_tasks_own_windows(span_model: Callable[..., Any],
                                                                      shipped: Callable[..., Path], say: Say) -> None:
    model = span_model("distilbert", initializer_range=0.2)
    folder = shipped(model)
    task = {"max_length": 24, "stride": 4, "max_question_length": 8, "max_answer_length": 5, "n_best": 20}
    (folder / "edgedistil.json").write_text(json.dumps({"task": task | {"kind": "question_answering"}}))
    context = "the film is very good and the cast is fresh but the plot was long and the ending was weak , i love it"
    question = "was it good ?"
    code, found, _ = say(folder, json.dumps({"question": question, "context": context}), f"{question}\t{context}")
    assert code == 0
    assert found[0] == found[1]
    asked = Questions(["0"], [context], [question], [[""]], [0])
    parts = windows(load_tokenizer(folder, 24), asked, task, offsets=True)
    assert len(parts) > 1
    scores = []
    for part in parts:
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(part.ids.astype(np.int64))[None])
        scores.append(np.stack([output.start_logits[0].numpy(), output.end_logits[0].numpy()]))
    best = answers(asked, parts, scores, task)[0]
    assert (found[0]["answer"], found[0]["start"], found[0]["end"]) == (best.text, best.begin, best.end)
    assert context[found[0]["start"] : found[0]["end"]] == found[0]["answer"] != ""
    assert found[0]["score"] == pytest.approx(best.score, abs=1e-4)


def test_masked_words_are_filled_in(tiny_model: Callable[..., Any], tokenizer_file: Path, tmp_path: Path,
                                    say: Say) -> None:
    from transformers import DistilBertForMaskedLM

    torch.manual_seed(0)
    model = DistilBertForMaskedLM(tiny_model("distilbert", initializer_range=0.2).config).eval()
    folder = tmp_path / "masked"
    save_model(model, folder, {"title": "masked", "lines": []})
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.add_special_tokens(["[MASK]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    add_graph(folder)
    _, found, _ = say(folder, "the [MASK] is [MASK] good")
    ids = tokenizer.encode("the [MASK] is [MASK] good").ids
    with torch.inference_mode():
        likely = torch.softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    assert len(found[0]["fills"]) == 2
    for place, fills in zip((2, 4), found[0]["fills"], strict=True):
        scores, wanted = likely[place].topk(5)
        assert [f["token"] for f in fills] == [tokenizer.id_to_token(i) for i in wanted.tolist()]
        assert [f["score"] for f in fills] == pytest.approx(scores.tolist(), abs=1e-5)
    code, found, err = say(folder, "the [MASK]", "no mask at all")
    assert (code, len(found)) == (2, 1)
    assert err == "error: text 2: the model fills in masked words: write [MASK] where one is missing\n"


def test_long_texts_are_cut_where_training_cut_them(shipped: Callable[..., Path], tiny_model: Callable[..., Any],
                                                    say: Say, tmp_path: Path) -> None:
    """A store's folder says by the step before it how long its texts were; a copy elsewhere has all positions."""
    folder = shipped(tiny_model("distilbert"))
    train = tmp_path / "store/artifacts/train/a"
    export = tmp_path / "store/artifacts/export/b"
    train.mkdir(parents=True)
    options = {"task": {"kind": "sequence_classification", "max_length": 5}}
    (train / "artifact.json").write_text(json.dumps({"step": "train", "options": options, "inputs": {}}))
    shutil.copytree(folder, export)
    source = {"model": {"step": "train", "fingerprint": "a"}}
    (export / "artifact.json").write_text(json.dumps({"step": "export", "inputs": source, "files": {}}))
    elsewhere = shutil.copytree(export, tmp_path / "elsewhere")
    assert [read_model_folder(f).max_length for f in (export, elsewhere)] == [5, 64]
    long, short = "the film is very good and fresh", "the film is"
    _, found, _ = say(export, long, short, "--logits")
    assert found[0]["logits"] == found[1]["logits"]
    assert [f.get("cut") for f in found] == [True, None]
    _, whole, _ = say(elsewhere, long, "--logits")
    assert whole[0]["logits"] != found[0]["logits"]
    assert "cut" not in whole[0]
    assert say(elsewhere, long, "--logits", "--max-length", "5")[1][0]["logits"] == found[0]["logits"]
    assert "--max-length=99 is not between 3 and the model's 64" in say(elsewhere, long, "--max-length", "99")[2]


STREAM = """
import sys
from edgedistil.__main__ import main
code = main(["predict", sys.argv[1]])
print(code, *sorted({"torch", "transformers", "lightning", "hydra", "datasets"} & set(sys.modules)), file=sys.stderr)
"""


def test_each_line_is_answered_as_it_comes_and_pytorch_is_never_imported(shipped: Callable[..., Path]) -> None:
    process = subprocess.Popen([sys.executable, "-c", STREAM, str(shipped("distilbert"))], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    for text in TEXTS:
        process.stdin.write(text + "\n")
        process.stdin.flush()
        # The next is not asked before this one is answered: a buffer on either side would wait for ever.
        assert json.loads(process.stdout.readline())["text"] == text
    process.stdin.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == "0\n"
    process.stdout.close()
    process.stderr.close()


def test_a_reader_that_has_had_enough_ends_it_quietly(shipped: Callable[..., Path], tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("the film is good\n" * 5000)
    command = [sys.executable, "-m", "edgedistil", "predict", str(shipped("distilbert")), "--file", str(texts)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    assert json.loads(process.stdout.readline())["text"] == "the film is good"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 141
    process.stderr.close()


@pytest.mark.parametrize(("line", "message"), [
    ("", "line 2: text is empty; every line needs a text"),
    ('{"text": " "}', "line 2: text is empty"),
    ('{"text": "a film"', "line 2 begins with { but is no JSON object"),
    ('{"sentence": "a film"}', "line 2 has the field 'sentence'; known here are text and text_pair"),
    ('{"text_pair": "a film"}', 'line 2 has no text; example: {"text": "...", "text_pair": "..."}'),
    ('{"text": 3}', "line 2: text is 3, not a text"),
    ("a\tb\tc", "line 2 has 3 fields between tabs; a text or a pair has at most 2"),
    (b"caf\xe9", "line 2 is not UTF-8"),
])
def test_a_line_that_can_not_be_read_is_named(line: str | bytes, message: str, shipped: Callable[..., Path], say: Say,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"the film\n" + (line if isinstance(line, bytes) else line.encode()) + b"\nsuperb !\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
    code, found, err = say(shipped("distilbert"))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert [f["text"] for f in found] == ["the film"]


def _no_graph(folder: Path) -> None:
    for file in folder.glob("model.onnx*"):
        file.unlink()


def _cut_off(folder: Path) -> None:
    content = (folder / "model.onnx.data").read_bytes()
    (folder / "model.onnx.data").write_bytes(content[: len(content) // 2])


def _cut_off_and_known(folder: Path) -> None:
    files = {f.name: {"bytes": f.stat().st_size} for f in folder.iterdir()}
    (folder / "edgedistil.json").write_text(json.dumps({"task": {}, "files": files}))
    _cut_off(folder)


def _other_labels(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "a", "1": "b", "2": "c"}
    (folder / "config.json").write_text(json.dumps(config))


BROKEN = {
    "no graph": (_no_graph, "has weights for PyTorch but no model.onnx; make one: python compress.py model=folder"),
    "nothing": (lambda f: [p.unlink() for p in f.iterdir()], "has no model.onnx: it is no model folder"),
    "a cell": (lambda f: (_no_graph(f), (f / "model.safetensors").unlink(), (f / "cell.json").write_text("{}")),
               "python -m edgedistil package"),
    "no folder": (shutil.rmtree, "is no folder"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json beside model.onnx"),
    "tokenizer of nothing": (lambda f: (f / "tokenizer.json").write_text("{}"), "can't be loaded ("),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json beside model.onnx"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json can't be read"),
    "config of another model": (_other_labels, "logits of the shape [1, 2] for one text, not [1, 3]"),
    "graph cut off": (lambda f: (f / "model.onnx").write_bytes(b"\x08\x07"), "can't be loaded ("),
    "weights cut off": (_cut_off, "can't be loaded ("),
    "weights cut off, size known": (_cut_off_and_known, "bytes, not"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_folder_that_can_not_answer_says_why_in_one_line(what: str, shipped: Callable[..., Path], say: Say) -> None:
    folder = shipped("distilbert")
    spoil, message = BROKEN[what]
    spoil(folder)
    code, found, err = say(folder, "the film")
    assert (code, found) == (2, [])
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_outputs_that_are_no_numbers_are_no_answer(shipped: Callable[..., Path], tiny_model: Callable[..., Any],
                                                   say: Say) -> None:
    model = tiny_model("distilbert")
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    code, found, err = say(shipped(model), "the film")
    assert (code, found) == (2, [])
    assert err == "error: text 1: the model's outputs are no finite numbers; the graph is broken, make it anew\n"


def test_texts_and_a_file_or_no_file_at_all(shipped: Callable[..., Path], say: Say, tmp_path: Path) -> None:
    folder = shipped("distilbert")
    assert "are both given" in say(folder, "the film", "--file", "x")[2]
    assert "can't be read: No such file" in say(folder, "--file", str(tmp_path / "x"))[2]
    assert "--threads=0 is not at least 1" in say(folder, "the film", "--threads", "0")[2]
    (tmp_path / "bad.txt").write_text("the film\n\n")
    assert f"{tmp_path / 'bad.txt'}: line 2: text is empty" in say(folder, "--file", str(tmp_path / "bad.txt"))[2]
