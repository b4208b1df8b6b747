"""PyTorch's compiler: the model folder in FP32 through inductor.

Run as ``python -m edgedistil.peers.torch_compile``.
"""

import time

STARTED_NS = time.monotonic_ns()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.models.kinds import takes_token_types  # noqa: E402
from edgedistil.peers.engine import PeerEngine  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402


class TorchCompileEngine(PeerEngine):
    """``torch.compile`` with the sequence length (and the size of a batch above 1) marked dynamic.

    One compilation a length would take minutes for real sentences, which have dozens of lengths. Weights are not frozen
    into the code, which seemed slower with a dynamic length; that was not measured side by side.
    """

    weights = "model.safetensors"

    def bring(self) -> None:
        import torch
        import torch._dynamo

        from edgedistil.models.shrunken import load_classifier

        self._torch, self._load_classifier = torch, load_classifier

    def open(self, folder: Path, request: dict[str, Any]) -> None:
        torch = self._torch
        torch.set_num_threads(request["threads"])
        # Beyond its limit of recompilations PyTorch would go back to eager without a word.
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        model = self._load_classifier(folder)
        self._types = takes_token_types(model)
        self._model = torch.compile(model, backend="inductor")

    def feed(self, ids: Any, mask: Any, types: Any) -> Any:
        packed = {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": types} if self._types else {})
        packed = {name: self._torch.from_numpy(array) for name, array in packed.items()}
        for tensor in packed.values():
            self._torch._dynamo.mark_dynamic(tensor, 1)
            if len(tensor) > 1:
                self._torch._dynamo.mark_dynamic(tensor, 0)
        return packed

    def run(self, packed: Any) -> Any:
        with self._torch.no_grad():
            return self._model(**packed).logits


if __name__ == "__main__":
    serve(TorchCompileEngine(), STARTED_NS)
