"""Composing a second train config inside a run: what a model of ``origin: recipe`` is made by."""

from typing import Any

from omegaconf import open_dict

from ..errors import UserError
from .validation import validate

# How a run trains here, not what: a recipe's own trainer settings stay its own.
_HARDWARE = ("accelerator", "devices", "precision", "strategy", "num_nodes")


def compose_recipe(name: str, outer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The validated train config ``experiment=NAME``, and its Hydra choices.

    Passed down from ``outer``: seed, store, logger, the trainer's hardware, and, when both learn the same kind of
    task, the task. Everything else is the recipe's.

    Raises:
        UserError: no such experiment, or a wrong value in it.
    """
    from hydra import compose
    from hydra.errors import HydraException

    try:
        cfg = compose("train", [f"experiment={name}"], return_hydra_config=True)
    except HydraException as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"the recipe {name!r} can't be composed: {first} (conf/experiment/{name}.yaml)") from error
    choices = dict(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg.hydra
    plain = validate(cfg)
    plain |= {key: outer[key] for key in ("seed", "store", "logger", "torch_compile") if key in outer}
    if plain["task"]["kind"] == outer["task"]["kind"]:
        plain["task"] = dict(outer["task"])
    plain["trainer"] |= {k: outer["trainer"][k] for k in _HARDWARE if k in outer["trainer"]}
    return plain, choices
