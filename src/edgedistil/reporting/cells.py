"""Measured cells with what was compressed in each by name, and their answers sentence by sentence."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import read_json
from ..store.store import Store
from .rows import emulated

# Parts of a chain in the order in which they are done.
PARTS = ("pruning", "recovery", "embeddings", "vocabulary", "again", "quantization", "qat", "table")
# What goes with a part when it is left out: nothing is recovered or trained for it then.
_FOLLOWERS = {
    "pruning": ("recovery", "again"),
    "recovery": ("again",),
    "embeddings": ("again",),
    "vocabulary": ("again",),
    "quantization": ("qat", "table"),
}
# Steps that leave the model that is compressed.
_BEFORE = ("train", "adopt", "adopt_onnx", "twin")
Parts = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """One done cell: the folder of its record, the record, and the overrides that made it."""

    folder: Path
    record: dict[str, Any]
    overrides: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The compression's name."""
        return str(self.record["names"]["compression"])

    @property
    def parts(self) -> Parts:
        """What was done, by part; a part that was not is missing."""
        return parts_of(self.record["compression"] or {})

    @property
    def rest(self) -> str:
        """What else makes the cell: two cells that are compared share it."""
        record = self.record
        names = {k: v for k, v in record["names"].items() if k != "compression"}
        graph = (record["compression"] or {}).get("graph")
        return _text([names, record["device"]["threads"], graph, record.get("seed"), self._parent()])

    def _parent(self) -> str | None:
        inputs = self._inputs()
        return inputs["parent"]["fingerprint"] if "parent" in inputs else None

    def _inputs(self) -> dict[str, dict[str, str]]:
        artifact = self.folder / "artifact.json"
        return dict(read_json(artifact)["inputs"]) if artifact.is_file() else {}

    def right(self, answers: str) -> Any:
        """Which sentences the answers got right (NumPy bool ``[sentences]``); None when they are not in the store, and
        of numbers, which are not right or wrong.

        Args:
            answers: an input of the record's step: ``predictions``, ``parent_predictions``, ``test_predictions``, ...
        """
        tensors = self._answers(answers)
        if not tensors or tensors["labels"].dtype.kind == "f":
            return None
        return tensors["logits"].argmax(-1) == tensors["labels"]

    def sentences(self, answers: str) -> Any:
        """Beside each text of :meth:`right` the sentence that it is a phrase of (NumPy int ``[texts]``); None where
        each is its own."""
        return (self._answers(answers) or {}).get("sentences")

    def _answers(self, answers: str) -> dict[str, Any] | None:
        found = self._inputs().get(answers)
        if found is None:
            return None
        # STORE/artifacts/bench/FINGERPRINT
        folder = Store(self.folder.parents[2]).find(found["step"], found["fingerprint"])
        file = folder / "predictions.safetensors" if folder else None
        if file is None or not file.is_file():
            return None
        from safetensors.numpy import load_file

        return dict(load_file(file))

    def recipe(self) -> str | None:
        """What the model's step was told, but for the seed: seeds of one figure share it; None where the store no
        longer has the step."""
        store = Store(self.folder.parents[2])
        source = self._inputs().get("parent") or self._inputs().get("candidate")
        while source:
            folder = store.find(source["step"], source["fingerprint"])
            if folder is None:
                return None
            artifact = read_json(folder / "artifact.json")
            if source["step"] in _BEFORE:
                return _text({k: v for k, v in artifact.get("options", {}).items() if k != "seed"})
            source = artifact["inputs"].get("model")
        return None

    def seconds(self) -> dict[str, float]:
        """Wall seconds of the steps that compressed the model, in order, by step; those that the store still has."""
        store, found = Store(self.folder.parents[2]), []
        source = self._inputs().get("candidate")
        while source and source["step"] not in _BEFORE:
            folder = store.find(source["step"], source["fingerprint"])
            if folder is None:
                break
            artifact = read_json(folder / "artifact.json")
            found.append((source["step"], float(artifact["seconds"])))
            source = artifact["inputs"].get("model")
        total: dict[str, float] = {}
        for step, spent in reversed(found):
            total[step] = total.get(step, 0.0) + spent
        return total


def parts_of(compression: dict[str, Any]) -> Parts:
    """The parts of a canonical compression. A 4-bit table of an INT8 model is a part of its own, and so is the recovery
    of other tables after that of a cut."""
    found: Parts = {}
    for name in PARTS:
        options = compression.get(name) or {"method": "none"}
        if options.get("method", "none") != "none":
            found[name] = dict(options)
    if found.get("recovery", {}).pop("again", False):
        found["again"] = {"method": "recovery"}
    quantization = found.get("quantization", {})
    if quantization.get("embeddings") == "int4" and quantization["method"] != "int4_ort":
        found["table"] = {k: quantization.pop(k) for k in ("embeddings", "block_size", "rounding") if k in quantization}
        quantization["embeddings"] = True
    return found


def without(parts: Parts, *names: str, keep: tuple[str, ...] = ()) -> Parts:
    """The parts but for ``names`` and what follows from them, unless it is to ``keep``."""
    gone = set(names) | {f for name in names for f in _FOLLOWERS.get(name, ()) if f not in keep}
    return {k: v for k, v in parts.items() if k not in gone}


def same(one: Parts, other: Parts) -> bool:
    """Whether two cells were compressed in the same way."""
    return _text(one) == _text(other)


def part_label(name: str, options: dict[str, Any]) -> str:
    """A person's name for one part."""
    if name == "pruning":
        wanted = (
            f"{options['target']:g} {options['budget']}" if "target" in options else f"{100 * options['ratio']:g} %"
        )
        return f"{options['method']} {wanted}" + (f" in {options['steps']} steps" if "steps" in options else "")
    if name == "quantization":
        return str(options["method"])
    named = {
        "recovery": "recovery",
        "embeddings": "low rank",
        "vocabulary": "vocabulary",
        "again": "recovery again",
        "qat": "QAT",
    }
    return named.get(name, "4-bit table")


def measured_cells(outcomes: Iterable[dict[str, Any]]) -> list[Measured]:
    """The done cells of bench runs, each once, in order; none of emulated devices, whose times mean nothing.

    Raises:
        UserError: a record is no longer in the store.
    """
    found: dict[str, Measured] = {}
    for outcome in outcomes:
        if outcome["status"] != "done" or outcome.get("step") != "bench":
            continue
        folder = Path(outcome["folder"])
        if not (folder / "record.json").is_file():
            raise UserError(f"the record {folder / 'record.json'} is no longer in the store; run the sweep again")
        cell = Measured(folder, read_json(folder / "record.json"), tuple(outcome.get("overrides", ())))
        if emulated(cell.record):
            continue
        found.setdefault(cell.record["fingerprint"], cell)
    return list(found.values())


def eager_ratio(record: dict[str, Any], baseline: str = "torch_fp32", scenario: str = "tokens_32") -> Any:
    """``{ratio, ci95_low, ci95_high, ...}``: how many times faster than a baseline; None where not measured."""
    return record.get("speedup", {}).get(baseline, {}).get(scenario)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
