"""From a composed Hydra config to plain, checked Python values; every complaint is one :class:`UserError` line."""

import difflib
import math
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError
from .canonical import UNTIL
from .language_model import check_augmentation, check_language_model, check_objective
from .pruning import BUDGETS, check_pruning
from .quantization import check_quantization
from .question_answering import QUESTION_ANSWERING, check_question_answering
from .schemas import SCHEMAS

MASKED_LM = "masked_language_modelling"
CHOICES: dict[str, tuple[str, ...]] = {
    "model.origin": ("hub", "folder", "package", "recipe"),
    "model.convert_to": ("distilbert",),
    "model.weights": ("pretrained", "random"),
    "teacher.origin": ("hub", "folder", "package", "recipe"),
    "teacher.convert_to": ("distilbert",),
    "teacher.weights": ("pretrained",),
    "augmentation.method": ("none", "mask_and_refill", "embedding_neighbours"),
    "augmentation.model.origin": ("hub", "folder", "package", "recipe"),
    "augmentation.model.convert_to": ("distilbert",),
    "augmentation.model.weights": ("pretrained",),
    "student.init": ("teacher", "random", "model"),
    "task.kind": ("sequence_classification", QUESTION_ANSWERING, MASKED_LM),
    "compression.until": UNTIL,
    "compression.vocabulary.method": ("none", "trimmed"),
    "compression.pruning.method": ("none", "magnitude", "structured"),
    "compression.pruning.budget": BUDGETS,
    "compression.pruning.between.method": ("none", "distillation"),
    "compression.pruning.reconstruction": ("none", "least_squares"),
    "compression.recovery.method": ("none", "distillation"),
    "compression.embeddings.method": ("none", "low_rank"),
    "compression.qat.method": ("none", "distillation"),
    "compression.quantization.method": ("none", "int8_dynamic", "int8_static", "int4_ort", "nf4", "llm_int8"),
    "compression.quantization.weights": ("auto", "s8", "s8_7bit", "u8"),
    "compression.quantization.calibration": ("least_error", "min_max", "percentile", "entropy"),
    "compression.quantization.rounding": ("nearest", "search", "hqq", "gptq"),
    "device.kind": ("cpu",),
    "device.int8_weights": ("auto", "s8", "s8_7bit", "u8"),
    "device.engine": ("onnxruntime", "torch"),
    "measurement.seconds_of": ("candidate", "run"),
}
LIST_CHOICES: dict[str, tuple[str, ...]] = {
    # the uncompressed parent on our two engines, and peers (peers/registry.py, a test holds them equal)
    "device.baselines": (
        "onnxruntime_fp32",
        "torch_fp32",
        "torch_compile",
        "torch_dynamic_int8",
        "onnxruntime_int8_recipe",
        "optimum_int8",
        "openvino_fp32",
        "openvino_int8",
        "openvino_int8_trimmed",
        "ctranslate2_int8",
    ),
    "task.metrics": ("accuracy", "f1", "matthews_correlation", "exact_match"),
}
# name: (lowest, highest, is the highest itself allowed)
RANGES: dict[str, tuple[float, float, bool]] = {
    "compression.pruning.ratio": (0.0, 1.0, False),
    "compression.pruning.calibration_sentences": (16, math.inf, False),
    "compression.pruning.ffn_multiple": (1, math.inf, False),
    "compression.pruning.target": (1e-9, math.inf, False),
    "compression.pruning.tokens": (3, 8192, True),
    "compression.pruning.profile_seconds": (0.1, 3600, True),
    "compression.pruning.steps": (1, 1000, True),
    "compression.pruning.between.steps": (0, math.inf, False),
    "compression.pruning.between.batch_size": (1, math.inf, False),
    "compression.pruning.between.warmup_fraction": (0.0, 1.0, True),
    "compression.pruning.ridge": (0.0, 1e6, True),
    "compression.pruning.rounds": (1, 64, True),
    "compression.recovery.steps": (0, math.inf, False),
    "compression.recovery.epochs": (1, math.inf, False),
    "compression.recovery.batch_size": (1, math.inf, False),
    "compression.embeddings.rank": (1, math.inf, False),
    "compression.qat.steps": (0, math.inf, False),
    "compression.qat.epochs": (1, math.inf, False),
    "compression.qat.batch_size": (1, math.inf, False),
    "compression.qat.warmup_fraction": (0.0, 1.0, True),
    "compression.recovery.warmup_fraction": (0.0, 1.0, True),
    "compression.quantization.calibration_sentences": (96, math.inf, False),
    "compression.quantization.slack": (0.0, 100.0, True),
    "compression.quantization.block_size": (16, 256, True),
    "compression.quantization.accuracy_level": (0, 4, True),
    "compression.quantization.percentile": (50.0, 100.0, True),
    "compression.quantization.smooth": (0.0, 1.0, True),
    "compression.quantization.max_drop": (0.0, 100.0, True),
    "compression.quantization.judged_sentences": (16, math.inf, False),
    "compression.vocabulary.min_count": (1, math.inf, False),
    "compression.vocabulary.first": (0, math.inf, False),
    "compression.vocabulary.positions": (4, math.inf, False),
    "task.max_length": (4, 8192, True),
    "task.held_out": (0.0, 0.5, True),
    "task.test_texts": (0, math.inf, False),
    "task.drop_up_to": (0, math.inf, False),
    "task.drop_unknown": (0.0, 1.0, True),
    "task.stride": (0, 8192, True),
    "task.max_question_length": (1, 8192, True),
    "task.max_answer_length": (1, 8192, True),
    "task.n_best": (1, 8192, True),
    "student.depth": (1, 1000, True),
    "task.limit_train": (2, math.inf, False),
    "task.limit_validation": (2, math.inf, False),
    "augmentation.copies": (1, math.inf, False),
    "augmentation.probability": (0.0, 1.0, True),
    "augmentation.candidates": (1, math.inf, False),
    "loader.batch_size": (1, math.inf, False),
    "device.threads": (1, 1024, True),
    "measurement.generations": (1, math.inf, False),
    "measurement.restart_within_s": (0.0, math.inf, True),
    "measurement.rounds": (2, math.inf, False),
    "measurement.burst": (1, math.inf, False),
    "measurement.seconds": (0, math.inf, False),
    "measurement.warmup_calls": (1, math.inf, False),
    "measurement.warmup_limit": (2, 1000, True),
    "measurement.repeat": (0, math.inf, False),
    "measurement.batch_rounds": (0, math.inf, False),
    "measurement.cold_starts": (1, math.inf, False),
    "store.threads": (1, 1024, True),
}
NODE_GROUPS = ("objective", "optimizer", "scheduler", "callbacks", "trainer", "logger")


