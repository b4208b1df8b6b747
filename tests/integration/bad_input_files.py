"""Bad input in files: data sets, model folders, devices, and the paths by which all of them are named."""

import gzip
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from bad_input import REFUSED, SKIPPED, WORKS, Case, Place

GOOD = "text,label\n" + "".join(f"the film number {i} is {'good' if i % 2 else 'bad'},{i % 2}\n" for i in range(40))
ROWS = [{"text": f"the film {i} was {'good' if i % 2 else 'bad'}", "label": i % 2} for i in range(40)]
ENCODER = ("model=folder", "model.location=<bert_encoder>")
TUNED = ("model=folder", "model.location=<bert>")
TRAIN = ("train.py", *ENCODER, "task=files", "trainer.max_epochs=1", "task.validation=dev.csv")


def _table(name: str, says: tuple[str, ...], content: str | bytes | None, promise: str = REFUSED,
           file: str = "own.csv", more: tuple[str, ...] = ()) -> Case:
    """A case that trains on a file and validates on a good one."""

    def make(place: Place) -> None:
        place.write("dev.csv", GOOD)
        if content is not None:
            place.write(file, content)

    return Case("data", name, (*TRAIN, f"task.train={file}", *more), says, make, promise=promise)


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def _zip() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.csv", GOOD)
    return stream.getvalue()


