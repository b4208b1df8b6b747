"""The commands of ``python -m edgedistil``: one module each, with ``HELP``, ``arguments`` and ``run``."""
