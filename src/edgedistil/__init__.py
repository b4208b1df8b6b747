"""edgedistil: from teacher to phone, one honest record per cell."""

__version__ = "0.1.0"
