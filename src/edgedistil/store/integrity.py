"""Whether an artifact is what was published: every file there, as long as it was, with the digest that it had."""

from pathlib import Path
from typing import Any

from .files import read_json
from .fingerprint import DigestCache, digests_of, file_digest, fingerprint
from .store import ARTIFACT_FILE, Store


def damage(store: Store, folder: Path) -> str | None:
    """What is wrong with a finished artifact, in one line; None when nothing is.

    A file is hashed when it is first seen or has been touched since (size, modification time, inode); a disk that lost
    bits without touching a file is found by :func:`damage_on_disk`, and by this one from then on.
    """
    return _damage(folder, store.digests, afresh=False)


def damage_on_disk(folder: Path) -> str | None:
    """As :func:`damage`, with every byte read; in a store, what it read is remembered."""
    return _damage(folder, _digests_around(folder), afresh=True)


def changed(file: Path, is_now: tuple[int, str] | None = None) -> str | None:
    """What is wrong with one file of a finished artifact, whose every byte is read; None when nothing is, and of a file
    that no artifact lists (a copy of a record somewhere else).

    Args:
        is_now: how many bytes it has and their SHA-256, where they were read already.
    """
    folder = file.parent
    if not (folder / ARTIFACT_FILE).is_file():
        return None
    files, own, wrong = _told(folder)
    digests = _digests_around(folder)
    # Of a manifest without files nothing can be said here; `damage` names it.
    if digests and not wrong and files is not None:
        wrong = _not_its_own(folder, files, own)
        if file.name not in (ARTIFACT_FILE, *files):
            wrong = wrong or f"{file} is none of the files that {ARTIFACT_FILE} lists"
    if wrong or not files or file.name not in files:
        return wrong
    wrong = _difference(file, files[file.name], None, is_now=is_now)
    if wrong and digests:
        # Else the next run would take the word of when it was published.
        _difference(file, files[file.name], digests, afresh=True)
        digests.save()
    return wrong


def _digests_around(folder: Path) -> DigestCache | None:
    """What the store remembers that ``folder`` is an artifact of; None of a folder elsewhere."""
    inside = len(folder.parents) > 2 and folder.parents[1].name == "artifacts"
    return digests_of(folder.parents[2] / "digests.json") if inside else None


def _not_its_own(folder: Path, files: Any, own: tuple[str, str]) -> str | None:
    """What is wrong with a readable ``artifact.json`` in the store's place ``folder``."""
    if files is None:
        return f"{folder / ARTIFACT_FILE} lists no files"
    if own != (folder.parent.name, folder.name):
        return f"{folder / ARTIFACT_FILE} is of another artifact ({own[0]} {own[1][:12]})"
    return None


def _damage(folder: Path, known: DigestCache | None, afresh: bool) -> str | None:
    files, own, wrong = _told(folder)
    wrong = wrong or _not_its_own(folder, files, own)
    if wrong or not files:
        return wrong
    try:
        return next(filter(None, (_difference(folder / n, told, known, afresh) for n, told in files.items())), None)
    finally:
        if known:
            known.save()


def _told(folder: Path) -> tuple[dict[str, tuple[int, str]] | None, tuple[str, str], str | None]:
    """(bytes and digest by file where it lists any, (step, fingerprint), what is wrong with ``artifact.json``)."""
    file = folder / ARTIFACT_FILE
    try:
        facts: Any = read_json(file)
        # Those that were published before it was kept have none.
        digest = facts.pop("own_sha256", None)
        listed = facts.get("files")
        files = None
        if listed is not None:
            files = {str(name): (int(f["bytes"]), str(f["sha256"])) for name, f in listed.items()}
        own = (str(facts.get("step")), str(facts.get("fingerprint")))
        edited = digest is not None and digest != fingerprint(facts)
    except FileNotFoundError:
        return None, ("", ""), f"{file} is gone"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        return None, ("", ""), f"{file} can't be read ({type(error).__name__}: {error})"
    if edited:
        return files, own, f"{file} is not what was published: it was edited, or bits of it were lost"
    return files, own, None


def _difference(
    file: Path,
    told: tuple[int, str],
    known: DigestCache | None,
    afresh: bool = False,
    is_now: tuple[int, str] | None = None,
) -> str | None:
    try:
        size = is_now[0] if is_now else file.stat().st_size
        if size != told[0]:
            return f"{file} has {size} bytes, and had {told[0]} when it was published"
        if is_now:
            digest = is_now[1]
        else:
            digest = known.digest(file, save=False, expected=told[1], afresh=afresh) if known else file_digest(file)
    except FileNotFoundError:
        return f"{file} is gone"
    except OSError as error:
        return f"{file} can't be read ({error.strerror})"
    except ValueError as error:
        # A name that no file can have.
        return f"{str(file)!r} can't be read ({error})"
    return None if digest == told[1] else f"{file} is not what was published (sha256 {digest[:12]}, was {told[1][:12]})"
