"""What a model is made of before this run: found somewhere, or the outcome of another train config (a recipe)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.recipes import compose_recipe
from ..errors import UserError
from ..models import origin as origins
from ..models.kinds import head_of
from ..models.origin import Origin

if TYPE_CHECKING:
    from .chain import Planner
    from .step import Step


@dataclass(frozen=True)
class Base:
    """``step`` makes the model folder; None when ``origin.location`` has it. ``tokenizer`` enters fingerprints."""

    origin: Origin
    step: "Step | None"
    name: str
    tokenizer: dict[str, Any]

    def inputs(self, name: str) -> dict[str, "Step"]:
        """``{name: step}`` for a step that starts from this model, or nothing."""
        return {name: self.step} if self.step else {}


def locate_base(plan: "Planner", group: str) -> Base:
    """Find what ``plan.cfg[group]`` (``model`` or ``teacher``) names.

    Raises:
        UserError: nothing there, or recipes that need each other.
    """
    model = plan.cfg[group]
    if model["origin"] != "recipe":
        origin = origins.locate(model, plan.store.digests, head_of(plan.cfg["task"]["kind"]))
        return Base(origin, None, _name(plan, group), _tokenizer(plan, origin))
    name = model["location"]
    if name in plan.recipes:
        raise UserError(
            f"recipes need each other: {' → '.join([*plan.recipes, name])}; {group}.location names the last"
        )
    cfg, choices = compose_recipe(name, plan.cfg)
    inner = type(plan)(cfg, plan.store, "train", choices, plan.sweep, plan.common["progress"], (*plan.recipes, name))
    cell = inner.cell()
    identity = {"origin": "recipe", "convert_to": None}
    origin = replace(inner.origin, identity=identity, fine_tuned=False, masked_lm=inner.masked_lm, layers=inner.depth)
    return Base(origin, cell.steps["model"], name, inner.base.tokenizer)


def _name(plan: "Planner", group: str) -> str:
    model = plan.cfg[group]
    if model["origin"] == "folder":
        return str(model["location"]).rstrip("/").rsplit("/", 1)[-1]
    chosen = plan.choices.get("model" if group == "model" else f"model@{group}")
    return chosen or str(model["location"]).rsplit("/", 1)[-1]


def _tokenizer(plan: "Planner", origin: Origin) -> dict[str, Any]:
    """What identifies a model's tokenizer: the file's digest, or the hub's pinned revision."""
    if origin.identity["origin"] == "hub":
        return {key: origin.identity[key] for key in ("origin", "location", "revision")}
    file = Path(origin.tokenizer or origin.location) / "tokenizer.json"
    return {"origin": "folder", "sha256": plan.store.digests.digest(file)}
