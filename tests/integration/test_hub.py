"""Models and data sets of the hub, from a hub on this machine's loopback, and what is said when there is none."""

import io
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from loopback_hub import COMMIT, LoopbackHub, loopback_hub

from edgedistil.tasks.generated import generate

MODEL = ["model=folder", "model.origin=hub", "model.location=tiny/encoder"]
DATA = ["task=hub", "task.hub=tiny/reviews", "task.hub_config=small", "task.labels=[negative,positive]"]
PINNED = [f"model.revision={COMMIT}", f"task.revision={COMMIT}"]
SMALL = ["task.max_length=32", "trainer.max_epochs=1", "loader.batch_size=16"]
CARD = """---
configs:
- config_name: small
  data_files:
  - {split: train, path: small/train-*}
  - {split: validation, path: small/validation-*}
- config_name: other
  data_files: [{split: train, path: other/train-*}]
---
"""
LIMIT_S = 10.0


@pytest.fixture(scope="module")
def repositories(models: dict[str, Path]) -> dict[str, dict[str, bytes]]:
    def parquet(split: str) -> bytes:
        buffer = io.BytesIO()
        pandas.DataFrame(generate(split, "reviews", 100, 40, 1)).to_parquet(buffer)
        return buffer.getvalue()

    names = ("config.json", "model.safetensors", "tokenizer.json")
    return {
        "models/tiny/encoder": {
            **{name: (models["distilbert_encoder"] / name).read_bytes() for name in names},
            "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64}',
        },
        # As many an older repository: weights that only unpickling would load.
        "models/tiny/pickled": {
            "config.json": (models["distilbert_encoder"] / "config.json").read_bytes(),
            "pytorch_model.bin": b"a pickle",
        },
        "datasets/tiny/reviews": {
            "README.md": CARD.encode(),
            "small/train-00000-of-00001.parquet": parquet("train"),
            "small/validation-00000-of-00001.parquet": parquet("validation"),
            "other/train-00000-of-00001.parquet": b"never asked for",
        },
    }


@pytest.fixture(scope="module")
def hub(repositories: dict[str, dict[str, bytes]]) -> Iterator[LoopbackHub]:
    with loopback_hub(repositories) as running:
        yield running


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries' caches, which the first training fills."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def online(run: Any, hub: LoopbackHub, caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(the training of a hub model on a hub data set, what the hub was asked for it)."""
    root = tmp_path_factory.mktemp("online")
    command = ["train.py", *MODEL, *DATA, *PINNED, *SMALL]
    ran = run(*command, cwd=root, store=root / "store", env=_variables(hub.url, caches)).ok()
    return ran, list(hub.asked)


def _variables(endpoint: str, caches: Path, offline: str = "") -> dict[str, str]:
    return {"HF_ENDPOINT": endpoint, "HF_HOME": str(caches / "hf"), "HF_HUB_OFFLINE": offline}


def test_model_and_data_set_come_from_the_pinned_commit(online: Any) -> None:
    ran, asked = online
    assert ran.summary["facts"]["label_names"] == ["negative", "positive"]
    assert ran.summary["facts"]["train_texts"] == 90
    assert ran.summary["facts"]["validation"]["n"] == 40
    assert "tiny/reviews" in ran.out
    paths = {path for _, path in asked}
    model, data = f"/tiny/encoder/resolve/{COMMIT}", f"/datasets/tiny/reviews/resolve/{COMMIT}/small"
    for wanted in (f"{model}/model.safetensors", f"{model}/tokenizer.json", f"{data}/train-00000-of-00001.parquet",
                   f"{data}/validation-00000-of-00001.parquet"):
        assert ("GET", wanted) in asked
    assert not [path for path in paths if "/other/train" in path]
    # Every question names the commit: nothing is taken from a branch that moves.
    assert [path for path in paths if COMMIT not in path] == []


def test_nothing_is_told_to_the_hub(online: Any) -> None:
    asked = online[1]
    assert {method for method, _ in asked} <= {"GET", "HEAD"}
    assert not [path for _, path in asked if "telemetry" in path]
    allowed = re.compile(r"/(api/(models|datasets)/)?(datasets/)?tiny/(encoder|reviews)/(resolve|revision|tree)/")
    assert [path for _, path in asked if not allowed.match(path)] == []


