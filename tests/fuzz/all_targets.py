"""Every parser that is tested and fuzzed, by name."""

from . import device_targets, file_targets, model_targets, record_targets, store_targets, worker_targets
from .target import Target

_MODULES = (record_targets, store_targets, worker_targets, model_targets, file_targets, device_targets)
MODULES = {target.name: module.__name__ for module in _MODULES for target in module.TARGETS}
TARGETS: dict[str, Target] = {target.name: target for module in _MODULES for target in module.TARGETS}
