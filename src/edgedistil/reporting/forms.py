"""The forms that values of ``cell.json``, ``begun.json`` and records have: what another program, another version or a
person left there is told, before anything computes with it."""

from collections.abc import Callable
from typing import Any


def named(names: Any) -> bool:
    """Whether these are a cell's names: texts by name, None where it has none."""
    return isinstance(names, dict) and all(value is None or text(value) for value in names.values())


def text(value: Any) -> bool:
    """Whether this is a text that can be written: half of a pair of surrogates, which JSON may hold, can't."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def wrong_form(told: dict[str, Any]) -> str | None:
    """What of an outcome, or of a plan, has another form than ours, in one line; None when nothing has."""
    for key, form in _FORMS.items():
        value = told.get(key)
        if key in told and not form(value) and not (value is None and key in _MAYBE_NONE):
            return f"its {key} is {str(value)[:80]!r}, which is no {key} of ours"
    return None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and -1e300 < value < 1e300


def _place(value: Any) -> bool:
    # What the system takes for a path; each of its names has 255 bytes at most.
    return text(value) and "\0" not in value and all(len(name.encode()) < 256 for name in value[:4096].split("/"))


def texts(value: Any) -> bool:
    """Whether this is a list of such texts."""
    return isinstance(value, list) and all(map(text, value))


def _roles(value: Any) -> bool:
    return isinstance(value, dict) and all(map(text, [*value, *value.values()]))


def _step(value: Any) -> bool:
    return isinstance(value, dict) and all(_place(value.get(key)) for key in ("step", "label", "fingerprint"))


def _steps(value: Any) -> bool:
    return isinstance(value, list) and all(map(_step, value))


_MAYBE_NONE = ("fingerprint", "label", "roles", "seconds", "why")
_FORMS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("status", "stage", "step", "fingerprint", "label", "why", "host"), text),
    **dict.fromkeys(("folder", "store", "output_dir", "directory"), _place),
    "seconds": _number,
    "overrides": texts,
    "roles": _roles,
    "steps": _steps,
}
