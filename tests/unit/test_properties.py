"""What is written is read back equal, whatever is in it: files of the store, of users, of models; names of content."""

import csv
import json
import random
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.fuzz.target import empty_folder

from edgedistil.config.canonical import UNTIL, canonical_compression
from edgedistil.config.question_answering import QUESTION_ANSWERING
from edgedistil.config.schemas import Compression, Pruning, Quantization, Recovery, Task
from edgedistil.models.structure import _rows, read_structure
from edgedistil.shipping.rows import rows
from edgedistil.store.files import parse_json, read_json, write_json
from edgedistil.store.fingerprint import DigestCache, fingerprint
from edgedistil.store.integrity import changed, damage_on_disk
from edgedistil.store.progress import begin, tell, told
from edgedistil.store.store import Store
from edgedistil.tasks.examples import load
from edgedistil.tasks.source import Source
from edgedistil.tasks.table_files import read_file

NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
TREES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12,
)
# What a line of a file may hold: every sign but half of a pair of surrogates and the zero byte.
LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
WORDS = LINES.filter(lambda text: bool(text.strip()))


@given(TREES)
def test_json_is_read_as_it_was_written(in_memory: Path, tree: Any) -> None:
    with empty_folder(in_memory) as folder:
        write_json(folder / "a.json", tree)
        assert read_json(folder / "a.json") == tree
    assert parse_json(json.dumps(tree, ensure_ascii=False)) == tree


def shuffled(tree: Any, chance: random.Random) -> Any:
    """The same content with the keys of every object in another order."""
    if isinstance(tree, dict):
        return {k: shuffled(tree[k], chance) for k in chance.sample(list(tree), len(tree))}
    return [shuffled(part, chance) for part in tree] if isinstance(tree, list) else tree


@given(TREES, st.randoms(use_true_random=False))
def test_a_fingerprint_does_not_see_the_order_of_keys(tree: Any, chance: random.Random) -> None:
    assert fingerprint(shuffled(tree, chance)) == fingerprint(tree)
    # What comes back from a file is the same content.
    assert fingerprint(json.loads(json.dumps(tree))) == fingerprint(tree)


@given(TREES, TREES)
def test_other_content_has_another_fingerprint(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint(one) == fingerprint(other)) is same
    assert fingerprint({"a": one, "b": [other]}) != fingerprint({"a": one, "b": other})


@st.composite
def compressions(draw: st.DrawFn) -> dict[str, Any]:
    methods = st.sampled_from
    cut = Pruning(draw(methods(["none", "magnitude", "structured"])), draw(methods([0.0, 0.3, 0.5])))
    recovery = Recovery(draw(methods(["none", "distillation"])), steps=draw(methods([0, 600])))
    quantization = Quantization(draw(methods(["none", "int8_dynamic", "fp16", "int4_ort"])))
    chosen = asdict(Compression(cut, recovery, quantization))
    chosen["until"] = draw(methods(UNTIL))
    chosen["vocabulary"]["method"] = draw(methods(["none", "trimmed"]))
    chosen["qat"] |= {"method": draw(methods(["none", "distillation"])), "steps": draw(methods([0, 10]))}
    return chosen


@settings(max_examples=40)
@given(compressions(), st.randoms(use_true_random=False))
def test_a_canonical_cell_is_canonical_and_knows_no_order(chosen: dict[str, Any], chance: random.Random) -> None:
    before, once = deepcopy(chosen), canonical_compression(chosen)
    assert chosen == before, "what was given is left alone"
    assert canonical_compression(shuffled(chosen, chance)) == once
    # What was dropped is not read: with the options that were given back in their places nothing changes.
    parts = {part: given | once.get(part, {"method": "none"}) for part, given in chosen.items() if part != "until"}
    assert fingerprint(canonical_compression(parts | {"until": "all"})) == fingerprint(once)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["a", "b", "c/d"]), st.binary(max_size=40), min_size=1), TREES)
def test_an_artifact_is_what_was_published_until_a_byte_changes(
    in_memory: Path, files: dict[str, bytes], tree: Any
) -> None:
    with empty_folder(in_memory) as folder:
        store = Store(folder)
        output = store.open_work("k") / "output"
        for name, data in files.items():
            (output / name).parent.mkdir(exist_ok=True)
            (output / name).write_bytes(data)
        place = store.publish("train", "k", {"options": tree, "seconds": 1.0})
        assert store.read("train", "k")["options"] == tree
        assert damage_on_disk(place) is None
        changed_one = place / sorted(files)[0]
        changed_one.write_bytes(changed_one.read_bytes() + b"x")
        assert str(changed_one) in str(damage_on_disk(place))
        if changed_one.parent == place:
            assert changed(changed_one) == damage_on_disk(place)


