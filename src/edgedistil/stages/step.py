"""A step: what is made, from what, under which fingerprint."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..store.fingerprint import fingerprint

# Where a step's code is, and the version of its method: raised when the same options would give another result.
STEPS: dict[str, tuple[str, int]] = {
    "adopt": ("edgedistil.stages.adopt:adopt", 1),
    "twin": ("edgedistil.stages.twin:twin", 1),
    "corpus": ("edgedistil.stages.corpus:corpus", 1),
    "pretrain": ("edgedistil.stages.pretrain:pretrain", 2),
    "augment": ("edgedistil.stages.augment:augment", 1),
    "train": ("edgedistil.stages.train:train", 2),
    "teacher_logits": ("edgedistil.stages.teaching:teacher_logits", 1),
    "prune": ("edgedistil.stages.compress:prune", 1),
    "prune_gradually": ("edgedistil.stages.gradual:prune_gradually", 1),
    "profile": ("edgedistil.stages.profile:profile", 1),
    "recover": ("edgedistil.stages.recover:recover", 2),
    "factorise": ("edgedistil.stages.factorise:factorise", 1),
    "qat": ("edgedistil.stages.quantisation_aware:quantisation_aware", 1),
    "trim": ("edgedistil.stages.trim:trim", 2),
    "export": ("edgedistil.stages.export:export", 3),
    "export_language": ("edgedistil.stages.language_export:export_language", 1),
    "evaluate_language": ("edgedistil.stages.language_evaluation:evaluate_language", 1),
    "adopt_onnx": ("edgedistil.stages.adopt:adopt_onnx", 1),
    "peer": ("edgedistil.peers.convert:convert", 1),
    "predict": ("edgedistil.stages.bench:predict", 2),
    "bench": ("edgedistil.stages.bench:measure", 5),
}


@dataclass(frozen=True)
class Step:
    """One step of a chain.

    ``options`` and the fingerprints of ``inputs`` make the fingerprint; ``runtime`` (paths, threads, loggers) is only
    how to do it here. ``exclusive`` names a device that no two running steps may share.
    """

    name: str
    label: str
    options: dict[str, Any]
    inputs: dict[str, "Step"] = field(default_factory=dict)
    runtime: dict[str, Any] = field(default_factory=dict)
    exclusive: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over name, method version, options and the inputs' fingerprints."""
        return fingerprint(
            {
                "step": self.name,
                "version": STEPS[self.name][1],
                "options": self.options,
                "inputs": {name: step.fingerprint for name, step in self.inputs.items()},
            }
        )

    def ancestry(self) -> Iterator["Step"]:
        """Every step that this one needs, each once, inputs before their users, itself last."""
        seen: set[str] = set()

        def visit(step: "Step") -> Iterator["Step"]:
            if step.fingerprint in seen:
                return
            seen.add(step.fingerprint)
            for source in step.inputs.values():
                yield from visit(source)
            yield step

        return visit(self)
