"""PyTorch's own dynamic INT8: linear layers quantised when the model folder is loaded.

Run as ``python -m edgedistil.peers.torch_dynamic``.
"""

import time

STARTED_NS = time.monotonic_ns()

import warnings  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.models.kinds import takes_token_types  # noqa: E402
from edgedistil.peers.engine import PeerEngine  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402


class TorchDynamicEngine(PeerEngine):
    """``torch.ao.quantization.quantize_dynamic`` on every ``Linear``, with the quantised engine that PyTorch chose."""

    weights = "model.safetensors"

    def bring(self) -> None:
        import torch

        from edgedistil.models.shrunken import load_classifier

        self._torch, self._load_classifier = torch, load_classifier

    def open(self, folder: Path, request: dict[str, Any]) -> None:
        self._torch.set_num_threads(request["threads"])
        with warnings.catch_warnings():
            # That torchao will take over is no news to a user of this worker.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._model = self._torch.ao.quantization.quantize_dynamic(
                self._load_classifier(folder), {self._torch.nn.Linear}, dtype=self._torch.qint8
            )

    def feed(self, ids: Any, mask: Any, types: Any) -> Any:
        tensor = self._torch.from_numpy
        packed = {"input_ids": tensor(ids), "attention_mask": tensor(mask)}
        if takes_token_types(self._model):
            packed["token_type_ids"] = tensor(types)
        return packed

    def run(self, packed: Any) -> Any:
        with self._torch.inference_mode():
            return self._model(**packed).logits


if __name__ == "__main__":
    serve(TorchDynamicEngine(), STARTED_NS)
