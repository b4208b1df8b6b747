"""Every option of every config group as Markdown, out of ``conf/`` itself: ``python -m edgedistil list options``."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from omegaconf import MISSING

from ..errors import UserError
from . import schemas
from .allowed import CHOICES, LIST_CHOICES, RANGES
from .meanings import GROUPS, MEANINGS

_SOURCE = Path(__file__).resolve().parents[2]
CONF = _SOURCE.parent / "conf"
_COMMAND = re.compile(r"^((?:[A-Z_]+=\S+ )*python (?:train|compress|bench)\.py.*?)(?:\s{2,}(.*))?$")
# Handed in by the program, so not options.
_HANDED_IN = ("teacher", "teacher_ids", "id", "name", "group", "job_type", "tags")
_INTRODUCTION = """# Configuration: every group, option and key

Made from `conf/` by `python -m edgedistil list options > docs/configuration.md`; a test holds the two equal.

`GROUP=OPTION` chooses a file of `conf/GROUP`, `GROUP.KEY=VALUE` changes one of its values: groups have slashes, keys
have dots (`compression/pruning=structured compression.pruning.ratio=0.6`). With `-m`, values with commas are gone
through. `--cfg job` prints what a command would run with, `--info defaults` which files it is made of, `plan=true`
which steps and cells would be computed or read. `--config-dir DIR` adds options of your own. `_target_` is a class or
function that is called with the keys beside it: any of yours that can be imported takes its place; keys that it does
not know are refused.
"""


@dataclass(frozen=True)
class Option:
    """One file of ``conf/``: ``commands`` of its header, what the header says otherwise, and its values as written."""

    name: str
    commands: list[str]
    about: str
    values: str


def reference() -> str:
    """The whole reference, ending in a line break.

    Raises:
        UserError: this installation has no ``conf/``.
    """
    if not CONF.is_dir():
        raise UserError(f"no {CONF}: options are listed from a checkout (git clone, then make install)")
    contents = " · ".join(f"[{group}](#{group.replace('/', '')})" for group in GROUPS)
    parts = [_INTRODUCTION, f"Groups: {contents}", "\n".join(_entries())]
    for group, (about, schema) in GROUPS.items():
        parts.append(_group(group, about, schema))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def groups() -> list[str]:
    """Every folder of ``conf/`` that holds options."""
    return sorted({str(file.parent.relative_to(CONF)) for file in CONF.rglob("*.yaml")} - {"."})


def options(group: str) -> list[Option]:
    """The options of a group, by name."""
    return [read_option(file) for file in sorted((CONF / group).glob("*.yaml"))]


def read_option(file: Path) -> Option:
    """One file of ``conf/``, its header taken apart."""
    lines = file.read_text(encoding="utf-8").splitlines()
    length = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    commands, about = [], []
    for line in lines[:length]:
        said = line.removeprefix("#").strip()
        if found := _COMMAND.match(said):
            commands.append(found[1])
            said = found[2] or ""
        if said and said != "@package _global_":
            about.append(said)
    return Option(file.stem, commands, " ".join(about), _without_schema(lines[length:]))


def _without_schema(lines: list[str]) -> str:
    """Values as written, without the lines that only name the schema."""
    text = "\n".join(lines).strip("\n")
    text = re.sub(r"^defaults: \[/schema/\S+, _self_\]\n?", "", text, flags=re.MULTILINE)
    text = re.sub(r"^  - /schema/\S+\n", "", text, flags=re.MULTILINE)
    return text.strip("\n")


def _entries() -> Iterator[str]:
    yield "## The three scripts"
    yield ""
    yield "`conf/train.yaml`, `conf/compress.yaml` and `conf/bench.yaml` name the groups that a script has, and share:"
    for name in ("_common", "train", "compress", "bench"):
        option = read_option(CONF / f"{name}.yaml")
        values = option.values.split("\nhydra:")[0].rstrip()
        yield from ["", f"**`conf/{name}.yaml`**: {option.about}", "", "```yaml", values, "```"]


def _group(group: str, about: str, schema: str | None) -> str:
    lines = [f"## {group}", "", about, ""]
    if schema:
        lines += _keys(schema)
    for option in options(group):
        tried = " or ".join(f"`{command}`" for command in option.commands)
        lines += [f"**`{group}={option.name}`**: {option.about}", f"Example: {tried}", ""]
        values = [] if option.values in ("", "{}") else ["```yaml", option.values, "```", ""]
        lines += values + [f"- {said}" for said in _unsaid(option.values)]
        lines += [""] if lines[-1] else []
    return "\n".join(lines)


def schema_of(name: str) -> Any:
    """The dataclass behind a dotted name such as ``compression.pruning``."""
    found: Any = schemas.SCHEMAS[name.split(".")[0]]
    for part in name.split(".")[1:]:
        found = next(f.type for f in dataclasses.fields(found) if f.name == part)
    return found


def _keys(name: str) -> list[str]:
    lines = ["| key | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    nested = []
    for field in dataclasses.fields(schema_of(name)):
        key = f"{name}.{field.name}"
        if dataclasses.is_dataclass(field.type) and key not in MEANINGS[name] and field.name not in MEANINGS[name]:
            continue  # a group of its own
        if key in MEANINGS:
            nested.append(key)
        table = field.metadata.get("table")
        kind = f"map text → {table} or null" if table else _type(field.type)
        row = (f"`{key}`", kind, _default(field), _allowed(key), MEANINGS[name][field.name])
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |")
    lines.append("")
    return lines + [line for key in nested for line in _keys(key)]


def _type(kind: Any) -> str:
    if dataclasses.is_dataclass(kind):
        return "keys"
    if get_origin(kind) in (list, dict):
        inside = " → ".join(_type(a) for a in get_args(kind))
        return f"list of {inside}" if get_origin(kind) is list else f"map {inside}"
    if get_args(kind):
        return " or ".join("null" if a is type(None) else _type(a) for a in get_args(kind))
    return {Any: "any", str: "text", int: "integer", float: "number", bool: "true or false"}.get(kind, str(kind))


def _default(field: Any) -> str:
    if dataclasses.is_dataclass(field.type):
        return ""
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    return "by option" if value == MISSING else f"`{_written(value)}`"


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _allowed(key: str) -> str:
    if choices := CHOICES.get(key) or LIST_CHOICES.get(key):
        return ", ".join(f"`{choice}`" for choice in choices)
    if key not in RANGES:
        return ""
    low, high, closed = RANGES[key]
    return f"≥ {low:g}" if high == float("inf") else f"{low:g} to {high:g}" if closed else f"{low:g} to below {high:g}"


def _unsaid(values: str) -> Iterator[str]:
    """What classes of ours that an option names know besides, with their defaults."""
    from omegaconf import OmegaConf

    if "_target_: edgedistil" not in values:
        return
    for path, node in _targets(OmegaConf.to_container(OmegaConf.create(values)), ""):
        known = {name: value for name, value in _signature(node["_target_"]).items() if name not in node}
        if known:
            said = ", ".join(f"`{name}={value}`" for name, value in known.items())
            yield f"{f'`{path}`' if path else 'It'} knows besides (defaults): {said}"


def _targets(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(node, dict):
        return
    if str(node.get("_target_", "")).startswith("edgedistil."):
        yield path, node
    for key, child in node.items():
        yield from _targets(child, f"{path}.{key}".lstrip("."))


def _signature(target: str) -> dict[str, str]:
    """Arguments with defaults of a class or function of ours, read from its source: importing it would take torch."""
    module, name = target.rsplit(".", 1)
    tree = ast.parse((_SOURCE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    found = next((node for node in tree.body if getattr(node, "name", None) == name), None)
    if isinstance(found, ast.ClassDef):
        found = next((n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if not isinstance(found, ast.FunctionDef):
        return {}
    arguments = found.args.args[len(found.args.args) - len(found.args.defaults) :]
    pairs = zip(arguments, found.args.defaults, strict=True)
    return {a.arg: _written(ast.literal_eval(d)) for a, d in pairs if a.arg not in _HANDED_IN}
