"""The way to a phone: what adb says, what is quoted, what is torn, which phone is meant."""

from pathlib import Path

import pytest
from tests.unit.fake_phone import FakePhone

from edgedistil.devices.adb import Adb, Listed, PhoneError, choose, listed


@pytest.fixture
def phone(tmp_path: Path) -> FakePhone:
    return FakePhone(tmp_path / "phone")


@pytest.fixture
def adb(phone: FakePhone) -> Adb:
    return Adb(phone.adb, "SERIAL1")


def test_words_reach_the_phone_as_they_are(adb: Adb) -> None:
    words = ["a b", "$HOME", "`id`", "it's", '"', "; echo no", "", "ü", "*", "\\"]
    assert adb.shell(["printf", "%s\\n", *words]).splitlines() == words
    assert adb.script("echo {0}{1}", "$(id)", "'").strip() == "$(id)'"


def test_exit_codes_and_messages_come_through(adb: Adb) -> None:
    with pytest.raises(PhoneError, match=r"SERIAL1: ls: .*nothing.*\(exit code [12]\)"):
        adb.shell(["ls", "/nothing/here"])
    with pytest.raises(PhoneError, match=r"last words \(exit code 7\)"):
        adb.script("echo first >&2; echo last words >&2; exit 7")
    assert adb.script("echo fine; exit 0") == "fine\n"


def test_a_run_that_was_torn_is_an_error_though_adb_says_0(phone: FakePhone, adb: Adb) -> None:
    phone.set(fault="torn")
    with pytest.raises(PhoneError, match="a command on SERIAL1 was torn: the phone is gone or the connection broke"):
        adb.script("echo whole")


def test_a_command_that_hangs_is_ended(adb: Adb) -> None:
    with pytest.raises(PhoneError, match=r"adb gave no answer within 0\.5 s"):
        adb.script("sleep 20", timeout_s=0.5)


def test_a_phone_that_is_gone_says_so(phone: FakePhone, adb: Adb) -> None:
    phone.set(fault="gone")
    with pytest.raises(PhoneError, match="was torn: adb: device 'SERIAL1' not found"):
        adb.script("true")
    with pytest.raises(PhoneError, match="adb push on SERIAL1: adb: device 'SERIAL1' not found"):
        adb.run("push", __file__, "/data/local/tmp/x")


def test_no_adb_is_one_line() -> None:
    with pytest.raises(PhoneError, match=r"adb can't be run: .*no/such/adb"):
        Adb("/no/such/adb", "x").script("true")


def test_the_list_of_devices(phone: FakePhone) -> None:
    phone.set(devices=[["A", "device"], ["B", "unauthorized"], ["C", "no permissions (user in plugdev); see [x]"]])
    assert listed(phone.adb) == [Listed("A", "device"), Listed("B", "unauthorized"), Listed("C", "no permissions")]


@pytest.mark.parametrize(
    ("found", "serial", "message"),
    [
        ([Listed("A", "device"), Listed("B", "offline")], None,
         r"2 phones are connected: A \(device\), B \(offline\); say which: device\.phone\.serial=A"),
        ([Listed("A", "device")], "B", r"device\.phone\.serial=B is not connected; connected: A"),
        ([], "B", r"device\.phone\.serial=B is not connected; connected: none"),
        ([Listed("A", "unauthorized")], None, "phone A is unauthorized: unlock it and allow this computer"),
        ([Listed("A", "offline")], None, "phone A is offline: plug it in again"),
        ([Listed("A", "no permissions")], None, "phone A is no permissions: this user may not open its USB device"),
        ([Listed("A", "recovery")], None, "phone A is recovery: see adb devices -l"),
    ],
)
def test_which_phone_can_not_be_meant(found: list[Listed], serial: str | None, message: str) -> None:
    with pytest.raises(PhoneError, match=message):
        choose(found, serial)


def test_which_phone_is_meant() -> None:
    assert choose([Listed("A", "device")], None) == "A"
    assert choose([Listed("A", "offline"), Listed("B", "device")], "B") == "B"
