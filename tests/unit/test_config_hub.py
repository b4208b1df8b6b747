"""What a step wants of the hub is found in its options, and said in one line when it can't be had."""

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgedistil.config import hub
from edgedistil.config.hub import Wanted, cannot_be_had, explain, prepare
from edgedistil.errors import UserError

MODEL = {"origin": "hub", "location": "some/model", "revision": "abc", "convert_to": None}
DATA = {"hub": "some/data", "hub_config": None, "revision": "def", "train_split": "train"}


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Set, so that what prepare sets is put back after the test.
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """``answering(status, header value)`` starts a hub that says the same to all; returns the paths it is asked."""
    servers: list[Any] = []

    def start(status: int, code: str = "") -> list[str]:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{servers[-1].server_port}/")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(options: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        prepare(options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wants_are_found_wherever_they_stand() -> None:
    options = {"model": MODEL, "data": DATA, "teacher": {"model": {**MODEL, "location": "other"}}, "seed": 1}
    assert list(hub._wanted(options)) == [
        Wanted("model", "some/model", "abc"), Wanted("data set", "some/data", "def"), Wanted("model", "other", "abc"),
    ]
    none = {"model": {"origin": "folder"}, "data": {"files": {"train": "abc"}}, "task": {"hub": None}}
    assert list(hub._wanted(none)) == []


def test_a_password_in_the_address_is_a_header_and_never_told(
    answering: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = hub._request("http://reader:a%40b@host:1/api/models/some/model")
    assert (request.host, request.get_header("Authorization")) == ("host:1", "Basic cmVhZGVyOmFAYg==")
    assert hub._request("https://host/x").headers == {}
    asked = answering(503)
    monkeypatch.setenv("HF_ENDPOINT", os.environ["HF_ENDPOINT"].replace("http://", "http://reader:hidden@"))
    said = refusal({"model": MODEL})
    assert asked == ["/api/models/some/model/revision/abc"]
    assert "http://***@127.0.0.1:" in said
    assert "answers 503" in said
    assert "hidden" not in said


def test_nothing_is_asked_when_nothing_is_wanted(answering: Callable[..., list[str]]) -> None:
    asked = answering(503)
    prepare({"model": {"origin": "folder"}, "data": {"files": {}}})
    assert asked == []


@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_any_answer_but_a_failure_leaves_the_libraries_to_it(
    answering: Callable[..., list[str]], status: int
) -> None:
    asked = answering(status)
    prepare({"model": MODEL, "again": MODEL, "data": DATA})
    assert asked == ["/api/models/some/model/revision/abc", "/api/datasets/some/data/revision/def"]
    assert hub.os.environ["HF_HUB_OFFLINE"] == ""


def test_a_hub_that_fails_is_none(answering: Callable[..., list[str]]) -> None:
    answering(503)
    line = refusal({"data": DATA})
    assert line.startswith("the data set 'some/data' can't be had from the hub (http://127.0.0.1:")
    assert "answers 503). Without it: task.data_dir=FOLDER" in line
    assert hub.os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_revision_that_is_none(answering: Callable[..., list[str]]) -> None:
    answering(404, "RevisionNotFound")
    assert refusal({"model": MODEL}).startswith("model.revision='abc' is no revision of the hub's model 'some/model'")
    assert refusal({"data": DATA}).startswith("task.revision='def' is no revision of the hub's data set 'some/data'")


@pytest.mark.parametrize(("endpoint", "needle"), [
    ("http://127.0.0.1:9", "http://127.0.0.1:9 does not answer"),
    ("ftp://hub", "HF_ENDPOINT='ftp://hub' is no address"),
])
def test_no_hub_there(monkeypatch: pytest.MonkeyPatch, endpoint: str, needle: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert needle in refusal({"data": DATA})


def test_tables_of_the_pinned_commit_serve_without_a_hub(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "datasets" / "edgedistil" / "def" / "some___data").mkdir(parents=True)
    prepare({"data": DATA})
    assert hub.os.environ["HF_HUB_OFFLINE"] == "1"
    assert "what the cache has at the pinned revision is taken" in caplog.text
    (tmp_path / "datasets" / "edgedistil" / "def" / "Some___other_data").mkdir()
    prepare({"data": {**DATA, "hub": "Some/OtherData"}})
    assert "can't be had" in refusal({"data": {**DATA, "revision": "other"}})
    assert "can't be had" in refusal({"data": {**DATA, "hub": "some/other"}})


class RevisionNotFoundError(OSError):
    pass


class GatedRepoError(OSError):
    pass


class RepositoryNotFoundError(OSError):
    pass


@pytest.mark.parametrize(("cause", "needle"), [
    (RevisionNotFoundError(), "model.revision='abc' is no revision"),
    (GatedRepoError(), "asks for consent"),
    (RepositoryNotFoundError(), "no such repository, or a private one"),
    (OSError("several\nlines  of text"), "(several lines of text). Without it: model=distil_minilm"),
    (OSError(), "(OSError)"),
    (OSError("x" * 500), f"({'x' * 200}...)"),
])
def test_what_the_libraries_say_becomes_one_line(cause: OSError, needle: str) -> None:
    line = str(explain(cause, "model", "some/model", "abc"))
    assert needle in line
    assert "\n" not in line
    # transformers wraps what the hub's library raised.
    if type(cause) is not OSError:
        outer = OSError("some/model is not a local folder\nand so on")
        outer.__cause__ = cause
        assert str(explain(outer, "model", "some/model", "abc")) == line


def test_what_to_do_without_is_of_the_kind_that_is_missing() -> None:
    assert "model.origin=folder" in str(cannot_be_had("model", "m", "why"))
    assert "task.train=FILE" in str(cannot_be_had("data set", "d", "why"))
