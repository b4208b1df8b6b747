"""Checkpoints that are whole or absent, on any file system."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from ..store.files import write_bytes


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the checkpoint's place, flushes to disk and renames.

    Lightning writes into the folder for temporary files and moves from there. Where that is another file system, moving
    copies over the checkpoint before: a kill or a full disk in the middle leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replace ``path`` by ``checkpoint``.

        Raises:
            OSError: it could not be written (the disk is full); what was there before is there still.
        """
        place = Path(path)
        # Not straight into the file: PyTorch's writer turns a full disk into an error of its own without a number.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        # The process that made one and was killed can't clear it away.
        for left in place.parent.glob(f".{place.name}.*"):
            left.unlink(missing_ok=True)
        try:
            write_bytes(place, content.getbuffer())
        except OSError as error:
            kept = "; the one before is kept, and the same command goes on from it" if place.is_file() else ""
            size = content.getbuffer().nbytes / 1e6
            message = f"{error.strerror}: a checkpoint of {size:.1f} MB could not be written{kept}"
            raise OSError(error.errno, message, str(place)) from error
