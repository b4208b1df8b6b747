"""The scripts as a user runs them: real processes on tiny models, each run in a folder and a store of its own."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PHONE_REQUIRED = os.environ.get("EDGEDISTIL_REQUIRE_PHONE") == "1"
SMALL = ["task.generator.train=200", "task.generator.validation=80", "trainer.max_epochs=1", "loader.batch_size=16"]
LOOSE = ["compression.quantization.max_rms=10", "compression.quantization.min_agreement=0"]
SHORTEST = {"rounds": 2, "burst": 2, "cold_starts": 1, "warmup_calls": 1, "batch_rounds": 1, "lengths": [16, 32],
            "generations": 1, "seconds": 0, "warmup_limit": 2}
RAPID = [
    *LOOSE,
    "measurement=rapid",
    *(f"measurement.{name}={value}" for name, value in {**SHORTEST, "batches": [8]}.items()),
    "device.baselines=[onnxruntime_fp32]",
]


@dataclass(frozen=True)
class Ran:
    """A finished run of a script."""

    code: int
    out: str
    err: str
    seconds: float
    # of the processor, by it and its children: what it takes on a machine that has nothing else to do
    cpu_s: float = 0.0

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object that is the last line of standard output."""
        return json.loads(self.out.strip().splitlines()[-1])  # type: ignore[no-any-return]

    @property
    def computed(self) -> list[str]:
        """The steps that were computed, in order."""
        return re.findall(r"(\w+): [^\n]*: done in [\d.]+ s", self.out + self.err)

    def ok(self) -> "Ran":
        """Itself, when the exit code is 0."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


def _environment(store: Path, changes: dict[str, str]) -> dict[str, str]:
    unwanted = ("EDGEDISTIL_DATA", "EDGEDISTIL_PARENT", "HYDRA_FULL_ERROR")
    kept = {k: v for k, v in os.environ.items() if k not in unwanted and not k.startswith("WANDB_")}
    ours = {"EDGEDISTIL_STORE": str(store), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return kept | ours | changes


SENTINEL = """
import os
import sys


def note(event, arguments):
    if event == "subprocess.Popen":
        with open(os.environ["CHILDREN_NOTED"], "a") as file:
            file.write(f"{arguments[1]}\\n")


