"""How a model was made, one sentence a step, from what its artifacts keep."""

from collections.abc import Callable
from typing import Any

from .ancestry import Made
from .known import METRICS
from .product_facts import Facts

PRECISIONS = {
    "none": "32-bit floats",
    "fp16": "16-bit floats",
    "bf16": "bfloat16",
    "int8_dynamic": "8-bit weights, activations rounded to 8 bits as they come",
    "int8_static": "8-bit weights and activations, ranges fixed beforehand",
    "int4_ort": "4-bit weights in blocks",
    "nf4": "4-bit normal floats (bitsandbytes), rounded when the weights are loaded",
    "llm_int8": "LLM.int8 (bitsandbytes), rounded when the weights are loaded",
}


def precision_of(facts: Facts) -> str:
    """The precision that was measured, for people."""
    if facts.record["compression"] is None:
        return "as the ONNX file was given"
    return _precision(facts.record["compression"].get("quantization", {"method": "none"}))


def _precision(quantization: dict[str, Any]) -> str:
    method, tables = str(quantization["method"]), quantization.get("embeddings")
    told = PRECISIONS.get(method, method)
    if method in ("int8_dynamic", "int8_static") and tables == "int4":
        return f"{told}; embedding tables in 4 bits"
    if method.startswith("int") and tables in (False, "none"):
        return f"{told}; embedding tables in 32-bit floats"
    return told


def story(facts: Facts) -> list[str]:
    """The steps in the order in which they were done; the first says what the store no longer has."""
    told = [_TELLERS.get(made.step, _other)(made) for made in reversed(facts.steps)]
    if facts.gone:
        told.insert(0, f"a step `{facts.gone}` that is no longer in the store")
    if facts.steps and facts.steps[0].step not in ("export", "export_language", "adopt_onnx"):
        told.append(f"measured as {precision_of(facts)}")
    return [t for t in told if t]


def taught_by(facts: Facts) -> list[str]:
    """One line a teacher that the model does not itself come from: how large it is and how well it did."""
    own = {made.folder for made in facts.steps}
    return [_teacher(made.found) for made in facts.teachers if made.folder not in own]


def _teacher(found: dict[str, Any]) -> str:
    size = f"{found['parameters']:,} parameters" if "parameters" in found else "of unknown size"
    validation = found.get("validation") or {}
    scored = [f"{m.replace('_', ' ')} {validation[m]:.4g}" for m in METRICS if m in validation]
    n = f" on {validation['n']:,} validation texts" if "n" in validation else ""
    return f"Its teacher: {size}{f', {scored[0]}{n}' if scored else ''}."


def _trained(made: Made) -> str:
    options, found = made.options, made.found
    task, objective = options.get("task", {}), _class(options.get("objective"))
    taught = " with a teacher" if "teacher" in made.inputs else ""
    texts = f" on {found['train_texts']:,} texts" if "train_texts" in found else ""
    layers = options.get("model", {}).get("layers")
    kept = f"; layers {', '.join(map(str, layers))} of the base model" if layers else ""
    return (
        f"trained for `{task.get('name', 'its task')}` ({objective}{taught}){texts}, "
        f"{found.get('steps', '?')} steps, seed {options.get('seed', '?')}{kept}"
    )


def _pretrained(made: Made) -> str:
    found, student = made.found, made.options.get("student") or {}
    layers = student.get("layers")
    kept = f"; begun with layers {', '.join(map(str, layers))} of its teacher" if layers else ""
    tokens = f" on {found['tokens_seen']:,} tokens" if "tokens_seen" in found else ""
    taught = " with a teacher" if "teacher" in made.inputs else ""
    return f"learnt from plain texts ({_class(made.options.get('objective'))}{taught}){tokens}{kept}"


def _pruned(made: Made) -> str:
    pruning, found = made.options["pruning"], made.found
    wanted = (
        f"to {pruning['target']:g} {pruning['budget']}"
        if "target" in pruning
        else f"by {100 * pruning.get('ratio', 0):g} % of the encoder's weights"
    )
    what = "weights set to zero in place" if pruning["method"] == "magnitude" else "heads and FFN neurons removed"
    before, after = found.get("parameters_before"), found.get("parameters")
    counted = f"; {before:,} parameters became {after:,}" if before and after else ""
    scored = f", {_class(pruning['importance'])}" if pruning.get("importance") else ""
    return f"pruned {wanted} ({pruning['method']}{scored}: {what}{counted})"


def _recovered(made: Made) -> str:
    recovery = made.options["recovery"]
    return f"taught by the uncut model for {made.found.get('steps', recovery.get('steps', '?'))} steps (recovery)"


def _factorised(made: Made) -> str:
    return f"word table made a product of two, rank {made.options['embeddings'].get('rank')}"


def _trimmed(made: Made) -> str:
    found = made.found
    if "word_pieces" not in found:
        return "word pieces that do not occur in the training texts removed"
    return f"vocabulary cut from {found['word_pieces_before']:,} to {found['word_pieces']:,} word pieces"


def _prepared(made: Made) -> str:
    return f"trained with the rounding to come (quantisation-aware, {made.found.get('steps', '?')} steps)"


def _exported(made: Made) -> str:
    parity = made.found.get("parity", {})
    held = (
        f"; beside the model in PyTorch: the same answers to {100 * parity['agreement']:.1f} % of {parity['n']} texts"
    )
    return f"written as ONNX, {_precision(made.options['quantization'])}{held if 'agreement' in parity else ''}"


def _adopted(made: Made) -> str:
    return "given as a folder that was fine-tuned already"


def _other(made: Made) -> str:
    return f"step `{made.step}`"


_TELLERS: dict[str, Callable[[Made], str]] = {
    "train": _trained,
    "pretrain": _pretrained,
    "adopt": _adopted,
    "adopt_onnx": lambda made: "given as an ONNX file, measured as it is",
    "prune": _pruned,
    "prune_gradually": _pruned,
    "recover": _recovered,
    "factorise": _factorised,
    "trim": _trimmed,
    "qat": _prepared,
    "export": _exported,
    "export_language": _exported,
}


def _class(options: Any) -> str:
    """``FisherImportance`` of a node that names its class."""
    return str((options or {}).get("_target_", "?")).rsplit(".", 1)[-1]
