"""edgedistil: from teacher to phone, one honest record per cell."""

from . import telemetry

__version__ = "0.1.0"

telemetry.turn_off()
