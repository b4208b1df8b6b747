"""Which part a model plays in a reproduction: ``report.roles`` maps parts to models, so that published rows can ask for
``full`` or ``small`` and an experiment says what it sets in their place."""

from typing import Any

from ..errors import UserError

_TAUGHT = " taught by "
# What a model's name says beside the model itself: fewer layers, more texts.
_CHANGED = (" layers ", " + ")


def check(roles: Any) -> dict[str, str]:
    """``report.roles`` without the parts that no model has.

    Raises:
        UserError: it is no map of names to names.
    """
    roles = roles or {}
    if not isinstance(roles, dict) or not all(v is None or (isinstance(v, str) and v) for v in roles.values()):
        raise UserError(
            f"report.roles={roles!r} is no map of parts to models. Example: report.roles.full=bert_base "
            "report.roles.small=distilbert"
        )
    return {str(k): v for k, v in roles.items() if v is not None}


def parse(words: list[str] | None) -> dict[str, str] | None:
    """``["full=A", "small=B"]`` as a map; None for none.

    Raises:
        UserError: a word without a model.
    """
    if words is None:
        return None
    pairs = [word.partition("=") for word in words]
    for word, (role, _, model) in zip(words, pairs, strict=True):
        if not role or not model:
            raise UserError(f"--roles holds {word!r}; give ROLE=MODEL, e.g. full=bert_base small=distilbert")
    return {role: model for role, _, model in pairs}


def role_facts(outcome: dict[str, Any]) -> dict[str, Any]:
    """``{"role", "taught"}`` of a cell's outcome whose run named roles; nothing where it named none.

    ``role`` is None for a model that has no part; ``taught`` tells a second distillation while the task is learnt.
    A model is known by its option (``model=NAME``) or by its name in tables.
    """
    roles: dict[str, str] = outcome.get("roles") or {}
    if not roles:
        return {}
    name, _, teacher = str(outcome.get("names", {}).get("model", "")).partition(_TAUGHT)
    own = {name}
    if not any(mark in name for mark in _CHANGED):
        own |= {o.split("=", 1)[1] for o in outcome.get("overrides", []) if o.startswith("model=")}
    return {"role": next((r for r, model in roles.items() if model in own), None), "taught": bool(teacher)}
