"""The emulated phone: a real adbd on arm64 that can be filled, unplugged and killed, and leaves nothing behind."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_phones import EMULATOR, Phone, port_open, start, stop, until

from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.precision import Blocks4Bit, DynamicInt8, Float32
from edgedistil.export.reading import read_model
from edgedistil.workers.client import Worker, WorkerError

Start = Callable[..., Phone]
STORAGE = "/data/local/tmp"


def test_it_starts_within_seconds_and_is_an_arm64_phone(start_phone: Start) -> None:
    phone = start_phone("cortex-a710")
    assert phone.seconds < 15
    assert set(phone.said) == {"serial", "cpu", "pid", "adb"}
    assert (phone.said["cpu"], phone.said["pid"]) == ("cortex-a710", phone.process.pid)
    assert phone.shell("id; uname -m; hostname; pwd").splitlines() == [
        "uid=2000(shell) gid=2000(shell) groups=2000(shell)", "aarch64", "phone", "/"]
    assert "0xd47" in phone.shell("cat /proc/cpuinfo")
    for key, value in {"ro.product.cpu.abi": "arm64-v8a", "ro.kernel.qemu": "1", "no.such.key": "",
                       "no.such.key fallback": "fallback", "ro.product.model fallback": "emulated arm64 phone"}.items():
        assert phone.shell(f"getprop {key}") == value
    every = phone.shell("getprop").splitlines()
    assert "[ro.product.cpu.abi]: [arm64-v8a]" in every
    assert all(line[0] == "[" and "]: [" in line and line[-1] == "]" for line in every)
    # A phone's shell, and storage of which all is free.
    assert "MIRBSD KSH" in phone.shell("echo $KSH_VERSION")
    assert phone.shell(f"df -k {STORAGE} | tail -1").split()[1:4] == ["2097152", "0", "2097152"]


def test_half_of_the_cores_are_large_by_their_frequencies(start_phone: Start) -> None:
    phone, cores = start_phone(), os.cpu_count() or 1
    files = "/sys/devices/system/cpu/cpu*/cpufreq"
    found = phone.shell(f"cat {files}/cpuinfo_max_freq").split()
    assert sorted(found) == ["1800000"] * (cores // 2) + ["2400000"] * (cores - cores // 2)
    assert phone.shell(f"cat {files}/scaling_governor").split() == ["schedutil"] * cores


def test_files_come_back_as_they_went(start_phone: Start, tmp_path: Path) -> None:
    phone, data = start_phone(), random.Random(0).randbytes(8 << 20)
    (tmp_path / "there").write_bytes(data)
    assert phone.adb("push", str(tmp_path / "there"), f"{STORAGE}/a file").returncode == 0
    assert phone.shell(f"sha256sum '{STORAGE}/a file'").split()[0] == hashlib.sha256(data).hexdigest()
    assert phone.adb("pull", f"{STORAGE}/a file", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == data


def test_exit_codes_and_both_outputs_come_through(start_phone: Start) -> None:
    phone = start_phone()
    done = phone.adb("shell", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert phone.adb("shell", "no-such-program").returncode == 127
    assert phone.adb("shell", "kill -9 $$").returncode == 137


def test_full_storage_is_said_and_can_be_emptied(start_phone: Start, tmp_path: Path) -> None:
    phone = start_phone("cortex-a53", "--storage-mb", "16")
    (tmp_path / "large").write_bytes(bytes(24 << 20))
    done = phone.adb("push", str(tmp_path / "large"), STORAGE)
    assert done.returncode != 0
    assert "No space left on device" in done.stdout + done.stderr
    assert phone.adb("shell", f"head -c 20000000 /dev/zero > {STORAGE}/more").returncode != 0
    phone.shell(f"rm -rf {STORAGE}/*")
    assert phone.shell(f"df -k {STORAGE} | tail -1").split()[1:4] == ["16384", "0", "16384"]


def test_a_pulled_cable_tears_the_command_and_the_phone_stays(start_phone: Start) -> None:
    phone = start_phone()
    running = subprocess.Popen([*phone.command, "shell", f"echo begun; sleep 60; echo ended > {STORAGE}/ended"],
                               env=phone.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    began = time.monotonic()
    phone.cable(signal.SIGUSR1)
    # Whatever its exit code (adb 29 and 34 say 0, 36 says 255), nothing more is said.
    assert running.communicate(timeout=20)[0] == ""
    assert time.monotonic() - began < 10
    assert phone.adb("shell", "true", timeout=30).returncode != 0
    phone.cable(signal.SIGUSR2)
    phone.connect()
    assert phone.shell(f"ls {STORAGE}; echo here") == "here"


def test_a_push_is_torn_by_a_killed_phone(start_phone: Start, tmp_path: Path) -> None:
    phone = start_phone()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1900 << 20)
    running = subprocess.Popen([*phone.command, "push", "-Z", str(tmp_path / "large"), STORAGE],
                               env=phone.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: int(phone.shell(f"du -k {STORAGE}").split()[0]) > 1024, "the push to begin")
    phone.process.kill()
    said = running.communicate(timeout=30)[0]
    assert running.returncode != 0, said


def test_a_phone_that_is_killed_leaves_nothing(start_phone: Start, adb_environment: dict[str, str]) -> None:
    mounts, home = Path("/proc/self/mounts").read_text(), Path(adb_environment["TMPDIR"])
    files = set(home.iterdir())
    phone = start_phone()
    running = subprocess.Popen([*phone.command, "shell", "sleep 100 & sleep 100"], env=phone.environment)
    until(lambda: len(phone.processes()) >= 7, "the phone's programs to run")
    processes = phone.processes()
    assert {file.name for file in set(home.iterdir()) - files} <= {".android", f"adb.{os.getuid()}.log"}
    assert Path("/proc/self/mounts").read_text() == mounts
    phone.process.send_signal(signal.SIGKILL)
    phone.process.wait(10)
    running.wait(20)
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in processes), "the phone's programs to end")
    assert not port_open(int(phone.serial.split(":")[1]))
    assert {file.name for file in set(home.iterdir()) - files} <= {".android", f"adb.{os.getuid()}.log"}


@pytest.mark.parametrize("how", ["end of input", "SIGTERM", "SIGINT"])
def test_it_ends_when_it_is_told_to(how: str, start_phone: Start) -> None:
    phone = start_phone()
    processes = phone.processes()
    assert len(processes) >= 4
    if how == "end of input":
        assert phone.process.stdin is not None
        phone.process.stdin.close()
        phone.process.stdin = None
    else:
        phone.process.send_signal(getattr(signal, how))
    assert phone.process.wait(10) == 0
    assert not any(Path(f"/proc/{number}").exists() for number in processes)
    assert phone.process.communicate() == ("", "")


def test_a_phone_whose_adbd_dies_says_so(start_phone: Start) -> None:
    phone = start_phone()
    phone.adb("shell", "kill -9 2")
    assert phone.process.wait(10) == 1
    assert phone.process.communicate()[1] == "error: the phone ended: adbd ended with -9\n"


def _listening() -> set[tuple[str, str]]:
    """(address, port) in hexadecimal of every TCP socket of this machine that listens."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    found = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {(address, port) for address, port in found}


