"""Composing a second train config inside a run: what a model of ``origin: recipe`` is made by."""

from typing import Any

from omegaconf import open_dict

from ..errors import UserError
from .validation import validate

# How a run trains here, not what: a recipe's own trainer settings stay its own.
_HARDWARE = ("accelerator", "devices", "precision", "strategy", "num_nodes")


def compose_recipe(name: str, outer: dict[str, Any], same_task: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """The validated train config ``experiment=NAME``, and its Hydra choices.

    Passed down from ``outer``: seed, store, logger, the trainer's hardware, and, when both learn the same kind of
    task, the task. Everything else is the recipe's.

    Args:
        same_task: the recipe's own task must be ``outer``'s, by name.

    Raises:
        UserError: no such experiment, a wrong value in it, or another task.
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
    task, wanted = plain["task"], outer["task"]
    if same_task and (task["kind"], task["name"]) != (wanted["kind"], wanted["name"]):
        raise UserError(
            f"the recipe {name!r} learns task {task['name']!r} ({task['kind']}), but a teacher of {wanted['name']!r} "
            f"({wanted['kind']}) must have learnt that: name a recipe with task={wanted['name']}"
        )
    plain |= {key: outer[key] for key in ("seed", "store", "logger", "torch_compile") if key in outer}
    if plain["task"]["kind"] == outer["task"]["kind"]:
        plain["task"] = dict(outer["task"])
    plain["trainer"] |= {k: outer["trainer"][k] for k in _HARDWARE if k in outer["trainer"]}
    return plain, choices
