"""Train, compress, measure and ship with credentials in every place where one lies: nothing is asked of any machine
outside, no file of a library's makers appears, and no credential is in anything that is left, printed or started."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import network_watch
import pytest
from conftest import LOOSE, RAPID, REPOSITORY

from edgedistil.telemetry import OFF

# Nobody's. Those of the environment, of files in the home folder, of a git remote, of an override.
PLANTED = {
    "HF_TOKEN": "hf_" + "PlantedHubToken0123456789abcdefXYZ",
    "WANDB_API_KEY": "feed" * 10,
    "AWS_SECRET_ACCESS_KEY": "planted/Cloud+Secret/abcdefghijklmnopqrs",
    "password of the proxy": "planted-proxy-word",
    "password of the index": "planted-index-word",
    "password of the hub": "planted-hub-word",
    "key of .netrc": "beef" * 10,
    "token of a remote": "ghp_" + "PlantedRemoteToken0123456789abcdefgh",
    "token of an override": "hf_" + "PlantedOverrideToken0123456789abcd",
    "password of a file": "planted-option-word",
}
WATCHED = network_watch.unavailable()
# The first of them waits for everything that is run: half a minute of one core, more of a busy machine.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Any:
    """What was ``said`` and ``started``, which ``connections`` were tried, ``root`` with all that was left."""
    if WATCHED:
        pytest.skip(WATCHED)
    root = tmp_path_factory.mktemp("silence")
    home, here = root / "home", root / "here"
    _plant(home, here)
    # A library that makes a file says so by where it puts it.
    variables = {k: v for k, v in os.environ.items() if k not in OFF and not k.startswith(("WANDB_", "HF_", "XDG_"))}
    variables |= {
        "HOME": str(home), "NETRC": str(home / ".netrc"), "EDGEDISTIL_STORE": str(root / "store"),
        "OMP_NUM_THREADS": "1", **{k: PLANTED[k] for k in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY")},
        "HTTPS_PROXY": f"http://worker:{PLANTED['password of the proxy']}@192.0.2.9:3128",
        "PIP_INDEX_URL": f"https://reader:{PLANTED['password of the index']}@192.0.2.9/simple",
        "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    said: dict[str, tuple[int, str]] = {}
    with network_watch.Watch(root) as watch:

        def run(name: str, *words: str, **more: str) -> str:
            program = [str(REPOSITORY / w) if w in ("train.py", "compress.py", "bench.py") else w for w in words]
            done = subprocess.run(
                watch.command(sys.executable, *program), cwd=here, env=variables | more, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=200,
            )
            said[name] = done.returncode, done.stdout + done.stderr
            return done.stdout

        run("control", "-c", CONTROL)
        control = list(watch.connections), list(watch.started)
        watch.connections.clear()
        watch.started.clear()
        run("train", "train.py", *tiny, "hydra.run.dir=trained")
        cell = ["compression/quantization=int8_dynamic"]
        run("compress", "compress.py", *tiny, *LOOSE, *cell, "hydra.run.dir=compressed")
        run("bench", "bench.py", *tiny, *RAPID, *cell, "hydra.run.dir=measured")
        run("package", "-m", "edgedistil", "package", "measured", "--output", "product")
        run("predict", "-m", "edgedistil", "predict", "product", "a fine film")
        # The hub is on this machine and does not answer; its address, which the message quotes, holds a password.
        hub = f"https://reader:{PLANTED['password of the hub']}@127.0.0.1:9"
        run("hub", "train.py", "-m", *tiny[:3], "task=sst2", "hydra.sweep.dir=lost", HF_ENDPOINT=hub)
        run("override", "train.py", "-m", f"task.hub=me/mine?{PLANTED['token of an override']}", "seed=1,2")
        run("file", "train.py", "-m", "--config-dir", str(root / "options"), "task=mine", "seed=1,2")
    return SimpleNamespace(root=root, home=home, here=here, said=said, control=control, watch=watch)


CONTROL = """
import socket, subprocess, sys
for ask in (lambda: socket.create_connection(("192.0.2.1", 443)), lambda: socket.getaddrinfo("hub.invalid", 443)):
    try:
        ask()
    except OSError as error:
        print(error)
