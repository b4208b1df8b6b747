"""How the weights of one export are quantised: what is observed on texts, what is left out, and the facts of both."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..tasks.examples import Examples

_KEPT = "fp32"
# Ranges from fewer texts than these say more about the texts than about the model.
_FEWEST = 96


@dataclass(frozen=True)
class Plan:
    """The weights (changed where activations were smoothed), their precision, the nodes in FP32, and facts."""

    weights: Any
    precision: Any
    kept: list[str]
    facts: dict[str, Any]


def plan(weights: Any, request: dict[str, Any]) -> Plan:
    """Do what ``options.quantization`` asks for on the texts that it may look at.

    Ranges, smoothing and second moments come from the training part; sensitivity and the drop of accuracy from the part
    that is held out for choices.

    Raises:
        UserError: a name that no node has, too few texts, a drop that can't be met.
    """
    from ..export.half import Float16
    from ..export.named_precision import precision_of, tables_of
    from ..export.nodes import matching, nodes_of
    from ..export.precision import Float32

    quantization = request["options"]["quantization"]
    if quantization["method"] == "none":
        return Plan(weights, Float32(), [], {})
    if quantization["method"] == "fp16":
        return Plan(weights, Float16(), [], {})
    facts: dict[str, Any] = {}
    nodes = nodes_of(weights)
    by_hand = matching(quantization.get("exclude", []), nodes)
    _check_blocks(weights, quantization, {node.name for node in by_hand})
    own: dict[str, Any] = {node.name: Float32() for node in by_hand}
    texts = _Texts(request)
    if "smooth" in quantization:
        weights = _smoothed(weights, texts, quantization, facts)
    moments = _moments(weights, texts, quantization, nodes)
    static = None
    if quantization["method"] == "int8_static":
        static = _static_ranges(weights, texts, quantization, tables_of(quantization) | own, facts)

    def quantised(extra: dict[str, Any]) -> Any:
        return precision_of(quantization, static, own | extra, moments)

    if "sensitivity" in quantization or "max_drop" in quantization:
        texts.refuse_pairs_with_types(weights)
        rest = [node for node in nodes if node not in by_hand and not _is_float_table(node, quantization)]
        protection, facts["sensitivity"] = _protection(weights, rest, quantised, texts, quantization)
        own |= protection
    if by_hand:
        facts["excluded_by_hand"] = [node.said for node in by_hand]
    kept = [name for name, precision in own.items() if type(precision) is Float32]
    return Plan(weights, quantised({}), kept, facts)


def _check_blocks(weights: Any, quantization: dict[str, Any], excluded: set[str]) -> None:
    """See that tables that are asked for in 4 bits can be stored so, but for those that stay in FP32.

    Raises:
        UserError: the blocks do not divide a table's width.
    """
    four = quantization["method"] == "int4_ort" and quantization["embeddings"] is True
    if not four and quantization["embeddings"] != "int4":
        return
    from ..export.precision import TABLES

    for name in TABLES:
        width = getattr(weights.encoder, name).shape[1]
        if name not in excluded and width % quantization["block_size"]:
            raise UserError(
                f"compression.quantization.block_size={quantization['block_size']} does not divide the width of "
                f"{width} that an embedding table has here, which 4 bits need: use a block of 16, 32, 64 or "
                "128 that does, or compression.quantization.embeddings=int8"
            )


class _Texts:
    """Token ids of the parts of the training split, read when they are asked for."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request

    def training(self, limit: int) -> list[list[int]]:
        from ..tasks.training_part import training_part

        found = training_part(self.request, limit)
        if len(found) < _FEWEST:
            raise UserError(
                f"the training part has {len(found)} texts and quantisation is calibrated on at least {_FEWEST}; give "
                "more (task.train, task.limit_train), or choose a method that looks at none: "
                "compression/quantization=int8_dynamic without smooth"
            )
        return self._ids(found, "model")

    def held_out(self) -> tuple[list[list[int]], list[int]]:
        found = self._held_out()
        return self._ids(found, "model"), [int(label) for label in found.labels]

    def refuse_pairs_with_types(self, weights: Any) -> None:
        """The graphs that are judged here count every token as type 0, as a BERT does not where texts are pairs.

        Raises:
            UserError: this one would.
        """
        if weights.encoder.token_types is not None and len(self._held_out().texts[0]) > 1:
            raise UserError(
                "compression.quantization.max_drop and sensitivity can't judge a BERT on pairs of texts: its token "
                "types are not asked here. Leave them out, or take an encoder without any: model.convert_to=distilbert"
            )

    def dense_accuracy(self) -> float:
        """Of the dense parent's FP32 graph on the held-out part, through its own tokenizer."""
        from ..export.answers import logits_of
        from ..export.exclusion import accuracy
        from ..export.precision import Float32
        from ..export.reading import read_model

        name = "dense" if "dense" in self.request["inputs"] else "model"
        found = self._held_out()
        dense = read_model(Path(self.request["inputs"][name]))
        return accuracy(logits_of(dense, Float32(), self._ids(found, name)), [int(label) for label in found.labels])

    def _held_out(self) -> Examples:
        from ..tasks.training_part import held_out_part

        found = held_out_part(self.request)
        if not len(found):
            raise UserError(
                f"task.held_out={self.request['options']['task']['held_out']:g} leaves no texts to judge "
                "quantisation on; example: task.held_out=0.02"
            )
        return found

    def _ids(self, examples: Examples, name: str) -> list[list[int]]:
        from ..tasks.encode import encode, load_tokenizer

        task = self.request["options"]["task"]
        return encode(load_tokenizer(Path(self.request["inputs"][name]), task["max_length"]), examples.texts)


