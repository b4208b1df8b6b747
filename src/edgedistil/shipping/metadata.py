"""The YAML that a model card begins with, in the hub's own terms."""

import re
from typing import Any

from .known import METRICS
from .model_folder import CLASSIFICATION, PIPELINES
from .product_facts import Facts
from .scores import HELD_OUT, Score, scores_of

_TAGS = {
    "pruning": "pruning",
    "recovery": "distillation",
    "vocabulary": "vocabulary-trimming",
    "qat": "quantization-aware-training",
}
_PRECISION_TAGS = {"int8_dynamic": "int8", "int8_static": "int8", "int4_ort": "int4", "none": "fp32"}


def model_name(facts: Facts) -> str:
    """The title in letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", facts.title).strip("-").lower()


def front_matter(facts: Facts, files: list[str], loads_with_transformers: bool) -> str:
    """YAML without the lines of hyphens around it.

    Args:
        files: names of what ships.
        loads_with_transformers: whether ``AutoModel`` can read the weights.
    """
    from huggingface_hub import EvalResult, ModelCardData

    pipeline = PIPELINES.get(facts.task.get("kind", ""), PIPELINES[CLASSIFICATION])
    data = facts.data_set
    results = [
        EvalResult(
            task_type=pipeline,
            dataset_type=data.hub if data else str(facts.task.get("name", "unknown")),
            dataset_name=_data_name(facts),
            dataset_config=data.config if data else None,
            dataset_split="train" if score.split == HELD_OUT else score.split,
            dataset_args={"part": HELD_OUT} if score.split == HELD_OUT else None,
            metric_type=METRICS[score.metric],
            metric_name=score.title,
            metric_value=score.value,
            metric_args=_told(score),
        )
        for score in scores_of(facts.record, facts.task.get("metrics", []))
    ]
    fields: dict[str, Any] = {
        "license": facts.licence or "unknown",
        "base_model": facts.base,
        "datasets": [data.hub] if data else None,
        "language": facts.language,
        "library_name": "transformers" if loads_with_transformers else "onnxruntime",
        "pipeline_tag": pipeline,
        "tags": _tags(facts, files),
    }
    if results:
        fields |= {"model_name": model_name(facts), "eval_results": results}
    fields["metrics"] = list(dict.fromkeys(r.metric_type for r in results)) or None
    return str(ModelCardData(**fields).to_yaml())


def _data_name(facts: Facts) -> str:
    if facts.data_set:
        return facts.data_set.title
    return f"generated {facts.task['name']}" if facts.generated else "texts of its maker's own"


def _told(score: Score) -> dict[str, Any]:
    interval = {"ci95": [round(bound, 6) for bound in score.interval]} if score.interval else {}
    return {"n": score.n, **interval, **({"sample": True} if score.sample else {})}


def _tags(facts: Facts, files: list[str]) -> list[str]:
    compression = facts.record["compression"] or {}
    tags = ["edgedistil", *(["onnx"] if "model.onnx" in files else [])]
    done = [tag for part, tag in _TAGS.items() if (compression.get(part) or {}).get("method", "none") != "none"]
    taught = any("teacher" in made.inputs for made in facts.steps)
    tags += dict.fromkeys([*(["distillation"] if taught else []), *done])
    tags += ["quantization"] if facts.method not in ("none", "fp16", "bf16") else []
    precision = [_PRECISION_TAGS.get(facts.method, facts.method)] if facts.record["compression"] is not None else []
    return [*tags, *precision]