subprocess.run([sys.executable, "-c", "pass", "a word"])
"""


def _plant(home: Path, here: Path) -> None:
    for file, text in {
        home / ".netrc": f"machine api.wandb.ai\n  login user\n  password {PLANTED['key of .netrc']}\n",
        home / ".cache" / "huggingface" / "token": PLANTED["HF_TOKEN"],
        here / ".git" / "HEAD": "ref: refs/heads/main\n",
        here / ".git" / "config": "[core]\n\trepositoryformatversion = 0\n[remote \"origin\"]\n"
        f"\turl = https://robot:{PLANTED['token of a remote']}@git.invalid/me/mine\n",
        home.parent / "options" / "task" / "mine.yaml": "defaults: [reviews]\n"
        f"hub: https://me:{PLANTED['password of a file']}@hub.invalid/mine\n",
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for folder in ("objects", "refs"):
        (here / ".git" / folder).mkdir()


def test_the_watch_sees_what_it_should(done: Any) -> None:
    connections, started = done.control
    assert done.said["control"][0] == 0
    assert "192.0.2.1 port 443" in [place for _, place in connections]
    assert len(connections) >= 2, "no name server was asked"
    assert [words[1:] for words in started][-1] == ["-c", "pass", "a word"]


def test_everything_was_made(done: Any) -> None:
    for name in ("train", "compress", "bench", "package", "predict"):
        assert done.said[name][0] == 0, done.said[name][1]
    steps = {words[-1].split("/")[-1] for words in done.watch.started if "edgedistil.stages.child" in words}
    assert steps == {"request.json"}
    assert any("edgedistil.workers.onnx" in words for words in done.watch.started)
    assert (done.here / "product" / "README.md").is_file()


def test_no_process_asks_a_machine_outside(done: Any) -> None:
    assert done.watch.connections == []


def test_no_library_leaves_a_file_in_the_home_folder(done: Any) -> None:
    left = {str(p.relative_to(done.home)) for p in done.home.rglob("*") if p.is_file()} - {".netrc"}
    # Ours, and a list of fonts; no device ids, no databases of events.
    assert {name for name in left if not name.startswith((".cache/edgedistil/", ".cache/matplotlib/fontlist"))} == {
        ".cache/huggingface/token"
    }


def test_no_credential_is_in_any_file_that_is_left(done: Any) -> None:
    planted = {done.home / ".netrc", done.home / ".cache" / "huggingface" / "token", done.here / ".git" / "config",
               done.root / "options" / "task" / "mine.yaml"}
    files = [p for p in done.root.rglob("*") if p.is_file()]
    found = {(p, name) for p in files for name, value in PLANTED.items() if value.encode() in p.read_bytes()}
    assert {p for p, _ in found} == planted
    made = {p.name for p in files}
    assert {"record.json", "artifact.json", "cell.json", "README.md", "config.yaml", "metrics.csv"} <= made


def test_no_credential_is_printed(done: Any) -> None:
    for name, (_, text) in done.said.items():
        assert not [planted for planted, value in PLANTED.items() if value in text], name


def test_no_credential_is_on_a_command_line_of_ours(done: Any) -> None:
    own = [words for words in done.watch.started if not any(PLANTED["token of an override"] in w for w in words)]
    assert len(own) >= 20
    assert not [w for words in own for w in words for value in PLANTED.values() if value in w]


def test_an_address_is_told_without_its_password(done: Any) -> None:
    code, text = done.said["hub"]
    assert code == 2
    assert "https://***@127.0.0.1:9 does not answer" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [("override", "task.hub holds a token of the model hub"), ("file", "task.hub holds an address with a name or a")],
)
def test_a_credential_among_the_options_is_refused_before_anything_is_written(
    name: str, words: str, done: Any
) -> None:
    code, text = done.said[name]
    assert code == 2, text
    assert text.startswith(f"error: {words}"), text
    assert len(text.splitlines()) == 1
    assert not (done.here / "multirun").exists()
