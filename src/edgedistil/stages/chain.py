"""From a validated config to the chain of steps of one cell; nothing is computed here."""

from dataclasses import dataclass
from typing import Any

from ..config.allowed import MASKED_LM
from ..config.canonical import QUALITY_ALONE, canonical_compression, compression_label, untimed
from ..config.compatibility import why_impossible
from ..config.device import canonical_device
from ..config.exported import why_not_exported
from ..config.language_model import LINE_OPTIONS
from ..config.quantization import at_load, reads_texts
from ..config.question_answering import QUESTION_ANSWERING, WINDOW_OPTIONS, check_windows
from ..devices.availability import identify, why_missing
from ..errors import UserError
from ..models.kinds import EXPORTED
from ..models.origin import Origin
from ..store.store import Store
from ..tasks.source import Source
from ..tasks.source import locate as locate_data
from ..tasks.splits import parts_of_train
from ..tasks.texts import locate as locate_texts
from .augmented import augmented_inputs, augmented_name
from .base import check_taken_as_it_is, locate_base
from .compression_chain import compressed_steps
from .language_chain import language_steps
from .measuring import OWN_BASELINES, record_step
from .pretraining_chain import depth_of
from .step import Step
from .taught import locate_teacher, taught_step
from .trainer_options import compilation, resolve_trainer, split_trainer

# What a task's texts and scores depend on; where the files lie is in the data's identity.
_TASK_KEYS = ("name", "kind", "text_columns", "label_column", "labels", "regression", "metrics", "max_length")
# Of these, what is off has no place in a fingerprint.
_DROPPED_WHEN_OFF = ("phrases", "test_texts", "regression", "more_splits")


@dataclass(frozen=True)
class Cell:
    """One cell: its names and its steps; ``impossible`` says why it can't exist, and then there are no steps."""

    names: dict[str, str]
    steps: dict[str, Step]
    impossible: str | None = None

    @property
    def label(self) -> str:
        """``model · task · compression · device``."""
        return " · ".join(self.names.values())


