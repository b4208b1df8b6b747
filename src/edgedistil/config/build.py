"""The one door to Hydra's ``instantiate`` and the check of ``_target_`` nodes against their signatures."""

import inspect
from collections.abc import Iterator
from typing import Any

from ..errors import UserError


def build(node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Instantiate one ``_target_`` node; nested nodes first, containers as plain Python.

    Raises:
        UserError: what is built finds its own options wrong.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(node, *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def build_all(nodes: dict[str, Any] | None, **kwargs: Any) -> list[Any]:
    """Instantiate a group of named nodes (callbacks, loggers); entries that are null were dropped by the user."""
    return [build(node, **kwargs) for node in (nodes or {}).values() if node]


def check_nodes(node: Any, path: str, handed_in: tuple[str, ...] = ()) -> None:
    """Bind the keys of every ``_target_`` below ``node`` to its signature, without building anything.

    Args:
        node: plain config.
        path: dotted name of ``node``, for the message.
        handed_in: keywords that the program adds itself.

    Raises:
        UserError: all wrong keys and targets at once, with what the class accepts.
    """
    problems = list(_problems(node, path, handed_in))
    if problems:
        raise UserError("; ".join(problems))


def _problems(node: Any, path: str, handed_in: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from _problems(child, f"{path}[{index}]", ())
    if not isinstance(node, dict):
        return
    target = node.get("_target_")
    if target is not None:
        yield from _signature_problems(target, node, path, handed_in)
    for key, child in node.items():
        yield from _problems(child, f"{path}.{key}", ())


def _signature_problems(target: str, node: dict[str, Any], path: str, handed_in: tuple[str, ...]) -> Iterator[str]:
    from hydra.utils import get_object

    try:
        signature = inspect.signature(get_object(target))
    except (ImportError, ValueError, TypeError, AttributeError) as error:
        yield f"{path}._target_={target!r} can't be imported: {' '.join(str(error).split())}"
        return
    parameters = signature.parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    accepted = {p.name for p in parameters} | set(handed_in)
    for key in node:
        if not str(key).startswith("_") and key not in accepted:
            yield f"{path}.{key} is no argument of {target}; it takes {', '.join(sorted(accepted - {'self'}))}"
