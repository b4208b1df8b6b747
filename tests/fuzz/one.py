"""One target in a process of its own: coverage-guided, from its valid input on, until its time is over.

``python -m tests.fuzz.one MODULE TARGET SECONDS FOLDER`` leaves in ``FOLDER``: ``corpus/`` (what reached something
new), ``crashes/`` (one input and its traceback for each place where a promise was broken), ``told.json``.
"""

import importlib
import json
import logging
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import atheris

# Never left again: our modules import others inside functions, and those count too.
_COUNTED = atheris.instrument_imports(include=["edgedistil"])
_COUNTED.__enter__()

from .target import Target, empty_folder  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# Of bytes in one input.
_LONGEST = 1 << 16
# One input that takes longer, or a process that grows larger, is a finding.
_SLOW_S, _LARGE_MB = 30, 3000
_OWN_MUTATIONS = 0.75


class Campaign:
    """Counts executions and keeps one input for each place that breaks its promise.

    Args:
        folder: as the module says.
    """

    def __init__(self, target: Target, folder: Path, scratch: Path) -> None:
        self._target, self._folder, self._scratch = target, folder, scratch
        self._began, self._told = time.monotonic(), 0.0
        self._executions = 0
        self._crashes: dict[str, int] = {}
        (folder / "crashes").mkdir(parents=True, exist_ok=True)

    def execute(self, data: bytes) -> None:
        """One input; what the parser breaks is kept, and the next one follows."""
        self._executions += 1
        try:
            with empty_folder(self._scratch) as place:
                self._target.check(data, place)
        except Exception as error:
            self._keep(data, error)
        now = time.monotonic()
        if now > self._told + 1:
            self._told = now
            self._tell()

    def mutate(self, data: bytes, longest: int, seed: int) -> bytes:
        """Most times as the target knows its form, else as libFuzzer does."""
        chance = random.Random(seed)
        if chance.random() >= _OWN_MUTATIONS:
            return bytes(atheris.Mutate(data, longest))
        changed = self._target.change(chance, data or chance.choice(list(self._target.seeds())))
        return changed if len(changed) <= longest else bytes(atheris.Mutate(data, longest))

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT))]
        where = f"{type(error).__name__}-{Path(frames[-1].filename).name}-{frames[-1].lineno}"
        kept = self._folder / "crashes" / where
        if where not in self._crashes or len(data) < kept.stat().st_size:
            kept.write_bytes(data)
            kept.with_name(f"{where}.txt").write_text("".join(traceback.format_exception(error)), errors="replace")
        self._crashes[where] = self._crashes.get(where, 0) + 1
        if self._crashes[where] == 1:
            self._tell()

    def _tell(self) -> None:
        told: dict[str, Any] = {"executions": self._executions, "crashes": self._crashes}
        told["seconds"] = round(time.monotonic() - self._began, 1)
        (self._folder / "told.json").write_text(json.dumps(told))


def main() -> None:
    module, name, seconds, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    logging.disable(logging.CRITICAL)
    # Nothing else: every module that is imported is rewritten first, so that its branches are counted.
    target = next(one for one in importlib.import_module(module).TARGETS if one.name == name)
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    (folder / "seeds").mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / "seeds" / str(number)).write_bytes(seed)
    with tempfile.TemporaryDirectory() as scratch:
        campaign = Campaign(target, folder, Path(scratch))
        options = {"max_total_time": seconds, "max_len": _LONGEST, "timeout": _SLOW_S, "rss_limit_mb": _LARGE_MB}
        words = [*(f"-{key}={value}" for key, value in options.items()), f"-artifact_prefix={folder}/crashes/"]
        words += [str(folder / "corpus"), str(folder / "seeds")]
        atheris.Setup([sys.argv[0], *words], campaign.execute, custom_mutator=campaign.mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