def _swapped(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def _texts(name: str, says: tuple[str, ...], content: str | bytes | None, file: str = "own.txt") -> Case:
    """A case of plain texts for masked language modelling."""

    def make(place: Place) -> None:
        place.write("dev.txt", "the film is good and the plot is clever and the cast is fresh\n" * 40)
        if content is not None:
            place.write(file, content)

    command = ("train.py", *ENCODER, "objective=masked_language_modelling", "task=texts", "task.max_length=64",
               f"task.train={file}", "task.validation=dev.txt")
    return Case("data", name, command, says, make)


def data() -> list[Case]:
    """Files of texts and labels."""
    table = {name: [row[name] for row in ROWS] for name in ("text", "label")}
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    hundred_mb = b"text,label\n" + b"x" * 100_000_000
    found = [
        _table("a missing file", ("task.train", "no file"), None),
        _table("an empty file", ("own.csv", "is empty"), ""),
        _table("blank lines alone", ("own.csv",), "\n\n\n"),
        _table("a header alone", ("train split", "empty"), "text,label\n"),
        _table("bytes named csv", ("own.csv", "binary"), bytes(range(256)) * 20),
        _table("bytes but zero named csv", ("own.csv", "UTF-8"), bytes(range(1, 256)) * 20),
        _table("zeros named csv", ("own.csv", "zero byte"), b"\0" * 4096),
        _table("a zero inside a text", ("own.csv", "line 3"), GOOD.replace("number 1", "number \0 1")),
        _table("gzip named csv", ("own.csv", "gunzip"), gzip.compress(GOOD.encode())),
        _table("a zip file named csv", ("own.csv", "zip"), _zip()),
        _table("Parquet named csv", ("own.csv", ".parquet"), _parquet(table)),
        _table("a picture named csv", ("own.csv",), b"\x89PNG\r\n\x1a\n" + bytes(range(128, 256))),
        _table("UTF-16", ("own.csv", "iconv"), GOOD.encode("utf-16")),
        _table("UTF-16 without its mark", ("own.csv",), GOOD.encode("utf-16-le")),
        _table("Latin 1", ("own.csv", "line 3", "0xe9", "iconv"), GOOD.replace("number 1", "filmé").encode("latin1")),
        _table("half of a letter at the end", ("own.csv", "UTF-8"), GOOD.encode() + b"a caf\xc3"),
        _table("another text column", ("task.text_columns=[NAME]", "words"), GOOD.replace("text,", "words,")),
        _table("another label column", ("task.label_column=NAME", "verdict"), GOOD.replace(",label", ",verdict")),
        _table("a column named that is not there", ("task.text_columns", "title", "text, label"), GOOD,
               more=("task.text_columns=[title]",)),
        _table("two columns of one name", ("two columns 'text'",), GOOD.replace("text,label", "text,text")),
        _table("no first line", ("the film number 0 is bad", "task.text_columns=[NAME]"), GOOD.split("\n", 1)[1]),
        _table("semicolons", ("text;label",), GOOD.replace(",", ";")),
        _table("a value too many", ("line 3 has 3 values",), _swapped("number 1 is", "number 1, is")),
        _table("a value too few", ("line 3 has 1 values",), _swapped("number 1 is good,1", "number 1 is good")),
        _table("an open quote", ("own.csv", "line 3", "quote"), _swapped("the film number 1 ", '"the film number 1 ')),
        _table("one label", ("one class only",), GOOD.replace(",0\n", ",1\n")),
        _table("a missing label", ("row 2", "nan"), _swapped("number 1 is good,1", "number 1 is good,")),
        _table("a label NaN", ("row 2",), _swapped("number 1 is good,1", "number 1 is good,NaN")),
        _table("fractions for labels", ("0.5", "task.regression=true"), GOOD.replace(",1\n", ",0.5\n")),
        _table("a missing text", ("row 2", "text"), _swapped("the film number 1 is good,1", ",1")),
        _table("a text of spaces", ("row 2", "empty text"), _swapped("the film number 1 is good,1", "   ,1")),
        _table("numbers for texts", ("row 1", "no text"), "text,label\n" + "".join(f"{i},{i % 2}\n" for i in range(9))),
        _table("an id twice with other texts", ("row 2", "id=7"),
               "id,text,label\n7,a film,1\n7,a plot,0\n" + "".join(f"{i + 8},b {i},{i % 2}\n" for i in range(9))),
        _table("one text", ("train split",), "text,label\na film,1\n"),
        _table("a line of 100 MB without an end", ("own.csv",), hundred_mb),
        _table("words for the numbers of a regression", ("row 1", "no finite number"),
               "text,label\na film,good\na plot,bad\n", more=("task.regression=true", "task.metrics=[pearson]")),
        _table("a CSV with a byte order mark", (), b"\xef\xbb\xbf" + GOOD.encode(), WORKS),
        _table("a CSV with Windows' line ends", (), GOOD.replace("\n", "\r\n"), WORKS),
        _table("a CSV with an old Macintosh's line ends", (), GOOD.replace("\n", "\r"), WORKS),
        _table("the same row twice", (), "id,text,label\n" + "".join(
            f"{i % 20},film {i % 20},{i % 2}\n" for i in range(40)), WORKS),
        _table("JSONL with a broken line", ("line 2 is no JSON",), lines.replace('"}', "", 1).replace(
            "\n{", "\n{{", 1), file="own.jsonl"),
        _table("JSONL of lists", ("line 1 is no object",), "[1, 2]\n", file="own.jsonl"),
        _table("JSONL cut off", ("line 40 is no JSON",), lines[:-8], file="own.jsonl"),
        _table("JSONL of lists inside", ("row 1", "no text"), lines.replace('"text": "the film 0 was bad"',
               '"text": ["a"]'), file="own.jsonl"),
        _table("JSONL with labels in lists", ("row 1",), lines.replace('"label": 0', '"label": [0]', 1),
               file="own.jsonl"),
        _table("JSONL nested very deep", ("own.jsonl", "line 1"), "[" * 100_000 + "\n", file="own.jsonl"),
        _table("JSON that is one object", ("own.json", "list of objects"), '{"text": ["a"]}', file="own.json"),
        _table("JSON of lines", ("own.json", ".jsonl"), lines, file="own.json"),
        _table("Parquet cut off", ("own.parquet",), _parquet(table)[:-9], file="own.parquet"),
        _table("Parquet that is text", ("own.parquet",), GOOD, file="own.parquet"),
        _table("Parquet of no bytes", ("own.parquet",), "", file="own.parquet"),
        _table("Parquet of no rows", ("train split", "empty"), _parquet({"text": [], "label": []}), file="own.parquet"),
        _table("Parquet of bytes", ("row 1", "no text"), _parquet({"text": [b"a", b"b"], "label": [0, 1]}),
               file="own.parquet"),
        _table("Parquet with its middle overwritten", ("own.parquet",),
               _parquet(table)[:4] + b"\xff" * 200 + _parquet(table)[204:], file="own.parquet"),
        _table("a kind that nobody reads", ("own.xlsx", ".csv"), _zip(), file="own.xlsx"),
        _texts("texts of no bytes", ("own.txt", "is empty"), ""),
        _texts("blank texts", ("none of the 4 lines", "task.drop_up_to"), "\n\n\n\n"),
        _texts("texts in Latin 1", ("own.txt", "UTF-8"), "un film raté\n".encode("latin1") * 30),
        _texts("bytes named txt", ("own.txt",), bytes(range(256)) * 40),
        _texts("gzip named txt", ("own.txt",), gzip.compress(b"a film\n" * 40)),
        _texts("one text of 100 MB", ("own.txt", "line"), b"x" * 100_000_000),
        _texts("texts of another kind", ("own.csv", ".txt"), GOOD, "own.csv"),
    ]
    folder = ("train.py", *ENCODER, "task=files", "trainer.max_epochs=1")
    found += [
        Case("data", "a folder for a file", (*folder, "task.train=here", "task.validation=here"),
             ("is of an unknown kind", "here"), lambda p: (p.here / "here").mkdir()),
        Case("data", "a folder named csv", (*folder, "task.train=a.csv", "task.validation=a.csv"),
             ("is a folder", "task.data_dir"), lambda p: (p.here / "a.csv").mkdir()),
        Case("data", "a folder of splits that is not there", (*folder, "task.data_dir=no"), ("task.data_dir", "no")),
        Case("data", "a folder of splits that is a file", (*folder, "task.data_dir=a"),
             ("task.data_dir", "is no folder"),             lambda p: p.write("a", "x")),
        Case("data", "a folder of splits that is empty", (*folder, "task.data_dir=a"), ("train.parquet",),
             lambda p: (p.here / "a").mkdir()),
        Case("data", "a folder with several files a split", (*folder, "task.data_dir=a"), ("task.train_split=train-0",),
             lambda p: [p.write(f"a/train-{i}.parquet", _parquet(table)) for i in range(2)]),
        Case("data", "a pipe named csv", (*folder, "task.train=a.csv", "task.validation=a.csv"), ("no file", "a.csv"),
             lambda p: os.mkfifo(p.here / "a.csv")),
        Case("data", "a further split with a taken name",
             (*folder, "task.train=a.csv", "task.validation=a.csv", "task.more_splits={train: a.csv}"),
             ("task.more_splits.train", "taken"), lambda p: p.write("a.csv", GOOD)),
        *(Case("data", f"a further split called {name}",
               (*folder, "task.train=a.csv", "task.validation=a.csv", f"task.more_splits={{{name}: a.csv}}"),
               (f"task.more_splits.{name}: this name is taken by",), lambda p: p.write("a.csv", GOOD))
          for name in ("test", "parent", "host")),
        Case("data", "a further split that is a number",
             (*folder, "task.train=a.csv", "task.validation=a.csv", "+task.more_splits.more=3"),
             ("task.more_splits={'more': 3}", "text"), lambda p: p.write("a.csv", GOOD)),
        Case("data", "a further split that is not there",
             (*folder, "task.train=a.csv", "task.validation=a.csv", "+task.more_splits.more=b.csv"),
             ("task.more_splits.more", "b.csv"), lambda p: p.write("a.csv", GOOD)),
        Case("data", "questions without their columns", ("train.py", *ENCODER, "task=squad", "task.data_dir=a"),
             ("question", "context"), lambda p: [p.write(f"a/{s}.parquet", _parquet(table)) for s in (
                 "train", "validation")]),
        Case("data", "answers that are not in their contexts", (
            "train.py", *ENCODER, "task=squad", "task.data_dir=a", "task.max_length=64", "task.stride=8",
            "task.max_question_length=16"), ("answer",), _wrong_answers),
    ]
    return found


def _wrong_answers(place: Place) -> None:
    rows = {"id": ["a", "b"], "title": ["t"] * 2, "context": ["the film was long"] * 2,
            "question": ["what was long"] * 2, "answers": [{"text": ["plot"], "answer_start": [4]}] * 2}
    for split in ("train", "validation"):
        place.write(f"a/{split}.parquet", _parquet(rows))


class _Evil:
    """Pickled, this writes a file in the working folder when somebody unpickles it."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, ("touch ran",)


CODE = "import pathlib\npathlib.Path('ran').write_text('')\nclass Model: ...\nclass Config: ...\n"
MAP = {"AutoModelForSequenceClassification": "code.Model", "AutoConfig": "code.Config"}


def _config(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def _without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def _file(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data) and None


def _cut(name: str, keep: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return spoil


def _all(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: [step(folder) for step in steps] and None


def _weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})

    return spoil


def _tokenizer(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "tokenizer.json"
        told = json.loads(path.read_text())
        change(told)
        path.write_text(json.dumps(told))

    return spoil


def _more_pieces(told: dict[str, Any]) -> None:
    vocabulary = told["model"]["vocab"]
    vocabulary |= {f"piece{i}": len(vocabulary) + i for i in range(5)}


def _model(name: str, says: tuple[str, ...], spoil: Callable[[Path], None], model: str = "bert",
           command: tuple[str, ...] = ("compress.py", "compression=none"), promise: str = REFUSED) -> Case:
    data = ("task.generator.train=200", "task.generator.validation=80", "trainer.max_epochs=1")
    full = (command[0], "model=folder", "model.location=model", *data, *command[1:])
    return Case("model", name, full, says, lambda place: spoil(place.copy(model)), promise=promise)


def models() -> list[Case]:
    """Model folders and ONNX files."""
    first = "bert.encoder.layer.0.attention.self.query.weight"
    train = ("train.py",)
    return [
        _model("no config", ("config.json missing", "save_pretrained"), _without("config.json")),
        _model("no tokenizer", ("tokenizer.json missing",), _without("tokenizer.json")),
        _model("no weights", ("model.safetensors missing",), _without("model.safetensors")),
        _model("pickled weights that run code", ("pytorch_model.bin", "never loaded", "save_pretrained"),
               _all(_without("model.safetensors"), _file("pytorch_model.bin", pickle.dumps(_Evil())))),
        _model("a pickle named safetensors", ("is no safetensors file",),
               _file("model.safetensors", pickle.dumps(_Evil()))),
        _model("a pickle beside good weights", (), _file("pytorch_model.bin", pickle.dumps(_Evil())), promise=WORKS),
        _model("weights of no bytes", ("is no safetensors file",), _file("model.safetensors", "")),
        _model("weights cut off", ("model.safetensors",), _cut("model.safetensors", 0.7)),
        _model("weights cut off in their header", ("is no safetensors file",), _cut("model.safetensors", 0.01)),
        _model("weights with a header of 2^62 bytes", ("is no safetensors file",),
               _file("model.safetensors", (2**62).to_bytes(8, "little") + b"{}")),
        _model("weights with a header that is a list", ("is no safetensors file",),
               _file("model.safetensors", (2).to_bytes(8, "little") + b"[]")),
        _model("wider than its weights", ("config.json", "weights"), _config(hidden_size=64)),
        _model("deeper than its weights", ("weights",), _config(num_hidden_layers=3)),
        _model("shallower than its weights", ("weights",), _config(num_hidden_layers=1)),
        _model("deeper than its weights, to be trained", ("encoder weights are missing",),
               _config(num_hidden_layers=3), "bert_encoder", train),
        _model("wider than its weights, to be trained", ("encoder weights are missing",),
               _config(intermediate_size=128), "bert_encoder", train),
        _model("a weight that is missing", ("weights", first),
               _weights(lambda w: {k: v for k, v in w.items() if k != first})),
        _model("a weight that is not a number", ("nan",), _weights(lambda w: w | {first: w[first] * float("nan")})),
        _model("a config that is no JSON", ("config.json is no JSON",), _file("config.json", "{model")),
        _model("a config that is a list", ("config.json",), _file("config.json", "[]")),
        _model("a config of no bytes", ("config.json is no JSON",), _file("config.json", "")),
        _model("a config that is no UTF-8", ("config.json",), _file("config.json", b"\xff\xfe{}")),
        _model("a config without a kind", ("model_type=None", "bert"), _file("config.json", "{}")),
        _model("a kind that is a list", ("model_type=", "bert"), _config(model_type=["bert"])),
        _model("width in words", ("config.json",), _config(hidden_size="wide")),
        _model("heads that do not divide the width", ("config.json",), _config(num_attention_heads=5)),
        _model("no heads", ("config.json",), _config(num_attention_heads=0)),
        _model("an activation that is not there", ("config.json", "gelo"), _config(hidden_act="gelo")),
        _model("architectures that are a word", ("config.json", "architectures"), _config(architectures="Bert")),
        _model("a config that asks for code", (), _all(_config(auto_map=MAP), _file("code.py", CODE)), promise=WORKS),
        _model("a kind whose code lies beside it", ("model_type='evil'", "supported"),
               _all(_config(auto_map=MAP, model_type="evil"), _file("code.py", CODE))),
        _model("code for an encoder that is trained", (), _all(_config(auto_map=MAP), _file("code.py", CODE)),
               "bert_encoder", train, WORKS),
        _model("a tokenizer that is no JSON", ("tokenizer.json",), _file("tokenizer.json", "{")),
        _model("a tokenizer of no bytes", ("tokenizer.json",), _file("tokenizer.json", "")),
        _model("a tokenizer that is a list", ("tokenizer.json",), _file("tokenizer.json", "[]")),
        _model("a tokenizer that knows more pieces than the model", ("tokenizer", "model"), _tokenizer(_more_pieces)),
        _model("the same for a model that is trained", ("tokenizer", "model"), _tokenizer(_more_pieces),
               "bert_encoder", train),
        _model("a tokenizer of an unknown kind", ("tokenizer.json",), _tokenizer(
            lambda told: told["model"].update(type="Morse"))),
        _model("three names for two outputs", ("3", "2"), _config(id2label={"0": "a", "1": "b", "2": "c"})),
        _model("names without an order", ("id2label",), _config(id2label={"good": "a", "bad": "b"})),
        _model("names in a list", ("id2label",), _config(id2label=["a", "b"])),
        *_onnx_cases(),
        Case("model", "a folder that is a file", ("compress.py", "model=folder", "model.location=a.csv"),
             ("model.location='a.csv'", "folder"), lambda place: place.write("a.csv", GOOD)),
        Case("model", "a hub's name as a folder", ("compress.py", "model=folder", "model.location=bert-base-uncased"),
             ("bert-base-uncased", "folder")),
        Case("model", "an empty name", ("compress.py", "model=folder", "model.location="), ("model.location",)),
        Case("model", "an empty folder", ("compress.py", "model=folder", "model.location=a"), ("config.json",),
             lambda place: (place.here / "a").mkdir()),
        Case("model", "a hub name that leads away",
             ("train.py", "model=distilbert", "model.location=../../etc"), ("../../etc",)),
        Case("model", "a hub that can't be reached", ("train.py", "model=distilbert", "task=reviews"),
             ("distilbert", "HF_HUB_OFFLINE")),
        Case("model", "a twin of an unknown kind", (
            "bench.py", "model=distilbert", "model.weights=random", "model.architecture.model_type=gpt2"),
            ("gpt2", "supported")),
        Case("model", "a twin of no width", (
            "bench.py", "model=folder", "model.location=<bert>", "model.weights=random",
            "model.architecture={model_type: distilbert, dim: 0}"), ("dim",)),
    ]


def save_onnx(path: Path, data: str | None = None, outputs: int = 2, takes: str = "input_ids") -> None:
    """A small classifier: the mean of rows of a table; ``data`` is where it says that its weights lie."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4096, outputs)).astype("float32"), "table")
    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"]) for n in (takes, "attention_mask")]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])
    nodes = [helper.make_node("Gather", ["table", takes], ["rows"]),
             helper.make_node("ReduceMean", ["rows"], ["logits"], axes=[1], keepdims=0)]
    model = helper.make_model(helper.make_graph(nodes, "mean", ids, [logits], [table]), ir_version=8,
                              opset_imports=[helper.make_opsetid("", 17)])
    if data is not None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=data)
    onnx.save(model, path)


