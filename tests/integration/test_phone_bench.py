"""``bench.py`` on a phone: the emulated one through the whole way, and what goes wrong with any."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_phone import FakePhone, options

from edgedistil.devices.android import connected
from edgedistil.workers.client import Worker, WorkerError

SENTENCES = 12
# By it, and nothing else, the phones of this process's tests are told from others.
STORAGE_MB = 1500 + os.getpid() % 400


@pytest.fixture
def emulated(phone_folder: Path, built: Callable[[str], Path], tiny: list[str], rapid: list[str]) -> list[str]:
    """Overrides of bench.py for a tiny model on the emulated phone."""
    runner = built("linux-arm64")
    # Each device beside its own parent.
    shortest = [o for o in rapid if not o.startswith("device.baselines")]
    return [*tiny, *shortest, f"device.phone.runner={runner}", f"device.phone.sentences={SENTENCES}",
            f"device.phone.emulator={phone_folder}", f"device.phone.storage_mb={STORAGE_MB}"]


def phones(storage_mb: int = STORAGE_MB) -> list[int]:
    """Process ids of started phones with so much storage."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_text().split("\0")
        except OSError:
            continue
        if any(word.endswith("emulator/phone.py") for word in words) and str(storage_mb) in words:
            found.append(int(line.parent.name))
    return found


