"""The Optimum worker: ``ORTModelForSequenceClassification`` with Optimum's own quantised file.

Run as ``python -m edgedistil.peers.optimum`` by the interpreter of Optimum's environment.
"""

import time

STARTED_NS = time.monotonic_ns()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.models.kinds import takes_token_types  # noqa: E402
from edgedistil.peers.engine import PeerEngine  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402


class OptimumEngine(PeerEngine):
    """Optimum's wrapper with PyTorch tensors in and out, as its users call it; its Python time counts."""

    weights = "optimum/model_quantized.onnx"

    def bring(self) -> None:
        import onnxruntime
        import torch
        from optimum.onnxruntime import ORTModelForSequenceClassification

        self._torch, self._onnxruntime, self._class = torch, onnxruntime, ORTModelForSequenceClassification

    def open(self, folder: Path, request: dict[str, Any]) -> None:
        self._torch.set_num_threads(request["threads"])
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        options.inter_op_num_threads = 1
        self._model = self._class.from_pretrained(
            folder / "optimum", file_name="model_quantized.onnx", session_options=options, trust_remote_code=False
        )

    def feed(self, ids: Any, mask: Any, types: Any) -> Any:
        tensor = self._torch.from_numpy
        packed = {"input_ids": tensor(ids), "attention_mask": tensor(mask)}
        if takes_token_types(self._model):
            packed["token_type_ids"] = tensor(types)
        return packed

    def run(self, packed: Any) -> Any:
        return self._model(**packed).logits


if __name__ == "__main__":
    serve(OptimumEngine(), STARTED_NS)
