"""What is wrong with single rows of a split of texts: nothing to read in one, or an id that two rows share."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError

# What GLUE and the usual exports call the number of a row.
_IDS = ("id", "idx")


def whole_signs(text: str) -> bool:
    """Whether a text can be written: half of a pair of surrogates (JSON's ``"\\ud83d"`` alone, or a byte of a command
    line that is no UTF-8) is no sign."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_texts(texts: Sequence[tuple[str, ...]], columns: Sequence[str], split: str) -> None:
    """See that each row has something to read: of a pair one text may be the empty string (as in QQP), not both.

    Raises:
        UserError: a row has none.
    """
    for row, text in enumerate(texts):
        if not any(part.strip() for part in text):
            raise UserError(
                f"row {row + 1} of the {split} split has an empty text in {' and '.join(columns)} (got "
                f"{', '.join(map(repr, text))}): remove the row"
            )


def check_ids(
    columns: Mapping[str, Sequence[Any]], texts: Sequence[tuple[str, ...]], labels: Sequence[Any], split: str
) -> None:
    """See that rows with the same ``id`` or ``idx`` are the same; a row that is there twice as it is does no harm.

    Args:
        columns: those that are neither text nor label.
        labels: as they stand in the file.

    Raises:
        UserError: two rows share an id and differ in text or label.
    """
    for name in _IDS:
        first: dict[Any, int] = {}
        for row, own in enumerate(columns.get(name, ())):
            if own is None or own != own:
                continue
            # Lists and structures, which JSON and Parquet may hold, are no keys.
            before = first.setdefault(own if isinstance(own, str | int | float) else repr(own), row)
            if (texts[before], str(labels[before])) != (texts[row], str(labels[row])):
                what = "text" if texts[before] != texts[row] else "label"
                raise UserError(
                    f"row {row + 1} of the {split} split has {name}={own!r} as row {before + 1} has, and another "
                    f"{what}: keep one of them, or rename the column if it does not number the rows"
                )
