"""Measured cells with what was compressed in each by name, and their answers sentence by sentence."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..store.store import ARTIFACT_FILE, Store
from .ancestry import read_artifact
from .records import whole
from .rows import emulated, read_cell

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

    @cached_property
    def parts(self) -> Parts:
        """What was done, by part; a part that was not is missing."""
        return parts_of(self.record["compression"] or {})

    @cached_property
    def rest(self) -> str:
        """What else makes the cell: two cells that are compared share it."""
        record = self.record
        names = {k: v for k, v in record["names"].items() if k != "compression"}
        graph = (record["compression"] or {}).get("graph")
        return _text([names, record["device"]["threads"], graph, record.get("seed"), self._parent()])

    @cached_property
    def identity(self) -> tuple[str, str]:
        """What is compared and how it was compressed: no two cells of a sweep share it."""
        return self.rest, _text(self.parts)

    def _parent(self) -> str | None:
        return self._inputs["parent"]["fingerprint"] if "parent" in self._inputs else None

    @cached_property
    def _inputs(self) -> dict[str, dict[str, str]]:
        return dict(read_artifact(self.folder)["inputs"]) if (self.folder / ARTIFACT_FILE).is_file() else {}

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
        found = self._inputs.get(answers)
        if found is None:
            return None
        # STORE/artifacts/bench/FINGERPRINT
        folder = Store(self.folder.parents[2]).find(found["step"], found["fingerprint"])
        file = folder / "predictions.safetensors" if folder else None
        if file is None or not file.is_file():
            return None
        from safetensors.numpy import load_file

        return dict(load_file(whole(file)))

    def recipe(self) -> str | None:
        """What the model's step was told, but for the seed: seeds of one figure share it; None where the store no
        longer has the step."""
        store = Store(self.folder.parents[2])
        source = self._inputs.get("parent") or self._inputs.get("candidate")
        while source:
            folder = store.find(source["step"], source["fingerprint"])
            if folder is None:
                return None
            artifact = read_artifact(folder)
            if source["step"] in _BEFORE:
                return _text({k: v for k, v in artifact.get("options", {}).items() if k != "seed"})
            source = artifact["inputs"].get("model")
        return None

    def seconds(self) -> dict[str, float]:
        """Wall seconds of the steps that compressed the model, in order, by step; those that the store still has."""
        store, found = Store(self.folder.parents[2]), []
        source = self._inputs.get("candidate")
        while source and source["step"] not in _BEFORE:
            folder = store.find(source["step"], source["fingerprint"])
            if folder is None:
                break
            artifact = read_artifact(folder)
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


def identity_of(like: Measured, parts: Parts) -> tuple[str, str]:
    """The :attr:`Measured.identity` of the cell that differs from ``like`` in how it was compressed."""
    return like.rest, _text(parts)


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


def measured_cells(outcomes: Iterable[dict[str, Any]], also_emulated: bool = False) -> list[Measured]:
    """The done cells of bench runs, each once, in order.

    Args:
        also_emulated: those of emulated devices too, whose times mean nothing.

    Raises:
        UserError: a record is no longer in the store.
    """
    found: dict[str, Measured] = {}
    for outcome in outcomes:
        read = read_cell(outcome)
        if read is None:
            continue
        cell = Measured(Path(outcome["folder"]), read.record, tuple(outcome.get("overrides", ())))
        if emulated(cell.record) and not also_emulated:
            continue
        found.setdefault(cell.record["fingerprint"], cell)
    return list(found.values())


def eager_ratio(record: dict[str, Any], baseline: str = "torch_fp32", scenario: str = "tokens_32") -> Any:
    """``{ratio, ci95_low, ci95_high, ...}``: how many times faster than a baseline; None where not measured."""
    return record.get("speedup", {}).get(baseline, {}).get(scenario)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
