"""English prose that comes with Python itself, for demos and tests of masked language modelling: no download, no claim
about real data."""

import hashlib

# A paragraph of fewer words is a heading or a line of code.
_WORDS = 12
# Every so many topics one is held out, whole.
_EVERY = 8


def paragraphs(split: str) -> list[str]:
    """Paragraphs of the help topics (``pydoc_data.topics``), each once, in the order of the topics' names.

    Args:
        split: ``train`` or ``validation``; no topic is in both.
    """
    from pydoc_data.topics import topics

    found: dict[str, None] = {}
    for number, name in enumerate(sorted(topics)):
        if (number % _EVERY == 0) == (split == "validation"):
            found |= dict.fromkeys(" ".join(text.split()) for text in topics[name].split("\n\n"))
    return [text for text in found if len(text.split()) >= _WORDS]


def digest(split: str) -> str:
    """SHA-256 of the paragraphs, which differ between versions of Python."""
    return hashlib.sha256("\n".join(paragraphs(split)).encode()).hexdigest()
