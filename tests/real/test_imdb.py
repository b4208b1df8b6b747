"""IMDb: the texts that stand in both splits, and what loading 25,000 long reviews costs, the first time and later.

``EDGEDISTIL_DATA`` holds ``imdb/train.parquet`` and ``imdb/test.parquet``; ``make embedded-model`` has run.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]
# From reading the files to the first batch of a training, as a step does it, in a process of its own.
LOAD = """
import json, resource, sys, time
import torch
from pathlib import Path
from edgedistil.config.places import data_root, embedded_model_folder
from edgedistil.tasks.datamodule import TextDataModule
from edgedistil.tasks.encode import encode_with_types, load_tokenizer
from edgedistil.tasks.examples import load
from edgedistil.tasks.parts import divide
from edgedistil.tasks.source import Source
from edgedistil.tasks.splits import split_facts

task = {"name": "imdb", "text_columns": ["text"], "label_column": "label", "labels": ["negative", "positive"],
        "limit_train": None, "limit_validation": None, "held_out": 0.02}
files = {"train": str(data_root() / "imdb/train.parquet"), "validation": str(data_root() / "imdb/test.parquet")}
begin, cpu = time.monotonic(), time.process_time()
train, validation = (load(task, Source({}, files), split, None, 1) for split in files)
parts = divide(train, task, 1)
facts = split_facts(None, {}, train.texts, validation.texts)
tokenizer = load_tokenizer(embedded_model_folder(), 512)
data = TextDataModule(tokenizer, train.take(parts.train), train.take(parts.held_out), 0, 32, True, 1)
batch = next(iter(data.train_dataloader()))
facts["seconds"], facts["cpu_seconds"] = time.monotonic() - begin, time.process_time() - cpu
facts["sum"] = int(batch["input_ids"].sum())
if sys.argv[1:] == ["all"]:
    ids, types = encode_with_types(tokenizer, validation.texts)
    facts["validation_tokens"] = sum(map(len, ids))
facts["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the first start says, which also reads all of validation, and the second."""
    if not os.environ.get("EDGEDISTIL_DATA"):
        pytest.skip("EDGEDISTIL_DATA is not set")
    store = tmp_path_factory.mktemp("store")
    # As a step's process has them.
    threads = str(len(os.sched_getaffinity(0)))
    environment = {**os.environ, "EDGEDISTIL_STORE": str(store), "TOKENIZERS_PARALLELISM": "false",
                   "OMP_NUM_THREADS": threads}

    def start(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-c", LOAD, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]

    found = [start("all"), start()]
    print(*found)
    return found


def test_123_texts_stand_in_both_splits(loads: list[dict[str, Any]]) -> None:
    assert {facts["validation_texts_in_train"] for facts in loads} == {123}


def test_the_second_start_takes_seconds_and_gives_the_same_batch(loads: list[dict[str, Any]]) -> None:
    first, second = loads
    # One thread does it all, so on a machine that is free this is the time on the clock too.
    assert second["cpu_seconds"] < 5
    assert first["cpu_seconds"] > second["cpu_seconds"]
    assert first["sum"] == second["sum"]


def test_memory_stays_under_two_gibibytes(loads: list[dict[str, Any]]) -> None:
    assert max(facts["peak_mib"] for facts in loads) < 2048
    assert loads[0]["validation_tokens"] > 25_000 * 200
