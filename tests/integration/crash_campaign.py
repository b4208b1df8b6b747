"""Faults at random moments of a real matrix, each followed by a run that goes on; what it cost is counted.

One campaign: a store is filled by a command that is disturbed again and again, each time by a fault drawn from the
seed, until a run gets through; then everything is compared with what an undisturbed run left, and the next store is
begun, until so many faults have been tried. Only processes that the campaign started are killed, by their id.
"""

import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KILLS = ("kill parent", "kill stage", "kill worker", "kill all")
LIMITS = ("file-size limit", "memory limit")
FOLDERS = ("read-only folder",)
DISK = ("disk full",)
# Of a record: what another run of the same cell measures otherwise.
_OF_TIME = (
    "latency", "baselines", "speedup", "throughput", "baseline_throughput", "throughput_speedup", "tokenization",
    "cold_start", "baseline_cold_start", "memory", "baseline_memory", "calibration", "environment", "valid",
    "invalid_because",
)
# Artifacts whose every byte is decided by their fingerprint, beside what is compared of records.
_SAME_BYTES = ("model.safetensors", "model.onnx", "predictions.safetensors", "structure.json")
_DISK_MB = 96
_DAC_OVERRIDE, _DAC_READ_SEARCH, _CAPBSET_DROP = 1, 2, 24


@dataclass
class Campaign:
    """What was tried and what it cost, by kind of fault; ``wrong`` names everything that must not have been."""

    seed: int
    tried: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    stores: int = 0
    compared: int = 0
    wrong: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def table(self) -> str:
        """For people: a line for each kind of fault, and one for all."""
        columns = ("times tried", "run disturbed", "finished work lost", "finished work done twice", "left behind")
        counts = (self.tried, self.struck, self.lost, self.twice, self.left)
        rows = [[kind, *(str(c[kind]) for c in counts)] for kind in sorted(self.tried)]
        rows.append(["all", *(str(c.total()) for c in counts)])
        lines = [f"| {' | '.join(row)} |" for row in [["fault", *columns], ["---"] * 6, *rows]]
        tried = f"{self.tried.total()} faults over {self.stores} stores"
        head = f"seed {self.seed}: {tried}, {self.compared} artifacts compared with an undisturbed run's"
        hung = [f"runs that hung for want of memory and were ended by hand: {self.hung}"] if self.hung else []
        return "\n".join([head, "", *lines, *hung, *(f"WRONG: {w}" for w in self.wrong)])


@dataclass
class Ground:
    """Where a campaign runs: ``start`` as the fixture; ``base`` is a store to begin with; ``disk`` can be filled."""

    start: Callable[..., Any]
    command: list[str]
    base: Path
    folder: Path
    disk: Path | None = None


def crash(ground: Ground, seed: int, faults: int, kinds: tuple[str, ...], most_on_one: int = 4) -> Campaign:
    """Try faults until ``faults`` of them have met their run; every kind comes before one comes again.

    Args:
        most_on_one: faults on one store before it is left alone to get through.
    """
    # A memory limit that is wide enough, a moment that came too late: tried, and nothing was disturbed.
    most = 3 * faults
    found = Campaign(seed)
    expected, seconds = _undisturbed(ground)
    pack: list[str] = []
    while found.struck.total() < faults and found.tried.total() < most:
        place = (ground.disk or ground.folder) / f"store{found.stores}"
        shutil.copytree(ground.base, place / "store")
        found.stores += 1
        struck: list[str] = []
        for number in range(most_on_one + 1):
            calm = number == most_on_one or found.struck.total() == faults or found.tried.total() == most
            # Of its own for each fault: how many numbers another one drew depends on what ran at that moment.
            chance = random.Random(f"{seed} {found.tried.total()}")
            pack = pack or chance.sample(kinds, len(kinds))
            fault = None if calm else pack.pop()
            before = _finished(place / "store")
            # What is left to do takes about so long, start-up included: a later fault would meet nothing.
            left = 1 - len(before.keys() & expected.keys()) / len(expected)
            delay = chance.uniform(0.0, 1.0) * max(2.0, left * seconds)
            name = f"store{found.stores - 1}_run{number}"
            with _disturbed(ground, place, fault, delay, chance) as (script, disturb):
                script_run = script(name)
                disturb(script_run)
                ran = _ended(found, script_run, fault, name, 60 + 6 * seconds)
                _wait_for_all(script_run)
            _account(found, fault or (struck[-1] if struck else "none"), before, place / "store", name)
            if fault:
                found.tried[fault] += 1
                found.struck[fault] += ran.code != 0
                struck += [fault] if ran.code else []
                _say_nothing_long(found, fault, ran, name)
                found.story.append(f"{name}: {fault} within {delay:.2f} s of {seconds:.1f}, exit code {ran.code}")
            # Whoever ends a long campaign early finds what it has so far.
            (ground.folder / "campaign.md").write_text("\n".join([found.table(), "", *found.story]) + "\n")
            if ran.code == 0:
                # The machine may have had more to do when the undisturbed run was timed.
                seconds = seconds if before else min(seconds, ran.seconds)
                break
        else:
            found.wrong.append(f"{name}: left alone, it ended with {ran.code}: {ran.err[-600:]}")
        _compare(found, struck[-1] if struck else "none", expected, place / "store", name)
        shutil.rmtree(place)
    return found


