"""Lines of text to what is asked of a model, and numbers of lines in what is said against them."""

from collections.abc import Iterable, Iterator
from typing import Any

from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError
from ..store.files import parse_json
from ..tasks.row_checks import whole_signs

# The fields of a line by kind of task; of texts the second may be left out.
_FIELDS = {QUESTION_ANSWERING: ("question", "context")}
_TEXTS = ("text", "text_pair")


def rows(lines: Iterable[str | bytes], kind: str, named: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(where it stands, what it asks) of each line, as it is read: ``{"text"}``, ``{"text", "text_pair"}`` or
    ``{"question", "context"}``.

    A line is a JSON object with these fields, else two texts with a tab between them, else one text.

    Args:
        named: what a line is called in messages: ``line`` or ``text``.

    Raises:
        UserError: an empty text, a field that is missing or unknown, bytes that are no UTF-8; with the line's number.
    """
    first, second = fields = _FIELDS.get(kind, _TEXTS)
    for number, line in enumerate(lines, 1):
        where = f"{named} {number}"
        try:
            # A mark of order at the beginning of a file is no part of its first text.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8") if isinstance(line, bytes) else line
        except UnicodeDecodeError as error:
            raise UserError(f"{where} is not UTF-8 ({error.reason}); convert the file first") from error
        found = _parsed(text.rstrip("\r\n"), fields, where)
        for name in fields:
            if name in found and not found[name].strip():
                raise UserError(f"{where}: {name} is empty; every line needs a text")
            if name in found and not whole_signs(found[name]):
                raise UserError(f"{where}: {name} is no text that UTF-8 can hold ({found[name][:80]!r}); mend the file")
        if first not in found or (kind == QUESTION_ANSWERING and second not in found):
            raise UserError(f"{where} has no {second if first in found else first}; {_example(fields)}")
        yield where, found


def _parsed(line: str, fields: tuple[str, str], where: str) -> dict[str, str]:
    if not line.lstrip().startswith("{"):
        parts = line.split("\t")
        if len(parts) > 2:
            raise UserError(f"{where} has {len(parts)} fields between tabs; a text or a pair has at most 2")
        return dict(zip(fields, parts, strict=False))
    try:
        given: Any = parse_json(line)
    except ValueError as error:
        raise UserError(f"{where} begins with {{ but is no JSON object ({error}); {_example(fields)}") from error
    unknown = [name for name in given if name not in fields]
    if unknown:
        raise UserError(f"{where} has the field {unknown[0]!r}; known here are {' and '.join(fields)}")
    for name, value in given.items():
        if not isinstance(value, str):
            raise UserError(f"{where}: {name} is {value!r}, not a text; {_example(fields)}")
    # The order of the fields is the order of the texts, whatever the line's is.
    return {name: given[name] for name in fields if name in given}


def _example(fields: tuple[str, str]) -> str:
    return 'example: {"' + fields[0] + '": "...", "' + fields[1] + '": "..."}'
