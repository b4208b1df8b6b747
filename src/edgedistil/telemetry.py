"""Libraries that report their use to their makers unless they are told not to: where each is told.

Importing the package does it, so that no process of ours can forget; what the user has set himself stays. The native
runner tells ONNX Runtime by itself (``mobile/src/engine.cpp``). What each library would send: ``docs/security.md``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

OFF = {
    # Who asks the hub: versions of libraries, the cloud it runs in; hf_xet's report on each transfer.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # datasets counts how often a data set is loaded, local files among them, by a request of its own.
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    # transformers asks a service to convert a repository that has no safetensors.
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    # The official builds for Linux, macOS and phones keep a device id in the user's cache and send events.
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Crashes of wandb itself.
    "WANDB_ERROR_REPORTING": "false",
}
# What OpenVINO reads, and what NNCF reads: they have no switch of their own but believe what a CI job says.
_CI = {"CI": "true", "NNCF_CI": "1"}


def turn_off() -> None:
    """Set what :data:`OFF` says, unless the user has set it. Libraries read it when they are imported."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)


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
