"""What a phone says of itself, files on it, and a phone for the time of a step."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.fake_phone import FakePhone, options

from edgedistil.devices import availability
from edgedistil.devices.adb import Adb, PhoneError
from edgedistil.devices.android import connected, identify, why_missing
from edgedistil.devices.phone import big_cores, chosen_cores, facts, parse_cores, parse_state, state
from edgedistil.devices.phone_files import PhoneFiles
from edgedistil.devices.runner import find_runner
from edgedistil.errors import UserError

FREQUENCIES = {"0": 1_800_000, "1": 1_800_000, "2": 2_400_000, "3": 3_000_000}


@pytest.fixture
def phone(tmp_path: Path) -> FakePhone:
    return FakePhone(tmp_path / "phone")


@pytest.fixture
def adb(phone: FakePhone) -> Adb:
    return Adb(phone.adb, "SERIAL1")


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    folder = tmp_path / "runner"
    folder.mkdir()
    (folder / "edgedistil_runner").write_text(f"#!{sys.executable} -S\nimport time\ntime.sleep(600)\n")
    digest = hashlib.sha256((folder / "edgedistil_runner").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({
        "target": "linux-arm64", "onnxruntime": "1.31.1", "start": ["./edgedistil_runner"],
        "files": {"edgedistil_runner": {"sha256": digest, "bytes": 1}}}))
    return folder


def test_facts_are_those_of_the_properties(adb: Adb) -> None:
    found = facts(adb)
    assert (found["serial"], found["model"], found["soc"], found["abi"]) == ("SERIAL1", "Phone 9", "AC900", "arm64-v8a")
    assert found["emulated"] is False
    # This machine's own, through the same files.
    assert found["memory_mb"] > 100
    assert set(found["cores_max_khz"]) >= {"0"}


def test_an_emulator_says_that_it_is_one(phone: FakePhone, adb: Adb) -> None:
    phone.properties["ro.kernel.qemu"] = "1"
    phone.set()
    assert facts(adb)["emulated"] is True


def test_another_processor_is_refused(phone: FakePhone, adb: Adb) -> None:
    phone.properties["ro.product.cpu.abi"] = "armeabi-v7a"
    phone.set()
    with pytest.raises(PhoneError, match="SERIAL1 has the ABI armeabi-v7a, and the runner is built for arm64-v8a"):
        facts(adb)


def test_cores_and_what_a_phone_denies() -> None:
    assert parse_cores("3 3000000 walt\n0 1800000 -\n1 - schedutil\nnonsense\n") == [
        (0, 1_800_000, None), (1, None, "schedutil"), (3, 3_000_000, "walt")]


def test_big_cores_are_those_above_the_slowest_kind() -> None:
    assert big_cores(FREQUENCIES) == [2, 3]
    assert big_cores({"0": 5, "1": 5}) == [0, 1]
    assert big_cores({"0": 5, "1": None}) is None
    assert big_cores({}) is None


def test_chosen_cores() -> None:
    assert chosen_cores("big", FREQUENCIES, 2) == [2, 3]
    assert chosen_cores("all", FREQUENCIES, 4) is None
    assert chosen_cores("0-2,3", FREQUENCIES, 4) == [0, 1, 2, 3]
    assert chosen_cores("big", {"0": None}, 1) is None
    for wanted, threads, message in (("big", 3, r"device\.threads=3 is more than the 2 cores of .*=big"),
                                     ("7", 1, "cores=7: the phone has no core 7, only 0, 1, 2, 3"),
                                     ("4..7", 1, "is neither big nor all nor a list such as 4-7")):
        with pytest.raises(PhoneError, match=message):
            chosen_cores(wanted, FREQUENCIES, threads)


def test_state_of_a_phone(phone: FakePhone, adb: Adb) -> None:
    found = state(adb)
    assert found | {"load_average": 0} == {"thermal_status": 0, "battery_percent": 87, "battery_celsius": 28.4,
                                           "powered": True, "battery_saver": False, "load_average": 0}


def test_state_that_is_denied_is_none() -> None:
    assert set(parse_state("").values()) == {None}
    hot = parse_state("Thermal Status: 3\n  AC powered: false\n  USB powered: false\n  level: 5\nlow_power: 1\n")
    assert (hot["thermal_status"], hot["powered"], hot["battery_saver"], hot["battery_percent"]) == (3, False, True, 5)


def files(tmp_path: Path, **contents: bytes) -> dict[str, Path]:
    found = {}
    for name, content in contents.items():
        found[name] = tmp_path / f"local_{name}"
        found[name].write_bytes(content)
    return found


def pushes(phone: FakePhone) -> int:
    return sum(call[2:3] == ["push"] for call in phone.calls)


def test_files_are_pushed_once_and_found_by_their_contents(phone: FakePhone, adb: Adb, tmp_path: Path) -> None:
    some = files(tmp_path, model=b"weights", data=b"more")
    folder = PhoneFiles(adb, emulated=False).put(some)
    there = phone.root / "edgedistil" / folder.rsplit("/", 1)[1]
    assert {p.name: p.read_bytes() for p in there.iterdir()} == {"model": b"weights", "data": b"more"}
    again = PhoneFiles(adb, emulated=False)
    assert again.put(some) == folder == again.put(some)
    assert pushes(phone) == 2
    assert again.put(files(tmp_path, model=b"other", data=b"more")) != folder
    assert pushes(phone) == 4


@pytest.mark.parametrize("emulated", [False, True])
def test_a_file_that_arrives_otherwise_is_told_and_removed(
    phone: FakePhone, adb: Adb, tmp_path: Path, emulated: bool
) -> None:
    phone.set(fault="corrupts")
    # Large enough to be pulled back from an emulated phone.
    with pytest.raises(PhoneError, match="model arrived on SERIAL1 with another SHA-256 than it has here"):
        PhoneFiles(adb, emulated).put(files(tmp_path, model=bytes(2_000_000)))
    assert any(call[2:3] == ["pull"] for call in phone.calls) == emulated
    assert list((phone.root / "edgedistil").iterdir()) == []


def test_a_file_that_can_not_be_read_back_is_removed(phone: FakePhone, adb: Adb, tmp_path: Path) -> None:
    phone.set(fault="unplugged in a pull")
    with pytest.raises(PhoneError, match="adb pull on SERIAL1: adb: error: failed to copy: EOF"):
        PhoneFiles(adb, emulated=True).put(files(tmp_path, model=bytes(2_000_000)))
    assert list((phone.root / "edgedistil").iterdir()) == []


def test_a_phone_that_goes_away_while_it_gets_the_runner_says_so(phone: FakePhone, runner: Path) -> None:
    phone.set(fault="unplugged in a push")
    with (
        pytest.raises(PhoneError, match=r"the phone SERIAL1 is gone .*; meanwhile: adb push on SERIAL1"),
        connected(options(adb=phone.adb, runner=str(runner)), 1),
    ):
        pass


def test_a_push_that_is_torn_leaves_nothing_after_the_next_run(phone: FakePhone, adb: Adb, tmp_path: Path) -> None:
    phone.set(fault="unplugged in a push")
    with pytest.raises(PhoneError, match=r"adb push on SERIAL1: adb: error: failed to copy: EOF; nothing of it"):
        PhoneFiles(adb, emulated=False).put(files(tmp_path, model=b"x" * 100))
    assert [p.suffix for p in (phone.root / "edgedistil").iterdir()] == [".part"]
    phone.set(fault=None)
    PhoneFiles(adb, emulated=False).sweep()
    assert list((phone.root / "edgedistil").iterdir()) == []


def test_room_is_made_of_what_this_run_does_not_use(phone: FakePhone, adb: Adb, tmp_path: Path) -> None:
    old = PhoneFiles(adb, emulated=False).put(files(tmp_path, model=b"old"))
    phone.free_kb = 1
    phone.set()
    mine = PhoneFiles(adb, emulated=False)
    kept = mine.put(files(tmp_path, model=b"small"))
    assert old.rsplit("/", 1)[1] in {p.name for p in (phone.root / "edgedistil").iterdir()}
    with pytest.raises(PhoneError, match=r"no space left on SERIAL1: 0\.0 MB are needed and 0\.0 MB are free"):
        mine.put(files(tmp_path, model=b"x" * 2000))
    assert [p.name for p in (phone.root / "edgedistil").iterdir()] == [kept.rsplit("/", 1)[1]]


def test_a_step_has_the_runner_and_leaves_no_process(phone: FakePhone, runner: Path) -> None:
    import subprocess
    import time

    chosen = options(adb=phone.adb, runner=str(runner), cores="all")
    with connected(chosen, threads=1) as found:
        process = subprocess.Popen(found.command(None))
        while not list((phone.root / "edgedistil").glob("*.pid")):
            time.sleep(0.05)
        assert process.poll() is None
    assert process.wait(10) != 0
    assert [p.suffix for p in (phone.root / "edgedistil").iterdir()] == [""]


def test_what_fails_while_the_phone_is_gone_says_so(phone: FakePhone, runner: Path) -> None:
    message = "the phone SERIAL1 is gone .*; meanwhile: the worker died"

    def step() -> None:
        with connected(options(adb=phone.adb, runner=str(runner)), 1):
            phone.set(fault="gone")
            raise RuntimeError("the worker died")

    with pytest.raises(PhoneError, match=message):
        step()


def test_cores_stand_in_the_command(phone: FakePhone, runner: Path) -> None:
    with connected(options(adb=phone.adb, runner=str(runner), cores="0"), 1) as found:
        assert found.command([0])[-1].endswith("exec ./edgedistil_runner --own-clock --cores 0")
        assert "--cores" not in found.command(None)[-1]


def test_a_hot_phone_is_waited_for_no_longer_than_asked(phone: FakePhone, runner: Path) -> None:
    phone.thermal = "Thermal Status: 2\n"
    phone.set()
    with connected(options(adb=phone.adb, runner=str(runner), cool_down_s=0), 1) as found:
        rest = found.cool_down()
    assert rest["thermal_status"] == 2
    with connected(options(adb=phone.adb, runner=str(runner), max_thermal_status=2), 1) as found:
        assert found.cool_down()["waited_s"] < 5


def test_which_phone_is_missing_and_which_can_not_be_used(phone: FakePhone, runner: Path) -> None:
    assert "there is no 'no_such_adb'" in str(why_missing(options(adb="no_such_adb")))
    phone.set(devices=[])
    device: dict[str, Any] = {"kind": "android", "threads": 1, "phone": options(adb=phone.adb, runner=str(runner))}
    assert availability.why_missing(device) == "no Android device: adb devices lists none"
    phone.set(devices=[["A", "unauthorized"]])
    assert availability.why_missing(device) is None
    with pytest.raises(UserError, match="phone A is unauthorized"):
        availability.identify(device)
    assert availability.why_missing({"kind": "cpu"}) is None


def test_a_phone_is_identified_by_what_it_is_not_by_how_it_is(phone: FakePhone, runner: Path) -> None:
    chosen = options(adb=phone.adb, runner=str(runner))
    before = identify(chosen, 1)
    phone.battery = "  level: 3\n"
    phone.set()
    assert identify(chosen, 1) == before
    assert before["runner"]["files"]["edgedistil_runner"]
    phone.properties["ro.build.fingerprint"] = "acme/phone9:16"
    phone.set()
    assert identify(chosen, 1) != before


def test_a_runner_that_is_no_build_for_phones(tmp_path: Path, runner: Path) -> None:
    with pytest.raises(UserError, match=r"no native runner in .*nowhere: make mobile TARGET=linux-arm64"):
        find_runner(str(tmp_path / "nowhere"), emulated=False)
    manifest = json.loads((runner / "manifest.json").read_text())
    (runner / "manifest.json").write_text(json.dumps(manifest | {"target": "host"}))
    with pytest.raises(UserError, match="is built for host; this device runs android or linux-arm64"):
        find_runner(str(runner), emulated=False)
    (runner / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="can't be read: build it again"):
        find_runner(str(runner), emulated=False)
    (runner / "manifest.json").write_text(json.dumps(manifest))
    (runner / "edgedistil_runner").unlink()
    with pytest.raises(UserError, match="lacks edgedistil_runner"):
        find_runner(str(runner), emulated=True)
