"""What a model is made of before this run: found somewhere, or the outcome of another train config (a recipe)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.recipes import compose_recipe
from ..errors import UserError
from ..models import origin as origins
from ..models.kinds import head_of
from ..models.origin import Origin
from ..models.vocabulary import check_same_vocabulary

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


def locate_base(plan: "Planner", group: str, same_task: bool = False) -> Base:
    """Find what a group of the config names: ``model``, ``teacher``, ``augmentation.model``.

    Args:
        same_task: of recipes, take those of the config's own task alone.

    Raises:
        UserError: nothing there, recipes that need each other, a recipe of another task.
    """
    model = chosen_model(plan.cfg, group)
    # A twin is no outcome of a training: it is its architecture.
    if model["origin"] != "recipe" or model["weights"] == "random":
        origin = origins.locate(model, plan.store.digests, head_of(plan.cfg["task"]["kind"]))
        return Base(origin, None, base_name(plan.cfg, plan.choices, group), _tokenizer(plan, origin))
    name = model["location"]
    if name in plan.recipes:
        raise UserError(
            f"recipes need each other: {' → '.join([*plan.recipes, name])}; {group}.location names the last"
        )
    pinned = {} if model["seed"] is None else {"seed": model["seed"]}
    cfg, choices = compose_recipe(name, plan.cfg | pinned, same_task)
    inner = type(plan)(cfg, plan.store, "train", choices, plan.sweep, plan.common["progress"], (*plan.recipes, name))
    cell = inner.cell()
    identity = {"origin": "recipe", "convert_to": None}
    origin = replace(inner.origin, identity=identity, fine_tuned=False, masked_lm=inner.masked_lm, layers=inner.depth)
    return Base(origin, cell.steps["model"], name, inner.base.tokenizer)


def chosen_model(cfg: dict[str, Any], group: str) -> dict[str, Any]:
    """The config's node of a model group by its dotted name."""
    node: dict[str, Any] = cfg
    for part in group.split("."):
        node = node[part]
    return node


def base_name(cfg: dict[str, Any], choices: dict[str, str], group: str) -> str:
    """What people call a model: its folder or recipe, else its option."""
    model = chosen_model(cfg, group)
    last = str(model["location"]).rstrip("/").rsplit("/", 1)[-1]
    if model["origin"] in ("folder", "recipe"):
        return last
    return choices.get("model" if group == "model" else f"model@{group}") or last


def check_taken_as_it_is(plan: "Planner") -> None:
    """See that no option asks for a training of a model that is fine-tuned already.

    Raises:
        UserError: one does.
    """
    layers, augmentation = plan.cfg["model"]["layers"], plan.cfg["augmentation"]["method"]
    why = f"model.layers={layers} makes a model that has to be trained" if layers else None
    compression = plan.compression or {}
    read = any(compression.get(group, {}).get("augmentation") for group in ("recovery", "qat"))
    why = f"augmentation={augmentation} adds texts to a training" if augmentation != "none" and not read else why
    if why:
        raise UserError(
            f"{why}, but {plan.origin.location} is taken as it is: python train.py first, or model.fine_tuned=false"
        )


def check_vocabularies(teacher: Base, student: Base) -> None:
    """Compare two vocabularies as far as they lie on this machine.

    Raises:
        UserError: they differ.
    """
    files = [Path(base.origin.location) for base in (teacher, student)]
    if teacher.tokenizer != student.tokenizer and all((f / "tokenizer.json").is_file() for f in files):
        check_same_vocabulary(files[0], files[1])


def check_masked_lm(base: Base, what: str, group: str) -> None:
    """See that a model is a masked language model, as far as that can be told without loading it.

    Args:
        what, group: what it is in the message ("the teacher") and how it is chosen (``teacher``).

    Raises:
        UserError: it has no masked-language-modelling head.
    """
    if base.origin.masked_lm is False or base.origin.bare_onnx:
        raise UserError(
            f"{what} {base.name} has no masked-language-modelling head: train one with "
            f"objective=masked_language_modelling and give its folder (model@{group}=folder {group}.location=FOLDER), "
            f"or let a recipe do it (model@{group}=recipe {group}.location=wikitext2_teacher)"
        )


def _tokenizer(plan: "Planner", origin: Origin) -> dict[str, Any]:
    """What identifies a model's tokenizer: the file's digest, or the hub's pinned revision."""
    if origin.identity["origin"] == "hub":
        return {key: origin.identity[key] for key in ("origin", "location", "revision")}
    file = Path(origin.tokenizer or origin.location) / "tokenizer.json"
    return {"origin": "folder", "sha256": plan.store.digests.digest(file)}
