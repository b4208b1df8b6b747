"""The PyTorch worker: eager FP32 as a baseline, 16 bits, bitsandbytes' load-time quantisation, on a processor or a GPU.

Run as ``python -m edgedistil.workers.torch``.
"""

import time

STARTED_NS = time.monotonic_ns()

from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.errors import UserError  # noqa: E402
from edgedistil.workers.cuda_placement import PRECISIONS, Placement, read_placement  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402
from edgedistil.workers.phases import Phases, read_through  # noqa: E402


class TorchEngine:
    """A model folder in PyTorch (scaled-dot-product attention, transformers' default).

    Without a ``placement``, in eager mode on the processor. ``quantization`` is one of
    :data:`~edgedistil.workers.cuda_placement.PRECISIONS`: weights and activations in 16 bits, or bitsandbytes' layers,
    between which all but the heads is in FP16 on a GPU and everything in FP32 on the processor.
    """

    def load(self, request: dict[str, Any]) -> Phases:
        folder = Path(request["folder"])
        phases = Phases(folder)
        placement = read_placement(request)
        quantization = request.get("quantization", "none")
        if quantization not in PRECISIONS:
            raise UserError(f"quantization={quantization!r} is not PyTorch's; allowed: {', '.join(PRECISIONS)}")
        import torch

        self._torch, self._device, self._runner = torch, None, None
        if placement.device == "cuda":
            from edgedistil.workers.cuda_device import CudaDevice

            phases.end("torch")
            self._device = CudaDevice(phases.aside)
            phases.device_memory = self._device.memory
            torch.set_float32_matmul_precision("high" if placement.tf32 else "highest")
            phases.end("context")

        from edgedistil.models.kinds import takes_token_types
        from edgedistil.models.shrunken import load_model
        from edgedistil.tasks.encode import load_tokenizer

        torch.set_num_threads(request["threads"])
        phases.end("imported")
        self._tokenizer = load_tokenizer(folder, request["max_length"])
        phases.end("tokenizer")
        for file in sorted(folder.glob("*.safetensors")):
            read_through(file)
        phases.end("read")
        held = self._device.allocated_mb() if self._device else 0
        self._model = self._guard("the model", lambda: self._placed(load_model(folder), quantization))
        self._types = takes_token_types(self._model)
        if not placement.is_plain:
            self._run_as(placement, request["max_length"])
            self.facts["quantization"] = quantization
            if self._device:
                self.facts["weights_mb"] = round(self._device.allocated_mb() - held, 3)
        phases.end("session")
        self.predict([request["text"]])
        phases.end("first_logits")
        return phases

    def _placed(self, model: Any, quantization: str) -> Any:
        torch, device = self._torch, self._device.place if self._device else "cpu"
        if quantization in ("nf4", "llm_int8"):
            from edgedistil.models.bitsandbytes import quantise_linears

            rest = torch.float16 if self._device else torch.float32
            return quantise_linears(model, quantization, device, rest)
        dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(quantization, torch.float32)
        return model.to(device, dtype)

    def _run_as(self, placement: Placement, limit: int) -> None:
        from edgedistil.workers.cuda_graphs import cuda_recorder
        from edgedistil.workers.cuda_runner import Runner

        record = cuda_recorder() if placement.graphs else None
        self._runner = Runner(self._model, placement, self._device, limit, record)
        self.facts = {
            **(self._device.facts() if self._device else {"device": "cpu", "torch": self._torch.__version__}),
            **self._runner.facts(),
        }

    def pack(self, rows: list[list[int]], types: list[list[int]] | None = None, length: int = 0) -> Any:
        if self._runner:
            what = f"a graph of {len(rows)} x {max(map(len, rows))} tokens"
            return self._guard(what, lambda: self._runner.pack(rows, types))
        longest = max(length, *map(len, rows))

        def tensor(values: list[list[int]]) -> Any:
            return self._torch.tensor([v + [0] * (longest - len(v)) for v in values])

        packed = {"input_ids": tensor(rows), "attention_mask": tensor([[1] * len(r) for r in rows])}
        if self._types:
            packed["token_type_ids"] = tensor(types or [[0] * len(r) for r in rows])
        return packed

    def run(self, packed: Any) -> Any:
        if self._runner:
            return self._guard(packed, lambda: self._runner.run(packed))
        with self._torch.inference_mode():
            answer = self._model(**packed)
            return answer.logits if "logits" in answer else (answer.start_logits, answer.end_logits)

    def device_memory(self) -> dict[str, float | None] | None:
        return self._device.memory() if self._device else None

    def device_ms(self) -> float | None:
        return self._device.elapsed_ms() if self._device else None

    def tokenize(self, text: list[str]) -> Any:
        return self._tokenizer.encode(text[0], text[1] if len(text) > 1 else None)

    def predict(self, texts: list[list[str]]) -> list[list[float]]:
        rows = []
        for text in texts:
            encoding = self.tokenize(text)
            rows.append(self.predict_ids(encoding.ids, encoding.type_ids))
        return rows

    def predict_ids(self, ids: list[int], types: list[int]) -> list[float]:
        packed = self.pack([ids], [types])
        output = self.run(packed)
        logits: list[float] = self._runner.logits(packed, output) if self._runner else output[0].float().tolist()
        return logits

    def spans(self, ids: list[int], types: list[int]) -> list[list[float]]:
        packed = self.pack([ids], [types])
        output = self.run(packed)
        if self._runner:
            found: list[list[float]] = self._runner.sides(packed, output)
            return found
        return [side[0].float().tolist() for side in output]

    def _guard(self, what: Any, do: Callable[[], Any]) -> Any:
        """What ``do`` answers.

        Raises:
            OutOfMemory: it did not fit; what was allocated for it is given back.
        """
        try:
            return do()
        except (RuntimeError, MemoryError) as error:
            from edgedistil.workers.cuda_capacity import OutOfMemory, release

            words = release(error)
            if words is None:
                raise
        raise OutOfMemory(self._device.out_of_memory(str(what)) if self._device else f"{what}: {words}")


if __name__ == "__main__":
    serve(TorchEngine(), STARTED_NS)