def _ended(found: Campaign, script: Any, fault: str | None, name: str, seconds: float) -> Any:
    try:
        return script.end(seconds)
    except subprocess.TimeoutExpired:
        if fault == "memory limit":
            # A library that gets no memory may ask for ever (OpenBLAS, while it is loaded): its user ends the run.
            found.hung += 1
        else:
            found.wrong.append(f"{name} ({fault}): not at its end after {seconds:.0f} s: {script.err[-600:]}")
        script.kill()
        return script.end()


def _undisturbed(ground: Ground) -> tuple[dict[str, Any], float]:
    place = ground.folder / "undisturbed"
    shutil.copytree(ground.base, place / "store")
    script = ground.start(*ground.command, cwd=place / "run", store=place / "store")
    ran = script.end(600).ok()
    return _contents(place / "store"), ran.seconds


@contextmanager
def _disturbed(
    ground: Ground, place: Path, fault: str | None, delay: float, chance: random.Random
) -> Iterator[tuple[Callable[[str], Any], Callable[[Any], None]]]:
    """(starts the script under its limits, does the fault to it); what was done to the disk is undone at the end."""
    undo: list[Callable[[], Any]] = []
    size, memory = int(2 ** chance.uniform(15, 20)), int(2 ** chance.uniform(28, 32.5))
    share, slack = chance.random(), chance.randrange(0, 200_000)

    def before() -> None:
        if fault == "file-size limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        elif fault == "memory limit":
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        elif fault == "read-only folder" and os.geteuid() == 0:
            # root writes where it may not; without these two it is held to the permissions as anybody.
            for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
                ctypes.CDLL(None).prctl(_CAPBSET_DROP, capability, 0, 0, 0)

    def start(name: str) -> Any:
        own = [f"hydra.sweep.dir={place / name}", f"hydra.run.dir={place / name}"]
        # Its output goes elsewhere: a log that can't be written would hide what it says.
        return ground.start(
            *ground.command, *own, cwd=ground.folder / name, store=place / "store", before=before if fault else None
        )

    def disturb(script: Any) -> None:
        if fault is None or fault in LIMITS:
            return
        _sleep_while_it_runs(script, delay)
        if fault in KILLS:
            _kill(script, fault, chance)
        elif fault == "disk full":
            assert ground.disk is not None
            filler = ground.disk / "filler"
            undo.append(lambda: filler.unlink(missing_ok=True))
            _fill(filler, slack)
        elif fault == "read-only folder":
            chosen = [place / "store", place / "store" / "artifacts", place / "store" / "work", place]
            top = chosen[int(share * len(chosen))]
            shut = [p for p in [top, *top.rglob("*")] if p.is_dir()] if top.is_dir() else []
            undo.extend(lambda p=p: p.exists() and p.chmod(0o755) for p in shut)
            for folder in shut:
                # One may be renamed or removed meanwhile.
                if folder.is_dir():
                    folder.chmod(0o555)

    try:
        yield start, disturb
    finally:
        for step in undo:
            step()


