"""``python -m edgedistil package``: the files that ship, and a card whose every figure stands in the record."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from tests.unit.tiny_cell import RECORD, add_graph, artifact, make_cell

from edgedistil.__main__ import main
from edgedistil.shipping.known import BASES, EMBEDDED, TASKS
from edgedistil.shipping.model_folder import read_model_folder
from edgedistil.shipping.product_facts import command_of, gather

SHIPPED = {"model.onnx", "model.onnx.data", "model.safetensors", "config.json", "tokenizer.json", "structure.json",
           "edgedistil.json", "README.md"}


@pytest.fixture
def uneven(tiny_model: Callable[..., Any], uneven_cut: Callable[[Any], Any], tiny_folder: Callable[..., Path]) -> Path:
    folder = add_graph(tiny_folder(uneven_cut(tiny_model("distilbert")), "uneven"))
    for name in ("reference.safetensors", "sensitivity.json"):
        (folder / name).write_text("not for others")
    return folder


@pytest.fixture
def dense(tiny_folder: Callable[..., Path]) -> Path:
    return add_graph(tiny_folder("distilbert", "dense"))


@pytest.fixture
def package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Path, str]]:
    """``package(cell, *options)``: exit code, the product's folder, what was printed."""

    def run(cell: Path, *options: str) -> tuple[int, Path, str]:
        output = tmp_path / "product"
        code = main(["package", str(cell), "--output", str(output), *options])
        printed = capsys.readouterr()
        return code, output, printed.out + printed.err

    return run


def test_a_product_holds_what_others_open_and_nothing_else(uneven: Path, tmp_path: Path, package: Any) -> None:
    code, product, printed = package(make_cell(tmp_path, uneven))
    assert code == 0
    assert {p.name for p in product.iterdir()} == SHIPPED
    for name in SHIPPED - {"edgedistil.json", "README.md"}:
        assert (product / name).read_bytes() == (uneven / name).read_bytes()
        assert (product / name).stat().st_mode & 0o777 == 0o644
    notes = json.loads((product / "edgedistil.json").read_text())
    assert set(notes["files"]) == SHIPPED - {"edgedistil.json", "README.md"}
    for name, entry in notes["files"].items():
        content = (product / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert notes["record"] == "f" * 64
    assert read_model_folder(product).max_length == 32
    assert "8 files" in printed
    # It can be used where it lies: no name of this store, machine or user is in it.
    for file in ("README.md", "edgedistil.json"):
        text = (product / file).read_text()
        assert not any(word in text for word in (str(tmp_path), "/home/", "secret-host"))


def test_links_or_copies_and_onnx_alone(dense: Path, tmp_path: Path, package: Any) -> None:
    cell = make_cell(tmp_path, dense)
    stored = tmp_path / "store/artifacts/export" / ("3" * 64) / "model.onnx.data"
    _, product, _ = package(cell, "--onnx-only")
    assert {p.name for p in product.iterdir()} == SHIPPED - {"model.safetensors", "structure.json"}
    assert (product / "model.onnx.data").stat().st_ino != stored.stat().st_ino
    card = (product / "README.md").read_text()
    assert "from transformers import" not in card
    assert "ORTModelForSequenceClassification" in card
    assert main(["package", str(cell), "--output", str(tmp_path / "linked"), "--link"]) == 0
    assert (tmp_path / "linked/model.onnx.data").stat().st_ino == stored.stat().st_ino


def test_the_hub_understands_the_metadata(uneven: Path, tmp_path: Path, package: Any) -> None:
    _, product, _ = package(make_cell(tmp_path, uneven))
    data = ModelCard.load(product / "README.md").data
    assert data.license == "apache-2.0"
    assert data.base_model == "distilbert/distilbert-base-uncased"
    assert data.datasets == ["nyu-mll/glue"]
    assert (data.language, data.pipeline_tag, data.library_name) == ("en", "text-classification", "onnxruntime")
    assert data.tags == ["edgedistil", "onnx", "pruning", "quantization", "int8"]
    assert data.model_name == "distilbert-sst2-structured-30-int8"
    first, second = data.eval_results
    assert first.task_type == "text-classification"
    assert (first.dataset_type, first.dataset_config) == ("nyu-mll/glue", "sst2")
    assert (first.dataset_split, first.metric_type, first.metric_value) == ("validation", "accuracy", 0.8807)
    assert first.metric_args == {"n": 872, "ci95": [0.8575, 0.9006]}
    assert (second.dataset_split, second.metric_value) == ("train", 0.9)
    assert second.dataset_args == {"part": "held out of train"}


def test_the_card_says_what_the_record_says(uneven: Path, tmp_path: Path, package: Any) -> None:
    _, product, _ = package(make_cell(tmp_path, uneven))
    card = (product / "README.md").read_text()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line[:1] == "|"]
    assert ["validation", "accuracy", "88.07 %", "85.75 % to 90.06 %", "872", "-0.46 (p 0.62)"] in table
    held_out = ["held out of train", "accuracy", "90.00 %", "88.00 % to 91.00 %", "5,003, phrases of 414 sentences"]
    assert [*held_out, "+0.10 (p 0.50)"] in table
    assert ["32", "1.50 [1.20, 1.30]", "2.50", "6.41 [6.30, 6.76]", "3.30 [6.30, 6.76]"] in table
    assert ["as they come", "1.23 [1.20, 1.30]", "2.50", "", ""] in table
    assert ["attention heads", "1", "3"] in table
    assert ["`model.safetensors`", f"{(product / 'model.safetensors').stat().st_size:,}"] in table
    for line in (
        "1. trained for `sst2` (FineTuning) on 66,002 texts, 1032 steps, seed 7",
        "2. pruned by 30 % of the encoder's weights (structured, FisherImportance: heads and FFN neurons removed; "
        "20,000 parameters became 12,345)",
        "3. written as ONNX, 8-bit weights, activations rounded to 8 bits as they come; beside the model in PyTorch: "
        "the same answers to 99.2 % of 128 texts",
        "As it is: 12,345 parameters, 1.85 GFLOP for 128 tokens.",
        "20.27 MB are what onnxruntime and the tokenizer open (model 19.80, tokenizer 0.47; 1 MB is 10⁶ bytes); "
        "uncompressed: 91.36 MB.",
        "Inside the graph, MB: embeddings 12.04, encoder 7.59.",
        "One text at a time, device `cpu`, AMD EPYC, instruction sets avx2, 1 thread, onnxruntime 1.31.1; ratios are "
        "of runs side by side and hold for this machine.",
        "Also there: start of a process to its first answer 149 ms; peak memory 106 MB; batch of 32: 491 texts/s.",
        "- Texts are cut after 32 tokens, as in training and in the scores above.",
        "- Licence: apache-2.0, as its base model, distilbert/distilbert-base-uncased.",
        f"- train was read from a file with SHA-256 `{'a' * 64}`.",
        "python bench.py task=sst2 task.data_dir=DATA_DIR compression=structured_30 seed=7",
    ):
        assert line in card.splitlines(), line
    assert "`AutoModel.from_pretrained` can't load `model.safetensors` here" in card
    assert "Sanh et al., DistilBERT" in card
    assert "Socher et al." in card


