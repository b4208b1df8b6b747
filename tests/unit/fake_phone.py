"""A phone that is a folder: an ``adb`` of our own that runs shell commands here, under another root, with faults."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

PROPERTIES = {
    "ro.product.manufacturer": "Acme", "ro.product.model": "Phone 9", "ro.soc.model": "AC900",
    "ro.board.platform": "ac", "ro.build.version.release": "15", "ro.build.version.sdk": "35",
    "ro.build.fingerprint": "acme/phone9:15", "ro.product.cpu.abi": "arm64-v8a",
}
THERMAL = "IsStatusOverride: false\nThermal Status: 0\n"
BATTERY = "  AC powered: false\n  USB powered: true\n  level: 87\n  temperature: 284\n"

ADB = """#!{python} -S
import json, os, shutil, subprocess, sys
home = {home!r}
state = json.load(open(os.path.join(home, "state.json")))
def note(words):
    with open(os.path.join(home, "calls"), "a") as log:
        log.write(json.dumps(words) + chr(10))
words = sys.argv[1:]
note(words)
if words == ["devices"]:
    print("List of devices attached")
    for serial, kind in state["devices"]:
        print(serial + chr(9) + kind)
    sys.exit(0)
assert words[0] == "-s", words
serial, verb, rest = words[1], words[2], words[3:]
if serial not in [name for name, _ in state["devices"]] or state["fault"] == "gone":
    print("adb: device '" + serial + "' not found", file=sys.stderr)
    sys.exit(1)
def there(path):
    return path.replace("/data/local/tmp", os.path.join(home, "root"))
if verb == "push":
    source, target = rest
    data = open(source, "rb").read()
    if state["fault"] == "unplugged in a push":
        open(there(target), "wb").write(data[: len(data) // 2])
        state["fault"] = "gone"
        json.dump(state, open(os.path.join(home, "state.json"), "w"))
        print("adb: error: failed to copy: EOF", file=sys.stderr)
        sys.exit(1)
    if state["fault"] == "corrupts":
        data = data[:-1] + bytes([data[-1] ^ 1])
    open(there(target), "wb").write(data)
elif verb == "pull" and state["fault"] == "unplugged in a pull":
    print("adb: error: failed to copy: EOF", file=sys.stderr)
    sys.exit(1)
elif verb == "pull":
    shutil.copyfile(there(rest[0]), rest[1])
elif verb == "shell":
    if state["fault"] == "torn":
        print("half of it")
        sys.exit(0)
    path = os.path.join(home, "bin") + ":" + os.environ["PATH"]
    done = subprocess.run(["sh", "-c", there(rest[0])], env=dict(os.environ, PATH=path))
    sys.exit(done.returncode)
else:
    sys.exit(9)
"""


class FakePhone:
    """``adb`` (the program's path), and what it answers.

    ``fault``: ``gone``, ``torn``, ``corrupts``, ``unplugged in a push``, ``unplugged in a pull``.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.root = home, home / "root"
        (home / "bin").mkdir(parents=True)
        self.root.mkdir()
        self.adb = str(home / "adb")
        self._program(Path(self.adb), ADB.format(python=sys.executable, home=str(home)))
        self.state: dict[str, Any] = {"devices": [["SERIAL1", "device"]], "fault": None}
        self.properties, self.thermal, self.battery, self.free_kb = dict(PROPERTIES), THERMAL, BATTERY, 1_000_000
        self.set()

    def set(self, **changes: Any) -> None:
        """Change ``devices`` or ``fault``, and write everything anew."""
        self.state |= changes
        (self.home / "state.json").write_text(json.dumps(self.state))
        listed = "".join(f"[{k}]: [{v}]\n" for k, v in self.properties.items())
        self._answer("getprop", listed)
        (self.home / "thermal").write_text(self.thermal)
        (self.home / "battery").write_text(self.battery)
        self._program(self.home / "bin" / "dumpsys", "#!/bin/sh\ncase $1 in thermalservice) cat "
                      f"{self.home}/thermal;; battery) cat {self.home}/battery;; esac\n")
        self._answer("df", f"Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/x 9 9 {self.free_kb} 1% /data\n")
        self._answer("settings", "0\n")

    @property
    def calls(self) -> list[list[str]]:
        """Every command line so far, without the program."""
        log = self.home / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def _answer(self, name: str, text: str) -> None:
        (self.home / f"{name}.txt").write_text(text)
        self._program(self.home / "bin" / name, f"#!/bin/sh\ncat {self.home}/{name}.txt\n")

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def options(**changes: Any) -> dict[str, Any]:
    """The group ``device.phone`` with its defaults."""
    from dataclasses import asdict

    from edgedistil.config.device_schemas import Phone

    return asdict(Phone()) | changes