def words(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def record_of(ran: Any, store: Path, device: str) -> dict[str, Any]:
    every = [json.loads(p.read_text()) for p in store.glob("artifacts/bench/*/record.json")]
    return next(r for r in every if r["names"]["device"] == device)


def test_one_multirun_over_devices_and_its_second_run(
    run: Any, copied: Path, tmp_path: Path, emulated: list[str]
) -> None:
    wanted = ["-m", "sweep=full", "device=cpu,cuda,cuda_4bit,android,android_emulated", "compression=none",
              "compression/quantization=int8", *emulated, "device.phone.adb=no_such_adb_on_the_path"]
    first = run("bench.py", *wanted, cwd=tmp_path / "run", store=copied, timeout=400).ok()
    assert (first.summary["cells"], first.summary["done"], first.summary["skipped"]) == (5, 2, 3)
    table = (Path(first.summary["folder"]) / "table.md").read_text()
    assert table.count("skipped: no CUDA device") == 1
    assert "skipped: device=cuda_4bit measures int4 alone, and this is int8" in table
    assert "skipped: no Android device: there is no 'no_such_adb_on_the_path'" in table
    measured, emulated_rows = table.split("**Emulated devices**")
    assert "android_emulated" not in measured
    assert emulated_rows.count("the device is emulated: its times mean nothing") == 1
    again = run("bench.py", *wanted, cwd=tmp_path / "run", store=copied, timeout=60).ok()
    assert again.computed == []
    assert again.summary["cached"] == 2
    assert phones() == []

    record = record_of(first, copied, "android_emulated")
    assert record["environment"]["device_facts"]["emulated"] is True
    assert record["environment"]["device_facts"]["abi"] == "arm64-v8a"
    assert record["environment"]["device_before"]["thermal_status"] == 0
    assert record["valid"] is False
    assert record["quality"]["n"] == SENTENCES
    assert record["quality"]["against_host"]["flips"] == 0
    assert record["quality"]["against_host"]["max_logit_drift"] < 0.05
    assert set(record["cold_start"]["cold_start_ms_p50"]) == {
        "started", "imported", "read", "session", "first_logits", "total"}
    assert record["latency"]["tokens_32"]["n"] == 2
    assert set(record["speedup"]) == {"onnxruntime_fp32"}
    assert record["memory"]["batch_1"]["peak_rss_mb"] > 10


@pytest.mark.long
@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76", "cortex-a710"])
def test_every_core_and_precision_answers_as_this_machine_does(
    cpu: str, run: Any, copied: Path, tmp_path: Path, emulated: list[str]
) -> None:
    done = run("bench.py", "-m", "device=android_emulated", f"device.phone.emulated_cpu={cpu}",
               "compression/quantization=none,fp16,int8,int4", *emulated, "measurement=quality",
               cwd=tmp_path / "run", store=copied, timeout=500).ok()
    assert done.summary["done"] == 4
    for file in copied.glob("artifacts/bench/*/record.json"):
        record = json.loads(file.read_text())
        method, here = record["compression"]["quantization"]["method"], record["quality"]["against_host"]
        assert here["flips"] <= (1 if method == "int4_ort" else 0)
        assert here["max_logit_drift"] < {"none": 1e-4, "fp16": 1e-4, "int8_dynamic": 0.1, "int4_ort": 1.0}[method]


@pytest.mark.parametrize("stage", ["push", pytest.param("run", marks=pytest.mark.long)])
def test_a_phone_that_goes_away_fails_the_cell_and_a_second_run_finishes_it(
    stage: str, start: Any, run: Any, copied: Path, tmp_path: Path, emulated: list[str]
) -> None:
    wanted = ["-m", "device=android_emulated", "compression/quantization=int8", *emulated]
    began = start("bench.py", *wanted, cwd=tmp_path / "run", store=copied)
    program = {"push": b"phone.py", "run": b"edgedistil_runner"}[stage]
    began.until(lambda: any(program in words(child) for child in began.children()), f"the {stage}", 120)
    time.sleep(1)
    for process in phones():
        os.kill(process, signal.SIGKILL)
    failed = began.end()
    assert failed.code == 1
    assert "the phone 127.0.0.1:" in failed.summary["why"]
    assert "is gone" in failed.summary["why"]
    assert phones() == []
    if stage == "run":
        done = run("bench.py", *wanted, cwd=tmp_path / "run", store=copied, timeout=300).ok()
        assert done.summary["done"] == 1


@pytest.mark.long
def test_full_storage_and_an_answer_that_never_comes(
    run: Any, copied: Path, tmp_path: Path, emulated: list[str]
) -> None:
    cell = ["-m", "device=android_emulated", "compression/quantization=int8", *emulated, "measurement=quality"]
    full = run("bench.py", *cell, "device.phone.storage_mb=20", cwd=tmp_path / "full", store=copied)
    assert phones(20) == []
    assert full.code == 1
    assert "no space left on 127.0.0.1" in full.summary["why"]
    assert "are needed and" in full.summary["why"]
    late = run("bench.py", *cell, "device.phone.timeout_s=1.5", cwd=tmp_path / "late", store=copied)
    assert late.code == 1
    assert "within 1.5 s" in late.summary["why"]
    assert phones() == []


def test_a_model_that_does_not_load_says_so_and_leaves_nothing(
    phone_folder: Path, built: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model" * 100)
    chosen = options(runner=str(built("linux-arm64")), emulated_cpu="cortex-a76", emulator=str(phone_folder),
                     cores="all", storage_mb=STORAGE_MB)

    def load() -> None:
        with connected(chosen, threads=1) as phone:
            remote = phone.files.put({"model.onnx": tmp_path / "model.onnx"})
            with Worker("native", 1, variables=phone.adb.environment, command=phone.command(None)) as worker:
                worker.load(remote, 8, ("x",), ids=[[1]])

    with pytest.raises(WorkerError, match=r"the native worker could not load: .*(?i:protobuf|parse|invalid)"):
        load()
    assert phones() == []


@pytest.fixture
def real(tmp_path: Path, tiny: list[str], rapid: list[str]) -> tuple[FakePhone, list[str]]:
    """A phone that is no emulator, and overrides for it."""
    phone, runner = FakePhone(tmp_path / "phone"), tmp_path / "runner"
    runner.mkdir()
    (runner / "program").write_text("x")
    (runner / "manifest.json").write_text(json.dumps({
        "target": "linux-arm64", "onnxruntime": "1", "start": ["./program"],
        "files": {"program": {"sha256": "0", "bytes": 1}}}))
    return phone, [*tiny, *rapid, "device=android", f"device.phone.adb={phone.adb}", f"device.phone.runner={runner}"]


@pytest.mark.parametrize(
    ("devices", "abi", "changes", "message"),
    [
        ([["A", "device"], ["B", "device"]], "arm64-v8a", [], r"2 phones are connected: A (device), B (device); say"),
        ([["A", "unauthorized"]], "arm64-v8a", [], "phone A is unauthorized: unlock it and allow this computer"),
        ([["A", "device"]], "x86_64", [], "phone A has the ABI x86_64, and the runner is built for arm64-v8a"),
        ([["A", "device"]], "arm64-v8a", ["device.phone.serial=C"], "device.phone.serial=C is not connected"),
        ([["A", "device"]], "arm64-v8a", ["device.phone.runner=/no/where"], "no native runner in /no/where: make"),
    ],
    ids=["two", "unauthorized", "abi", "serial", "runner"],
)
def test_a_phone_that_can_not_be_used_is_one_line(
    run: Any, real: Any, copied: Path, tmp_path: Path, devices: Any, abi: str, changes: list[str], message: str
) -> None:
    phone, overrides = real
    phone.properties["ro.product.cpu.abi"] = abi
    phone.set(devices=devices)
    done = run("bench.py", *overrides, *changes, cwd=tmp_path / "run", store=copied)
    assert (done.code, done.computed) == (2, [])
    assert message in done.err.strip().splitlines()[-1]
    assert done.seconds < 5
    assert not (tmp_path / "run" / "outputs").exists()
    swept = run("bench.py", "-m", *overrides, *changes, cwd=tmp_path / "run", store=copied)
    assert message in swept.summary["why"]
    assert (swept.code, swept.summary["failed"]) == (2, 1)


def test_no_phone_is_skipped_at_once(run: Any, real: Any, copied: Path, tmp_path: Path) -> None:
    phone, overrides = real
    phone.set(devices=[])
    done = run("bench.py", *overrides, cwd=tmp_path / "run", store=copied)
    assert done.summary["status"] == "skipped"
    assert done.summary["why"] == "no Android device: adb devices lists none"
    assert done.seconds < 4
    shutil.rmtree(tmp_path / "run")