def _vsock_sockets() -> list[str]:
    lines = Path("/proc/net/protocols").read_text().splitlines()
    return [line.split()[2] for line in lines if line.startswith("AF_VSOCK")]


def test_nothing_of_it_listens_outside_the_loopback(start_phone: Start) -> None:
    start_phone("cortex-a53")  # adb's server listens from here on
    before, vsock = _listening(), _vsock_sockets()
    phone = start_phone()
    port = f"{int(phone.serial.split(':')[1]):04X}"
    new = {place for place in _listening() - before if place[1] in (port, f"{5555:04X}")}
    assert new == {("0100007F", port)}
    # In its own network adbd listens everywhere, as it does; that network is the loopback alone.
    assert "15B3" in phone.shell("cat /proc/net/tcp /proc/net/tcp6")
    devices = phone.shell("cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    # Vsock is not the network's: all of this machine's count, and there is none more.
    assert _vsock_sockets() == vsock


def test_the_phone_can_do_nothing_to_this_machine(start_phone: Start) -> None:
    phone = start_phone()
    assert "Read-only file system" in phone.adb("shell", "echo x > /system/x").stderr
    assert phone.adb("shell", f"mkdir {STORAGE}/m && mount -t tmpfs x {STORAGE}/m").returncode != 0
    # Which is the machine's own, and its root's to write.
    assert phone.shell("cat /proc/sys/kernel/core_pattern") == Path("/proc/sys/kernel/core_pattern").read_text().strip()
    assert phone.adb("shell", "test -w /proc/sys/kernel/core_pattern").returncode == 1
    numbers = phone.shell("ls -d /proc/[0-9]*").split()
    assert len(numbers) <= 5
    assert phone.shell("grep CapEff /proc/self/status").split()[1] == "0" * 16
    open_files = phone.shell("ls -l /proc/2/fd")
    assert str(Path.home()) not in open_files


def test_figures_of_heat_and_battery_can_be_changed(start_phone: Start) -> None:
    phone, other = start_phone(), start_phone()
    assert "Thermal Status: 0\n" in phone.shell("dumpsys thermalservice")
    phone.shell("echo thermal_status=3 >> /data/phone/figures; echo battery_level=12 >> /data/phone/figures")
    shown = phone.shell("dumpsys thermalservice")
    assert "Thermal Status: 3\n" in shown
    assert "\tTemperature{mValue=31.5, mType=3, mName=skin, mStatus=3}\n" in shown
    assert "\n  level: 12\n" in phone.shell("dumpsys battery")
    assert "\n  level: 87\n" in other.shell("dumpsys battery")
    done = phone.adb("shell", "dumpsys nothing")
    assert (done.returncode, done.stdout) == (1, "Can't find service: nothing\n")


def test_setting_up_again_does_nothing(phone_folder: Path) -> None:
    files = {file: file.lstat().st_mtime_ns for file in phone_folder.rglob("*")}
    began = time.monotonic()
    done = subprocess.run([sys.executable, str(EMULATOR / "setup.py"), "--output", str(phone_folder)],
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < 2
    assert {file: file.lstat().st_mtime_ns for file in phone_folder.rglob("*")} == files


@pytest.mark.long
def test_a_set_up_without_network_says_so_and_leaves_nothing(phone_folder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
                   "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, str(EMULATOR / "setup.py"), "--output", str(tmp_path / "phone")],
                          capture_output=True, text=True, env=environment, timeout=200)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
    assert done.stderr.startswith("error: apt-get update: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_phone_from_nothing_starts(
    phone_folder: Path, adb_environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, str(EMULATOR / "setup.py"), "--output", str(tmp_path / "phone")],
                          capture_output=True, text=True, timeout=250)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'phone'}: made, adbd 34")
    assert [file.name for file in tmp_path.iterdir()] == ["phone"]
    made = {file.name for file in (tmp_path / "phone").iterdir()}
    assert {"manifest.json", "root"} <= made <= {"manifest.json", "root", "qemu-aarch64", "adb"}
    packages = json.loads((tmp_path / "phone" / "manifest.json").read_text())["packages"]["arm64"]
    assert {"adbd", "mksh", "toybox", "libc6"} <= set(packages)
    assert all(len(facts["sha256"]) == 64 and facts["version"] for facts in packages.values())
    phone = start(tmp_path / "phone", adb_environment, "cortex-a53")
    try:
        phone.connect()
        assert phone.shell("uname -m") == "aarch64"
    finally:
        stop(phone)


