"""The steps that measure a cell: answers of every engine that takes part, peers to compare with, and the record."""

from typing import TYPE_CHECKING, Any

from ..config.canonical import canonical_measurement, untimed
from ..config.device import measured_as
from ..config.quantization import at_load
from ..devices import host
from ..errors import UserError
from ..peers import registry
from .gpu_site import placement_of
from .step import Step

if TYPE_CHECKING:
    from .chain import Planner

# Baselines that need nothing but what the cell has anyway; every other name is a peer's.
OWN_BASELINES = ("onnxruntime_fp32", "torch_fp32")


def record_step(plan: "Planner", steps: dict[str, Step], names: dict[str, str]) -> Step:
    """The bench step of a cell, with everything that it needs as inputs.

    Raises:
        UserError: a peer that the device asks for is not installed.
    """
    return _Measuring(plan, steps).record(names)


class _Measuring:
    def __init__(self, plan: "Planner", steps: dict[str, Step]) -> None:
        self._plan, self._steps, self._device = plan, steps, plan.cfg["device"]
        self._kind = self._device["kind"]
        self._host = {"host": host.hostname(), **host.cpu_facts()}
        self._here = plan.device_identity or self._host
        self._data = plan.data_of("validation")
        self._engine: dict[str, Any] = {
            "engine": "onnxruntime",
            "versions": host.versions("onnxruntime", "tokenizers", "numpy"),
        }
        self._on_phone: dict[str, Any] = {"engine": "native", "versions": self._here.get("runner")}
        self._torch: dict[str, Any] = {
            "engine": "torch",
            "versions": host.versions("torch", "transformers", "bitsandbytes"),
        }
        # Random weights, be it of a head alone, have no answers worth asking for.
        self._random = plan.origin.random or "head" in (plan.compression or {}).get("graph", {})
        # Its scores are losses, which steps of their own find.
        self._by_losses = "evaluated" in steps
        self._inputs: dict[str, Step] = {}
        self._workers: dict[str, dict[str, Any]] = {}

    def record(self, names: dict[str, str]) -> Step:
        plan, device = self._plan, self._device
        measurement = measured_as(canonical_measurement(plan.cfg["measurement"]), device)
        if untimed(measurement):
            # Answers are asked for one at a time on one thread, whatever the device is.
            device = device | {"threads": 1, "baselines": []}
        used = self._torch if device["engine"] == "torch" else self._engine
        used = self._on_phone if self._kind == "android" else used
        self._add_candidate(used)
        if self._by_losses or "head" in (plan.compression or {}).get("graph", {}):
            # PyTorch's model and the peers have the task's head.
            device = device | {"baselines": [b for b in device["baselines"] if b == "onnxruntime_fp32"]}
        for baseline in [] if plan.origin.bare_onnx else device["baselines"]:
            self._add_baseline(baseline)
        options = {
            "names": names,
            "compression": plan.compression,
            "device": device,
            "baseline_workers": self._workers,
            "measurement": measurement,
            "host": self._here,
            "engine": used,
            "random_weights": self._random,
            **({"host_isa": self._host["isa"]} if used is self._on_phone else {}),
            "task": self._task(),
            "data": self._data.identity,
            "seed": plan.cfg["seed"],
        }
        if "test_predictions" in self._inputs:
            # Of a model that was given fine-tuned, be it as a teacher, nobody knows here what it has seen.
            made = [step.name for step in self._steps["model"].ancestry()]
            options["test_kept_from_training"] = made[-1] == "train" and "adopt" not in made
        label = " · ".join(names.values())
        # An emulated phone is work for this machine's processor.
        of = "cpu" if self._here.get("emulated") else device["kind"]
        name = self._host["host"] if of != "android" else self._here["host"]
        exclusive = None if untimed(measurement) else f"{of}-{name}"
        return Step("bench", label, options, self._inputs, self._runtime(), exclusive=exclusive)

    def _runtime(self) -> dict[str, Any]:
        interpreters = {n: registry.interpreter(n) for n in self._workers if n not in OWN_BASELINES}
        return {
            **self._plan.common,
            "threads": None,
            "files": self._data.files,
            "interpreters": interpreters,
            **self._way(),
        }

    def _way(self) -> dict[str, Any]:
        """How a phone is reached; nothing for this machine."""
        return {"phone": self._plan.phone} if self._kind == "android" else {}

    def _task(self) -> dict[str, Any]:
        """The task with no more texts to answer than the device is asked for."""
        task, most = self._plan.task("limit_validation"), self._device.get("phone", {}).get("sentences")
        if most is not None:
            task["limit_validation"] = min(most, task["limit_validation"] or most)
        return task

    def _add_candidate(self, used: dict[str, Any]) -> None:
        steps = self._steps
        method = self._plan.compression["quantization"]["method"] if self._plan.compression else "none"
        shipped = "exported" in steps and not at_load(method, self._device["engine"])
        shipped = shipped and self._device["engine"] == "onnxruntime"
        candidate = steps["exported"] if shipped else steps.get("compressed", steps["model"])
        self._inputs["candidate"] = candidate
        self._add_predictions("predictions", candidate, used, method if used is self._torch else "file")
        if "parent" in steps:
            self._inputs["parent"] = steps["parent"]
            of_parent = used if used is self._on_phone else self._engine
            self._add_predictions("parent_predictions", steps["parent"], of_parent, "file")
        if used is self._on_phone:
            self._add_predictions("host_predictions", candidate, self._engine, "file")

    def _add_baseline(self, name: str) -> None:
        if name == "onnxruntime_fp32" and self._kind == "android":
            self._worker(name, "native", "parent", self._on_phone["versions"])
        elif name == "onnxruntime_fp32":
            self._worker(name, "onnxruntime", "parent", self._engine["versions"])
        elif name == "torch_fp32":
            self._inputs["torch_parent"] = self._steps["model"]
            session = "eager, scaled-dot-product attention, set_num_threads(threads), inference_mode"
            self._worker(name, "torch", "torch_parent", self._torch["versions"], session)
        else:
            self._add_peer(name)

    def _worker(self, name: str, engine: str, source: str, versions: dict[str, Any], session: str = "") -> None:
        self._workers[name] = {
            "engine": engine,
            "input": source,
            "quantization": "none",
            "versions": versions,
            "session": session or "intra_op_num_threads=threads, other options default",
        }

    def _add_peer(self, name: str) -> None:
        lacking = registry.missing(name)
        if lacking:
            raise UserError(f"device.baselines: {lacking}")
        peer, versions, plan = registry.peer(name), registry.versions(name), self._plan
        data = plan.data_of("train")
        converted = Step(
            "peer",
            f"{name} of {self._steps['model'].label}",
            {
                "peer": name,
                "versions": versions,
                "reduce_range": host.saturates_int8(),
                "task": plan.task("held_out", "phrases", "test_texts", "limit_train"),
                "data": data.identity,
                "seed": plan.cfg["seed"],
            },
            {"model": self._steps["model"]},
            {**plan.common, "files": data.files},
        )
        self._inputs[name] = converted
        self._worker(name, peer.worker, name, versions, peer.session)
        how = {"engine": peer.worker, "versions": versions}
        self._add_predictions(f"{name}_predictions", converted, how, "none", registry.interpreter(name))

    def _add_predictions(
        self, key: str, model: Step, how: dict[str, Any], quantization: str, interpreter: str | None = None
    ) -> None:
        """Answers to the validation split and, of candidate and parent, to the test part of the training split, unless
        the weights are random and answers mean nothing."""
        plan = self._plan
        if self._by_losses:
            loss = {"predictions": "evaluated", "parent_predictions": "parent_evaluated"}.get(key)
            if loss:
                self._inputs[loss] = self._steps[loss]
            return
        if self._random:
            return
        options = {
            "task": self._task(),
            "data": self._data.identity,
            "seed": plan.cfg["seed"],
            "isa": self._host["isa"],
            "engine": how,
            "quantization": quantization,
        }
        runtime = {**plan.common, "threads": None, "files": self._data.files, "interpreter": interpreter}
        if how is self._on_phone:
            # Heat and cores change times, not answers.
            options |= {"device": {"kind": self._kind, "threads": 1, "phone": {"max_thermal_status": 6}}}
            options |= {"phone": self._here}
            runtime |= self._way()
        elif self._kind == "cuda" and key == "predictions":
            options |= {"placement": placement_of(self._device), "gpu": self._here["gpu"]}
        # Two runs on one phone would take each other's files away.
        alone = how is self._on_phone and not self._here.get("emulated")
        exclusive = f"android-{self._here['host']}" if alone else None
        label = f"answers of {model.label}" + (f" on {self._device['name']}" if how is self._on_phone else "")
        self._inputs[key] = Step("predict", label, options, {"model": model}, runtime, exclusive)
        few = self._device.get("phone", {}).get("sentences") is not None
        asked = plan.cfg["task"]["test_texts"] and not few and interpreter is None
        if asked and key in ("predictions", "parent_predictions"):
            data = plan.data_of("train")
            task = plan.task("held_out", "phrases", "test_texts", "limit_train")
            options = {**options, "split": "test", "task": task, "data": data.identity}
            runtime = {**runtime, "files": data.files}
            label = f"answers of {model.label} on the test part"
            self._inputs[f"test_{key}"] = Step("predict", label, options, {"model": model}, runtime)
        if interpreter is None and key in ("predictions", "parent_predictions"):
            for split in plan.more_splits():
                self._add_more(split, key, model)

    def _add_more(self, split: str, key: str, model: Step) -> None:
        """Answers to a split that is reported beside validation."""
        first = self._inputs[key]
        data = self._plan.data_of(split)
        if self._plan.data.files and not data.files:
            return
        options = {**first.options, "split": split, "data": data.identity}
        label = f"{first.label} on {split}"
        runtime = {**first.runtime, "files": data.files}
        self._inputs[f"{split}_{key}"] = Step("predict", label, options, {"model": model}, runtime, first.exclusive)
