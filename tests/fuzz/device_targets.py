"""What phones, GPUs and this machine's kernel say of themselves: text of other programs, which may be anything."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.unit.fake_phone import BATTERY, PROPERTIES, THERMAL

from edgedistil.devices import adb as bridge
from edgedistil.devices import cores, cuda, emulated, host, phone
from edgedistil.devices.adb import Adb, choose, listed
from edgedistil.devices.phone_files import PhoneFiles
from edgedistil.devices.runner import find_runner

from .mutation import odd_json, odd_text
from .target import REFUSED, Target, answered, written

_MARK = "__edgedistil_exit="
# Everything that is asked of a phone in one text, so that each reader finds its own lines in it.
PHONE = (
    "".join(f"[{key}]: [{value}]\n" for key, value in PROPERTIES.items())
    + "[ro.kernel.qemu]: [1]\n0 1800000 schedutil\n1 2400000 -\n2 - -\nMemTotal:        7811548 kB\n"
    + THERMAL + BATTERY + "low_power: 0\nload: 1.02 0.98 0.91 2/2345 12345\n"
    + "Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/block/dm-9 9 9 1000000 1% /data\n"
)  # fmt: skip
DEVICES = (
    "List of devices attached\nSERIAL1\tdevice\n192.168.0.2:5555\tunauthorized; see adb\nX\tno permissions (user)\n\n"
)
GPU = "NVIDIA H200, GPU-8d1, 580.1, 9.0, 143771, 1980, 3201, 700.00, Enabled, Disabled\n"
STATE = "GPU-8d1, 345, 405, 75.5, 40, 0x0000000000000004, 12, 10\n"
_TIMES = "1 2 3 4 5 6 7 8 9 10\n"
CPU = (
    f"cpu  {_TIMES}cpu0 {_TIMES}cpu1 {_TIMES}intr 1 2 3\n"
    "processor\t: 0\nmodel name\t: AMD EPYC\ncpu family\t: 25\nmodel\t\t: 1\nstepping\t: 1\nflags\t\t: fpu avx2\n\n"
    "MemTotal:       16303428 kB\n"
)


@contextmanager
def _saying(text: str, error: str = "", code: int = 0) -> Iterator[None]:
    """Every adb command gives this."""

    def call(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> Any:
        return subprocess.CompletedProcess(command, code, text, error)

    with patch.object(bridge, "call", call):
        yield


def check_phone(data: bytes, folder: Path) -> None:
    text = data.decode(errors="replace")
    one = Adb("adb", "SERIAL1")
    with _saying(f"{text}\n{_MARK}0\n"):
        facts = answered(lambda: phone.facts(one))
        if facts is not REFUSED:
            _sent(facts)
            for wanted in ("big", "all", "0,1"):
                chosen = answered(lambda wanted=wanted: phone.chosen_cores(wanted, facts["cores_max_khz"], 1))
                assert chosen is REFUSED or chosen is None or all(type(core) is int for core in chosen)
        _sent(phone.state(one))
        free = answered(PhoneFiles(one, False)._free)
        assert free is REFUSED or type(free) is int
    with _saying(text):
        answered(lambda: phone.facts(one), "SERIAL1")
    with _saying(text, text, 1):
        answered(lambda: one.run("push", "a", "b"), "SERIAL1")
    listed_cores = answered(lambda: phone.listed_cores(text))
    assert listed_cores is REFUSED or len(listed_cores) <= 100_000


def check_devices(data: bytes, folder: Path) -> None:
    text = data.decode(errors="replace")
    with _saying(text):
        found = listed("adb")
    for serial in (None, "SERIAL1"):
        answered(lambda serial=serial: choose(found, serial))
    with _saying(text, text, 1):
        assert answered(lambda: listed("adb"), "adb devices") is REFUSED


def check_gpu(data: bytes, folder: Path) -> None:
    text = data.decode(errors="replace")
    lines = text.splitlines()
    with patch.object(cuda, "_ask", lambda arguments: (lines, text if len(lines) % 2 else "")):
        listed_gpus = cuda.gpus()
        _sent(listed_gpus)
        _sent(cuda.gpu_state())
        cuda.process_memory_mb(77)
        with patch.dict("os.environ", {"CUDA_VISIBLE_DEVICES": (lines or ["0"])[0].replace("\0", "")}):
            answered(cuda.used_gpu, "CUDA_VISIBLE_DEVICES")
    # The names that nvidia-smi would have told in their place.
    with patch.object(cuda, "_ask", lambda arguments: (text.split("\n"), "")):
        _sent(cuda.gpus())
    cuda.throttle_reasons(text)
    cuda.built_for(text)
    done = subprocess.CompletedProcess([], 0, text, "")
    here, run = patch.object(host.shutil, "which", lambda name: name), lambda *words, **options: done
    with here, patch.object(host.subprocess, "run", run):
        host.gpu_names.cache_clear()
        host.has_fast_bf16()
        host.gpu_names.cache_clear()


def check_kernel(data: bytes, folder: Path) -> None:
    file = written(folder, "proc", data)
    with patch.object(host, "_read", lambda path: _kernel(file)):
        facts = host.cpu_facts.__wrapped__()
        _sent(facts)
        busy, total = host._cpu_jiffies()
        assert type(busy) is int
        assert type(total) is int
    with patch.object(cores, "Path", lambda path: file):
        found = cores.core_times()
    assert all(type(core) is int for core in found)


def _kernel(file: Path) -> str:
    """As the module itself reads a file of the kernel."""
    with patch.object(host, "Path", lambda path: file):
        return _READ("")


_READ = host._read


def manifests() -> Sequence[bytes]:
    """``manifest.json`` of a built native runner."""
    facts = {"bytes": 4, "sha256": "0" * 64}
    made = {"target": "linux-arm64", "onnxruntime": "1.23.0", "files": {"edgedistil_runner": facts},
            "start": ["./edgedistil_runner"]}  # fmt: skip
    return [json.dumps(made).encode()]


def check_runner(data: bytes, folder: Path) -> None:
    written(folder, "r/edgedistil_runner", b"here")
    written(folder, "r/manifest.json", data)
    found = answered(lambda: find_runner(str(folder / "r"), True), str(folder / "r"))
    if found is not REFUSED:
        _sent(found.identity)
        assert all(path.is_file() for path in found.files.values())
        assert [str(word) for word in found.manifest["start"]] == found.manifest["start"]


def phone_manifests() -> Sequence[bytes]:
    """``manifest.json`` of an emulated phone, and the line that it says of itself."""
    packages = {"debian": {"qemu-user": {"version": "7.2", "sha256": "0"}}, "android": {}}
    return [json.dumps(one).encode() for one in ({"packages": packages}, {"serial": "127.0.0.1:5555"})]


def check_phone_manifest(data: bytes, folder: Path) -> None:
    written(folder, "manifest.json", data)
    found = answered(lambda: emulated.identity(folder), str(folder))
    if found is not REFUSED:
        _sent(found)
    where = answered(lambda: emulated._serial(data.decode(errors="replace")), "emulated phone")
    assert where is REFUSED or (isinstance(where, str) and where)


def _sent(facts: Any) -> None:
    """What enters fingerprints and records is JSON, without nan."""
    json.dumps(facts, allow_nan=False)


TARGETS = (
    Target("phone", lambda: [PHONE.encode(), b"4-7", b"0,1-3"], odd_text, check_phone),
    Target("adb_devices", lambda: [DEVICES.encode()], odd_text, check_devices),
    Target("gpu", lambda: [GPU.encode(), STATE.encode(), b"GPU-8d1, 77, 500\n", b"0x4", b"NVIDIA H200, 9.0\n",
                           b"cuda: str = '12.8'\n"], odd_text, check_gpu),
    Target("kernel", lambda: [CPU.encode()], odd_text, check_kernel),
    Target("runner_manifest", manifests, odd_json, check_runner),
    Target("phone_manifest", phone_manifests, odd_json, check_phone_manifest),
)  # fmt: skip
