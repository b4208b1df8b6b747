"""Debian packages unpacked into a folder, with apt's own signature checks and without touching the machine's packages.

apt-get gets a state, a cache and a list of sources of its own, so neither its locks nor its lists are the machine's.
The mirror and its keys are those that the machine uses; a suite may be added.
"""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from faults import PhoneError

# Hooks of the machine's own apt that would run after an update here too.
_HOOKS = tuple(f"APT::Update::{when}-Invoke{how}" for when in ("Pre", "Post") for how in ("", "-Success"))


@dataclass(frozen=True)
class Source:
    """Where packages come from: a mirror's address, suites of it, and the key that signs them ('' = apt's default)."""

    uri: str
    suites: tuple[str, ...]
    signed_by: str = ""

    def stanza(self) -> str:
        """The source in the format of ``/etc/apt/sources.list.d/*.sources``, main component only."""
        lines = ["Types: deb", f"URIs: {self.uri}", f"Suites: {' '.join(self.suites)}", "Components: main"]
        return "\n".join([*lines, *([f"Signed-By: {self.signed_by}"] if self.signed_by else [])]) + "\n"


def parse_sources(text: str) -> list[Source]:
    """The binary sources of a ``.sources`` file (stanzas) or of a ``.list`` file (lines).

    Keys that are written out inside the file and disabled stanzas are left out.
    """
    found = []
    if re.search(r"^Types:", text, re.MULTILINE):
        kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        for block in re.split(r"\n\s*\n", kept):
            fields = {k.lower(): v.strip() for k, v in re.findall(r"^([\w-]+):[ \t]*(.*)$", block, re.MULTILINE)}
            if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
                suites = tuple(fields.get("suites", "").split())
                found += [Source(uri, suites, fields.get("signed-by", "")) for uri in fields.get("uris", "").split()]
        return found
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)", line)
        if match:
            key = re.search(r"signed-by=(\S+)", match[1] or "")
            found.append(Source(match[2], (match[3],), key[1] if key else ""))
    return found


def sources_of(release: str, added: tuple[str, ...], etc: Path = Path("/etc/apt")) -> list[Source]:
    """The machine's own sources of one Debian release, its updates and its security fixes, and the suites to add.

    Raises:
        PhoneError: the machine has no source of that release.
    """
    more = (etc / "sources.list.d").glob("*")
    files = [etc / "sources.list", *sorted(file for file in more if file.suffix in (".list", ".sources"))]
    every = [source for file in files if file.is_file() for source in parse_sources(file.read_text(errors="replace"))]
    wanted = {release, f"{release}-updates", f"{release}-security"}
    kept = [replace(s, suites=tuple(x for x in s.suites if x in wanted)) for s in every if wanted & set(s.suites)]
    base = [source for source in kept if release in source.suites]
    if not base:
        raise PhoneError(
            f"{etc}/sources.list and {etc}/sources.list.d name no mirror with the suite {release!r}: add Debian's own, "
            f"'deb http://deb.debian.org/debian {release} main'"
        )
    return kept + [replace(base[0], suites=added)] * bool(added)