def test_a_dense_model_is_one_of_transformers(dense: Path, tmp_path: Path, package: Any) -> None:
    _, product, _ = package(make_cell(tmp_path, dense))
    card = ModelCard.load(product / "README.md")
    assert card.data.library_name == "transformers"
    assert 'pipeline("text-classification", model=FOLDER)' in card.text
    assert "can't load" not in card.text


def test_a_model_that_is_rounded_when_it_is_loaded_has_no_graph(dense: Path, tmp_path: Path, package: Any) -> None:
    for file in dense.glob("model.onnx*"):
        file.unlink()
    changes = {"compression": {"quantization": {"method": "nf4"}}, "device": RECORD["device"] | {"engine": "torch"}}
    cell = make_cell(tmp_path, dense, **changes)
    _, product, _ = package(cell)
    card = ModelCard.load(product / "README.md")
    assert card.data.tags == ["edgedistil", "quantization", "nf4"]
    assert "`BitsAndBytesConfig` of transformers" in card.text
    assert "python -m edgedistil predict" not in card.text
    assert main(["package", str(cell), "--output", str(tmp_path / "no"), "--onnx-only"]) == 2


def test_a_bare_onnx_file_is_somebody_elses(dense: Path, tmp_path: Path, package: Any) -> None:
    (dense / "model.safetensors").unlink()
    (dense / "config.json").write_text(json.dumps({"id2label": {"0": "bad", "1": "good"}}))
    _, product, _ = package(make_cell(tmp_path, dense, compression=None))
    card = ModelCard.load(product / "README.md")
    assert "precision: as the ONNX file was given" in card.text
    assert "Optimum" not in card.text
    assert (card.data.library_name, card.data.tags) == ("onnxruntime", ["edgedistil", "onnx"])
    assert read_model_folder(product).labels == ["bad", "good"]


@pytest.mark.parametrize(("changes", "said", "not_said"), [
    ({"valid": False, "invalid_because": ["the machine was busy"]},
     "None: the times of this run may not be quoted (the machine was busy).", "1.50 ["),
    ({"timed": False}, "Not measured: the record has scores and sizes alone.", "1.50 ["),
    ({"environment": RECORD["environment"] | {"emulated": True, "device_facts": {
        "emulated": True, "manufacturer": "M", "model": "P", "serial": "S3CR3T"}}},
     "None: the device was emulated (device `cpu`, M P,", "S3CR3T"),
])
def test_times_that_may_not_be_quoted_are_not(changes: dict[str, Any], said: str, not_said: str, dense: Path,
                                              tmp_path: Path, package: Any) -> None:
    _, product, _ = package(make_cell(tmp_path, dense, **changes))
    card = (product / "README.md").read_text()
    assert said in card
    assert not_said not in card


