"""Making a product folder: the files of a measured model that ship, their digests, and a full card."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import link_or_copy, sync_tree, write_json, write_text
from ..store.fingerprint import file_digest
from ..store.integrity import changed
from .card import card
from .model_folder import PRODUCT_FILE
from .product_facts import Facts

SCHEMA_VERSION = 1
# What others open, in the store's layout; notes, reference answers and logs stay behind.
_ONNX = ("model.onnx", "model.onnx.data", "model.onnx_data", "model.data")
_WEIGHTS = ("model.safetensors", "structure.json")
_BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def make_product(facts: Facts, output: Path, onnx_only: bool = False, link: bool = False) -> dict[str, int]:
    """Write the folder ``output``; it is there whole or not at all.

    Args:
        onnx_only: leave PyTorch's weights out.
        link: hard links to the store's files in place of copies; they must never be edited then.

    Returns:
        Bytes of each file, by name.

    Raises:
        UserError: something lies at ``output`` already, its parent is not there, nothing would ship, or a file is not
            what was published.
    """
    names = [n for n in (*_ONNX, *(() if onnx_only else _WEIGHTS), *_BESIDE) if (facts.candidate / n).is_file()]
    if not {"model.onnx", "model.safetensors"} & set(names):
        raise UserError(f"{facts.candidate} has no model.onnx{' and --onnx-only is given' if onnx_only else ''}")
    output = output.absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"--output={str(output)!r} is there already; give another place, or remove it first")
    if not output.parent.is_dir():
        raise UserError(f"--output={str(output)!r}: its folder is not there; make it first")
    scratch = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        for name in names:
            if wrong := changed(facts.candidate / name):
                raise UserError(f"{wrong}: it is not shipped. store.repair=true computes it again")
            _put(facts.candidate / name, scratch / name, link)
        write_json(scratch / PRODUCT_FILE, _notes(facts, scratch, names))
        shipped = [*names, PRODUCT_FILE]
        write_text(scratch / "README.md", card(facts, {n: (scratch / n).stat().st_size for n in shipped}))
        scratch.chmod(0o755)
        sync_tree(scratch)
        if output.is_dir():
            output.rmdir()
        os.rename(scratch, output)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return {n: (output / n).stat().st_size for n in (*shipped, "README.md")}


def _put(source: Path, target: Path, link: bool) -> None:
    if link:
        link_or_copy(source, target)
        return
    shutil.copyfile(source, target)
    # Weights in the store are their owner's alone.
    target.chmod(0o644)


def _notes(facts: Facts, folder: Path, names: list[str]) -> dict[str, Any]:
    """What :mod:`.model_folder` reads: how texts are cut and asked, and every file's size and digest."""
    kept = ("name", "kind", "max_length", "metrics", "stride", "max_question_length", "max_answer_length", "n_best")
    return {
        "schema_version": SCHEMA_VERSION,
        "names": facts.record["names"],
        "record": facts.record["fingerprint"],
        "task": {key: facts.task[key] for key in kept if key in facts.task},
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)} for name in names
        },
    }
