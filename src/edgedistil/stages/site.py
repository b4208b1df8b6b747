"""Where a cell is measured: this machine with its processor or GPU. ``phone_site`` has the other place."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..devices import host, page_cache
from ..devices.cores import Watch, quietest_cores
from ..measurement.calibration import ROWS, calibrate, saturation
from ..measurement.interleave import Asked
from ..measurement.size import shipped_files
from ..measurement.statistics import median
from ..workers.client import Worker
from ..workers.gemm import OPERATIONS

# Texts whose tokenization is timed.
_TOKENIZED = 256


@dataclass(frozen=True)
class Place:
    """One program that stands in the run: ``engine`` as :class:`Worker` takes it, and what it loads."""

    engine: str
    folder: Path
    quantization: str = "none"
    python: str | None = None
    candidate: bool = False


class Gauge(Protocol):
    """What the cores give now, by known products."""

    def rates(self) -> dict[str, float]:
        """Billions of operations a second of each product; empty where none can be run."""

    def saturates(self) -> dict[str, bool]:
        """Form of INT8 weights → whether products with them saturate; empty where nobody looked."""

    def cpu_s(self) -> float:
        """CPU time that it took so far, on this machine."""


class Site(Protocol):
    """A device on which places stand side by side."""

    def quiet_cores(self) -> tuple[list[int] | None, str | None]:
        """Cores to stay on, or None with the reason."""

    def ready(self, stand: dict[str, Place]) -> None:
        """Bring the files of all places to the device, and into its page cache where that can be done."""

    def start(self, place: Place, cores: Sequence[int] | None) -> Worker:
        """A fresh process for a place."""

    def load(self, worker: Worker, place: Place, text: tuple[str, ...]) -> dict[str, Any]:
        """:meth:`Worker.load` of the place's model."""

    def gauge(self, cores: Sequence[int] | None) -> Any:
        """A context with a :class:`Gauge`."""

    def watch(self, cores: list[int] | None) -> Any:
        """Something with :meth:`edgedistil.devices.cores.Watch.stop`."""

    def before_generation(self) -> None:
        """Wait until the device is fit for the next processes."""

    def after_generation(self) -> None:
        """Look at the device while the processes are there."""

    #: Whether a batch may not fit into the device's memory, which is then an outcome.
    small: bool
    #: Whether its times are those of an emulator.
    emulated: bool

    def tokenization(self, worker: Worker, texts: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        """Times of making token ids of texts, where the device's programs do that."""

    def drop_cache(self, place: Place) -> str | None:
        """Make the next start a cold one; else why it is none."""

    def warm_cache(self, place: Place) -> None:
        """The contrary."""

    def busy_cores(self) -> float | None:
        """Cores that others keep busy."""

    def load_average(self) -> float | None:
        """Of the last minute."""

    def facts(self) -> dict[str, Any]:
        """What the record's environment says of the device beside its identity."""

    def reasons_against(self) -> list[str]:
        """Why times that were taken on this device since it was made may not be quoted."""


class HostGauge:
    """A calibration worker of this machine."""

    def __init__(self, worker: Asked, products: Mapping[str, int], operations: int) -> None:
        self._worker, self._products, self._operations = worker, products, operations

    def rates(self) -> dict[str, float]:
        return calibrate(self._worker, self._operations, self._products)

    def saturates(self) -> dict[str, bool]:
        return saturation(self._worker)

    def cpu_s(self) -> float:
        return float(self._worker.ask("usage")["cpu_s"])


class Here:
    """This machine's processor.

    Args:
        options: of the step: ``device.threads``, ``task.max_length``.
    """

    small = False
    emulated = False

    def __init__(self, options: dict[str, Any]) -> None:
        self._threads, self._max_length = options["device"]["threads"], options["task"]["max_length"]

    def quiet_cores(self) -> tuple[list[int] | None, str | None]:
        return quietest_cores(self._threads)

    def ready(self, stand: dict[str, Place]) -> None:
        page_cache.warm(f for p in stand.values() for f in shipped_files(p.folder))

    def start(self, place: Place, cores: Sequence[int] | None) -> Worker:
        return Worker(place.engine, self._threads, cores, place.python)

    def load(self, worker: Worker, place: Place, text: tuple[str, ...]) -> dict[str, Any]:
        return worker.load(place.folder, self._max_length, text, place.quantization)

    @contextmanager
    def gauge(self, cores: Sequence[int] | None) -> Iterator[Gauge]:
        with Worker("edgedistil.workers.gemm", self._threads, cores) as worker:
            worker.load("", 1, ("",))
            yield HostGauge(worker, ROWS, OPERATIONS)

    def watch(self, cores: list[int] | None) -> Watch:
        return Watch(cores)

    def before_generation(self) -> None:
        """Nothing to wait for."""

    def after_generation(self) -> None:
        """Nothing to look at: what others did is watched all the time."""

    def tokenization(self, worker: Worker, texts: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        few = [list(t) for t in texts[:_TOKENIZED]]
        worker.ask("tokenize", texts=few)
        wall = worker.ask("tokenize", texts=few)["wall_ms"]
        return {"tokenization_ms_p50": round(median(wall), 5), "n": len(wall)}

    def drop_cache(self, place: Place) -> str | None:
        return page_cache.drop(shipped_files(place.folder))

    def warm_cache(self, place: Place) -> None:
        page_cache.warm(shipped_files(place.folder))

    def busy_cores(self) -> float | None:
        return host.busy_cores()

    def load_average(self) -> float | None:
        return host.load_average()

    def facts(self) -> dict[str, Any]:
        return {}

    def reasons_against(self) -> list[str]:
        return []


@contextmanager
def site_of(request: dict[str, Any]) -> Iterator[Site]:
    """The device of a bench step, for as long as the block lasts."""
    kind = request["options"]["device"]["kind"]
    if kind == "android":
        from .phone_site import phone_site

        with phone_site(request) as site:
            yield site
    elif kind == "cuda":
        from .gpu_site import OnGpu

        yield OnGpu(request["options"])
    else:
        yield Here(request["options"])
