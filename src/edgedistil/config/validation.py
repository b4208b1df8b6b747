"""From a composed Hydra config to plain, checked Python values; every complaint is one :class:`UserError` line."""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError
from .allowed import CHOICES, LIST_CHOICES, MASKED_LM, RANGES
from .language_model import check_augmentation, check_language_model, check_objective
from .pruning import check_pruning
from .quantization import check_quantization, decide_method
from .question_answering import QUESTION_ANSWERING, check_question_answering
from .regression import check_regression
from .schemas import SCHEMAS
from .tracking import check_loggers

_NEEDED = ("model", "task", "student", "augmentation", "objective", "optimizer", "trainer", "loader", "store")
_NEEDED_BY = {"compress": ("compression",), "bench": ("compression", "device", "measurement")}


def validate(cfg: DictConfig) -> dict[str, Any]:
    """Check types, names, choices and ranges of our own groups and resolve every interpolation.

    Returns:
        A plain dictionary: our groups with every default filled in, third-party groups as written, ``seed``, ``plan``.

    Raises:
        UserError: naming the option, the value and what is allowed.
    """
    plain: dict[str, Any] = {}
    for name in map(str, cfg):
        node = _node(cfg, name)
        if name in SCHEMAS:
            plain[name] = _typed(name, node)
        else:
            plain[name] = _container(name, node)
    if not isinstance(plain.get("seed"), int) or isinstance(plain["seed"], bool):
        raise UserError(f"seed={plain.get('seed')!r} is no integer. Example: seed=42")
    for name in ("torch_compile", "plan"):
        if not isinstance(plain.get(name, False), bool):
            raise UserError(f"{name}={plain[name]!r} is neither true nor false")
    plain["logger"] = check_loggers(plain.get("logger"))
    _check_values(plain)
    _check_generator(plain["task"]["generator"])
    decide_method(plain)
    if plain["task"]["kind"] == MASKED_LM:
        check_language_model(plain)
    else:
        _check_origin_of_data(plain["task"])
    if plain["task"]["kind"] == QUESTION_ANSWERING:
        check_question_answering(plain)
    elif "exact_match" in plain["task"]["metrics"]:
        raise UserError("task.metrics holds exact_match, which scores answers to questions, not labels")
    check_regression(plain)
    _check_test_part(plain["task"])
    check_objective(plain)
    check_augmentation(plain)
    if "compression" in plain:
        check_pruning(plain["compression"]["pruning"])
        _check_until(plain["compression"])
    _check_teachings(plain)
    check_quantization(plain)
    return plain


def check_groups(cfg: DictConfig, stage: str, overrides: Sequence[str]) -> None:
    """See that every group that ``stage`` can't do without is there, and that one option of it was chosen (Hydra takes
    a list of them too, and the last one's values are what is left).

    Args:
        overrides: those of the job.

    Raises:
        UserError: one is not.
    """
    for override in overrides:
        group, _, names = override.lstrip("+").partition("=")
        if group.split("@")[0] in SCHEMAS and re.fullmatch(r"\s*\[.*,.*\]\s*", names):
            listed = names.strip().strip("[]")
            raise UserError(f"{group}={names}: a cell has one of them; for a cell each run: -m {group}={listed}")
    for name in (*_NEEDED, *_NEEDED_BY.get(stage, ())):
        # A value that can't be worked out is said by validate().
        if OmegaConf.is_missing(cfg, name) or OmegaConf.is_interpolation(cfg, name):
            continue
        if not OmegaConf.is_dict(cfg.get(name)):
            raise UserError(
                f"{name}={cfg.get(name)!r} is no choice: {stage}.py needs one of this group's options, which "
                f"python {stage}.py --help lists"
            )


