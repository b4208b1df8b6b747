"""The PyTorch worker: eager FP32 as a baseline, and bitsandbytes' load-time quantisation.

Run as ``python -m edgedistil.workers.torch``.
"""

import time

STARTED_NS = time.monotonic_ns()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.workers.loop import serve  # noqa: E402
from edgedistil.workers.phases import Phases, read_through  # noqa: E402


class TorchEngine:
    """A model folder in PyTorch eager mode (scaled-dot-product attention, transformers' default)."""

    def load(self, request: dict[str, Any]) -> Phases:
        folder = Path(request["folder"])
        phases = Phases(folder)
        import torch

        from edgedistil.models.shrunken import load_model
        from edgedistil.tasks.encode import load_tokenizer

        self._torch = torch
        torch.set_num_threads(request["threads"])
        phases.end("imported")
        self._tokenizer = load_tokenizer(folder, request["max_length"])
        phases.end("tokenizer")
        for file in sorted(folder.glob("*.safetensors")):
            read_through(file)
        phases.end("read")
        quantization = request.get("quantization", "none")
        if quantization in ("nf4", "llm_int8"):
            from edgedistil.models.bitsandbytes import quantise_linears

            self._model = quantise_linears(load_model(folder), quantization)
        else:
            self._model = load_model(folder)
        self._types = self._model.config.model_type == "bert"
        phases.end("session")
        self.predict([request["text"]])
        phases.end("first_logits")
        return phases

    def pack(self, rows: list[list[int]], types: list[list[int]] | None = None) -> Any:
        longest = max(map(len, rows))

        def tensor(values: list[list[int]]) -> Any:
            return self._torch.tensor([v + [0] * (longest - len(v)) for v in values])

        packed = {"input_ids": tensor(rows), "attention_mask": tensor([[1] * len(r) for r in rows])}
        if self._types:
            packed["token_type_ids"] = tensor(types or [[0] * len(r) for r in rows])
        return packed

    def run(self, packed: Any) -> Any:
        with self._torch.inference_mode():
            answer = self._model(**packed)
            return answer.logits if "logits" in answer else (answer.start_logits, answer.end_logits)

    def tokenize(self, text: list[str]) -> Any:
        return self._tokenizer.encode(text[0], text[1] if len(text) > 1 else None)

    def predict(self, texts: list[list[str]]) -> list[list[float]]:
        rows = []
        for text in texts:
            encoding = self.tokenize(text)
            rows.append(self.predict_ids(encoding.ids, encoding.type_ids))
        return rows

    def predict_ids(self, ids: list[int], types: list[int]) -> list[float]:
        logits: list[float] = self.run(self.pack([ids], [types]))[0].float().tolist()
        return logits

    def spans(self, ids: list[int], types: list[int]) -> list[list[float]]:
        return [side[0].float().tolist() for side in self.run(self.pack([ids], [types]))]


if __name__ == "__main__":
    serve(TorchEngine(), STARTED_NS)
