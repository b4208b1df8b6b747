"""Valid input made odd: values of JSON, lines of text and bytes, changed where parsers go wrong.

Everything is drawn from a ``random.Random``, so that the same seed gives the same input to the property tests and to
the fuzzer.
"""

import json
import random
import string
from typing import Any

# One of each kind that a reader may take for something else: other types, other signs, digits that are no ASCII ones,
# half of a pair of surrogates, line ends, numbers that no float or no machine word holds.
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 2**64, 10**30, 10**400, -0.0, 0.5, 1e-320, 1e308, float("inf"),
    float("-inf"), float("nan"), "", " ", "0", "-1", "1.5", "nan", "1e999", "²", "٣", "9" * 400, "9" * 5000, "\ud800",
    "a\nb", "a\rb", "a\u2028b", "\0", "..", "../..", "/", "|", "-", "\ufeff", "é", "[N/A]", "x" * 300, [], {}, [[]],
    [{}], {"": None}, [None], [0], ["a"], {"a": {"b": []}}, [[1, 2], [3]], [-1], "model.onnx", "..\\..", "~", "%s",
)  # fmt: skip
ODD_BYTES = (
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"PAR1", b"PK\x03\x04", b"\r", b"\n", b"\r\n",
    b'"', b'""', b",", b"\t", b"{", b"}", b"[" * 3000, b'{"a":' * 3000, b"null", b"NaN", b"1e999", b"\\ud800",
    b"\xed\xa0\x80", "²".encode(), "\u2028".encode(), b"9" * 5000, b"-", b"\x1c", b"\x85", b": ", b"]", b"0x", b"true",
)  # fmt: skip


def odd_json(chance: random.Random, data: bytes) -> bytes:
    """JSON with one to four places changed, or, now and then, its bytes; what is none is changed as bytes."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return odd_bytes(chance, data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        tree = _changed(chance, tree)
    try:
        text = json.dumps(tree, ensure_ascii=chance.random() < 0.9).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        # An integer too long to be written, or nested too deeply.
        return odd_bytes(chance, data)
    return odd_bytes(chance, text) if chance.random() < 0.1 else text


def odd_json_lines(chance: random.Random, data: bytes) -> bytes:
    """One line of several JSON objects changed, or the order and number of the lines."""
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    if chance.random() < 0.2:
        return b"\n".join(_lines(chance, lines))
    lines[place] = odd_json(chance, lines[place])
    return b"\n".join(lines)


def odd_text(chance: random.Random, data: bytes) -> bytes:
    """Lines left out, doubled or moved, numbers and words of lines replaced, bytes put in."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        lines = data.split(b"\n")
        if chance.random() < 0.3:
            data = b"\n".join(_lines(chance, lines))
        elif chance.random() < 0.7:
            place = chance.randrange(len(lines))
            words = lines[place].split(b" ")
            words[chance.randrange(len(words))] = str(chance.choice(ODD[:46])).encode("utf-8", "surrogatepass")
            lines[place] = b" ".join(words)
            data = b"\n".join(lines)
        else:
            data = odd_bytes(chance, data)
    return data


def odd_bytes(chance: random.Random, data: bytes) -> bytes:
    """A piece cut out, doubled, flipped or replaced; sometimes all of it."""
    begin = chance.randrange(len(data) + 1)
    end = min(len(data), begin + chance.choice((0, 0, 1, 2, 4, 16, 64, 1024)))
    how = chance.randrange(6)
    if how == 0:
        return data[:begin] + chance.choice(ODD_BYTES) + data[end:]
    if how == 1:
        return data[:begin] + chance.randbytes(end - begin) + data[end:]
    if how == 2:
        return data[:begin] + data[begin:end] * 2 + data[end:]
    if how == 3:
        return data[:begin]
    if how == 4 and data:
        place = min(begin, len(data) - 1)
        return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
    return data[:begin] + data[end:]


def _lines(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    how = chance.randrange(4)
    if how == 0:
        return lines[:place] + lines[place + 1 :]
    if how == 1:
        return [*lines[:place], lines[other], *lines[place:]]
    if how == 2:
        return [*lines[:place], chance.choice(ODD_BYTES), *lines[place:]]
    end = chance.choice((b"\r", b"\r\n", b"\n\n"))
    return (end.join(lines)).split(b"\n")


def _changed(chance: random.Random, tree: Any) -> Any:
    """One place of a tree changed: itself, or one inside it."""
    inside = isinstance(tree, dict | list) and len(tree) > 0
    if not inside or chance.random() < 0.08:
        return chance.choice(ODD) if chance.random() < 0.8 or isinstance(tree, dict | list) else _near(chance, tree)
    if isinstance(tree, list):
        place = chance.randrange(len(tree))
        how = chance.random()
        if how < 0.15:
            return tree[:place] + tree[place + 1 :]
        if how < 0.25:
            return [*tree[:place], chance.choice(ODD), *tree[place:]]
        return [*tree[:place], _changed(chance, tree[place]), *tree[place + 1 :]]
    key = chance.choice(list(tree))
    how = chance.random()
    if how < 0.15:
        return {k: v for k, v in tree.items() if k != key}
    if how < 0.22:
        return {**tree, _key(chance): chance.choice(ODD)}
    if how < 0.3:
        # What belongs to one name under another.
        return {**tree, key: tree[chance.choice(list(tree))]}
    return {**tree, key: _changed(chance, tree[key])}


def _near(chance: random.Random, value: Any) -> Any:
    """A value of the same kind."""
    if isinstance(value, str):
        place = chance.randrange(len(value) + 1)
        return value[:place] + chance.choice(string.printable) + value[place + 1 :]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value * chance.choice((-1, 0, 2, 1000))
    return value


def _key(chance: random.Random) -> str:
    return str(chance.choice(("", "0", "²", "a\nb", "files", "names", "\ud800", "../x", "\0", "x" * 300)))
