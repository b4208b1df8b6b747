"""OpenVINO and NNCF report their use to a server when they are imported and used, unless they believe to run in CI."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# What OpenVINO reads, and what NNCF reads.
_CI = {"CI": "true", "NNCF_CI": "1"}


@contextmanager
def no_reports() -> Iterator[None]:
    """Import and use OpenVINO and NNCF in here: nothing is sent, and no file of theirs appears in the user's home."""
    before = {name: os.environ.get(name) for name in _CI}
    os.environ.update(_CI)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