def _onnx(name: str, says: tuple[str, ...], make: Callable[[Place], None], *more: str) -> Case:
    def files(place: Place) -> None:
        folder = place.here / "m"
        folder.mkdir()
        for file in ("tokenizer.json", "config.json"):
            (folder / file).write_bytes((place.models["bert"] / file).read_bytes())
        make(place)

    return Case("model", name, ("bench.py", "model=folder", "model.location=m/model.onnx", *more), says, files)


def _onnx_cases() -> list[Case]:
    def saved(place: Place, **options: Any) -> Path:
        save_onnx(place.here / "m" / "model.onnx", **options)
        return place.here / "m" / "model.onnx"

    def shortened(place: Place) -> None:
        path = saved(place)
        path.write_bytes(path.read_bytes()[:-100])

    def outside(place: Place) -> None:
        saved(place, data="../secret")
        place.write("secret", b"\0" * 32768)

    def linked(place: Place) -> None:
        saved(place, data="model.onnx.data")
        (place.here / "m" / "model.onnx.data").symlink_to(place.write("secret", b"\0" * 100))

    def bare(place: Place) -> None:
        saved(place)
        (place.here / "m" / "tokenizer.json").unlink()

    def nameless(place: Place) -> None:
        saved(place)
        (place.here / "m" / "config.json").unlink()

    return [
        _onnx("an ONNX file that is not there", ("no such file",), lambda place: None),
        _onnx("an ONNX file of no bytes", ("model.onnx", "ONNX"),
              lambda place: place.write("m/model.onnx", "") and None),
        _onnx("an ONNX file cut off", ("model.onnx", "ONNX"), shortened),
        _onnx("text named onnx", ("model.onnx", "ONNX"), lambda place: place.write("m/model.onnx", GOOD) and None),
        _onnx("a pickle named onnx", ("model.onnx", "ONNX"),
              lambda place: place.write("m/model.onnx", pickle.dumps(_Evil())) and None),
        _onnx("weights outside the ONNX file's folder", ("../secret", "must lie beside it"), outside),
        _onnx("weights at an absolute path", ("/etc/passwd", "must lie beside it"),
              lambda place: saved(place, data="/etc/passwd") and None),
        _onnx("weights that are not there", ("model.onnx.data", "must lie beside it"),
              lambda place: saved(place, data="model.onnx.data") and None),
        _onnx("weights that are too short", ("model.onnx",), linked),
        _onnx("an ONNX file without a tokenizer", ("tokenizer.json", "model.tokenizer=FOLDER"), bare),
        _onnx("an ONNX file that takes pictures", ("takes pixels", "input_ids"),
              lambda place: saved(place, takes="pixels") and None),
        _onnx("an ONNX file of three classes", ("3 outputs", "2"), lambda place: saved(place, outputs=3) and None),
        _onnx("an ONNX file with a name too many", ("2 outputs", "3"), lambda place: saved(place) and None,
              "task.labels=[a,b,c]", "task.generator.validation=80"),
        Case("model", "an ONNX file to be trained", ("train.py", "model=folder", "model.location=m/model.onnx",
             "task.generator.validation=80"), ("bare ONNX file", "bench.py"),
             lambda place: ((place.here / "m").mkdir(), saved(place), shutil.copyfile(
                 place.models["bert"] / "tokenizer.json", place.here / "m" / "tokenizer.json"))),
    ]