def test_a_model_of_ones_own_has_no_licence_until_it_is_said(dense: Path, tmp_path: Path, package: Any) -> None:
    cell = make_cell(tmp_path, dense, base={"origin": "folder", "files": {"model.safetensors": "d" * 64}})
    _, product, printed = package(cell)
    assert "licence is not known" in printed
    data = ModelCard.load(product / "README.md").data
    assert (data.license, data.base_model) == ("unknown", None)
    again = tmp_path / "again"
    assert main(["package", str(cell), "--output", str(again), "--licence", "mit", "--base-model", "me/mine"]) == 0
    data = ModelCard.load(again / "README.md").data
    assert (data.license, data.base_model) == ("mit", "me/mine")
    assert "Licence: mit, as its maker says." in (again / "README.md").read_text()


def test_a_folder_that_this_store_trained_is_known_again(dense: Path, tmp_path: Path) -> None:
    """Trained here, then given as a folder: what it began with is found by the digest of its weights."""
    cell = make_cell(tmp_path, dense, base={"origin": "folder", "files": {"model.safetensors": "d" * 64}})
    artifact(tmp_path / "store", "train", "9" * 64, {}, files={"model.safetensors": {"sha256": "d" * 64, "bytes": 1}},
             options={"model": {"origin": "package", "sha256": "e" * 64}})
    # Others that are damaged, looked at before it.
    for key, text in {"5": "{", "6": '{"files": [1]}', "7": '{"files": {"model.safetensors": 3}}'}.items():
        (artifact(tmp_path / "store", "train", key * 64, {}) / "artifact.json").write_text(text)
    facts = gather(cell)
    assert [made.step for made in facts.steps] == ["export", "prune", "train", "train"]
    assert (facts.base, facts.licence, facts.gone) == (EMBEDDED, "apache-2.0", None)


def test_a_student_names_its_teacher(dense: Path, tmp_path: Path, package: Any) -> None:
    cell = make_cell(tmp_path, dense)
    validation = {"accuracy": 0.887615, "n": 872}
    artifact(tmp_path / "store", "adopt", "8" * 64, {}, facts={"parameters": 22_713_218, "validation": validation})
    train = tmp_path / "store/artifacts/train" / ("1" * 64) / "artifact.json"
    taught = json.loads(train.read_text()) | {"inputs": {"teacher": {"step": "adopt", "fingerprint": "8" * 64}}}
    train.write_text(json.dumps(taught))
    # What recovers a cut model is the model itself, uncut: no teacher of somebody else's.
    prune = tmp_path / "store/artifacts/prune" / ("2" * 64) / "artifact.json"
    content = json.loads(prune.read_text())
    content["inputs"]["teacher"] = {"step": "train", "fingerprint": "1" * 64}
    prune.write_text(json.dumps(content))
    _, product, _ = package(cell)
    card = ModelCard.load(product / "README.md")
    assert "distillation" in card.data.tags
    lines = card.text.splitlines()
    assert "1. trained for `sst2` (FineTuning with a teacher) on 66,002 texts, 1032 steps, seed 7" in lines
    told = [line for line in lines if line.startswith("Its teacher")]
    assert told == ["Its teacher: 22,713,218 parameters, accuracy 0.8876 on 872 validation texts."]


def test_a_record_alone_has_no_command_and_a_store_without_its_steps_says_so(dense: Path, tmp_path: Path,
                                                                             package: Any) -> None:
    make_cell(tmp_path, dense)
    (tmp_path / "store/artifacts/train" / ("1" * 64) / "artifact.json").unlink()
    _, product, _ = package(tmp_path / "store/artifacts/bench" / ("f" * 64))
    card = (product / "README.md").read_text()
    assert "The command is kept with the run's cell" in card
    assert "1. a step `train` that is no longer in the store" in card
    assert "Its history is not complete" in card


