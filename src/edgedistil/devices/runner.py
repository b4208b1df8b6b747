"""The folder that ``mobile/build.py`` makes: the native runner, its libraries and how it is started."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError

_BUILDS = Path(__file__).resolve().parents[3] / "build" / "mobile"
_TARGETS = ("android", "linux-arm64")


@dataclass(frozen=True)
class Runner:
    """A built runner.

    Attributes:
        manifest: what the build says of it: target, versions, the digest of each file, the words that start it.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def files(self) -> dict[str, Path]:
        """What the phone needs, by name."""
        return {name: self.folder / name for name in self.manifest["files"]}

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its figures its own: target, ONNX Runtime's version, every file's digest."""
        return {
            "target": self.manifest["target"],
            "onnxruntime": self.manifest["onnxruntime"],
            "files": {name: facts["sha256"] for name, facts in self.manifest["files"].items()},
        }


def find_runner(folder: str | None, emulated: bool) -> Runner:
    """The runner in ``folder`` or, without one, in ``build/mobile``: Android's own, else the one of arm64 Linux, which
    alone runs on the emulated phone.

    Raises:
        UserError: none is built, or the folder is no build for phones.
    """
    targets = _TARGETS[1:] if emulated else _TARGETS
    candidates = [Path(folder).expanduser()] if folder else [_BUILDS / target for target in targets]
    found = next((c for c in candidates if (c / "manifest.json").is_file()), None)
    if found is None:
        raise UserError(
            f"no native runner in {' or '.join(map(str, candidates))}: make mobile TARGET=linux-arm64 (or "
            "TARGET=android with the NDK), or device.phone.runner=FOLDER"
        )
    try:
        manifest = json.loads((found / "manifest.json").read_text(encoding="utf-8"))
        target, names = manifest["target"], [str(name) for name in manifest["files"]]
        told = [target, manifest["onnxruntime"], *manifest["start"], *(f["sha256"] for f in manifest["files"].values())]
        texts = all(isinstance(word, str) and "\0" not in word for word in told)
        if not texts or not isinstance(manifest["start"], list):
            raise ValueError("words that are no texts")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{found / 'manifest.json'} can't be read: build it again with mobile/build.py") from error
    if target not in targets:
        raise UserError(f"{found} is built for {target}; this device runs {' or '.join(targets)}")
    lacking = [name for name in names if not os.path.isfile(found / name)]
    if lacking:
        raise UserError(f"{found} lacks {lacking[0]}: build it again with mobile/build.py {target}")
    return Runner(found, manifest)
