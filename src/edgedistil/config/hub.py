"""What a step wants of the model hub, looked at before anything heavy is imported: a hub that does not answer is found
out in seconds, where the libraries would try for minutes."""

import logging
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..credentials import masked
from ..errors import UserError

log = logging.getLogger("edgedistil")
# How long the hub may take for its first answer. The command as a whole should say so within ten seconds.
ANSWER_WITHIN_S = 4.0
_MODEL, _DATA_SET = "model", "data set"
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_INSTEAD = {
    _MODEL: "model=distil_minilm, or model.origin=folder model.location=FOLDER",
    _DATA_SET: "task.data_dir=FOLDER (one Parquet file a split), or task.train=FILE task.validation=FILE",
}


@dataclass(frozen=True)
class Wanted:
    """One repository at its pinned commit; ``kind`` is ``model`` or ``data set``."""

    kind: str
    name: str
    revision: str


def prepare(options: dict[str, Any]) -> None:
    """See that what a step's options name on the hub can be had, from there or from the libraries' caches.

    When the hub does not answer, or ``HF_HUB_OFFLINE=1`` says not to ask, this process goes on with the caches alone
    (the libraries read that variable when they are imported, so call this before).

    Raises:
        UserError: the hub does not answer and the caches don't have it, or the revision is none of the repository's.
    """
    wanted = list(dict.fromkeys(_wanted(options)))
    if not wanted:
        return
    for each in wanted:
        if not _NAME.fullmatch(each.name) or ".." in each.name or "--" in each.name:
            raise UserError(f"{each.name!r} is no name of a {each.kind} on the hub; example: OWNER/NAME")
    why = _asked_to_be_offline() or _first(_why_not(each) for each in wanted)
    if why is None:
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    for each in wanted:
        if not _cached(each):
            raise cannot_be_had(each.kind, each.name, why)
    log.warning("%s: what the cache has at the pinned revision is taken", masked(why))


def cannot_be_had(kind: str, name: str, why: str) -> UserError:
    """The one line about a repository that can't be loaded, with what to do without a hub."""
    return UserError(f"the {kind} {name!r} can't be had from the hub ({why}). Without it: {_INSTEAD[kind]}")


def explain(error: BaseException, kind: str, name: str, revision: str | None) -> UserError:
    """The one line for what ``huggingface_hub``, ``transformers`` or ``datasets`` raised while they loaded."""
    kinds = {type(e).__name__ for e in _chain(error)}
    if "RevisionNotFoundError" in kinds:
        return _no_such_revision(Wanted(kind, name, str(revision)))
    if "GatedRepoError" in kinds:
        return cannot_be_had(kind, name, "its owner asks for consent: give it on its page, and your token in HF_TOKEN")
    if "RepositoryNotFoundError" in kinds or "DatasetNotFoundError" in kinds:
        return cannot_be_had(kind, name, "no such repository, or a private one: check the name, or set HF_TOKEN")
    said = " ".join(str(error).split()) or type(error).__name__
    if kind == _MODEL and "does not appear to have a file named model.safetensors" in said:
        return cannot_be_had(
            kind,
            name,
            f"revision {revision} has no model.safetensors, and pickled weights are never loaded: name a commit that "
            "has one with model.revision=COMMIT, or save the model as a folder with save_pretrained",
        )
    return cannot_be_had(kind, name, said if len(said) <= 200 else f"{said[:200]}...")


def data_set_cache(revision: str) -> Path:
    """Where ``datasets`` keeps what it made of this commit: its own cache forgets which commit a table is of."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    root = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets").expanduser()
    return root / "edgedistil" / revision


def _wanted(node: Any) -> Iterator[Wanted]:
    """Every hub model (``origin: hub``) and hub data set (``hub: NAME``) that is named anywhere in the options."""
    if isinstance(node, dict):
        if node.get("origin") == "hub" and node.get("revision"):
            yield Wanted(_MODEL, node["location"], node["revision"])
        if node.get("hub") and node.get("revision"):
            yield Wanted(_DATA_SET, node["hub"], node["revision"])
        for value in node.values():
            yield from _wanted(value)


def _asked_to_be_offline() -> str | None:
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    return "HF_HUB_OFFLINE=1 is set" if offline else None


def _why_not(wanted: Wanted) -> str | None:
    """Why the hub gives no answer about a repository; None when it does, whatever it says.

    Asked in a thread of its own: a name server that does not answer knows no time limit.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if not endpoint.startswith(("http://", "https://")):
        return f"HF_ENDPOINT={endpoint!r} is no address that begins with https://"
    group = "models" if wanted.kind == _MODEL else "datasets"
    said: list[str | UserError | None] = []

    def ask() -> None:
        import http.client
        import urllib.error
        import urllib.request

        try:
            request = _request(f"{endpoint}/api/{group}/{wanted.name}/revision/{wanted.revision}")
            # The scheme is http or https: see above.
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S):  # noqa: S310  # nosec B310
                said.append(None)
        except urllib.error.HTTPError as error:
            if error.headers.get("X-Error-Code") == "RevisionNotFound":
                said.append(_no_such_revision(wanted))
            # Everything else below 500 may be about rights, which the libraries know a token for.
            said.append(f"{endpoint} answers {error.code}" if error.code >= 500 else None)
        except urllib.error.URLError as error:
            said.append(f"{endpoint} does not answer: {error.reason}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            said.append(f"{endpoint} does not answer: {error or type(error).__name__}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_WITHIN_S)
    if not said:
        return f"{endpoint} does not answer within {ANSWER_WITHIN_S:g} s"
    if isinstance(said[0], UserError):
        raise said[0]
    return said[0]


def _request(address: str) -> Any:
    """A request whose name and password, if the address has them, are a header as with the libraries: urllib would take
    them for a part of the host's name, and ask a name server for it."""
    import base64
    import urllib.parse
    import urllib.request

    place = urllib.parse.urlsplit(address)
    who, _, host = place.netloc.rpartition("@")
    request = urllib.request.Request(place._replace(netloc=host).geturl())  # noqa: S310 (its caller has looked)
    if who:
        said = base64.b64encode(urllib.parse.unquote(who).encode()).decode()
        request.add_header("Authorization", f"Basic {said}")
    return request


def _no_such_revision(wanted: Wanted) -> UserError:
    option = "model.revision" if wanted.kind == _MODEL else "task.revision"
    return UserError(
        f"{option}={wanted.revision!r} is no revision of the hub's {wanted.kind} {wanted.name!r}; give a commit of its "
        "history (40 hex digits)"
    )


def _cached(wanted: Wanted) -> bool:
    if wanted.kind == _DATA_SET:
        folder = data_set_cache(wanted.revision)
        # ``datasets`` calls it owner___my_data when it is owner/MyData.
        return folder.is_dir() and any(_plain(p.name) == _plain(wanted.name) for p in folder.iterdir())
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(wanted.name, "config.json", revision=wanted.revision), str)


def _plain(name: str) -> str:
    return name.replace("/", "").replace("_", "").lower()


def _first(reasons: Iterator[str | None]) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