def closest(word: str, allowed: Any) -> str:
    """``" (did you mean 'x'?)"`` for the nearest allowed word, or nothing."""
    names = [str(a) for a in allowed]
    match = [n for n in names if n.startswith(word)] or difflib.get_close_matches(word, names, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _typed(name: str, node: Any) -> Any:
    schema = OmegaConf.structured(SCHEMAS[name])
    try:
        merged = OmegaConf.merge(schema, OmegaConf.create(OmegaConf.to_container(node, resolve=True)))
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise UserError(f"{name}.{missing[0]} has no value and needs one. Example: {name}.{missing[0]}=...")
        plain: Any = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(_explain(name, error)) from error
    for option in fields(SCHEMAS[name]):
        if of := option.metadata.get("table"):
            plain[option.name] = _table(f"{name}.{option.name}", plain[option.name], of)
    return plain


_KINDS: dict[str, type | tuple[type, ...]] = {"any": object, "text": str, "integer": int}


def _table(name: str, value: Any, of: str) -> dict[str, Any] | None:
    if value is None or value == {}:
        return None
    good = isinstance(value, dict) and all(isinstance(k, str) for k in value)
    if not good or any(not isinstance(v, _KINDS[of]) or (of != "any" and isinstance(v, bool)) for v in value.values()):
        kind = "values" if of == "any" else f"values of type {of}"
        raise UserError(f"{name}={value!r} is no table of names with {kind}; example: {name}={{NAME: VALUE}}")
    return dict(value)


def _node(cfg: DictConfig, name: str) -> Any:
    try:
        return cfg[name]
    except OmegaConfBaseException as error:
        raise UserError(f"{name}: {str(error).strip().splitlines()[0]}") from error


def _container(name: str, node: Any) -> Any:
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(_explain(name, error)) from error


def _explain(name: str, error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None) or getattr(error, "key", None)
    where = f"{name}.{key}" if key else name
    first = str(error).strip().splitlines()[0]
    parent = getattr(error, "parent_node", None)
    allowed = ""
    if "not in" in first and parent is not None and OmegaConf.is_dict(parent):
        names = sorted(str(k) for k in parent)
        allowed = f". Allowed: {', '.join(names)}{closest(str(key).rsplit('.', 1)[-1], names)}"
    return f"{where}: {first}{allowed}"


def _lookup(plain: dict[str, Any], dotted: str) -> Any:
    value: Any = plain
    for part in dotted.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def _check_values(plain: dict[str, Any]) -> None:
    for dotted, allowed in CHOICES.items():
        value = _lookup(plain, dotted)
        if value is not None and value not in allowed:
            raise UserError(f"{dotted}={value!r} is unknown; allowed: {', '.join(allowed)}{closest(value, allowed)}")
    for dotted, allowed in LIST_CHOICES.items():
        for value in _lookup(plain, dotted) or []:
            if value not in allowed:
                raise UserError(f"{dotted} holds {value!r}; allowed: {', '.join(allowed)}{closest(value, allowed)}")
    for dotted, (low, high, closed) in RANGES.items():
        value = _lookup(plain, dotted)
        if value is None:
            continue
        inside = low <= value <= high if closed else low <= value < high
        if not inside or math.isnan(value):
            upper = "" if math.isinf(high) else f" and {'at most' if closed else 'below'} {high:g}"
            raise UserError(f"{dotted}={value:g} is out of range: it must be at least {low:g}{upper}")
    block = _lookup(plain, "compression.quantization.block_size")
    if block is not None and block & (block - 1):
        raise UserError(
            f"compression.quantization.block_size={block} is no power of two; allowed: 16, 32, 64, 128, 256"
        )
    if any(size < 1 for size in _lookup(plain, "measurement.batches") or []):
        raise UserError("measurement.batches holds a number below 1; example: measurement.batches=[8,32]")
    for text in _lookup(plain, "measurement.exact_batches") or []:
        rows, _, tokens = text.partition("x")
        if not (rows.isdigit() and tokens.isdigit() and int(rows) and int(tokens) >= 3):
            raise UserError(
                f"measurement.exact_batches holds {text!r}: a number of texts and the tokens of each, at least 3; "
                "example: measurement.exact_batches=[256x128]"
            )
    for length in _lookup(plain, "measurement.lengths") or []:
        if length < 3:
            raise UserError(f"measurement.lengths holds {length}; a sentence has at least 3 tokens ([CLS] word [SEP])")
    if (_lookup(plain, "compression.pruning.method") == "structured") and not plain["compression"]["pruning"][
        "importance"
    ]:
        raise UserError(
            "compression.pruning.importance is empty; structured pruning needs a score, e.g. "
            "compression/pruning=structured (Fisher)"
        )


def _check_teachings(plain: dict[str, Any]) -> None:
    between = _lookup(plain, "compression.pruning.between") or {"method": "none"}
    if between["method"] != "none" and not (between["objective"] and between["optimizer"]):
        raise UserError(
            "compression.pruning.between.method=distillation has no objective and optimizer of its own here: use "
            "compression/pruning=gradual, which brings them"
        )
    for group in ("recovery", "qat"):
        chosen = _lookup(plain, f"compression.{group}") or {"method": "none"}
        if chosen["method"] == "none":
            continue
        for key in ("objective", "optimizer"):
            if not chosen[key]:
                raise UserError(f"compression.{group}.{key} is empty; use compression/{group}=distillation")
        if chosen["augmentation"] and plain["augmentation"]["method"] == "none":
            raise UserError(
                f"compression.{group}.augmentation=true has no texts to add: choose augmentation=embedding_neighbours "
                "or augmentation=mask_and_refill"
            )
        objective = chosen["objective"]
        # Left out, the default of ours compares hidden states.
        usual = 1.0 if str(objective.get("_target_")).endswith(".LogitDistillation") else 0.0
        if group == "qat" and (weight := objective.get("hidden_weight", usual)):
            raise UserError(
                f"compression.qat.objective.hidden_weight={weight:g}: the graph that ships computes no hidden states "
                "of its last layer, so quantisation-aware training compares logits; use "
                "compression.qat.objective.hidden_weight=0"
            )


# What every generator takes beside its name, and how little of it is anything.
_GENERATED = {"train": 2, "validation": 2, "seed": 0, "label_noise": 0}


def _check_generator(generator: dict[str, Any] | None) -> None:
    for key, value in (generator or {}).items():
        if key == "name":
            continue
        if key not in _GENERATED:
            allowed = ", ".join(("name", *_GENERATED))
            raise UserError(f"task.generator.{key} is unknown; allowed: {allowed}{closest(str(key), _GENERATED)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = key == "label_noise" or isinstance(value, int)
        if not (number and whole and value >= _GENERATED[key]) or (key == "label_noise" and value > 1):
            what = "a share from 0 to 1" if key == "label_noise" else f"a whole number of at least {_GENERATED[key]}"
            raise UserError(f"task.generator.{key}={value!r} is not {what}")


def _check_until(compression: dict[str, Any]) -> None:
    budget = compression["pruning"]["budget"]
    if compression["until"] != "all" and compression["pruning"]["method"] != "none" and budget != "ratio":
        raise UserError(
            f"compression.until={compression['until']} leaves out what compression.pruning.budget={budget} counts, "
            "so the rows would be cut otherwise: use compression.pruning.ratio"
        )


def _check_test_part(task: dict[str, Any]) -> None:
    if task["test_texts"] and task["limit_train"] is not None:
        raise UserError(
            f"task.limit_train={task['limit_train']} draws other texts for each seed, so task.test_texts="
            f"{task['test_texts']} would not be the same ones: leave one of them out"
        )


def _check_origin_of_data(task: dict[str, Any]) -> None:
    if task["name"] == "files" and not (task["validation"] or task["data_dir"]):
        raise UserError(
            "task=files needs task.validation=FILE (CSV, TSV, JSONL or Parquet), and task.train=FILE to train"
        )
    if task["name"] == "hub":
        if not (task["hub"] or task["validation"] or task["data_dir"]):
            raise UserError("task=hub needs task.hub=OWNER/NAME and task.revision=COMMIT; files are task=files")
        # Tables and records should say which.
        task["name"] = task["hub"] or task["name"]
    if task["train"] and not task["validation"]:
        raise UserError(f"task.train={task['train']!r} is set but task.validation is not; give both files")