sys.addaudithook(note)
"""


@pytest.fixture
def children_noted(tmp_path: Path) -> tuple[dict[str, str], Callable[[], list[str]]]:
    """(environment, list of the edgedistil commands that a script run in it has started)."""
    folder, noted = tmp_path / "sentinel", tmp_path / "children.txt"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SENTINEL)
    environment = {"PYTHONPATH": str(folder), "CHILDREN_NOTED": str(noted)}

    def commands() -> list[str]:
        return [line for line in noted.read_text().splitlines() if "edgedistil" in line] if noted.exists() else []

    return environment, commands


@pytest.fixture(scope="session")
def run() -> Callable[..., Ran]:
    """``run("bench.py", *overrides, cwd=..., store=..., env=...)``: one script to its end; ``-m module`` works too."""

    def go(*command: str, cwd: Path, store: Path, env: dict[str, str] | None = None, timeout: float = 240) -> Ran:
        cwd.mkdir(parents=True, exist_ok=True)
        program = [str(REPOSITORY / c) if c in ("train.py", "compress.py", "bench.py") else c for c in command]
        started, cpu = time.monotonic(), _children_cpu_s()
        done = subprocess.run(
            [sys.executable, *program],
            cwd=cwd,
            env=_environment(store, env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return Ran(
            done.returncode, done.stdout, done.stderr, time.monotonic() - started, _children_cpu_s() - cpu
        )

    return go


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Started:
    """A script that runs in the background, with its output in files."""

    def __init__(self, command: list[str], cwd: Path, store: Path, env: dict[str, str] | None = None,
                 before: Callable[[], None] | None = None) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self.cwd, self.store, self._began = cwd, store, time.monotonic()
        self._files = [(cwd / name).open("w") for name in ("stdout.txt", "stderr.txt")]
        self.process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / command[0]), *command[1:]],
            cwd=cwd,
            env=_environment(store, env or {}),
            stdin=subprocess.DEVNULL,
            stdout=self._files[0],
            stderr=self._files[1],
            preexec_fn=before,
        )

    @property
    def out(self) -> str:
        return (self.cwd / "stdout.txt").read_text()

    @property
    def err(self) -> str:
        return (self.cwd / "stderr.txt").read_text()

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """Wait until ``condition`` is true while the script runs; returns what it returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            assert self.process.poll() is None, f"ended before {what}:\n{self.err}"
            time.sleep(0.02)
        raise AssertionError(f"no {what} within {seconds} s:\n{self.err}")

    def children(self) -> list[int]:
        """Process ids of all its descendants, its own child first."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop(0)
            try:
                own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += [int(child) for child in own]
            todo += [int(child) for child in own]
        return found

    def kill(self) -> list[int]:
        """SIGKILL to the script alone; returns the descendants that it leaves."""
        children = self.children()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return children

    def end(self, seconds: float = 200) -> Ran:
        self.process.wait(seconds)
        return Ran(self.process.returncode, self.out, self.err, time.monotonic() - self._began)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in self._files:
            file.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """``start("bench.py", *overrides, cwd=..., store=...)`` without waiting; what still runs at the end is killed.

    ``before`` is called in the new process before the script (limits, capabilities).
    """
    begun: list[Started] = []

    def go(*command: str, cwd: Path, store: Path, env: dict[str, str] | None = None,
           before: Callable[[], None] | None = None) -> Started:
        begun.append(Started(list(command), cwd, store, env, before))
        return begun[-1]

    yield go
    for one in begun:
        one.close()


@pytest.fixture(scope="session")
def reviews_tokenizer(word_pieces: Callable[[Iterable[str]], Path]) -> Path:
    """A tokenizer that knows the words of the generated reviews, and letters for everything else."""
    from edgedistil.tasks.generated import generate

    letters = "abcdefghijklmnopqrstuvwxyz,.!?'"
    text = [s for split in ("train", "validation") for s in generate(split, "reviews", 600, 600, 1, 0.0)["sentence"]]
    return word_pieces([*sorted({w for s in text for w in s.split()}), *letters, *(f"##{x}" for x in letters)])


@pytest.fixture(scope="session")
def models(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], reviews_tokenizer: Path
) -> dict[str, Path]:
    """Folders as ``save_pretrained`` writes them: classifiers ``bert``, ``distilbert``; ``*_encoder`` has no head."""
    from tokenizers import Tokenizer

    size = Tokenizer.from_file(str(reviews_tokenizer)).get_vocab_size()
    root, found = tmp_path_factory.mktemp("models"), {}
    for kind in ("bert", "distilbert"):
        classifier = tiny_model(kind, vocab_size=size, initializer_range=0.3)
        for name, model in ((kind, classifier), (f"{kind}_encoder", getattr(classifier, kind))):
            model.save_pretrained(root / name)
            shutil.copyfile(reviews_tokenizer, root / name / "tokenizer.json")
            found[name] = root / name
    return found


@pytest.fixture(scope="session")
def tiny(models: dict[str, Path]) -> list[str]:
    """Overrides: the tiny DistilBERT encoder on a small reviews task."""
    return ["model.origin=folder", f"model.location={models['distilbert_encoder']}", "model.convert_to=null", *SMALL]


@pytest.fixture(scope="session")
def rapid() -> list[str]:
    """Overrides of bench.py: the shortest measurement that is one, behind gates that are wide open."""
    return RAPID


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., Ran], tiny: list[str]) -> Any:
    """``store``, which holds the tiny model trained (read it, or add to a copy of it), and the run ``train``."""
    root = tmp_path_factory.mktemp("trained")
    done = run("train.py", *tiny, cwd=root, store=root / "store").ok()
    return SimpleNamespace(store=root / "store", train=done)


@pytest.fixture
def copied(trained: Any, tmp_path: Path) -> Path:
    """A copy of the trained model's store."""
    shutil.copytree(trained.store, tmp_path / "copied")
    return tmp_path / "copied"