SMI = """#!/bin/sh
{body}
"""
OLD_DRIVER = ("echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver: driver/library "
              "version mismatch'; exit 18")


def _nvidia(body: str) -> Callable[[Place], None]:
    return lambda place: place.write("bin/nvidia-smi", SMI.format(body=body)).chmod(0o755)


def _adb(*devices: tuple[str, str], **changes: Any) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        from tests.unit.fake_phone import FakePhone

        phone = FakePhone(place.here.parent / "phone")
        for name, value in changes.pop("properties", {}).items():
            phone.properties[name] = value
        phone.set(devices=[list(device) for device in devices or [("SERIAL1", "device")]])

    return make


def devices() -> list[Case]:
    """Phones through a fake adb, GPUs through a fake nvidia-smi."""
    short = (*TUNED, "measurement.lengths=[16]")
    phone = ("bench.py", *short, "device=android", "device.phone.adb=<here>/../phone/adb")
    none = ("bench.py", *short, "device=android", "device.phone.adb=no_such_adb")
    gpu = ("bench.py", *short, "device=cuda")
    path = {"PATH": "<here>/bin:" + os.environ["PATH"]}
    bare = {"PATH": "/usr/bin:/bin"}

    def case(name: str, command: tuple[str, ...], says: tuple[str, ...], make: Any = None, promise: str = REFUSED,
             variables: dict[str, str] | None = None) -> Case:
        return Case("device", name, (*command, "task.max_length=32"), says, make, variables or {}, promise)

    ready = (("SERIAL1", "device"),)
    runner = ("device.phone.runner=<here>/runner",)
    return [
        case("no adb", none, ("no Android device", "apt-get install adb"), promise=SKIPPED),
        case("no phone", phone, ("adb devices lists none",), lambda place: _no_phone(place), SKIPPED),
        case("two phones", phone, ("2 phones", "A1 (device)", "device.phone.serial=A1"),
             _adb(("A1", "device"), ("B2", "device"))),
        case("an unauthorised phone", phone, ("A1 is unauthorized", "USB debugging"), _adb(("A1", "unauthorized"))),
        case("a phone that is offline", phone, ("A1 is offline", "adb reconnect"), _adb(("A1", "offline"))),
        case("a phone that may not be opened", phone, ("A1 is no permissions", "udev"),
             _adb(("A1", "no permissions (user in plugdev group; are your udev rules wrong?)"))),
        case("a phone in recovery", phone, ("A1 is recovery", "adb devices -l"), _adb(("A1", "recovery"))),
        case("another phone", (*phone, "device.phone.serial=Z9"), ("device.phone.serial=Z9", "SERIAL1"), _adb(*ready)),
        case("a phone of 32 bits", phone, ("armeabi-v7a", "arm64-v8a"),
             _adb(*ready, properties={"ro.product.cpu.abi": "armeabi-v7a"})),
        case("cores in words", (*phone, "device.phone.cores=fast"), ("device.phone.cores='fast'", "4-7"), _adb(*ready)),
        case("cores that the phone lacks", (*phone, "device.phone.cores=4096"), ("device.phone.cores=4096",),
             _adb(*ready)),
        case("more threads than cores", (*phone, "device.phone.cores='0'", "device.threads=2"),
             ("device.threads=2", "device.phone.cores"), _adb(*ready)),
        case("no runner", (*phone, *runner), ("no native runner", "make mobile"), _adb(*ready)),
        case("a runner without files", (*phone, *runner), ("runner", "mobile/build.py"), lambda place: (
            _adb(*ready)(place), place.write("runner/manifest.json", '{"target": "android", "files": {"a": {}}}'))),
        case("a runner for another machine", (*phone, *runner), ("built for host", "android"), lambda place: (
            _adb(*ready)(place), place.write(
                 "runner/manifest.json", '{"target": "host", "files": {}, "onnxruntime": "1.31.1", "start": []}'))),
        case("a runner whose manifest is broken", (*phone, *runner), ("manifest.json", "build it again"),
             lambda place: (            _adb(*ready)(place), place.write("runner/manifest.json", "{"))),
        case("an adb that fails", ("bench.py", *short, "device=android", "device.phone.adb=<here>/adb"),
             ("adb devices", "cannot connect"), lambda place: place.write(
                 "adb", "#!/bin/sh\necho 'cannot connect to daemon' >&2\nexit 1\n").chmod(0o755)),
        case("an adb that is no program", ("bench.py", *short, "device=android", "device.phone.adb=<here>/adb"),
             ("adb can't be run",), lambda place: place.write("adb", b"\x7fELF\0\0").chmod(0o755)),
        case("no emulated phone", ("bench.py", *short, "device=android_emulated", "device.phone.emulator=<here>/none"),
             ("emulated",), promise=SKIPPED),
        case("no GPU", gpu, ("no CUDA device", "nvidia-smi"), None, SKIPPED, bare),
        case("a GPU that is hidden", gpu, ("CUDA_VISIBLE_DEVICES='-1' hides them all",), None, SKIPPED,
             {"CUDA_VISIBLE_DEVICES": "-1"}),
        case("an old driver beside a new library", gpu, ("no CUDA device", "version mismatch"), _nvidia(OLD_DRIVER),
             SKIPPED, path),
        case("a driver that lists no GPU", gpu, ("no CUDA device", "lists none"), _nvidia("exit 0"), SKIPPED, path),
        case("a driver that hangs up", gpu, ("no CUDA device", "exit code 9"), _nvidia("exit 9"), SKIPPED, path),
    ]


