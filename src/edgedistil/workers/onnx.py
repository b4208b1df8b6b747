"""The worker that ships: imports numpy, tokenizers and onnxruntime, and nothing else.

Run as ``python -m edgedistil.workers.onnx``.
"""

import time

STARTED_NS = time.monotonic_ns()

import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.errors import UserError  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402
from edgedistil.workers.phases import Phases, read_through  # noqa: E402


class OnnxEngine:
    """ONNX Runtime on the CPU provider, or on CUDA's when ``placement.device`` says so; default options but for the
    threads. Once opened it has its ``tokenizer`` and the names of the graph's ``outputs``."""

    def load(self, request: dict[str, Any]) -> Phases:
        folder = Path(request["folder"])
        phases = Phases(folder)
        chosen = (lambda runtime: self._provider(request, phases, runtime)) if request.get("placement") else None
        self.open(folder, request["max_length"], request["threads"], phases.end, chosen)
        self.predict([request["text"]])
        phases.end("first_logits")
        return phases

    def open(
        self,
        folder: Path,
        max_length: int,
        threads: int,
        ended: Callable[[str], None] = lambda phase: None,
        chosen: Callable[[Any], Any] | None = None,
    ) -> None:
        """Open a folder's tokenizer and graph; nothing is answered yet.

        Args:
            ended: told the name of each phase at its end.
            chosen: gives the provider, with the runtime's module; None for the CPU's.
        """
        import numpy
        import onnxruntime
        import tokenizers

        self._numpy = numpy
        provider: Any = chosen(onnxruntime) if chosen else "CPUExecutionProvider"
        ended("imported")
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        ended("tokenizer")
        # Weights may lie outside of the graph's file.
        for file in sorted(folder.glob("model.onnx*")):
            read_through(file)
        ended("read")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=[provider])
        used, wanted = self._session.get_providers()[0], provider if isinstance(provider, str) else provider[0]
        if used != wanted:
            # It falls back with no more than a warning.
            raise UserError(f"no CUDA device: ONNX Runtime could not start {wanted} and took {used}")
        self._inputs = {i.name for i in self._session.get_inputs()}
        self.outputs = [o.name for o in self._session.get_outputs()]
        ended("session")

    def _provider(self, request: dict[str, Any], phases: Phases, onnxruntime: Any) -> Any:
        from edgedistil.workers.cuda_onnx import cuda_facts, cuda_memory, cuda_provider
        from edgedistil.workers.cuda_placement import read_placement

        placement = read_placement(request)
        provider = cuda_provider(placement, onnxruntime)
        if placement.device == "cuda":
            with phases.aside():
                self.facts = {**cuda_facts(onnxruntime), "tf32": placement.tf32}
            self.device_memory = phases.device_memory = cuda_memory
        return provider

    def pack(self, rows: list[list[int]], types: list[list[int]] | None = None, length: int = 0) -> Any:
        numpy = self._numpy
        shape = (len(rows), max(length, *map(len, rows)))
        ids, mask, kinds = (
            numpy.zeros(shape, numpy.int64),
            numpy.zeros(shape, numpy.int64),
            numpy.zeros(shape, numpy.int64),
        )
        for index, row in enumerate(rows):
            ids[index, : len(row)], mask[index, : len(row)] = row, 1
            if types:
                kinds[index, : len(row)] = types[index]
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
        return {name: feed[name] for name in self._inputs}

    def run(self, packed: Any) -> Any:
        return self._session.run(self.outputs, packed)

    def tokenize(self, text: list[str]) -> Any:
        return self.tokenizer.encode(text[0], text[1] if len(text) > 1 else None)

    def predict(self, texts: list[list[str]]) -> list[list[float]]:
        rows = []
        for text in texts:
            encoding = self.tokenize(text)
            rows.append(self.predict_ids(encoding.ids, encoding.type_ids))
        return rows

    def predict_ids(self, ids: list[int], types: list[int]) -> list[float]:
        logits: list[float] = self.run(self.pack([ids], [types]))[0][0].tolist()
        return logits

    def spans(self, ids: list[int], types: list[int]) -> list[list[float]]:
        found = dict(zip(self.outputs, self.run(self.pack([ids], [types])), strict=True))
        return [found["start_logits"][0].tolist(), found["end_logits"][0].tolist()]


def check_inputs(folder: Path) -> dict[str, Any]:
    """Names of inputs and outputs of a folder's ``model.onnx``, as JSON values."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found: dict[str, Any] = json.loads(
        json.dumps(
            {
                "inputs": [i.name for i in session.get_inputs()],
                "outputs": [o.name for o in session.get_outputs()],
                "classes": session.get_outputs()[0].shape[-1],
            }
        )
    )
    return found


if __name__ == "__main__":
    serve(OnnxEngine(), STARTED_NS)
