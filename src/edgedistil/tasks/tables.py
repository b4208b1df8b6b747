"""One split of a task as columns: from a file, a generator or the hub."""

from typing import Any

from ..config.hub import data_set_cache, explain
from ..errors import UserError
from .source import Source
from .table_files import read_file


def read_columns(task: dict[str, Any], source: Source, split: str) -> dict[str, list[Any]]:
    """The columns of one split, in the order of its rows.

    Args:
        split: ``train``, ``validation`` or one of ``task.more_splits``.

    Raises:
        UserError: there is no such file, it can't be read, or the hub can't be reached.
    """
    if source.files:
        if split not in source.files:
            raise UserError(f"task {task['name']!r} has no {split} file; give task.{split}=FILE")
        return read_file(source.files[split])
    if "generator" in source.identity:
        from .generated import generate

        return generate(split, **source.identity["generator"])
    identity = source.identity
    name = identity[f"{split}_split"] if split in ("train", "validation") else identity["more_splits"][split]
    table = hub_table(identity, name)
    return {column: table[column][:] for column in table.column_names}


def hub_table(identity: dict[str, Any], split: str) -> Any:
    """A split of a hub data set at its pinned commit, as ``datasets`` reads it.

    Args:
        identity: ``hub``, ``hub_config`` and ``revision`` of a :class:`.source.Source`.
        split: as the data set calls it.

    Raises:
        UserError: the hub or the data set can't be had, or it has no such split or config.
    """
    import datasets

    datasets.disable_progress_bars()
    name, revision = identity["hub"], identity["revision"]
    try:
        return datasets.load_dataset(
            name, identity["hub_config"], split=split, revision=revision, cache_dir=str(data_set_cache(revision))
        )
    except (OSError, ConnectionError, RuntimeError, ValueError) as error:
        if "Unknown split" in str(error):
            raise UserError(
                f"the data set {name!r} has no split {split!r} ({error}); say which: task.train_split=NAME "
                "task.validation_split=NAME"
            ) from error
        raise explain(error, "data set", name, revision) from error
