"""Copies of training texts on disk: which are kept, and how they join the texts that they were made of."""

from collections.abc import Iterable
from pathlib import Path

from .augmentation import Text
from .examples import Examples, phrases_of

COPIES_FILE = "copies.parquet"


def keep_new(
    copies: Iterable[tuple[int, Text]], known: Iterable[Text], held_out: Iterable[Text]
) -> list[tuple[int, Text]]:
    """The (source, text) pairs that repeat nothing, compared without case and spacing.

    Args:
        known: texts that no copy may repeat: all originals, whichever side they are on, and validation.
        held_out: of these no copy may be a phrase either; empty where the split holds no phrases.
    """
    seen = {_key(text) for text in known}
    phrases = {phrase for text in held_out for phrase in phrases_of(_lower(text))}
    kept = []
    for source, text in copies:
        key = _key(text)
        if key not in seen and key[0] not in phrases:
            seen.add(key)
            kept.append((source, text))
    return kept


def write_copies(copies: list[tuple[int, Text]], columns: int, folder: Path) -> None:
    """Write ``copies.parquet``: ``source`` (which row of the training split a copy is of), ``text_0``, ``text_1``."""
    import pyarrow
    import pyarrow.parquet

    table = {"source": pyarrow.array([source for source, _ in copies], pyarrow.int64())}
    for i in range(columns):
        table[f"text_{i}"] = pyarrow.array([text[i] for _, text in copies], pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table(table), folder / COPIES_FILE)


def read_copies(folder: Path) -> list[tuple[int, Text]]:
    """What :func:`write_copies` wrote."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / COPIES_FILE)
    sources, *columns = (table.column(name).to_pylist() for name in table.column_names)
    return list(zip(sources, zip(*columns, strict=True), strict=True))


def with_copies(examples: Examples, folder: str | None) -> tuple[Examples, list[int]]:
    """The training split with its copies behind it, labelled as what they were made of, and the copies' indices.

    Args:
        folder: of the step ``augment``; None: nothing is added.
    """
    if folder is None:
        return examples, []
    copies = read_copies(Path(folder))
    joined = Examples(
        [*examples.texts, *(text for _, text in copies)],
        [*examples.labels, *(examples.labels[source] for source, _ in copies)],
        examples.label_names,
    )
    return joined, list(range(len(examples), len(joined)))


def _lower(text: Text) -> Text:
    return tuple(column.lower() for column in text)


def _key(text: Text) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(column.split()) for column in _lower(text))