CELLS = [
    "compression/pruning=none,structured",
    "compression/quantization=none,int8_dynamic,int4_ort",
    "compression/recovery=distillation",
    "compression.recovery.steps=4",
]


@pytest.fixture(scope="session")
def swept(
    tmp_path_factory: pytest.TempPathFactory, run: Callable[..., Ran], tiny: list[str], trained: Any
) -> Any:
    """Read only: the ``store`` with six cells measured on top of the trained model, and the runs ``compress`` and
    ``bench`` (its ``overrides``, its multirun ``folder``)."""
    root = tmp_path_factory.mktemp("swept")
    shutil.copytree(trained.store, root / "store")
    chosen = ["compression=structured_50", "compression/quantization=int8_dynamic", "compression.recovery.steps=4"]
    compress = run("compress.py", *tiny, *LOOSE, *chosen, cwd=root, store=root / "store").ok()
    overrides = ["-m", *tiny, *RAPID, *CELLS]
    bench = run("bench.py", *overrides, cwd=root, store=root / "store").ok()
    folder = Path(bench.summary["folder"])
    return SimpleNamespace(
        store=root / "store", cwd=root, compress=compress, bench=bench, overrides=overrides, folder=folder
    )


@pytest.fixture(scope="session")
def artifacts() -> Callable[[Path], dict[str, list[str]]]:
    """``artifacts(store)``: fingerprints by step of all finished artifacts."""

    def listing(store: Path) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for manifest in sorted(store.glob("artifacts/*/*/artifact.json")):
            found.setdefault(manifest.parent.parent.name, []).append(manifest.parent.name)
        return found

    return listing


@pytest.fixture(scope="session")
def build_native() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``build_native("host", folder, "--option", ..., VARIABLE="x")`` runs ``mobile/build.py``."""

    def run(target: str, output: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(REPOSITORY / "mobile" / "build.py"), target, "--output", str(output), *options]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=280)

    return run


@pytest.fixture(scope="session")
def built(
    build_native: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """``built("host")``: the folder of a native target. Skips where its tools or files can't be had."""
    made: dict[str, Path] = {}

    def build(target: str) -> Path:
        if target not in made:
            output = tmp_path_factory.mktemp(target)
            done = build_native(target, output)
            # Code that does not compile is no reason to skip.
            if done.returncode == 2 and " failed:" not in done.stderr and not PHONE_REQUIRED:
                pytest.skip(f"{target}: {done.stderr.strip()}")
            assert (done.returncode, done.stderr) == (0, "")
            made[target] = output
        return made[target]

    return build


@pytest.fixture(scope="session")
def phone_folder() -> Path:
    """The emulated phone's folder: ``EDGEDISTIL_PHONE``, or where ``make emulated-phone`` puts it."""
    folder = Path(os.environ.get("EDGEDISTIL_PHONE") or REPOSITORY / "build" / "mobile" / "phone")
    if not (folder / "manifest.json").is_file():
        reason = f"no emulated phone in {folder}: make emulated-phone (Debian, a minute), or set EDGEDISTIL_PHONE"
        if PHONE_REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def adb_environment(phone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables that give adb a server and keys of the tests' own; the server is ended with the tests."""
    from emulated_phones import adb_environment as made

    environment = made(tmp_path_factory.mktemp("adb_home"))
    yield environment
    adb = phone_folder / json.loads((phone_folder / "manifest.json").read_text())["adb"]
    subprocess.run([adb, "kill-server"], env=environment, capture_output=True)


@pytest.fixture
def start_phone(phone_folder: Path, adb_environment: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """``start_phone("cortex-a76", "--storage-mb", "40")``: a phone that adb is connected to, stopped after the test."""
    from emulated_phones import start, stop

    begun: list[Any] = []

    def go(cpu: str = "cortex-a76", *options: str) -> Any:
        begun.append(start(phone_folder, adb_environment, cpu, *options))
        begun[-1].connect()
        return begun[-1]

    yield go
    for phone in begun:
        stop(phone)
