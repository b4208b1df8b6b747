"""Keys, tokens and passwords in texts: found before they are written anywhere, masked in what is quoted of others.

What a command is told stands in its folder, in records, in the store and in the list of processes, so a credential
among its options is refused; what libraries say (an address with a password in it) is kept, masked.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MASK = "***"
# The forms that issuers give their keys, so that they can be found by form alone.
FORMS = {
    "a token of the model hub": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "a token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})"),
    "a token of GitLab": re.compile(r"\bglpat-[\w-]{20,}"),
    "a key of a cloud": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a key of W&B": re.compile(r"\b(?:wandb_v\d_\w{20,}|local-[0-9a-f]{40}\b)"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
# https://NAME@ and SCHEME://NAME:WORD@: a name alone (ssh://git@) is none for other schemes.
_ADDRESS = re.compile(r"(?i)(?<=://)(?:(?<=http://)|(?<=https://)|(?=[^\s/@]*:))[^\s/@]+(?:@[^\s/@]+)*(?=@)")
_IN_ADDRESS = "an address with a name or a password in it"
_NAME = re.compile(r"(?i)(?:^|_)(?:(?:api|access)?key|token|password|passwd|secret|credentials?)$")
# Of options elsewhere a key may be one of a table, and a token one of a text ([MASK]).
_NAME_ANYWHERE = re.compile(r"(?i)(?:^|_)(?:api_?key|access_?key|password|passwd|secret|credentials?)$")
_ALL_NAMES_UNDER = ("logger.", "hydra.job.env_set.")
# Shorter values are words that may stand anywhere.
_SHORTEST = 9


def kinds(text: str, known: Sequence[tuple[str, str]] | None = None) -> Iterator[str]:
    """Every sort of credential that a text holds; the credentials themselves are never told.

    Args:
        known: (name, value) of the variables that hold one, for who asks about many texts.
    """
    if _ADDRESS.search(text):
        yield _IN_ADDRESS
    yield from (name for name, pattern in FORMS.items() if pattern.search(text))
    held = _of_environment() if known is None else known
    yield from (f"the value of ${name}" for name, value in held if value in text)


def kind(text: str) -> str | None:
    """The first of :func:`kinds`; None when no credential is known in the text."""
    return next(kinds(text), None)


def masked(text: str) -> str:
    """The same text with every known credential replaced by :data:`MASK`."""
    for _, value in _of_environment():
        text = text.replace(value, MASK)
    for pattern in FORMS.values():
        text = pattern.sub(MASK, text)
    return _ADDRESS.sub(MASK, text)


def names_one(option: str) -> bool:
    """Whether an option's name says that its value is a credential (``logger.wandb.api_key``)."""
    form = _NAME if option.startswith(_ALL_NAMES_UNDER) else _NAME_ANYWHERE
    return form.search(option.rsplit(".", 1)[-1]) is not None


def in_words(words: list[str]) -> tuple[str, str] | None:
    """(option, what it holds) of the first word of a command line that holds a credential; None when none does."""
    for word in words:
        option, equals, value = word.lstrip("+~").partition("=")
        if equals and value not in ("", "null") and names_one(option):
            return option, "a secret by its name"
        if found := kind(word):
            return (option if equals and not kind(option) else "an argument"), found
    return None


def in_options(options: Any) -> tuple[str, str] | None:
    """(option, what it holds) of the first value of composed options that holds a credential; None when none does."""
    known = tuple(_of_environment())
    for name, text in _texts(options, ""):
        found = "a secret by its name" if text and names_one(name) else next(kinds(text, known), None)
        if found:
            return name, found
    return None


def _texts(node: Any, name: str) -> Iterator[tuple[str, str]]:
    """(dotted name, value) of every text in nested options."""
    if isinstance(node, str):
        yield name, node
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _texts(child, f"{name}.{key}" if name else str(key))


def refusal(option: str, what: str) -> str:
    """The line for an option that holds a credential."""
    return (
        f"{option} holds {what}: options are kept with results and seen in lists of processes; log in instead "
        "(hf auth login, wandb login), or export the variable that the library reads (HF_TOKEN, WANDB_API_KEY), "
        "and take the secret that was shown out of use"
    )


def _of_environment() -> Iterator[tuple[str, str]]:
    """(name, value) of variables that are named as secrets are; files that hold one are told by path only."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _NAME.search(name) and not value.startswith(("/", "~", "file:")):
            yield name, value
