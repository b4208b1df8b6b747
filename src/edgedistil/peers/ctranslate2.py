"""The CTranslate2 worker: the encoder at INT8 by CTranslate2, the classification head in NumPy.

Run as ``python -m edgedistil.peers.ctranslate2``.
"""

import time

STARTED_NS = time.monotonic_ns()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.peers.engine import PeerEngine  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402


class CTranslate2Engine(PeerEngine):
    """``ctranslate2.Encoder`` and the head of ``head.safetensors``; the head's time counts."""

    weights = "ctranslate2/model.bin"

    def bring(self) -> None:
        import ctranslate2
        import safetensors.numpy

        self._ctranslate2, self._load_file = ctranslate2, safetensors.numpy.load_file

    def open(self, folder: Path, request: dict[str, Any]) -> None:
        self._encoder = self._ctranslate2.Encoder(
            str(folder / "ctranslate2"),
            device="cpu",
            compute_type="int8",
            intra_threads=request["threads"],
            inter_threads=1,
        )
        self._head = self._load_file(folder / "head.safetensors")

    def feed(self, ids: Any, mask: Any, types: Any) -> Any:
        ids, lengths = ids.astype(self._numpy.int32), mask.sum(1).astype(self._numpy.int32)
        view = self._ctranslate2.StorageView.from_array
        # A view borrows its array's memory, so the arrays travel with it.
        return view(ids), view(lengths), types.tolist(), (ids, lengths)

    def run(self, packed: Any) -> Any:
        numpy, head = self._numpy, self._head
        ids, lengths, types, _ = packed
        if "dense.weight" in head:
            out = self._encoder.forward_batch(ids, lengths=lengths)
            first = numpy.asarray(out.last_hidden_state)[:, 0]
            pooled = numpy.maximum(first @ head["dense.weight"] + head["dense.bias"], 0)
        else:
            # BERT's pooler is part of the converted encoder.
            out = self._encoder.forward_batch(ids, lengths=lengths, token_type_ids=types)
            pooled = numpy.asarray(out.pooler_output)
        return pooled @ head["classifier.weight"] + head["classifier.bias"]


if __name__ == "__main__":
    serve(CTranslate2Engine(), STARTED_NS)
