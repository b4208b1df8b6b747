"""What Hydra and OmegaConf say of a command line that can't be composed, in one line of ours."""

import sys
from dataclasses import fields
from pathlib import Path

from omegaconf import OmegaConf

from ..config.schemas import SCHEMAS
from ..config.validation import closest
from ..errors import UserError

# What Hydra's parser of overrides begins with, or has in it.
_GRAMMAR = ("mismatched input", "LexerNoViableAlt", "no viable alternative", "extraneous input", "token recognition")


def explain(error: BaseException) -> str:
    """A composition error in one line, with what is allowed where Hydra or the config knows it."""
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(line.strip() for line in str(error).splitlines() if _says_something(line))
    if any(sign in text for sign in _GRAMMAR):
        return (
            f"{text.split(' See https')[0]}: an override that can't be read; a value with blanks, quotes, commas, "
            "brackets or letters beyond ASCII stands in quotes of its own: \"task.train='my file.csv'\""
        )
    if text.startswith("Config group override must be"):
        return f"{_no_choice()} is no choice of a group; --help lists the options of each"
    if error.__cause__ is not None and text.startswith("Error merging override"):
        return f"{text}: {str(error.__cause__).splitlines()[0]}"
    cause: BaseException | None = error
    while cause is not None:
        parent, key = getattr(cause, "parent_node", None), getattr(cause, "key", None)
        if parent is not None and key is not None and OmegaConf.is_dict(parent) and "not in" in str(cause):
            names = sorted(str(k) for k in parent)
            if not names and text.startswith("Could not override"):
                table = str(parent._get_full_key(None))
                whole = f"'{table}={{{key}: VALUE}}'"
                return f"{table} has nothing set here that {key!r} could change: give it whole, {whole}"
            if text.startswith("Could not override") and _is_table(text.split("'")[1]):
                table = text.split("'")[1]
                return f"{table} has {', '.join(names)}; what it has not yet is added one by one: +{table}.NAME=VALUE"
            return f"{text.split(' To append')[0]} Allowed here: {', '.join(names)}{closest(str(key), names)}"
        cause = cause.__cause__
    return text


def _is_table(option: str) -> bool:
    """Whether users give an option's keys their names, too."""
    group, _, name = option.partition(".")
    return group in SCHEMAS and any(f.name == name and "table" in f.metadata for f in fields(SCHEMAS[group]))


def _no_choice() -> str:
    """The words of the command line that give a group nothing, or a number."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    groups = Path(sys.argv[0]).resolve().parent / "conf"
    words = [w for w in sys.argv[1:] if "=" in w and (groups / w.lstrip("+").split("=")[0].split("@")[0]).is_dir()]
    parsed = OverridesParser.create().parse_overrides(words)
    return ", ".join(str(o.input_line) for o in parsed if not isinstance(o.value(), str | list)) or "an override"


def _says_something(line: str) -> bool:
    noise = ("full_key:", "object_type=", "Set the environment variable", "Config search path", "provider=")
    return bool(line.strip()) and not any(n in line for n in noise)
