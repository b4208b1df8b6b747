"""Options of ``conf/model`` and ``conf/task`` by name, for commands that are no Hydra applications."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config.schemas import Model, Task
from ..errors import UserError

# Options of conf/model that name no model by themselves.
_NO_MODELS = ("folder", "recipe")
_CONF = Path(__file__).resolve().parents[3] / "conf"


def model_group(model: str, option: str = "--model") -> dict[str, Any]:
    """The ``model`` group that a user named: a folder, or an option of ``conf/model``.

    Raises:
        UserError: it is neither.
    """
    if Path(model).expanduser().is_dir():
        return asdict(Model(origin="folder", location=model))
    options = {p.stem: p for p in sorted((_CONF / "model").glob("*.yaml")) if p.stem not in _NO_MODELS}
    if model not in options:
        known = f"one of {', '.join(options)}, or " if options else ""
        raise UserError(f"{option}={model!r} is no folder; give {known}the folder of a BERT or DistilBERT")
    return asdict(Model()) | _values(options[model])


def task_group(task: str) -> dict[str, Any]:
    """The ``task`` group of an option of ``conf/task``.

    Raises:
        UserError: there is none of that name.
    """
    options = {p.stem: p for p in sorted((_CONF / "task").glob("*.yaml"))}
    if task not in options:
        raise UserError(f"--task={task!r} is no option of conf/task; allowed: {', '.join(options)}")
    return asdict(Task()) | _values(options[task])


def _values(file: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    assert isinstance(values, dict)
    values.pop("defaults", None)
    return {str(key): value for key, value in values.items()}
