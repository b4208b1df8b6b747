"""The real tasks of GLUE from files, by their configs: columns, labels, numbers of rows, shares of the classes.

``EDGEDISTIL_DATA`` holds a folder a task; where a folder holds ``train_sample.parquet`` alone, that is read.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("EDGEDISTIL_DATA"), reason="EDGEDISTIL_DATA is not set"),
]
CONF = Path(__file__).resolve().parents[2] / "conf"
# Of validation: how many texts, columns of a text, the share in per cent of its largest class.
PUBLISHED = {
    "cola": (1043, 1, 69.1), "mrpc": (408, 2, 68.4), "rte": (277, 2, 52.7), "wnli": (71, 2, 56.3),
    "sst2": (872, 1, 50.9), "qnli": (5463, 2, 50.5), "stsb": (1500, 2, None),
}  # fmt: skip
SAMPLED = {
    "mnli": ["task.validation_split=validation_matched_sample1000",
             "task.more_splits={mismatched: validation_mismatched_sample1000}"],
    "qqp": ["task.validation_split=train_sample_heldout"],
}


def read(name: str, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the task's group, its splits)."""
    from hydra import compose, initialize_config_dir

    from edgedistil.config.schemas import register
    from edgedistil.config.validation import validate
    from edgedistil.store.fingerprint import DigestCache
    from edgedistil.tasks.examples import load
    from edgedistil.tasks.source import locate

    folder = Path(os.environ["EDGEDISTIL_DATA"]) / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    part = (folder / "train_sample.parquet").is_file()
    changes = ["task.train_split=train_sample", *SAMPLED.get(name, [])] if part else []
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        task = validate(compose("train", [f"task={name}", *changes]))["task"]
    source = locate(task, DigestCache(tmp_path / "digests.json"), True)
    splits = ["train", "validation", *(task["more_splits"] or {})]
    names = load(task, source, "train", None, 1).label_names
    return task, {s: load(task, source, s, names, 1) for s in splits}


@pytest.mark.parametrize("name", [*PUBLISHED, *SAMPLED])
def test_a_task_is_what_its_config_says(name: str, tmp_path: Path) -> None:
    task, splits = read(name, tmp_path)
    found = splits["validation"]
    assert task["name"] == name
    assert all(len(text) == len(task["text_columns"]) for text in found.texts)
    if name in SAMPLED:
        assert all(len(s) <= task["rows"][split] for split, s in splits.items())
        assert set(found.labels) == set(range(len(task["labels"])))
        return
    n, columns, share = PUBLISHED[name]
    assert (len(found), len(task["text_columns"])) == (n, columns)
    assert task["rows"]["validation"] == n
    if share is None:
        assert 0 <= min(found.labels) < max(found.labels) <= 5
    else:
        assert 100 * max(Counter(found.labels).values()) / n == pytest.approx(share, abs=0.05)
