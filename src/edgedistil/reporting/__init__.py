"""Reporting: reads records only, never torch."""