def _no_phone(place: Place) -> None:
    from tests.unit.fake_phone import FakePhone

    FakePhone(place.here.parent / "phone").set(devices=[])


def paths() -> list[Case]:
    """The same files under odd names, and places that can't be."""
    plain = ("train.py", *ENCODER, "task=files", "trainer.max_epochs=1")

    def works(name: str, folder: str, quote: str = "", link: bool = False, written: str | None = None) -> Case:
        """A file below ``folder``; ``written`` is how the command line names that folder."""

        def make(place: Place) -> None:
            path = place.write(f"{folder}/own.csv", GOOD)
            if link:
                target = path.rename(place.here / "real.csv")
                path.symlink_to(target)

        file = f"{quote}{written or folder}/own.csv{quote}"
        return Case("path", name, (*plain, f"task.train={file}", f"task.validation={file}"), (), make, promise=WORKS)

    def missing(name: str, value: str, says: tuple[str, ...], make: Any = None, **more: Any) -> Case:
        return Case("path", name, (*plain, f"task.train={value}", f"task.validation={value}"), says, make, **more)

    def dangling(place: Place) -> None:
        (place.here / "a.csv").symlink_to("nowhere")

    def loop(place: Place) -> None:
        (place.here / "a.csv").symlink_to("b.csv")
        (place.here / "b.csv").symlink_to("a.csv")

    return [
        works("spaces", "my own data", "'"),
        works("a single quote", "it's mine", '"'),
        works("Unicode", "données de été 数据 🙂", "'"),
        works("dots that lead up", "a", written="a/../a"),
        works("a symbolic link", "a", link=True),
        works("an equals sign and a comma", "a=b,c", "'"),
        works("a percent sign and a hash", "100%#1", "'"),
        works("a dollar sign", "a$b", "'"),
        missing("a link that leads nowhere", "a.csv", ("no file", "a.csv"), dangling),
        missing("links in a circle", "a.csv", ("no file", "a.csv"), loop),
        missing("a name of 300 characters", "a" * 300 + ".csv", ("task.train", "too long")),
        missing("a newline in a name", "'a\nb.csv'", ("task.train",)),
        missing("a quote in the name of what is not there", '\'"a".csv\'', ("task.train", "no file")),
        missing("Unicode in the name of what is not there", "'données.csv'", ("données.csv", "no file")),
        missing("Unicode without quotes", "données.csv", ("données.csv", "stands in quotes")),
        missing("a home that nobody has", "~nobody_of_that_name/a.csv", ("~nobody_of_that_name",)),
        missing("an empty name", "", ("task.",)),
        Case("path", "a model below Unicode and spaces", ("train.py", "model=folder", "model.location='mein Modell é'",
             "task=reviews", "task.generator.train=200", "task.generator.validation=80", "trainer.max_epochs=1"), (),
             lambda place: place.copy("bert_encoder", "mein Modell é"), promise=WORKS),
        Case("path", "a model that is a link", ("train.py", "model=folder", "model.location=link", "task=reviews",
             "task.generator.train=200", "task.generator.validation=80", "trainer.max_epochs=1"), (),
             lambda place: (place.here / "link").symlink_to(place.copy("bert_encoder")), promise=WORKS),
        Case("path", "a model with a newline", ("train.py", "model=folder", "model.location='a\nb'"),
             ("model.location",)),
        Case("path", "a model's name of 300 characters", ("train.py", "model=folder", f"model.location={'a' * 300}"),
             ("model.location",)),
        Case("path", "a store that is a file", ("train.py", *ENCODER, "store.root=a.csv"),
             ("a.csv", "EDGEDISTIL_STORE"),             lambda place: place.write("a.csv", GOOD)),
        Case("path", "a store below a file", ("train.py", *ENCODER, "store.root=a.csv/store"),
             ("a.csv/store", "EDGEDISTIL_STORE"), lambda place: place.write("a.csv", GOOD)),
        Case("path", "a store with a name of 300 characters", ("train.py", *ENCODER, f"store.root={'a' * 300}"),
             ("store.root", "too long")),
        Case("path", "data under a variable that names no folder", ("train.py", *ENCODER, "task=sst2"),
             ("EDGEDISTIL_DATA", "train.parquet"), None, {"EDGEDISTIL_DATA": "<here>/none"}),
        Case("path", "a report's folder with a newline", ("-m", "edgedistil", "report", "a\nb"), ("holds no cells",)),
        Case("path", "a folder of a name of 300 characters", ("-m", "edgedistil", "compare", "a" * 300, "b"),
             ("aaaa",)),
        Case("path", "a product's place below a file", ("-m", "edgedistil", "package", "<bert>", "--output", "a.csv/b"),
             ("cell",), lambda place: place.write("a.csv", GOOD)),
    ]


def files() -> list[Case]:
    """All of them."""
    return [*data(), *models(), *devices(), *paths()]