class Planner:
    """Builds the steps of a cell out of one validated config."""

    def __init__(
        self,
        cfg: dict[str, Any],
        store: Store,
        stage: str,
        choices: dict[str, str],
        sweep: str | None,
        progress: bool,
        recipes: tuple[str, ...] = (),
    ) -> None:
        self.cfg, self.store, self.stage, self.choices = cfg, store, stage, choices
        self.sweep, self.recipes = sweep, recipes
        self.device_identity: dict[str, Any] | None = None
        self.compression = canonical_compression(cfg["compression"]) if "compression" in cfg else None
        self.device_options = cfg.get("device")
        self.phone = (self.device_options or {}).get("phone")
        if self.device_options:
            method = self.compression["quantization"]["method"] if self.compression else "none"
            cfg["device"] = canonical_device(self.device_options, method)
        self.masked_lm = cfg["task"]["kind"] == MASKED_LM
        self.answers_questions = cfg["task"]["kind"] == QUESTION_ANSWERING
        self.common: dict[str, Any] = {
            "threads": cfg["store"]["threads"],
            "progress": progress,
            "sweep": sweep,
            "logger": cfg["logger"],
        }
        from_teacher = self.masked_lm and bool(cfg.get("teacher")) and cfg["student"]["init"] != "model"
        self.base = locate_base(self, "teacher" if from_teacher else "model")
        self.origin = self.base.origin
        self.teacher = None if self.masked_lm else locate_teacher(self)
        self.depth = depth_of(self)
        if self.masked_lm:
            self.data = locate_texts(cfg["task"], "validation", store.digests)
        else:
            self.data = locate_data(cfg["task"], store.digests, needs_train=self._needs_train())
        self._fit_lengths()

    def cell(self) -> Cell:
        """The cell's names and steps as far as this stage goes."""
        names = {"model": self._model_name(), "task": self.cfg["task"]["name"]}
        if self.compression is not None:
            names["compression"] = compression_label(self.compression)
        if self.stage == "bench":
            names["device"] = self.cfg["device"]["name"]
        why = self._impossible()
        if why:
            return Cell(names, {}, why)
        if self.stage == "bench":
            assert self.device_options is not None
            missing = why_missing(self.device_options)
            if missing:
                return Cell(names, {}, missing)
            self.device_identity = identify(self.device_options)
        if self.origin.bare_onnx and (self.stage != "bench" or self.answers_questions):
            raise UserError(
                f"{self.origin.location} is a bare ONNX file, which can only be measured on labels: python bench.py ..."
            )
        if self.origin.random and self.stage == "train":
            raise UserError(
                "model.weights=random is a twin for speed and size alone: python bench.py model.weights=random"
            )
        if self.masked_lm:
            made = language_steps(self, names)
            if self.stage == "bench":
                made["record"] = record_step(self, made, names)
            return Cell(names, made)
        steps = {"model": self._trained(names)}
        if self.compression is not None and not self.origin.bare_onnx:
            steps |= compressed_steps(self, steps["model"], names)
        if self.stage == "bench":
            steps["record"] = record_step(self, steps, names)
        return Cell(names, steps)

    def _fit_lengths(self) -> None:
        """Texts are cut where the model's positions end; exact lengths beyond them can't be measured."""
        theirs = self.teacher.origin.max_positions if self.teacher else None
        if theirs is not None:
            self.cfg["task"]["max_length"] = min(self.cfg["task"]["max_length"], theirs)
        limit = self.origin.max_positions
        if limit is not None:
            self.cfg["task"]["max_length"] = min(self.cfg["task"]["max_length"], limit)
        kept = (self.compression or {}).get("vocabulary", {}).get("positions")
        if kept is not None:
            limit = min(kept, limit or kept)
            if kept < self.cfg["task"]["max_length"]:
                raise UserError(
                    f"compression.vocabulary.positions={kept} is less than task.max_length="
                    f"{self.cfg['task']['max_length']}, and texts are as long as that: keep more, or lower the other"
                )
        if self.answers_questions:
            check_windows(self.cfg["task"])
        measurement = self.cfg.get("measurement", {"mode": QUALITY_ALONE})
        lengths = [0] if untimed(measurement) else measurement["lengths"] or [0]
        exact = [] if untimed(measurement) else [int(b.split("x")[1]) for b in measurement.get("exact_batches", [])]
        if limit is not None and max([*lengths, *exact]) > limit:
            which = "lengths" if max(lengths) > limit else "exact_batches"
            raise UserError(
                f"measurement.{which} asks for {max([*lengths, *exact])} tokens, but this model knows positions up to "
                f"{limit}; example: measurement.lengths=[16,{limit}]"
            )

    def _needs_train(self) -> bool:
        if self.stage == "train" or not self.origin.fine_tuned:
            return True
        if self.stage == "bench" and self.cfg["task"]["test_texts"] and not self.origin.random:
            return True
        if self.compression is None:
            return False
        if any(b not in OWN_BASELINES for b in self.cfg.get("device", {}).get("baselines", [])):
            return True
        calibrated = reads_texts(self.compression["quantization"]) or "vocabulary" in self.compression
        taught = self.compression["recovery"]["method"] != "none" or "qat" in self.compression
        counted = "embeddings" in self.compression
        return bool(calibrated or taught or counted or self.compression["pruning"]["method"] == "structured")

    def _model_name(self) -> str:
        name = self._origin_name()
        if self.cfg["model"]["layers"]:
            name += f" layers {','.join(map(str, self.cfg['model']['layers']))}"
        return name + (f" taught by {self.teacher.name}" if self.teacher else "") + augmented_name(self.cfg)

    def _origin_name(self) -> str:
        if self.origin.random:
            name = self.choices.get("model") or self.origin.identity["architecture"]["model_type"]
            return f"{name} (random)"
        if self.masked_lm and self.cfg.get("teacher") and self.cfg["student"]["init"] != "model":
            return f"student of {self.base.name}"
        return self.base.name

    def _impossible(self) -> str | None:
        if self.compression is None:
            return None
        device = self.device_options or {"engine": "torch" if self.load_time() else "onnxruntime"}
        kind = self.origin.model_type
        unknown = None
        if kind in EXPORTED and not self.origin.bare_onnx:
            unknown = why_not_exported(str(kind), self.compression, device["engine"], self.answers_questions)
        return unknown or why_impossible(self.compression, device, self.origin.bare_onnx)

    def load_time(self) -> bool:
        """Whether the model is quantised when it is loaded, so that nothing is exported."""
        assert self.compression is not None
        engine = (self.device_options or {}).get("engine", "onnxruntime")
        return at_load(self.compression["quantization"]["method"], engine)

    def task(self, *extra: str) -> dict[str, Any]:
        """What of the task enters a step's options; ``extra`` names keys that only some steps read."""
        of_kind = WINDOW_OPTIONS if self.answers_questions else LINE_OPTIONS if self.masked_lm else ()
        keys = (*_TASK_KEYS, *of_kind, *extra)
        wanted = {k: self.cfg["task"][k] for k in keys}
        if "more_splits" in wanted:
            # Where they are read from is in the data's identity.
            wanted["more_splits"] = [name for name in self.more_splits() if self._is_there(name)]
        return {k: v for k, v in wanted.items() if v or k not in _DROPPED_WHEN_OFF}

    def more_splits(self) -> list[str]:
        """Names of the splits that are reported beside validation, in order."""
        return sorted(self.cfg["task"]["more_splits"] or {})

    def _is_there(self, split: str) -> bool:
        return not self.data.files or split in self.data.files

    def data_of(self, *splits: str) -> Source:
        """The data's identity cut down to the splits that a step reads."""
        if self.masked_lm or not self.data.files:
            return self.data
        wanted = [s for s in splits if s in self.data.files]
        return Source(
            {"files": {s: self.data.identity["files"][s] for s in wanted}}, {s: self.data.files[s] for s in wanted}
        )

    def _trained(self, names: dict[str, str]) -> Step:
        label = f"{names['model']} on {names['task']}"
        if self.origin.fine_tuned and self.stage != "train":
            check_taken_as_it_is(self)
            return self._adopted_onnx() if self.origin.bare_onnx else self.adopted(self.origin, label)
        inputs = augmented_inputs(self)
        if self.teacher is not None:
            return taught_step(self, label, inputs)
        return self.trained(self.origin, label, self.cfg["objective"], inputs)

    def adopted(self, origin: Origin, label: str) -> Step:
        """The step that takes a fine-tuned model as it is."""
        data = self.data_of("validation")
        return Step(
            "twin" if origin.random else "adopt",
            label,
            {
                "model": origin.identity,
                "task": self.task("limit_validation"),
                "data": data.identity,
                "seed": self.cfg["seed"],
            },
            runtime={**self.common, "location": origin.location, "files": data.files},
        )

    def trained(self, origin: Origin, label: str, objective: dict[str, Any], inputs: dict[str, Step]) -> Step:
        """The step that trains a model on the task; ``inputs`` are what a teacher gives and augmented texts."""
        data = self.data_of("train", "validation", *self.more_splits())
        trainer, shown = split_trainer(self.cfg["trainer"])
        if origin is self.origin:
            inputs = inputs | self.base.inputs("base")
        options = {
            "model": origin.identity,
            "task": self.task("held_out", "phrases", "test_texts", "limit_train", "limit_validation", "more_splits"),
            "data": data.identity,
            "trainer": trainer,
            "objective": objective,
            **compilation(self.cfg),
            **{k: self.cfg[k] for k in ("optimizer", "scheduler", "callbacks", "loader", "seed")},
        }
        published = {"rows": self.cfg["task"]["rows"], "of_train": parts_of_train(self.cfg["task"])}
        runtime = {**self.common, "location": origin.location, "files": data.files, "trainer": shown, **published}
        return Step("train", label, options, inputs, runtime)

    def resolved_trainer(self) -> dict[str, Any]:
        """The Trainer's arguments with what ``auto`` means here."""
        return resolve_trainer(self.cfg["trainer"])

    def _adopted_onnx(self) -> Step:
        return Step(
            "adopt_onnx",
            self._model_name(),
            {"model": self.origin.identity, "labels": self.cfg["task"]["labels"]},
            runtime={**self.common, "location": self.origin.location, "tokenizer": self.origin.tokenizer},
        )
