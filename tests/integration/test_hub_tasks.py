"""Tasks of every kind as configured, read from a hub on this machine's loopback: ids, configs, splits, columns."""

import io
import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from conftest import REPOSITORY
from loopback_hub import COMMIT, LoopbackHub, loopback_hub

PAIRS = {"premise": ["a man eats", "a dog runs"], "hypothesis": ["he eats", "a cat runs"]}
SPLITS: dict[str, dict[str, dict[str, Any]]] = {
    # What the hub calls two of mnli's splits is no prefix of the others.
    "nyu-mll/glue/mnli": {
        "train": PAIRS | {"label": [0, 2]}, "validation_matched": PAIRS | {"label": [1, 0]},
        "validation_mismatched": PAIRS | {"label": [2, 1]},
    },
    "nyu-mll/glue/stsb": {
        split: {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0.5, 5.0]}
        for split in ("train", "validation")
    },
    "rajpurkar/squad/plain_text": {
        split: {
            "id": ["1", "2"], "title": ["t", "t"], "context": ["the film was good", "the plot was thin"],
            "question": ["what was good ?", "how was the plot ?"],
            "answers": [{"text": ["film"], "answer_start": [4]}, {"text": ["thin"], "answer_start": [13]}],
        }
        for split in ("train", "validation")
    },
    "Salesforce/wikitext/wikitext-2-v1": {
        split: {"text": ["", " = A heading = ", f" a line of {split} "]} for split in ("train", "validation", "test")
    },
}  # fmt: skip
READ = """
import json, sys
from pathlib import Path
from hydra import compose, initialize_config_dir
from edgedistil.config.schemas import register
from edgedistil.config.validation import validate
from edgedistil.store.fingerprint import DigestCache
from edgedistil.tasks import examples, questions, source, texts

register()
here, commit, digests = sys.argv[1], sys.argv[2], DigestCache(Path("digests.json"))
told = {}
with initialize_config_dir(here, version_base=None):
    for name in ("mnli", "stsb", "squad", "wikitext2"):
        more = ["objective=masked_language_modelling"] if name == "wikitext2" else []
        task = validate(compose("train", [f"task={name}", f"task.revision={commit}", *more]))["task"]
        if name == "wikitext2":
            told[name] = list(texts.read(texts.locate(task, "validation", digests), "text"))
            continue
        place, splits = source.locate(task, digests, True), ["train", "validation", *(task["more_splits"] or {})]
        if name == "squad":
            read = {s: questions.load_questions(task, place, s, 1) for s in splits}
            told[name] = {s: [q.questions, q.answers, q.starts] for s, q in read.items()}
        else:
            read = {s: examples.load(task, place, s, None, 1) for s in splits}
            told[name] = {s: [e.texts, e.labels] for s, e in read.items()}
print(json.dumps(told))
"""


@pytest.fixture
def hub() -> Any:
    repositories: dict[str, dict[str, bytes]] = {}
    for place, splits in SPLITS.items():
        name, config = place.rsplit("/", 1)
        files = repositories.setdefault(f"datasets/{name}", {"README.md": b"---\nconfigs:\n"})
        files["README.md"] += f"- config_name: {config}\n  data_files:\n".encode()
        for split, columns in splits.items():
            buffer = io.BytesIO()
            pandas.DataFrame(columns).to_parquet(buffer)
            files[f"{config}/{split}-00000-of-00001.parquet"] = buffer.getvalue()
            files["README.md"] += f"  - {{split: {split}, path: {config}/{split}-*}}\n".encode()
    for files in repositories.values():
        files["README.md"] += b"---\n"
    with loopback_hub(repositories) as running:
        yield running


def test_tasks_of_every_kind_come_from_the_hub(run: Any, hub: LoopbackHub, tmp_path: Path) -> None:
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": ""}
    ran = run("-c", READ, str(REPOSITORY / "conf"), COMMIT, cwd=tmp_path, store=tmp_path / "store", env=env).ok()
    told = json.loads(ran.out.splitlines()[-1])
    texts = [list(pair) for pair in zip(PAIRS["premise"], PAIRS["hypothesis"], strict=True)]
    assert told["mnli"] == {
        "train": [texts, [0, 2]], "validation": [texts, [1, 0]], "mismatched": [texts, [2, 1]],
    }  # fmt: skip
    assert told["stsb"]["validation"] == [[["a", "c"], ["b", "d"]], [0.5, 5.0]]
    asked = ["what was good ?", "how was the plot ?"]
    assert told["squad"]["train"] == [asked, [["film"], ["thin"]], [4, 13]]
    assert told["wikitext2"] == ["", " = A heading = ", " a line of validation "]
    files = {path for path in hub.paths() if path.endswith(".parquet")}
    # At the pinned commit, of the configs that were asked for.
    wanted = {f"/datasets/{p.rsplit('/', 1)[0]}/resolve/{COMMIT}/{p.rsplit('/', 1)[1]}/{s}-00000-of-00001.parquet"
              for p, splits in SPLITS.items() for s in splits}
    assert files == wanted
