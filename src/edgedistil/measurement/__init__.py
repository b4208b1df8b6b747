"""Measurement: protocol, statistics, memory, cold start, size, quality."""