def spoilt(cell: Path, **changes: Any) -> None:
    file = cell / "cell.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def record_of(cell: Path) -> Path:
    return Path(json.loads((cell / "cell.json").read_text())["folder"]) / "record.json"


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda cell: spoilt(cell, status="failed", why="out of memory"), "is failed (out of memory): there is no model"),
    (lambda cell: spoilt(cell, stage="compress", step="export"), "is a cell of compress.py, which measures nothing"),
    (lambda cell: spoilt(cell, folder="/nowhere"), "is no longer in the store; run: python bench.py task=sst2"),
    (lambda cell: (cell / "cell.json").unlink(), "has no cell.json and no record.json"),
    (lambda cell: (cell.parents[1] / "store/artifacts/export" / ("3" * 64) / "artifact.json").unlink(),
     "(export 333333333333) is no longer in the store; run the cell again: python bench.py"),
    (lambda cell: (cell.parents[1] / "store/artifacts/train" / ("1" * 64) / "artifact.json").write_text('{"step"'),
     "/artifact.json is damaged (JSONDecodeError"),
    (lambda cell: (cell.parents[1] / "product").write_text("mine"), "is there already"),
    (lambda cell: record_of(cell).write_text('{"schema_version"'), "record.json can't be read: JSONDecodeError"),
    (lambda cell: record_of(cell).write_text('{"schema_version": 9}'), "has schema_version=9, known here: 1, 2, 3"),
])
def test_what_can_not_be_packaged_is_one_line_and_leaves_nothing(spoil: Callable[[Path], Any], message: str,
                                                                 dense: Path, tmp_path: Path, package: Any) -> None:
    cell = make_cell(tmp_path, dense)
    spoil(cell)
    before = sorted(p.name for p in tmp_path.iterdir())
    code, _, printed = package(cell)
    assert code == 2
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert message in printed
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("changes", [{"random_weights": True}, {"model": {"head": "vocabulary, random weights"}}])
def test_random_weights_are_nothing_to_ship(changes: dict[str, Any], dense: Path, tmp_path: Path, package: Any) -> None:
    code, product, printed = package(make_cell(tmp_path, dense, **changes))
    assert code == 2
    assert "random weights" in printed
    assert not product.exists()


def test_a_sweeps_folder_names_its_cells(dense: Path, tmp_path: Path, package: Any) -> None:
    cell = make_cell(tmp_path, dense)
    other = cell.parent / "1"
    other.mkdir()
    outcome = json.loads((cell / "cell.json").read_text())
    (other / "cell.json").write_text(json.dumps(outcome | {"output_dir": str(other)}))
    code, _, printed = package(cell.parent)
    assert code == 2
    assert "holds 2 cells, and a product is made of one" in printed
    assert "0 (structured 30 % · INT8), 1 (structured 30 % · INT8)" in printed
    # Of one whose file is damaged less is known.
    (other / "cell.json").write_text("{")
    code, _, printed = package(cell.parent)
    assert code == 2
    assert printed.count("\n") == 1
    assert "made of one: give" in printed


def test_a_model_cut_in_steps_has_its_story(dense: Path, tmp_path: Path, package: Any) -> None:
    cell = make_cell(tmp_path, dense)
    steps = tmp_path / "store/artifacts"
    (steps / "prune").rename(steps / "prune_gradually")
    cut = steps / "prune_gradually" / ("2" * 64) / "artifact.json"
    cut.write_text(json.dumps(json.loads(cut.read_text()) | {"step": "prune_gradually"}))
    export = steps / "export" / ("3" * 64) / "artifact.json"
    content = json.loads(export.read_text())
    content["inputs"]["model"]["step"] = "prune_gradually"
    export.write_text(json.dumps(content))
    card = (package(cell)[1] / "README.md").read_text()
    assert "step `prune_gradually`" not in card
    assert "12,345" in card


def test_nothing_is_left_when_it_is_interrupted(dense: Path, tmp_path: Path, package: Any,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(tmp_path, dense)
    before = sorted(p.name for p in tmp_path.iterdir())

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", stop)
    code, _, printed = package(cell)
    assert (code, printed) == (130, "stopped by Ctrl-C\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_command_names_no_place_of_this_machine() -> None:
    kept = ["task=sst2", "model.layers=[0,2,4]", "task.train=mine.csv", "label=a b", "compression/quantization=int8"]
    places = ["task.data_dir=/home/me/sst2", "model.location=~/model", "+x.files=[/a/b,/c]", "y=../z", "w='/q r'"]
    said = command_of({"stage": "bench", "overrides": kept + places})
    assert said == (
        "python bench.py task=sst2 'model.layers=[0,2,4]' task.train=mine.csv 'label=a b' "
        "compression/quantization=int8 task.data_dir=DATA_DIR model.location=LOCATION +x.files=FILES y=Y w=W"
    )


def test_what_is_known_is_what_the_configs_name(repository: Path) -> None:
    tasks = {f.stem: yaml.safe_load(f.read_text()) for f in (repository / "conf/task").glob("*.yaml")}
    named = {name: (t["hub"], t.get("hub_config")) for name, t in tasks.items() if t.get("hub")}
    assert {name: (data.hub, data.config) for name, data in TASKS.items()} == named
    models = [yaml.safe_load(f.read_text()) for f in (repository / "conf/model").glob("*.yaml")]
    assert {m["location"] for m in models if m.get("origin") == "hub"} <= set(BASES)
