"""From a validated config to the chain of steps of one cell; nothing is computed here."""

from dataclasses import dataclass
from typing import Any

from ..config.canonical import canonical_compression, compression_label
from ..config.compatibility import why_impossible
from ..devices import host
from ..errors import UserError
from ..models import origin as origins
from ..store.store import Store
from ..tasks.source import Source
from ..tasks.source import locate as locate_data
from .step import Step

# What a task's texts and scores depend on; where the files lie is in the data's identity.
_TASK_KEYS = ("name", "kind", "text_columns", "label_column", "labels", "metrics", "max_length")
# Arguments of the Trainer that change what is shown or logged, never the weights.
_SHOWN_ONLY = ("enable_progress_bar", "enable_model_summary", "log_every_n_steps", "profiler")


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
        self, cfg: dict[str, Any], store: Store, stage: str, choices: dict[str, str], sweep: str | None, progress: bool
    ) -> None:
        self.cfg, self.store, self.stage = cfg, store, stage
        self.compression = canonical_compression(cfg["compression"]) if "compression" in cfg else None
        self.origin = origins.locate(cfg["model"], store.digests)
        self.data = locate_data(cfg["task"], store.digests, needs_train=self._needs_train())
        self.common = {
            "threads": cfg["store"]["threads"],
            "progress": progress,
            "sweep": sweep,
            "logger": cfg["logger"],
        }
        self.choices = choices
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
        if self.origin.bare_onnx and self.stage != "bench":
            raise UserError(
                f"{self.origin.location} is a bare ONNX file, which can only be measured: python bench.py ..."
            )
        steps = {"model": self._adopted_onnx() if self.origin.bare_onnx else self._trained(names)}
        if self.compression is not None and not self.origin.bare_onnx:
            steps |= self._compressed(steps["model"], names)
        if self.stage == "bench":
            steps |= self._measured(steps, names)
        return Cell(names, steps)

    def _fit_lengths(self) -> None:
        """Texts are cut where the model's positions end; exact lengths beyond them can't be measured."""
        limit = self.origin.max_positions
        if limit is None:
            return
        self.cfg["task"]["max_length"] = min(self.cfg["task"]["max_length"], limit)
        lengths = self.cfg.get("measurement", {}).get("lengths") or [0]
        if max(lengths) > limit:
            raise UserError(
                f"measurement.lengths asks for {max(lengths)} tokens, but this model knows positions up to {limit}; "
                f"example: measurement.lengths=[16,{limit}]"
            )

    def _needs_train(self) -> bool:
        if self.stage == "train" or not self.origin.fine_tuned:
            return True
        return self.compression is not None and self.compression["pruning"]["method"] == "structured"

    def _model_name(self) -> str:
        if self.cfg["model"]["origin"] == "folder":
            return str(self.cfg["model"]["location"]).rstrip("/").rsplit("/", 1)[-1]
        return self.choices.get("model") or self.cfg["model"]["location"].rsplit("/", 1)[-1]

    def _impossible(self) -> str | None:
        if self.compression is None:
            return None
        device = self.cfg.get("device", {"engine": "torch" if self._load_time() else "onnxruntime"})
        return why_impossible(self.compression, device, self.origin.bare_onnx)

    def _load_time(self) -> bool:
        assert self.compression is not None
        return self.compression["quantization"]["method"] in ("nf4", "llm_int8")

    def _task(self, *extra: str) -> dict[str, Any]:
        wanted = {k: self.cfg["task"][k] for k in (*_TASK_KEYS, *extra)}
        if not wanted.get("phrases", True):
            # Holding out single texts is the plain way; an option that is off has no place in a fingerprint.
            del wanted["phrases"]
        return wanted

    def _data(self, *splits: str) -> Source:
        """The data's identity cut down to the splits that a step reads."""
        if not self.data.files:
            return self.data
        wanted = [s for s in splits if s in self.data.files]
        return Source(
            {"files": {s: self.data.identity["files"][s] for s in wanted}}, {s: self.data.files[s] for s in wanted}
        )

    def _trained(self, names: dict[str, str]) -> Step:
        label = f"{names['model']} on {names['task']}"
        if self.origin.fine_tuned and self.stage != "train":
            data = self._data("validation")
            return Step(
                "adopt",
                label,
                {
                    "model": self.origin.identity,
                    "task": self._task("limit_validation"),
                    "data": data.identity,
                    "seed": self.cfg["seed"],
                },
                runtime={**self.common, "location": self.origin.location, "files": data.files},
            )
        data = self._data("train", "validation")
        trainer = resolve_trainer(self.cfg["trainer"])
        options = {
            "model": self.origin.identity,
            "task": self._task("held_out", "phrases", "limit_train", "limit_validation"),
            "data": data.identity,
            "trainer": {k: v for k, v in trainer.items() if k not in _SHOWN_ONLY},
            **{k: self.cfg[k] for k in ("objective", "optimizer", "scheduler", "callbacks", "loader", "seed")},
        }
        shown = {k: v for k, v in trainer.items() if k in _SHOWN_ONLY and k != "enable_progress_bar"}
        return Step(
            "train",
            label,
            options,
            runtime={**self.common, "location": self.origin.location, "files": data.files, "trainer": shown},
        )

    def _adopted_onnx(self) -> Step:
        return Step(
            "adopt_onnx",
            self._model_name(),
            {"model": self.origin.identity, "labels": self.cfg["task"]["labels"]},
            runtime={**self.common, "location": self.origin.location, "tokenizer": self.origin.tokenizer},
        )

    def _compressed(self, trained: Step, names: dict[str, str]) -> dict[str, Step]:
        assert self.compression is not None
        steps: dict[str, Step] = {}
        model, label = trained, f"{names['model']} on {names['task']}: "
        pruning, recovery = self.compression["pruning"], self.compression["recovery"]
        data = self._data("train")
        calibration = {
            "task": self._task("held_out", "phrases", "limit_train"),
            "data": data.identity,
            "seed": self.cfg["seed"],
        }
        runtime = {**self.common, "files": data.files}
        if pruning["method"] == "magnitude":
            model = steps["pruned"] = Step(
                "prune", label + _pruning_label(pruning), {"pruning": pruning}, {"model": model}, runtime
            )
        elif pruning["method"] == "structured":
            model = steps["pruned"] = Step(
                "prune", label + _pruning_label(pruning), {"pruning": pruning, **calibration}, {"model": model}, runtime
            )
        if recovery["method"] != "none":
            trainer = resolve_trainer(
                {
                    "accelerator": self.cfg["trainer"].get("accelerator", "auto"),
                    "devices": 1,
                    "precision": self.cfg["trainer"].get("precision", "auto"),
                    "gradient_clip_val": 1.0,
                }
            )
            model = steps["recovered"] = Step(
                "recover",
                f"{label}{_pruning_label(pruning)} + {recovery['steps']} steps",
                {
                    "recovery": recovery,
                    "scheduler": self.cfg["scheduler"]
                    | (
                        {"warmup_fraction": recovery["warmup_fraction"]}
                        if "warmup_fraction" in self.cfg["scheduler"]
                        else {}
                    ),
                    "trainer": trainer,
                    **calibration,
                },
                {"model": model, "teacher": trained},
                runtime,
            )
        steps["compressed"] = model
        steps["parent"] = self._export(trained, {"method": "none"}, label + "dense · FP32")
        if not self._load_time():
            steps["exported"] = self._export(model, self.compression["quantization"], label + names["compression"])
        return steps

    def _export(self, model: Step, quantization: dict[str, Any], label: str) -> Step:
        if quantization["method"] == "int8_dynamic":
            quantization = {**quantization, "reduce_range": host.saturates_int8()}
        return Step("export", label, {"quantization": quantization}, {"model": model}, self.common)

    def _measured(self, steps: dict[str, Step], names: dict[str, str]) -> dict[str, Step]:
        device = self.cfg["device"]
        here = {"host": host.hostname(), **host.cpu_facts()}
        engine = {"engine": device["engine"], "versions": host.versions("onnxruntime", "tokenizers", "numpy")}
        torch = {"engine": "torch", "versions": host.versions("torch", "transformers", "bitsandbytes")}
        method = self.compression["quantization"]["method"] if self.compression else "none"
        candidate = (
            steps["exported"]
            if "exported" in steps and device["engine"] == "onnxruntime"
            else steps.get("compressed", steps["model"])
        )
        data = self._data("validation")
        runtime = {**self.common, "threads": None, "files": data.files}

        def predictions(model: Step, how: dict[str, Any], quantization: str) -> Step:
            options = {
                "task": self._task("limit_validation"),
                "data": data.identity,
                "seed": self.cfg["seed"],
                "isa": here["isa"],
                "engine": how,
                "quantization": quantization,
            }
            return Step("predict", f"answers of {model.label}", options, {"model": model}, runtime)

        used = torch if device["engine"] == "torch" else engine
        inputs = {
            "candidate": candidate,
            "predictions": predictions(candidate, used, method if used is torch else "file"),
        }
        if "parent" in steps:
            inputs |= {"parent": steps["parent"], "parent_predictions": predictions(steps["parent"], engine, "file")}
        baselines = [] if self.origin.bare_onnx else device["baselines"]
        if "torch_fp32" in baselines:
            inputs["torch_parent"] = steps["model"]
        options = {
            "names": names,
            "compression": self.compression,
            "device": device,
            "baselines": baselines,
            "measurement": self.cfg["measurement"],
            "host": here,
            "engine": used,
            "torch": torch if "torch_fp32" in baselines else None,
            "task": self._task("limit_validation"),
            "data": data.identity,
            "seed": self.cfg["seed"],
        }
        label = " · ".join(names.values())
        record = Step("bench", label, options, inputs, runtime, exclusive=f"{device['kind']}-{here['host']}")
        return {"record": record}


def resolve_trainer(trainer: dict[str, Any]) -> dict[str, Any]:
    """Decide what ``auto`` means on this machine, so that the fingerprint says what really ran."""
    resolved = {k: v for k, v in trainer.items() if v is not None}
    if resolved.get("accelerator") == "auto":
        resolved["accelerator"] = "gpu" if host.gpu_names() else "cpu"
    if resolved.get("precision") == "auto":
        resolved["precision"] = "bf16-mixed" if host.has_fast_bf16() else "32-true"
    return resolved


def _pruning_label(pruning: dict[str, Any]) -> str:
    return f"{pruning['method']} {pruning['ratio'] * 100:g} %"