# With the largest difference of a logit, relative to the largest one, that an arm core may have from this machine.
# INT8: a last bit of a float turns the rounding of an activation. 4-bit at level 0 computes in float everywhere; at
# level 4 activations are rounded by other rules (A53: none).
PRECISIONS = {
    "fp32": (Float32(), 1e-5),
    "int8": (DynamicInt8(embeddings=True, weights="s8_7bit"), 0.05),
    "4-bit float": (Blocks4Bit(embeddings=True, block_size=32, accuracy_level=0), 1e-5),
    "4-bit": (Blocks4Bit(embeddings=True, block_size=32, accuracy_level=4), 0.15),
    "4-bit asymmetric": (Blocks4Bit(embeddings=True, block_size=32, accuracy_level=4, rounding="hqq"), 0.15),
}


@pytest.mark.parametrize("cpu", [pytest.param("cortex-a53", marks=pytest.mark.long), "cortex-a76", "cortex-a710"])
def test_the_runner_answers_through_adb_as_this_machine_does(
    cpu: str, start_phone: Start, built: Callable[[str], Path], tiny_folder: Callable[..., Path],
    tiny_model: Callable[..., Any], sentence_ids: list[list[int]],
) -> None:
    bundle, phone = built("linux-arm64"), start_phone(cpu)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert phone.adb("push", str(bundle), f"{STORAGE}/runner").returncode == 0
    start = f"cd {STORAGE}/runner && exec {' '.join(manifest['start'])} --own-clock"
    request: dict[str, Any] = {"ids": sentence_ids, "types": [[0] * len(ids) for ids in sentence_ids]}
    variables = {key: phone.environment[key] for key in ("ANDROID_ADB_SERVER_PORT", "HOME")}
    expected: dict[str, Any] = {}
    # One process for all, since most of a process's time is QEMU translating the library.
    with Worker("adb", 1, command=[*phone.command, "shell", start], variables=variables) as there, Worker(
            "onnxruntime", 1) as here:
        for name, (precision, allowed) in PRECISIONS.items():
            folder = tiny_folder(tiny_model("distilbert"), name.replace(" ", "_"))
            save(write_graph(read_model(folder), precision, False), folder / "model.onnx")
            for file in folder.glob("model.onnx*"):
                assert phone.adb("push", str(file), f"{STORAGE}/{folder.name}/{file.name}").returncode == 0
            facts = there.load(f"{STORAGE}/{folder.name}", 64, ("the film",), ids=[[2, 5, 3]])["facts"]
            assert (facts["machine"], facts["ort_version"]) == ("aarch64", manifest["onnxruntime"])
            here.load(folder, 64, ("the film",))
            theirs, ours = (np.array(worker.ask("predict", **request)["logits"]) for worker in (there, here))
            largest = np.abs(ours).max()
            assert np.abs(theirs - ours).max() / largest < allowed, name
            assert (theirs * ours).sum() / np.linalg.norm(theirs) / np.linalg.norm(ours) > 0.99, name
            sure = np.abs(ours[:, 1] - ours[:, 0]) > 2 * allowed * largest
            assert (theirs.argmax(1) == ours.argmax(1))[sure].all(), name
            assert sure.sum() > 4
            expected[name] = ours
    assert np.abs(expected["int8"] - expected["fp32"]).max() > 1e-3 < np.abs(expected["4-bit"] - expected["int8"]).max()


def test_a_worker_on_a_phone_that_dies_is_torn(
    start_phone: Start, built: Callable[[str], Path], tiny_folder: Callable[..., Path],
    tiny_model: Callable[..., Any]
) -> None:
    bundle, phone = built("linux-arm64"), start_phone()
    folder = tiny_folder(tiny_model("distilbert"))
    save(write_graph(read_model(folder), Float32(), False), folder / "model.onnx")
    phone.adb("push", str(bundle), f"{STORAGE}/runner")
    for file in folder.glob("model.onnx*"):
        phone.adb("push", str(file), f"{STORAGE}/runner/{file.name}")
    start = " ".join(json.loads((bundle / "manifest.json").read_text())["start"])
    variables = {key: phone.environment[key] for key in ("ANDROID_ADB_SERVER_PORT", "HOME")}
    command = [*phone.command, "shell", f"cd {STORAGE}/runner && exec {start} --own-clock"]
    worker = Worker("adb", 1, command=command, variables=variables)
    worker.load(".", 64, ("the film",), ids=[[2, 5, 3]])
    phone.process.kill()
    with pytest.raises(WorkerError, match="died at predict"), worker:
        worker.ask("predict", ids=[[2, 5, 3]])
