"""The parts of the emulated phone that need no phone: what is read, written and refused."""

import errno
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

EMULATOR = Path(__file__).resolve().parents[2] / "mobile" / "emulator"
NAMES = ("host_tools", "inside", "machine", "namespaces", "packages", "phone", "relay", "root", "seccomp", "setup")


@pytest.fixture(scope="module")
def parts() -> Any:
    """The modules of ``mobile/emulator``, which import one another as a script's neighbours do."""
    from importlib import import_module

    sys.path.insert(0, str(EMULATOR))
    try:
        found: dict[str, ModuleType] = {name: import_module(name) for name in (*NAMES, "faults")}
    finally:
        sys.path.remove(str(EMULATOR))
    return SimpleNamespace(**found)


def run(name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(EMULATOR / name), *words], capture_output=True, text=True,
                          env={**os.environ, **variables}, stdin=subprocess.DEVNULL, timeout=60)


def test_sources_of_both_formats_are_read(parts: Any) -> None:
    stanzas = ("# a comment\nTypes: deb deb-src\n# http://other\nURIs: http://a/debian http://b/debian\n"
               "Suites: trixie trixie-updates\nComponents: main\nSigned-By: /keys/a.gpg\n\n"
               "Types: deb-src\nURIs: http://c\nSuites: trixie\n\n"
               "Types: deb\nEnabled: no\nURIs: http://d\nSuites: trixie\n\nTypes: deb\nURIs: http://e\nSuites: other\n")
    source = parts.packages.Source
    assert parts.packages.parse_sources(stanzas) == [
        source("http://a/debian", ("trixie", "trixie-updates"), "/keys/a.gpg"),
        source("http://b/debian", ("trixie", "trixie-updates"), "/keys/a.gpg"), source("http://e", ("other",))]
    lines = "#deb http://no bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] http://a bookworm main\n" \
            "deb-src http://a bookworm main\ndeb http://b bookworm-security main contrib\n"
    assert parts.packages.parse_sources(lines) == [
        source("http://a", ("bookworm",), "/k.gpg"), source("http://b", ("bookworm-security",))]


def test_only_the_release_and_what_is_added_is_taken_from_the_machine(parts: Any, tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://mirror bookworm main\n")
    more = "deb http://else stable main\ndeb http://s bookworm-security main"
    (tmp_path / "sources.list.d" / "x.list").write_text(more)
    source = parts.packages.Source
    found = parts.packages.sources_of("bookworm", ("bookworm-backports",), tmp_path)
    assert found == [source("http://mirror", ("bookworm",)), source("http://s", ("bookworm-security",)),
                     source("http://mirror", ("bookworm-backports",))]
    assert parts.packages.sources_of("bookworm", (), tmp_path) == found[:2]
    assert found[2].stanza() == "Types: deb\nURIs: http://mirror\nSuites: bookworm-backports\nComponents: main\n"
    assert source("u", ("a", "b"), "/k").stanza().endswith("Suites: a b\nComponents: main\nSigned-By: /k\n")
    with pytest.raises(parts.faults.PhoneError, match="name no mirror with the suite 'trixie'"):
        parts.packages.sources_of("trixie", (), tmp_path)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("E: Some index files failed to download.\nE: Failed to fetch http://x  Could not resolve 'x'\n",
         "Failed to fetch http://x  Could not resolve 'x' (the network, or a proxy: "),
        ("E: Unable to locate package adbd\n", "Unable to locate package adbd (the mirror in /etc/apt lacks it"),
        ("E: The repository 'http://x bookworm-backports Release' does not have a Release file.\n",
         "The repository 'http://x bookworm-backports Release' does not have a Release file. (the mirror"),
        ("E: You don't have enough free space in /tmp/.\n", "You don't have enough free space in /tmp/."),
        ("", "no message"),
    ],
)
def test_one_line_says_what_apt_said(said: str, fault: str, parts: Any) -> None:
    found = parts.packages.apt_fault("Reading...\n" * bool(said) + said)
    assert found.startswith(fault)
    assert "\n" not in found