@pytest.mark.long
def test_caches_serve_at_the_pinned_commit_when_the_hub_is_gone(
    online: Any, run: Any, caches: Path, tmp_path: Path
) -> None:
    env = _variables("http://127.0.0.1:9", caches)
    ran = run("train.py", *MODEL, *DATA, *PINNED, *SMALL, cwd=tmp_path / "cwd", store=tmp_path / "store", env=env).ok()
    assert "does not answer" in ran.err
    assert ran.summary["facts"] == online[0].summary["facts"]
    # Another commit of a data set whose one commit is there is not served from it.
    other = [f"model.revision={COMMIT}", f"task.revision={'f' * 40}"]
    line = _refused(run("train.py", *MODEL, *DATA, *other, cwd=tmp_path / "x", store=tmp_path / "s", env=env))
    assert "the data set 'tiny/reviews' can't be had" in line


@pytest.mark.parametrize(("model", "data", "needle"), [
    ("f" * 40, COMMIT, f"model.revision='{'f' * 40}' is no revision of the hub's model 'tiny/encoder'"),
    (COMMIT, "v2", "task.revision='v2' is no revision of the hub's data set 'tiny/reviews'"),
])
def test_a_revision_that_is_none(
    run: Any, hub: LoopbackHub, tmp_path: Path, model: str, data: str, needle: str
) -> None:
    before = len(hub.asked)
    command = [*MODEL, *DATA, f"model.revision={model}", f"task.revision={data}"]
    ran = run("train.py", *command, cwd=tmp_path / "cwd", store=tmp_path / "s", env=_variables(hub.url, tmp_path))
    assert needle in _refused(ran)
    wrong = model if model != COMMIT else data
    assert any(path.endswith(f"/revision/{wrong}") for path in hub.paths()[before:])


@pytest.mark.parametrize(("changes", "needle"), [
    (["model.location=tiny/nothing"], "the model 'tiny/nothing' can't be had from the hub (no such repository"),
    (["model.location=tiny/pickled"], "has no model.safetensors, and pickled weights are never loaded: name a commit"),
    (["task.validation_split=dev"], "has no split 'dev'"),
])
def test_what_the_hub_does_not_have(
    run: Any, hub: LoopbackHub, tmp_path: Path, changes: list[str], needle: str
) -> None:
    command = ["train.py", *MODEL, *DATA, *PINNED, *changes]
    ran = run(*command, cwd=tmp_path / "cwd", store=tmp_path / "s", env=_variables(hub.url, tmp_path))
    assert needle in _refused(ran)


@pytest.fixture
def endpoint() -> Iterator[Callable[[str], str]]:
    """A URL of a hub that is not there, by the way in which it is not."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))

    def url(how: str) -> str:
        if how == "silent":
            # Connections are accepted by the kernel, and nobody ever answers.
            listening.listen(8)
        return {"no name": "http://nowhere.invalid"}.get(how, f"http://127.0.0.1:{listening.getsockname()[1]}")

    yield url
    listening.close()


SAID = {"closed": "does not answer: [Errno 111] Connection refused", "silent": "does not answer",
        "no name": "http://nowhere.invalid does not answer", "offline": "HF_HUB_OFFLINE=1 is set"}


@pytest.mark.parametrize("how", SAID)
@pytest.mark.parametrize("what", ["model", "data"])
def test_a_hub_that_is_not_there_is_one_line_within_ten_seconds(
    run: Any, endpoint: Any, models: dict[str, Path], tmp_path: Path, how: str, what: str
) -> None:
    local = ["model=folder", f"model.location={models['distilbert_encoder']}", "model.convert_to=null"]
    command = [*MODEL, PINNED[0]] if what == "model" else [*local, *DATA, PINNED[1]]
    env = _variables(endpoint(how), tmp_path, "1" if how == "offline" else "")
    ran = run("train.py", *command, cwd=tmp_path / "cwd", store=tmp_path / "store", env=env)
    line = _refused(ran)
    assert SAID[how] in line
    name, instead = {"model": ("the model 'tiny/encoder'", "model=distil_minilm, or model.origin=folder"),
                     "data": ("the data set 'tiny/reviews'", "task.data_dir=FOLDER")}[what]
    assert name in line
    assert instead in line
    assert ran.seconds < LIMIT_S
    assert list((tmp_path / "cwd").iterdir()) == []


def _refused(ran: Any) -> str:
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert ran.code == 2, (ran.code, ran.out, ran.err)
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: ")
    return str(lines[0])
