"""Compression: magnitude and structured pruning, and recovery from it."""
