"""Keys, types and defaults of the group ``device``."""

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class Gpu:
    """How PyTorch runs on a GPU; read with ``device.kind=cuda`` alone."""

    tf32: bool = False
    compile: bool = False
    graphs: bool = False
    unpadded: bool = False


@dataclass
class Phone:
    """An Android phone behind adb; read with ``device.kind=android`` alone."""

    serial: str | None = None
    adb: str = "adb"
    runner: str | None = None
    cores: str = "big"
    max_thermal_status: int = 0
    cool_down_s: float = 300.0
    timeout_s: float = 600.0
    sentences: int | None = None
    emulated_cpu: str | None = None
    emulator: str | None = None
    storage_mb: int = 2048


@dataclass
class Device:
    name: str = MISSING
    kind: str = MISSING
    engine: str = MISSING
    threads: int = 1
    int8_weights: str = "auto"
    baselines: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)
    gpu: Gpu = field(default_factory=Gpu)
    phone: Phone = field(default_factory=Phone)