class Apt:
    """apt-get with a state of its own.

    Args:
        folder: where the state is kept; the caller removes it.
        architecture: of the packages, in Debian's words ("arm64").
        sources: where they come from.
        target: suite that goes before the others; '' for none.
        installed: whether what the machine has installed counts as there; if not, everything that a package needs comes
            along, down to the C library.
    """

    def __init__(self, folder: Path, architecture: str, sources: list[Source], target: str, installed: bool) -> None:
        self._folder, self._target = folder, target
        for name in ("lists/partial", "archives/partial", "sources", "conf"):
            (folder / name).mkdir(parents=True)
        (folder / "sources" / "phone.sources").write_text("\n".join(source.stanza() for source in sources))
        for file in Path("/etc/apt/apt.conf.d").glob("*"):
            # Proxies and the like; what only root may read holds for root's apt only.
            if file.is_file() and os.access(file, os.R_OK):
                shutil.copyfile(file, folder / "conf" / file.name)
        (folder / "conf" / "zz-phone").write_text("".join(f"#clear {hook};\n" for hook in _HOOKS))
        status = folder / "status"
        status.write_bytes(Path("/var/lib/dpkg/status").read_bytes() if installed else b"")
        settings = {
            "APT::Architecture": architecture, "APT::Architectures": architecture, "APT::Sandbox::User": "",
            "Dir::State": folder, "Dir::State::Lists": folder / "lists", "Dir::State::Status": status,
            "Dir::Cache": folder, "Dir::Cache::Archives": folder / "archives", "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "", "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": folder / "sources",
            "Dir::Etc::PreferencesParts": "/dev/null", "Dir::Etc::Preferences": "/dev/null",
            "Acquire::Languages": "none", "Acquire::Retries": "2", "APT::Update::Error-Mode": "any",
            "Debug::NoLocking": "1",
        }  # fmt: skip
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        # Read before the machine's files, so that it can say where those are.
        (folder / "first.conf").write_text(f'Dir::Etc::Parts "{folder}/conf";\n')

    def update(self) -> None:
        """Fetches the lists. Raises PhoneError with apt's own message."""
        self._run("update")

    def download(self, *packages: str) -> list[Path]:
        """The files of these packages and of all that they need, their digests checked by apt.

        Raises:
            PhoneError: apt's own message.
        """
        target = ["-t", self._target] if self._target else []
        self._run(*target, "--yes", "--no-install-recommends", "--download-only", "install", *packages)
        return sorted((self._folder / "archives").glob("*.deb"))

    def _run(self, *words: str) -> None:
        environment = {**os.environ, "APT_CONFIG": str(self._folder / "first.conf"), "LC_ALL": "C.UTF-8"}
        command = ["apt-get", *self._options, "--quiet", *words]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise PhoneError(f"apt-get {words[0] if words[0] == 'update' else 'install'}: {apt_fault(done.stderr)}")


def apt_fault(text: str) -> str:
    """What went wrong, in one line, from apt's standard error; with what to do where that is known."""
    errors = [line[2:].strip() for line in text.splitlines() if line.startswith(("E:", "W:"))]
    errors.sort(key=lambda line: "Some index files failed" in line)
    first = errors[0] if errors else " ".join(text.split()) or "no message"
    if re.search(r"does not have a Release file|Unable to locate package|has no installation candidate", first):
        return f"{first} (the mirror in /etc/apt lacks it; Debian's own is http://deb.debian.org/debian)"
    if re.search(r"resolv|connect|timed out|unreachable|Failed to fetch", first):
        return f"{first} (the network, or a proxy: Acquire::http::Proxy in /etc/apt/apt.conf.d)"
    return first


def facts_of(file: Path) -> tuple[str, dict[str, str]]:
    """A package's name, and its ``version``, ``architecture`` and ``sha256``. Raises PhoneError."""
    shown = _dpkg("--field", str(file), "Package", "Version", "Architecture")
    fields = dict(line.split(": ", 1) for line in shown.splitlines())
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    facts = {"version": fields["Version"], "architecture": fields["Architecture"], "sha256": digest}
    return fields["Package"], facts


def unpack(files: list[Path], folder: Path) -> dict[str, dict[str, str]]:
    """Unpacks packages over one another into a folder. Returns their facts by name; raises PhoneError."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        _dpkg("--extract", str(file), str(folder))
    return dict(map(facts_of, files))


def _dpkg(*words: str) -> str:
    command = ["dpkg-deb", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        said = next((line for line in lines if "No space left" in line), lines[-1])
        raise PhoneError(f"dpkg-deb {words[0]} {Path(words[1]).name}: {' '.join(said.split())}")
    return done.stdout
