"""What a question answering task may ask for; its answers are spans of a context."""

from typing import Any

from ..errors import UserError
from .canonical import canonical_compression, recovered_tables

QUESTION_ANSWERING = "question_answering"
# What of the task group says how contexts are cut into windows and answers are chosen.
WINDOW_OPTIONS = ("stride", "max_question_length", "max_answer_length", "n_best")
_METRICS = ("f1", "exact_match")
_QUANTIZATION = ("none", "fp16", "bf16", "int8_dynamic", "int4_ort", "nf4", "llm_int8")
_BASELINES = ("onnxruntime_fp32", "torch_fp32")


def check_question_answering(plain: dict[str, Any]) -> None:
    """Refuse what can't go together with answer spans, before anything runs.

    Raises:
        UserError: metrics of labels, phrases, a compression or a peer that only classifiers have so far.
    """
    task = plain["task"]
    wrong = [metric for metric in task["metrics"] if metric not in _METRICS]
    if wrong or not task["metrics"]:
        raise UserError(f"task.metrics={task['metrics']}: a question answering task knows {', '.join(_METRICS)}")
    if task["phrases"]:
        raise UserError("task.phrases=true is for texts with labels; question answering holds out whole paragraphs")
    if task["test_texts"]:
        raise UserError(f"task.test_texts={task['test_texts']} is for texts with labels; leave it out")
    compression = plain.get("compression")
    if compression:
        _supported("compression.graph.head", compression["graph"]["head"], ("task",))
        for group in ("embeddings", "qat"):
            _supported(f"compression.{group}.method", compression[group]["method"], ("none",))
        if compression["pruning"]["steps"] > 1:
            raise UserError(
                f"compression.pruning.steps={compression['pruning']['steps']} is made for classifiers; for question "
                "answering use compression/pruning=structured, at once"
            )
        if recovered_tables(canonical_compression(compression)):
            # A teacher scores tokens, and its tokens are not those of the other tokenizer.
            raise UserError(
                "compression.recovery after compression.vocabulary.min_count above 1 is made for classifiers; for "
                "question answering recover after pruning only, or keep min_count=1"
            )
        _supported("compression.quantization.method", compression["quantization"]["method"], _QUANTIZATION)
    for baseline in plain.get("device", {}).get("baselines", []):
        _supported("device.baselines", baseline, _BASELINES)


def _supported(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{option}={value} is made for classifiers; for question answering: {', '.join(allowed)}")


def check_windows(task: dict[str, Any]) -> None:
    """See that a window has room for the longest question, the overlap and at least one more token of the context.

    Raises:
        UserError: it has not.
    """
    # [CLS] question [SEP] context [SEP]
    room = task["max_length"] - 3 - task["max_question_length"]
    if room <= task["stride"]:
        raise UserError(
            f"task.max_length={task['max_length']} leaves {room} tokens for the context beside questions of "
            f"task.max_question_length={task['max_question_length']}, no more than windows share "
            f"(task.stride={task['stride']}): lower task.stride or task.max_question_length"
        )