def _sleep_while_it_runs(script: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and script.process.poll() is None:
        time.sleep(0.01)


def _kill(script: Any, fault: str, chance: random.Random) -> None:
    """SIGKILL; a role that nobody has at the moment is waited for until the script ends."""
    while script.process.poll() is None:
        family = script.children()
        if fault == "kill parent":
            script.process.send_signal(signal.SIGKILL)
            return
        if fault == "kill all":
            for pid in [script.process.pid, *chance.sample(family, len(family))]:
                _send(pid)
            return
        wanted = [pid for pid in family if _is_worker(pid) == (fault == "kill worker") and _is_ours(pid)]
        if wanted:
            _send(wanted[0])
            return
        time.sleep(0.01)


def _send(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _is_ours(pid: int) -> bool:
    return "edgedistil." in _command_line(pid)


def _is_worker(pid: int) -> bool:
    return "edgedistil.workers" in _command_line(pid)


def _wait_for_all(script: Any, seconds: float = 30.0) -> None:
    """Until no process of the run is left: what its script started notices that it is gone."""
    marker = f"EDGEDISTIL_STORE={script.store}".encode()
    end = time.monotonic() + seconds
    while alive := [pid for pid in _processes() if marker in _variables_of(pid)]:
        assert time.monotonic() < end, f"still alive after {seconds} s: {[_command_line(p) for p in alive]}"
        time.sleep(0.02)


def _processes() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def _variables_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _fill(filler: Path, slack: int) -> None:
    """Take all that is free but for ``slack`` bytes."""
    with filler.open("wb") as file:
        free = shutil.disk_usage(filler.parent).free
        if free > slack:
            os.posix_fallocate(file.fileno(), 0, free - slack)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of its own that holds little, in memory; None where this user may not mount one."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={_DISK_MB}m", "edgedistil-crash-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        # At once where it can be, else when the last that uses it is gone.
        if subprocess.run(["umount", str(folder)], capture_output=True).returncode != 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _finished(store: Path) -> dict[str, tuple[int, float]]:
    """(inode, time of making) of each finished artifact but reports, which are drawn from the rest."""
    found = {}
    for manifest in store.glob("artifacts/*/*/artifact.json"):
        if manifest.parent.parent.name != "report":
            made = json.loads(manifest.read_text())["created_unix_s"]
            found["/".join(manifest.parent.parts[-2:])] = (manifest.parent.stat().st_ino, made)
    return found


def _account(found: Campaign, fault: str, before: dict[str, Any], store: Path, name: str) -> None:
    """What was finished before is there still, and is the same folder: nobody made it again."""
    after = _finished(store)
    for key, made in before.items():
        if key not in after:
            found.lost[fault] += 1
            found.wrong.append(f"{name} ({fault}): {key} is gone")
        elif after[key] != made:
            found.twice[fault] += 1
            found.wrong.append(f"{name} ({fault}): {key} was finished and made again")


def _say_nothing_long(found: Campaign, fault: str, ran: Any, name: str) -> None:
    said = ran.err + ran.out
    if fault in ("kill stage", "kill worker") and ran.code not in (0, 1):
        found.wrong.append(f"{name} ({fault}): exit code {ran.code}: {ran.err[-600:]}")
    if fault in (*DISK, *FOLDERS, "file-size limit", "kill stage", "kill worker") and "Traceback" in said:
        found.wrong.append(f"{name} ({fault}): a traceback: {said[said.index('Traceback'):][:2500]}")


def _contents(store: Path) -> dict[str, Any]:
    """What an artifact holds by what it is: files whose bytes are decided, and records without figures of time."""
    found: dict[str, Any] = {}
    for manifest in store.glob("artifacts/*/*/artifact.json"):
        folder = manifest.parent
        if folder.parent.name == "report":
            continue
        told = json.loads(manifest.read_text())
        own: dict[str, Any] = {f: told["files"][f]["sha256"] for f in _SAME_BYTES if f in told["files"]}
        if (folder / "record.json").is_file():
            record = json.loads((folder / "record.json").read_text())
            own["record"] = {key: value for key, value in record.items() if key not in _OF_TIME}
        found["/".join(folder.parts[-2:])] = own
    return found


def _compare(found: Campaign, fault: str, expected: dict[str, Any], store: Path, name: str) -> None:
    from edgedistil.store.integrity import damage_on_disk
    from edgedistil.store.lock import holder

    now = _contents(store)
    for key in expected.keys() | now.keys():
        if now.get(key) != expected.get(key):
            found.lost[fault] += 1
            found.wrong.append(f"{name} ({fault}): {key} is not as undisturbed: {now.get(key)} / {expected.get(key)}")
    found.compared += len(now)
    found.wrong += [wrong for key in now if (wrong := damage_on_disk(store / "artifacts" / key))]
    leftovers = [p for folder in ("work", "failures", "trash") for p in (store / folder).glob("*")]
    leftovers += [p for p in store.glob("artifacts/**/.*")]
    found.left[fault] += len(leftovers)
    found.wrong += [f"{name} ({fault}): {p} is left" for p in leftovers]
    held = [lock.name for lock in store.glob("locks/*.lock") if holder(lock)]
    found.wrong += [f"{name} ({fault}): {lock} is still held" for lock in held]