def _smoothed(weights: Any, texts: _Texts, quantization: dict[str, Any], facts: dict[str, Any]) -> Any:
    from ..export.smoothing import smooth

    observed = texts.training(quantization["calibration_sentences"])
    facts["smoothed"] = {"alpha": quantization["smooth"], "observed_texts": len(observed)}
    return smooth(weights, observed, quantization["smooth"])


def _moments(weights: Any, texts: _Texts, quantization: dict[str, Any], nodes: list[Any]) -> dict[str, Any] | None:
    from ..export.calibration import second_moments

    if quantization.get("rounding") != "gptq" or quantization["method"] != "int4_ort":
        return None
    products = [node.name for node in nodes if node.tensor is not None]
    return second_moments(weights, texts.training(quantization["calibration_sentences"]), products)


def _static_ranges(
    weights: Any, texts: _Texts, quantization: dict[str, Any], own: dict[str, Any], facts: dict[str, Any]
) -> Any:
    from ..export.calibration import calibration_of
    from ..export.sensitivity import choose_static

    ranges, facts["static_activations"] = choose_static(
        weights,
        texts.training(quantization["calibration_sentences"]),
        quantization["embeddings"] not in (False, "none"),
        quantization["weights"],
        quantization["slack"],
        calibration_of(quantization),
        own,
    )
    return ranges


def _protection(
    weights: Any,
    nodes: list[Any],
    quantised: Callable[[dict[str, Any]], Any],
    texts: _Texts,
    quantization: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(own precisions that the budget needs, facts for the sensitivity report)."""
    from ..export.exclusion import HeldOut, node_costs, protect, table_of
    from ..export.precision import DynamicInt8

    ids, labels = texts.held_out()
    judged = ids[: quantization["judged_sentences"]]
    costs = node_costs(weights, nodes, quantised({}), judged)
    names = {node.said: quantization["method"] for node in nodes}
    facts: dict[str, Any] = {"judged_texts": len(judged)}
    if "max_drop" not in quantization:
        return {}, {**facts, "nodes": table_of(costs, names)}
    eight_bits: dict[str, Any] = {
        node.name: DynamicInt8(True, quantization["weights"]) for node in nodes if _in_four_bits(node, quantization)
    }
    held_out = HeldOut(ids, labels, texts.dense_accuracy())
    worst_first = [cost.node for cost in costs]
    found = protect(weights, worst_first, quantised, eight_bits, held_out, quantization["max_drop"])
    names |= {node.said: "int8_dynamic" for node in found.moved} | {node.said: _KEPT for node in found.excluded}
    return found.own, {
        **facts,
        "nodes": table_of(costs, names),
        "max_drop_points": quantization["max_drop"],
        "drop_points": round(found.drop, 4),
        "drop_points_of_all_quantised": round(found.unprotected, 4),
        "held_out_texts": len(ids),
        "dense_accuracy": held_out.dense_accuracy,
        "moved_to_8_bits": [node.said for node in found.moved],
        "excluded": [node.said for node in found.excluded],
        "verdict": found.verdict,
    }


def _is_float_table(node: Any, quantization: dict[str, Any]) -> bool:
    return bool(node.tensor is None and quantization["embeddings"] in (False, "none"))


def _in_four_bits(node: Any, quantization: dict[str, Any]) -> bool:
    four = quantization["method"] == "int4_ort"
    if node.tensor is None:
        return bool(quantization["embeddings"] == "int4" or (four and quantization["embeddings"] is True))
    return bool(four)