@given(st.dictionaries(LINES.filter(lambda name: 0 < len(name.encode()) < 200 and "/" not in name and name not in "..")
                       , st.binary(max_size=9), min_size=1, max_size=4))
def test_digests_are_remembered_under_every_name(in_memory: Path, files: dict[str, bytes]) -> None:
    with empty_folder(in_memory) as folder:
        paths = {folder / "files" / name: data for name, data in files.items()}
        (folder / "files").mkdir()
        for path, data in paths.items():
            path.write_bytes(data)
        first = {path: DigestCache(folder / "digests.json").digest(path) for path in paths}
        cache = DigestCache(folder / "digests.json")
        cache.forget_what_is_gone()
        kept = json.loads((folder / "digests.json").read_text())
        assert sorted(kept.values()) == sorted(first.values())
        assert {path: cache.digest(path) for path in paths} == first


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.text())
def test_progress_is_told_as_it_was_said(in_memory: Path, one: int, other: int, unit: str) -> None:
    with empty_folder(in_memory) as folder:
        begin(folder)
        tell(min(one, other), max(one, other), unit)
        assert told(folder) == {"done": min(one, other), "total": max(one, other), "unit": unit}


def read_back(in_memory: Path, name: str, content: list[dict[str, str]]) -> dict[str, list[Any]]:
    with empty_folder(in_memory) as folder:
        file = folder / name
        if name.endswith("parquet"):
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), file)
        elif "json" in name:
            whole = [json.dumps(row, ensure_ascii=len(content) % 2 == 0) for row in content]
            file.write_text("\n".join(whole) if name.endswith("l") else f"[{','.join(whole)}]", encoding="utf-8")
        else:
            with file.open("w", encoding=("utf-8", "utf-8-sig")[len(content) % 2], newline="") as stream:
                separator, end = ("\t" if name.endswith("tsv") else ","), ("\n", "\r\n", "\r")[len(content) % 3]
                # Python's writer quotes a carriage return only where it is a line end of its own.
                quoting = csv.QUOTE_ALL if any("\r" in row["text"] for row in content) else csv.QUOTE_MINIMAL
                form: dict[str, Any] = {"delimiter": separator, "lineterminator": end, "quoting": quoting}
                writer = csv.DictWriter(stream, list(content[0]), **form)
                writer.writeheader()
                writer.writerows(content)
        examples = load(asdict(Task(name="mine")), Source({}, {"train": str(file)}), "train", None, 1)
        columns = read_file(str(file))
        assert [text for text, in examples.texts] == columns["text"]
        assert [examples.label_names[label] for label in examples.labels] == columns["label"]
        return columns


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"])
@settings(max_examples=50)
@given(st.lists(WORDS.map(lambda text: "a" + text), min_size=1, max_size=6))
def test_texts_of_a_users_file_are_those_that_were_written(in_memory: Path, name: str, texts: list[str]) -> None:
    content = [{"text": text, "label": ("no", "yes")[i % 2]} for i, text in enumerate([*texts, "a last one"])]
    found = read_back(in_memory, name, content)
    assert found == {key: [row[key] for row in content] for key in ("text", "label")}


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_lines_of_predict_are_the_texts_that_were_asked(pairs: list[tuple[str, str]]) -> None:
    asked = [{"text": one, "text_pair": other} for one, other in pairs]
    lines = [json.dumps(one).encode() + b"\r\n" for one in asked]
    assert [row for _, row in rows(lines, "sequence_classification", "line")] == asked
    about = [{"context": other, "question": one} for one, other in pairs]
    assert [row for _, row in rows(map(json.dumps, about), QUESTION_ANSWERING, "text")] == about
    where = [where for where, _ in rows(lines, "sequence_classification", "line")]
    assert where == [f"line {i}" for i in range(1, len(pairs) + 1)]


@given(st.integers(1, 64), st.lists(st.tuples(st.integers(1, 16), st.integers(1, 4000)), max_size=6))
def test_a_structure_is_read_as_it_was_written(in_memory: Path, size: int, layers: list[tuple[int, int]]) -> None:
    told = {"head_size": size, "layers": [{"heads": heads, "ffn": ffn} for heads, ffn in layers]}
    with empty_folder(in_memory) as folder:
        (folder / "structure.json").write_text(json.dumps(told, indent=2) + "\n")
        assert read_structure(folder) == told


@given(st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 5), max_size=3), max_size=4))
def test_rows_of_tensors_are_those_that_safetensors_wrote(in_memory: Path, shapes: dict[str, list[int]]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    assume("__metadata__" not in shapes)
    with empty_folder(in_memory) as folder:
        save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / "m.safetensors")
        assert _rows(folder / "m.safetensors") == {name: shape[0] for name, shape in shapes.items() if shape}
