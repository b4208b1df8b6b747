"""A cell on a phone: the same run as here, by native runners that are asked over adb."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..devices.android import Phone, connected, model_files
from ..measurement.calibration import ROWS, calibrate
from ..tasks.encode import encode_with_types, load_tokenizer
from ..workers.client import Worker
from ..workers.gemm import OPERATIONS, write_products
from .site import Gauge, Place

ENGINE = "native"


@contextmanager
def phone_site(request: dict[str, Any]) -> Iterator["OnPhone"]:
    """The phone of a step (``runtime.phone``: the whole group ``device.phone``).

    Raises:
        PhoneError: it can't be reached, or went away.
    """
    options = request["options"]
    with connected(request["runtime"]["phone"], options["device"]["threads"]) as phone:
        yield OnPhone(phone, options)


class PhoneGauge:
    """One process a product, as the runner holds one model; an emulated processor has no rate worth a minute of it."""

    def __init__(self, workers: dict[str, Worker]) -> None:
        self._workers = workers

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """A request about the product ``name``; its one row names nothing to the runner."""
        if op == "prepare":
            arguments["batches"] = [[[0]]]
        return self._workers[arguments["name"]].ask(op, **arguments)

    def rates(self) -> dict[str, float]:
        return calibrate(self, OPERATIONS, ROWS) if self._workers else {}

    def saturates(self) -> dict[str, bool]:
        return {}

    def cpu_s(self) -> float:
        return 0.0


class _NoWatch:
    def stop(self, own_cpu_s: float, asking_cpu_s: float) -> dict[str, float | None]:
        return {"others_cores": None, "others_on_our_cores": None, "steal_cores": None}


class OnPhone:
    """A phone that is connected for the time of a step."""

    small = False

    def __init__(self, phone: Phone, options: dict[str, Any]) -> None:
        self._phone, self.emulated = phone, bool(phone.facts["emulated"])
        self._threads, self._max_length = options["device"]["threads"], options["task"]["max_length"]
        self._limit = options["device"]["phone"]["max_thermal_status"]
        self._before = phone.state()
        self._rests: list[dict[str, Any]] = []

    def quiet_cores(self) -> tuple[list[int] | None, str | None]:
        cores = self._phone.cores
        return (None, "left to the phone's scheduler") if cores is None else (list(cores), None)

    def ready(self, stand: dict[str, Place]) -> None:
        for place in stand.values():
            self._phone.files.put(model_files(place.folder))

    def start(self, place: Place, cores: Sequence[int] | None) -> Worker:
        command = self._phone.command(cores)
        variables, timeout_s = self._phone.adb.environment, self._phone.timeout_s
        return Worker(ENGINE, self._threads, variables=variables, command=command, timeout_s=timeout_s)

    def load(self, worker: Worker, place: Place, text: tuple[str, ...]) -> dict[str, Any]:
        remote = self._phone.files.put(model_files(place.folder))
        ids, types = encode_with_types(load_tokenizer(place.folder, self._max_length), [text])
        return worker.load(remote, self._max_length, text, ids=ids, types=types)

    @contextmanager
    def gauge(self, cores: Sequence[int] | None) -> Iterator[Gauge]:
        workers: dict[str, Worker] = {}
        with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
            if not self._phone.facts["emulated"]:
                for name, folder in write_products(Path(scratch)).items():
                    remote = self._phone.files.put(model_files(folder))
                    worker = stack.enter_context(self.start(Place(ENGINE, folder), cores))
                    worker.load(remote, 1, ("",), ids=[[0]])
                    workers[name] = worker
            yield PhoneGauge(workers)

    def watch(self, cores: list[int] | None) -> _NoWatch:
        return _NoWatch()

    def before_generation(self) -> None:
        self._rests.append(self._phone.cool_down())

    def after_generation(self) -> None:
        """Heat is looked at before and after."""

    def tokenization(self, worker: Worker, texts: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        return {}

    def drop_cache(self, place: Place) -> str | None:
        return "a shell can't drop a phone's page cache"

    def warm_cache(self, place: Place) -> None:
        """The runner reads its model through before it opens it."""

    def busy_cores(self) -> float | None:
        return None

    def load_average(self) -> float | None:
        found: float | None = self._phone.state()["load_average"]
        return found

    def facts(self) -> dict[str, Any]:
        return {
            "device_facts": self._phone.facts,
            "device_before": self._before,
            "device_after": self._phone.state(),
            "rests": self._rests,
        }

    def reasons_against(self) -> list[str]:
        """Heat that rose or never fell, a battery saver, an emulated processor."""
        after, reasons = self._phone.state(), []
        if self.emulated:
            return ["the device is emulated: its times mean nothing"]
        hot = [r["thermal_status"] for r in self._rests if r["thermal_status"] is not None]
        if hot and max(hot) > self._limit:
            reasons.append(f"thermal status {max(hot)} after waiting, more than {self._limit}")
        if hot and (after["thermal_status"] or 0) > min(hot):
            reasons.append(f"the thermal status rose from {min(hot)} to {after['thermal_status']} during the run")
        if after["battery_saver"] or self._before["battery_saver"]:
            reasons.append("the battery saver is on")
        return reasons