def test_a_package_is_unpacked_and_named_with_its_digest(parts: Any, tmp_path: Path) -> None:
    if not shutil.which("dpkg-deb"):
        pytest.skip("no dpkg-deb")
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "qemu-aarch64").write_text("#!/bin/sh\n")
    fields = {"Package": "qemu-user", "Version": "1:10.0-1", "Architecture": "amd64", "Maintainer": "x <x@x>",
              "Description": "x"}
    (tree / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    package = tmp_path / "x.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(package)], check=True,
                   capture_output=True)
    facts = parts.packages.unpack([package], tmp_path / "out")
    assert (tmp_path / "out" / "usr" / "bin" / "qemu-aarch64").is_file()
    assert {key: facts["qemu-user"][key] for key in ("version", "architecture")} == {
        "version": "1:10.0-1", "architecture": "amd64"}
    digest = subprocess.run(["sha256sum", str(package)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert facts["qemu-user"]["sha256"] == digest
    parts.host_tools.take_qemu(package, tmp_path / "qemu")
    assert (tmp_path / "qemu").read_text() == "#!/bin/sh\n"
    assert os.access(tmp_path / "qemu", os.X_OK)
    package.write_bytes(b"no package")
    with pytest.raises(parts.faults.PhoneError, match=r"dpkg-deb --extract x\.deb: "):
        parts.packages.unpack([package], tmp_path / "out")
    with pytest.raises(parts.faults.PhoneError, match=r"x\.deb"):
        parts.host_tools.take_qemu(package, tmp_path / "qemu2")


@pytest.mark.parametrize("release", ["6.7.0", "6.12.3+deb12-amd64", "7.0", "10.1.2", "unknown"])
def test_kernels_that_will_do(release: str, parts: Any) -> None:
    parts.machine.check_kernel(release, "x86_64")


@pytest.mark.parametrize(
    ("release", "machine", "fault"),
    [("6.1.0-18-amd64", "x86_64", "Linux 6.1.0-18-amd64 .* 6.7 or later"), ("5.15", "x86_64", "6.7 or later"),
     ("6.12", "aarch64", "needs an x86-64 machine, this one is aarch64")],
)
def test_kernels_that_will_not(release: str, machine: str, fault: str, parts: Any) -> None:
    with pytest.raises(parts.faults.PhoneError, match=fault):
        parts.machine.check_kernel(release, machine)


def test_the_releases_that_have_the_packages(parts: Any) -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_CODENAME=bookworm\n'
    assert parts.machine.debian_release(text) == ("bookworm", "bookworm-backports")
    assert parts.machine.debian_release(text.replace("bookworm", "trixie")) == ("trixie", "")
    for other in (text.replace("bookworm", "bullseye"), text.replace("ID=debian", "ID=ubuntu"), ""):
        with pytest.raises(parts.faults.PhoneError, match="container of debian:trixie"):
            parts.machine.debian_release(other)


def test_missing_apt_is_said(parts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(parts.faults.PhoneError, match="no apt-get on the path"):
        parts.machine.check_tools()


def test_forbidden_user_namespaces_are_said() -> None:
    """A namespace of users that allows no further one stands in for a machine that allows none."""
    code = ("import machine, namespaces, pathlib\nnamespaces.unshare(0, 0)\n"
            "pathlib.Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
            "try: machine.check_namespaces()\nexcept Exception as error: print(type(error).__name__, error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(EMULATOR)})
    if "unshare" in done.stderr:
        pytest.skip("this machine allows no user namespace")
    assert done.stdout.startswith("PhoneError user namespaces are forbidden here (No space left on device): allow")


def _answer(parts: Any, architecture: int, number: int, first: int) -> int:
    """What the kernel would make of a system call: the filter's instructions, carried out."""
    data, accumulator, at = struct.pack("=IIQQ", number, architecture, 0, first), 0, 0
    instructions = [struct.unpack("=HBBI", parts.seccomp.packed(parts.seccomp.program())[i:i + 8])
                    for i in range(0, 8 * len(parts.seccomp.program()), 8)]
    while True:
        operation, if_true, if_false, operand = instructions[at]
        if operation == 0x06:
            return operand
        if operation == 0x20:
            accumulator, at = struct.unpack_from("=I", data, operand)[0], at + 1
        else:
            assert operation == 0x15
            at += 1 + (if_true if accumulator == operand else if_false)


def test_the_filter_refuses_vsock_sockets_alone(parts: Any) -> None:
    allow, x86_64, i386 = 0x7FFF0000, 0xC000003E, 0x40000003
    assert _answer(parts, x86_64, 41, socket.AF_VSOCK) == 0x00050000 | errno.EAFNOSUPPORT
    assert _answer(parts, x86_64, 41, socket.AF_INET) == allow
    assert _answer(parts, x86_64, 42, socket.AF_VSOCK) == allow
    assert _answer(parts, i386, 41, socket.AF_VSOCK) == 0x80000000


def test_the_kernel_takes_the_filter() -> None:
    code = ("import errno, seccomp, socket\nseccomp.forbid_vsock()\nsocket.socket()\n"
            "try: socket.socket(socket.AF_VSOCK)\nexcept OSError as error: print(errno.errorcode[error.errno])\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(EMULATOR)})
    assert (done.stdout, done.stderr) == ("EAFNOSUPPORT\n", "")


def test_the_kernel_is_told_of_arm64_programs(parts: Any) -> None:
    words = parts.inside.binfmt_line("/a b:c/qemu").split(b"\x1f")
    assert words[:4] == [b"", b"edgedistil-arm64", b"M", b""]
    assert words[6:] == [b"/a b:c/qemu", b"F"]
    magic, mask = (bytes.fromhex(word.decode().replace("\\x", "")) for word in words[4:6])

    def told(header: bytes) -> bool:
        return all(byte & m == wanted & m for byte, wanted, m in zip(header, magic, mask, strict=True))

    start, end = b"\x7fELF\x02\x01\x01", b"\x00\xb7\x00"
    for kind in (2, 3):
        assert told(start + bytes(9) + bytes([kind]) + end)
        assert told(start + b"\x03" + bytes(8) + bytes([kind]) + end)
    assert not told(start + bytes(9) + b"\x02\x00\x3e\x00")
    assert not told(b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02" + end)


def test_programs_that_need_a_loader_are_told_from_static_ones(parts: Any, tmp_path: Path) -> None:
    assert not parts.host_tools.is_static(Path(sys.executable).resolve())
    header = bytearray(64)
    header[:5], header[32:40] = b"\x7fELF\x02", (64).to_bytes(8, "little")
    header[54:56], header[56:58] = (56).to_bytes(2, "little"), (2).to_bytes(2, "little")
    (tmp_path / "static").write_bytes(header + b"\x01" + bytes(55) + b"\x02" + bytes(55))
    assert parts.host_tools.is_static(tmp_path / "static")
    (tmp_path / "dynamic").write_bytes(header + b"\x01" + bytes(55) + b"\x03" + bytes(55))
    assert not parts.host_tools.is_static(tmp_path / "dynamic")
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert not parts.host_tools.is_static(tmp_path / "script")


def test_cores_are_written_as_linux_does(parts: Any, tmp_path: Path) -> None:
    for cores, span, large in ((1, "0\n", [True]), (5, "0-4\n", [False, False, True, True, True])):
        system = tmp_path / str(cores)
        parts.root.write_cores(system, cores)
        folder = system / "devices" / "system" / "cpu"
        assert (folder / "possible").read_text() == span
        fastest = [int((folder / f"cpu{core}/cpufreq/cpuinfo_max_freq").read_text()) for core in range(cores)]
        assert [frequency == 2400000 for frequency in fastest] == large
        assert not (folder / f"cpu{cores}").exists()


def test_a_folder_is_a_phone_only_when_it_is_whole(parts: Any, tmp_path: Path) -> None:
    setup, fault = parts.setup, parts.faults.PhoneError
    assert not setup.ready(tmp_path / "none")
    folder = tmp_path / "phone"
    folder.mkdir()
    assert not setup.ready(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(fault, match="is there and holds no phone: give another --output"):
        setup.ready(folder)
    done = run("setup.py", "--output", str(folder))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    manifest = {"qemu": "qemu", "adb": "adb", "packages": {}, "recipe_sha256": setup.recipe_sha256()}
    for name in ("qemu", "adb", "root/" + parts.root.ADBD, "root/system/bin/sh", "root/system/build.prop"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert setup.ready(folder)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "recipe_sha256": "older"}))
    assert not setup.ready(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "adb").unlink()
    assert not setup.ready(folder)


def test_a_path_that_no_list_of_folders_can_hold_is_refused(tmp_path: Path) -> None:
    done = run("setup.py", "--output", str(tmp_path / "a:b"))
    assert (done.returncode, done.stderr.count("a path with a colon")) == (2, 1)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_set_up_left_is_removed_and_a_failed_one_leaves_nothing(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".phone.{gone.pid}.partial").mkdir()
    (tmp_path / f".phone.{os.getppid()}.partial").mkdir()

    def fail(folder: Path) -> None:
        (folder / "root").mkdir()
        raise parts.faults.PhoneError("no network")

    monkeypatch.setattr(parts.setup, "make", fail)
    with pytest.raises(parts.faults.PhoneError, match="no network"):
        parts.setup.publish(tmp_path / "phone")
    assert [file.name for file in tmp_path.iterdir()] == [f".phone.{os.getppid()}.partial"]


def test_a_new_phone_takes_the_place_of_an_older_one(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "older").touch()
    monkeypatch.setattr(parts.setup, "make", lambda folder: {"made": True})
    parts.setup.publish(tmp_path / "phone")
    assert [file.name for file in (tmp_path / "phone").iterdir()] == ["manifest.json"]
    assert json.loads((tmp_path / "phone" / "manifest.json").read_text()) == {"made": True}
    assert [file.name for file in tmp_path.iterdir()] == ["phone"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--cpu", "cortex-a76", "--phone", "/no/such"], "error: /no/such holds no phone: make one with python"),
        (["--cpu", "cortex-x9"], "invalid choice: 'cortex-x9' (choose from"),
        (["--cpu", "cortex-a53", "--storage-mb", "0"], "'0' is no size: a whole number of MB, 1 to"),
        ([], "the following arguments are required: --cpu"),
    ],
)
def test_a_phone_that_cannot_be_started_is_one_line(words: list[str], fault: str) -> None:
    done = run("phone.py", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert fault in done.stderr.splitlines()[-1]


def test_a_phone_with_another_root_says_what_its_first_process_said(parts: Any, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"packages": {}, "qemu": "qemu", "adb": "adb"}))
    done = run("phone.py", "--cpu", "cortex-a53", "--phone", str(tmp_path))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("error: ")


def _echo(parts: Any) -> int:
    """Port of a server that gives back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            taken, _ = server.accept()
            threading.Thread(target=parts.relay._pump, args=(taken, taken), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return int(server.getsockname()[1])


def test_a_pulled_cable_breaks_connections_and_keeps_its_port(parts: Any) -> None:
    outer = parts.phone.bound_socket()
    place = outer.getsockname()
    cable = parts.relay.Cable(outer, _echo(parts))
    threading.Thread(target=cable.serve, daemon=True).start()
    for _ in range(3):
        with socket.socket() as early:
            assert early.connect_ex(place) == errno.ECONNREFUSED
        cable.plug()
        with socket.create_connection(place, 5) as first, socket.create_connection(place, 5) as second:
            data = os.urandom(1 << 20)
            threading.Thread(target=first.sendall, args=(data,), daemon=True).start()
            second.sendall(b"x")
            assert second.recv(1) == b"x"
            got = b""
            while len(got) < len(data):
                got += first.recv(1 << 16)
            assert got == data
            cable.pull()
            assert (first.recv(1), second.recv(1)) == (b"", b"")


def test_only_what_greets_like_adbd_is_taken_for_it(parts: Any) -> None:
    # An echo of the client's greeting begins as adbd's own greeting does.
    assert parts.relay.adbd_answers(_echo(parts))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not parts.relay.adbd_answers(silent.getsockname()[1], 0.1)
        port = silent.getsockname()[1]
    assert not parts.relay.adbd_answers(port)
    assert parts.relay.greeting()[:4] == b"CNXN"
    assert struct.unpack("<6I", parts.relay.greeting()[:24])[3:5] == (7, sum(b"host::\0"))
