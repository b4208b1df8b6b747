"""The ``logger`` group: which loggers are chosen, and what may not stand in their options."""

import importlib.util
from typing import Any

from ..credentials import names_one
from ..errors import UserError

MODELS = ("none", "references", "files")


def wandb_node(loggers: dict[str, Any] | None) -> dict[str, Any] | None:
    """The options of the W&B logger among the chosen loggers, or None."""
    return _node(loggers, "WandbLogger")


def check_loggers(loggers: dict[str, Any] | None) -> dict[str, Any]:
    """The chosen loggers by name, without those that the user dropped.

    Raises:
        UserError: a secret among the options, which are written into folders of results; a value that is none of the
            allowed ones; a logger whose package is not installed.
    """
    chosen = {name: node for name, node in (loggers or {}).items() if node}
    for name, node in chosen.items():
        for option in _names(node):
            if names_one(f"logger.{name}.{option}"):
                raise UserError(
                    f"logger.{name}.{option}: a secret has no place among options, which are kept with results; "
                    "log in with `wandb login`, or export WANDB_API_KEY"
                )
    wandb = wandb_node(chosen)
    if wandb:
        if wandb.get("models", MODELS[0]) not in MODELS:
            raise UserError(f"logger.wandb.models={wandb['models']!r} is unknown; allowed: {', '.join(MODELS)}")
        wait = wandb.get("wait_s", 1)
        if isinstance(wait, bool) or not isinstance(wait, int | float) or not wait > 0:
            raise UserError(f"logger.wandb.wait_s={wait!r} is no number of seconds above 0; example: 20")
        _check_installed("wandb", "logger=wandb", "wandb")
    if _node(chosen, "TensorBoardLogger"):
        _check_installed("tensorboard", "logger=tensorboard", "edgedistil[dashboards]")
    return chosen


def _node(loggers: dict[str, Any] | None, kind: str) -> dict[str, Any] | None:
    return next((n for n in (loggers or {}).values() if n and str(n.get("_target_", "")).endswith(kind)), None)


def _names(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [str(k) for k in node] + [name for child in node.values() for name in _names(child)]
    return []


def _check_installed(package: str, option: str, wanted: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{option} needs the package {package}, which is not installed: pip install '{wanted}'")
