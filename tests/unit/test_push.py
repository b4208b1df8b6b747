"""``python -m edgedistil push``: what would go, what must not, and on a hub of our own that it goes as it is."""

import base64
import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.tiny_cell import add_graph, make_cell

from edgedistil.__main__ import main
from edgedistil.shipping.publishable import inspect

TOKEN = "hf_" + "nobody" * 6
SECRET = "quite-secret-value"


@pytest.fixture
def product(tmp_path: Path, tiny_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Path:
    cell = make_cell(tmp_path, add_graph(tiny_folder("distilbert")))
    assert main(["package", str(cell), "--output", str(tmp_path / "product")]) == 0
    capsys.readouterr()
    return tmp_path / "product"


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be asked of any hub."""
    from huggingface_hub import HfApi

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked")

    for name in ("create_repo", "upload_folder", "create_commit"):
        monkeypatch.setattr(HfApi, name, refuse)


@pytest.mark.usefixtures("no_hub")
def test_a_dry_run_lists_every_file_and_sends_nothing(product: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(product), "me/mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[2]: line.split()[:2] for line in lines[:-2]}
    assert listed == {
        p.name: [f"{p.stat().st_size:,}", hashlib.sha256(p.read_bytes()).hexdigest()[:16]] for p in product.iterdir()
    }
    assert lines[-2].startswith(f"{len(listed)} files, ")
    assert lines[-1] == "nothing was sent; --upload would send it to me/mine"


def _add(name: str, content: str | bytes) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def _append(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def _noted(folder: Path) -> None:
    from safetensors.numpy import save_file

    save_file({}, folder / "more.safetensors", metadata={"from": "/home/me/model"})


FAULTS = {
    "a pickle": (_add("optimizer.pt", pickle.dumps([1])), "optimizer.pt: not a kind of file that a model needs"),
    "weights as a pickle": (_add("pytorch_model.bin", b"\x80\x02"), "pytorch_model.bin: not a kind of file"),
    "code": (_add("modeling.py", "print()"), "modeling.py: not a kind of file"),
    "a place": (_append("README.md", "\nfrom /home/me/data here\n"), "README.md: names a place on a machine: /home/me"),
    "a home": (_append("README.md", "see `~/models`"), "README.md: names a place on a machine: ~/models"),
    "another system's": (_append("README.md", "C:\\Users\\me"), "README.md: names a place on a machine: C:\\Users"),
    "a place after a colon": (_append("README.md", "path:/home/me"), "names a place on a machine: /home/me"),
    "another system's in JSON": (_add("a.json", json.dumps("C:\\Users\\me")), "place on a machine: C:\\\\Users"),
    "a place in JSON": (_add("tokenizer_config.json", '{"name_or_path": "/srv/a/b"}'), "place on a machine: /srv/a/b"),
    "a place in weights": (_noted, "more.safetensors: names a place on a machine: /home/me/model"),
    "a place in a graph": (_add("other.onnx", f"{Path.home()}/x"), "other.onnx: names a place on the machine"),
    "a token": (_append("README.md", TOKEN), "README.md: holds a token of the model hub"),
    "a token in JSON": (_add("notes.json", json.dumps({"key": TOKEN})), "notes.json: holds a token of the model hub"),
    "a secret of this process": (_append("README.md", SECRET), "README.md: holds the value of $WANDB_API_KEY"),
    "a private key": (_add("k.txt", "-----BEGIN RSA PRIVATE KEY-----"), "k.txt: holds a private key"),
    "a hidden file": (_add(".env", "A=1"), ".env: hidden files are not published"),
    "a hidden folder": (_add(".git/config.json", "{}"), ".git/config.json: hidden files are not published"),
    "a link": (lambda f: (f / "more.json").symlink_to("/etc/hostname"), "more.json: a link"),
    "a folder of the store": (_add("artifact.json", "{}"), "artifact.json: this is a folder of the store"),
    "texts": (_add("reference.safetensors", b""), "reference.safetensors: holds texts of the data set"),
    "another model": (_add("model.onnx", b"other"), "model.onnx is not the file that was measured; package"),
    "a part": (lambda f: (f / "model.onnx.data").unlink(), "model.onnx.data is gone"),
    "no card": (lambda f: (f / "README.md").unlink(), "there is no model card"),
    "a broken card": (_add("README.md", "---\na: [\n---\n# x\n"), "README.md: its metadata can't be read"),
    "no safetensors": (_add("more.safetensors", b"\xff" * 20), "more.safetensors: no safetensors file"),
}


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("what", FAULTS)
def test_what_must_not_be_published_is_refused_before_anything_is_sent(what: str, product: Path,
                                                                       capsys: pytest.CaptureFixture[str],
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    assert inspect(product).faults == []
    spoil, message = FAULTS[what]
    spoil(product)
    assert main(["push", str(product), "me/mine", "--upload"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert TOKEN not in err
    assert SECRET not in err


def test_what_is_no_place() -> None:
    """Ratios, addresses and units of cards are not taken for paths."""
    from edgedistil.shipping.publishable import _told

    text = ("p50 ms real / 32 / 128; 491 texts/s; [x](https://huggingface.co/a/b); **/a; nyu-mll/glue; and/or; "
            "multirun/.../0; `FOLDER/model.onnx`; </b/c>")
    assert _told(text, places=True) == []


@pytest.mark.parametrize(("name", "message"), [("mine", "has no owner; give OWNER/NAME"), ("a/b/c", "'a/b/c'"),
                                               ("me/my model", "'me/my model'")])
def test_a_repository_is_an_owner_and_a_name(name: str, message: str, product: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(product), name]) == 2
    assert message in capsys.readouterr().err


class _Hub(BaseHTTPRequestHandler):
    """Keeps what it is sent: large files by LFS, the others in the commit."""

    state: Any
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.state.asked.append((self.path, self.headers.get("Authorization")))
        if self.state.refuse:
            self._send({"error": "no"}, 401)
        elif self.path == "/api/repos/create":
            self.state.created = json.loads(body)
            self._send({"url": f"{self.state.url}/me/mine"})
        elif self.path == "/api/validate-yaml":
            self.state.card = json.loads(body)["content"]
            self._send({"errors": [], "warnings": []})
        elif self.path.startswith("/api/models/me/mine/preupload/"):
            files = json.loads(body)["files"]
            self._send({"files": [{"path": f["path"], "shouldIgnore": False, "oid": None,
                                   "uploadMode": "lfs" if f["path"].endswith(".data") else "regular"} for f in files]})
        elif self.path == "/me/mine.git/info/lfs/objects/batch":
            objects = [(o["oid"], o["size"]) for o in json.loads(body)["objects"]]
            self._send({"transfer": "basic", "objects": [
                {"oid": oid, "size": size, "actions": {"upload": {"href": f"{self.state.url}/put/{oid}"}}}
                for oid, size in objects]})
        elif self.path.startswith("/api/models/me/mine/commit/"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.state.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.state.files[value["path"]] = self.state.large[value["oid"]]
            self._send({"commitUrl": f"{self.state.url}/me/mine/commit/1", "commitOid": "1", "pullRequestUrl": None})
        else:
            self._send({"error": self.path}, 404)

    def do_PUT(self) -> None:
        self.state.large[self.path.rsplit("/", 1)[1]] = self.rfile.read(int(self.headers["Content-Length"]))
        self._send({})

    def do_GET(self) -> None:
        self._send({"id": "me/mine", "sha": "0", "siblings": []})

    def _send(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Any]:
    state = SimpleNamespace(asked=[], created=None, card=None, files={}, large={}, refuse=False, url="")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Hub,), {"state": state}))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def push(folder: Path, hub: Any, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``push --upload`` in a process of its own, which knows no key but what it is given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and k != "HUGGING_FACE_HUB_TOKEN"}
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.run([sys.executable, "-m", "edgedistil", "push", str(folder), "me/mine", "--upload"],
                          capture_output=True, text=True, env=kept | own | environment, timeout=60)


def test_uploaded_is_what_lies_in_the_folder(product: Path, hub: Any, tmp_path: Path) -> None:
    done = push(product, hub, tmp_path / "home", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"sent: {hub.url}/me/mine/commit/1"
    assert hub.created["name"] == "mine"
    assert hub.created["visibility"] == "private"
    assert hub.files == {p.name: p.read_bytes() for p in product.iterdir()}
    assert len(hub.large) == 1
    assert hub.card == (product / "README.md").read_text()
    assert {key for _, key in hub.asked} == {f"Bearer {TOKEN}"}
    assert TOKEN not in done.stdout + done.stderr


def test_without_a_right_to_write_there_it_is_one_line(product: Path, hub: Any, tmp_path: Path) -> None:
    hub.refuse = True
    done = push(product, hub, tmp_path / "home", HF_TOKEN=TOKEN)
    assert done.returncode == 2
    assert done.stderr == "error: the hub refused 'me/mine' (HTTP 401): run hf auth login, or set HF_TOKEN\n"
    assert hub.files == {}


def test_a_public_repository_that_is_there_has_to_be_asked_for() -> None:
    from types import SimpleNamespace

    from huggingface_hub.errors import HfHubHTTPError

    from edgedistil.errors import UserError
    from edgedistil.shipping import hub

    class Api:
        def __init__(self, status: int, private: bool) -> None:
            self.status, self.private = status, private

        def create_repo(self, *_: object, **__: object) -> None:
            error = HfHubHTTPError.__new__(HfHubHTTPError)
            error.response = SimpleNamespace(status_code=self.status)
            raise error

        def repo_info(self, _: str) -> SimpleNamespace:
            return SimpleNamespace(private=self.private)

    hub._make(Api(409, private=True), "me/mine", private=True)
    hub._make(Api(409, private=False), "me/mine", private=False)
    with pytest.raises(UserError, match="is there and public: give --public"):
        hub._make(Api(409, private=False), "me/mine", private=True)
    with pytest.raises(HfHubHTTPError):
        hub._make(Api(403, private=True), "me/mine", private=True)