def validate(cfg: DictConfig) -> dict[str, Any]:
    """Check types, names, choices and ranges of our own groups and resolve every interpolation.

    Returns:
        A plain dictionary: our groups with every default filled in, third-party groups as written, ``seed``, ``plan``.

    Raises:
        UserError: naming the option, the value and what is allowed.
    """
    plain: dict[str, Any] = {}
    for key, node in cfg.items():
        name = str(key)
        if name in SCHEMAS:
            plain[name] = _typed(name, node)
        else:
            plain[name] = _container(name, node)
    if not isinstance(plain.get("seed"), int) or isinstance(plain["seed"], bool):
        raise UserError(f"seed={plain.get('seed')!r} is no integer. Example: seed=42")
    if not isinstance(plain.get("torch_compile"), bool):
        raise UserError(f"torch_compile={plain.get('torch_compile')!r} is neither true nor false")
    _check_values(plain)
    if plain["task"]["kind"] == MASKED_LM:
        check_language_model(plain)
    else:
        _check_origin_of_data(plain["task"])
    if plain["task"]["kind"] == QUESTION_ANSWERING:
        check_question_answering(plain)
    elif "exact_match" in plain["task"]["metrics"]:
        raise UserError("task.metrics holds exact_match, which scores answers to questions, not labels")
    check_objective(plain)
    check_augmentation(plain)
    if "compression" in plain:
        check_pruning(plain["compression"]["pruning"])
        _check_until(plain["compression"])
    _check_teachings(plain)
    check_quantization(plain)
    return plain


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
        return OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(_explain(name, error)) from error


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


def _check_until(compression: dict[str, Any]) -> None:
    budget = compression["pruning"]["budget"]
    if compression["until"] != "all" and compression["pruning"]["method"] != "none" and budget != "ratio":
        raise UserError(
            f"compression.until={compression['until']} leaves out what compression.pruning.budget={budget} counts, "
            "so the rows would be cut otherwise: use compression.pruning.ratio"
        )


def _check_origin_of_data(task: dict[str, Any]) -> None:
    if task["name"] == "files" and not (task["validation"] or task["data_dir"]):
        raise UserError(
            "task=files needs task.validation=FILE (CSV, TSV, JSONL or Parquet), and task.train=FILE to train"
        )
    if task["train"] and not task["validation"]:
        raise UserError(f"task.train={task['train']!r} is set but task.validation is not; give both files")
