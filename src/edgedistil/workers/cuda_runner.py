"""Runs a PyTorch model as its placement says: on a GPU or not, compiled, by CUDA graphs, without padding.

The same code prepares and reads batches on the processor, so all but the recording of graphs is tested there.
"""

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ..models.kinds import SPANS, takes_token_types
from ..models.unpadded import Unpadded, attention_of, packed_inputs
from .cuda_device import CudaDevice
from .cuda_graphs import Recorded, Recorder, bucket_of, buckets, tokens_bucket_of
from .cuda_placement import Placement

# Compilations for one model (a bucket's shape each) before PyTorch gives up, which is an error here.
_COMPILATIONS = 64


@dataclass
class Batch:
    """A batch on the host, in one piece so that it travels in one copy; pinned where there is a GPU.

    Attributes:
        buffer: all inputs, int64, one after the other.
        shapes: the inputs' names and shapes, in the buffer's order.
        constants: inputs that are no tensors.
        spans: first and last token of each text in the answer of a span model.
        tokens: of the texts, without padding.
        graph: the recorded graph of its shape, when it runs through one.
    """

    buffer: Tensor
    shapes: dict[str, tuple[int, ...]]
    constants: dict[str, int]
    spans: list[slice]
    tokens: int
    graph: Recorded | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Batches of the same key can share a graph."""
        return (*self.shapes.items(), *self.constants.items())

    def __str__(self) -> str:
        shape = self.shapes["ids"]
        what = " x ".join(map(str, shape)) if len(shape) > 1 else f"{len(self.spans)} texts, {shape[0]} tokens unpadded"
        return f"a batch of {what}"


class Runner:
    """One model on one device.

    Args:
        model: in eval mode, on its device, quantised or not.
        placement: how to run it.
        device: the GPU; None is the processor.
        limit: the longest text, in tokens.
        record: records graphs; used when ``placement.graphs``.

    Raises:
        UserError: the model can't do what the placement asks.
    """

    def __init__(
        self, model: Any, placement: Placement, device: CudaDevice | None, limit: int, record: Recorder | None = None
    ) -> None:
        self._model, self._placement, self._device, self._limit = model, placement, device, limit
        self.spans = type(model).__name__.endswith(SPANS)
        self._types = takes_token_types(model)
        # Graphs of single texts stay; those of larger batches go with the last batch that was prepared for them.
        self._record, self._of_single = record, dict[tuple[Any, ...], Recorded]()
        self._graphs: WeakValueDictionary[tuple[Any, ...], Recorded] = WeakValueDictionary()
        self.dtype = model.get_input_embeddings().weight.dtype
        self.attention = model.config._attn_implementation
        self._forward: Any = self._padded
        if placement.unpadded:
            self.attention = attention_of(model, self.dtype, device is not None and device.has_flash())
            self._forward = Unpadded(model, self.attention)
        if placement.compile:
            # Beyond its limit of recompilations PyTorch would go back to eager without a word.
            torch._dynamo.config.fail_on_recompile_limit_hit = True
            torch._dynamo.config.recompile_limit = _COMPILATIONS
            # Graphs have few shapes, each worth code of its own; else lengths become dynamic at the second one.
            self._forward = torch.compile(self._forward, dynamic=False if placement.graphs else None)

    def pack(self, rows: list[list[int]], types: list[list[int]] | None = None) -> Batch:
        """A batch of token ids on the host; with graphs, its shape's graph is recorded if there is none yet."""
        values = self._unpadded_inputs(rows, types) if self._placement.unpadded else self._padded_inputs(rows, types)
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        if self._placement.unpadded:
            starts = values["starts"].tolist()
            spans = [slice(first, first + len(row)) for first, row in zip(starts, rows, strict=False)]
        else:
            width = values["ids"].shape[1]
            spans = [slice(i * width, i * width + len(row)) for i, row in enumerate(rows)]
        buffer = torch.cat([value.flatten() for value in tensors.values()])
        batch = Batch(
            self._device.pinned(buffer) if self._device else buffer,
            {name: tuple(value.shape) for name, value in tensors.items()},
            {name: value for name, value in values.items() if isinstance(value, int)},
            spans,
            sum(map(len, rows)),
        )
        if self._placement.graphs:
            batch.graph = self._graphs.get(batch.key) or self._recorded(batch)
            self._graphs[batch.key] = batch.graph
            if len(rows) == 1:
                self._of_single[batch.key] = batch.graph
        return batch

    def run(self, batch: Batch) -> Tensor:
        """Logits ``[rows, classes]``, or ``[2, tokens]`` (start, end) of a span model, on the host.

        On a GPU a call is: copy to the device, the model, copy of the logits back, waiting for it.
        """
        with torch.inference_mode():
            if self._device is None:
                return self._answer(batch)
            self._device.begin()
            output = self._answer(batch)
            # The destination of such a copy is pinned memory, kept for the next one by PyTorch.
            host = output.to("cpu", non_blocking=True, copy=True)
            self._device.end()
            return host

    def logits(self, batch: Batch, output: Tensor) -> list[float]:
        """Class logits of a batch's first text."""
        found: list[float] = output[0].float().tolist()
        return found

    def sides(self, batch: Batch, output: Tensor) -> list[list[float]]:
        """Start and end logits of a batch's first text."""
        return [side[batch.spans[0]].float().tolist() for side in output]

    def facts(self) -> dict[str, Any]:
        """How it runs, as JSON values."""
        placement = self._placement
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "tf32": placement.tf32,
            "compile": placement.compile,
            "graphs": placement.graphs,
            "graph_buckets": buckets(self._limit) if placement.graphs else [],
            "unpadded": placement.unpadded,
            "attention": self._kernels() if self.attention == "sdpa" else self.attention,
        }

    def _answer(self, batch: Batch) -> Tensor:
        if batch.graph:
            found: Tensor = batch.graph(batch.buffer)
            return found
        buffer = batch.buffer.to(self._device.place, non_blocking=True) if self._device else batch.buffer
        return self._call(buffer, batch)

    def _call(self, buffer: Tensor, batch: Batch) -> Tensor:
        inputs, place = {}, 0
        for name, shape in batch.shapes.items():
            size = torch.Size(shape).numel()
            inputs[name] = buffer[place : place + size].view(shape)
            place += size
        found: Tensor = self._forward(**inputs, **batch.constants)
        return found

    def _recorded(self, batch: Batch) -> Recorded:
        assert self._record is not None
        with torch.inference_mode():
            buffer = batch.buffer.to(self._device.place if self._device else "cpu", copy=True)
            shape = Batch(batch.buffer, batch.shapes, batch.constants, batch.spans, batch.tokens)
            return Recorded(buffer, lambda inputs: self._call(inputs, shape), self._record)

    def _padded_inputs(self, rows: list[list[int]], types: list[list[int]] | None) -> dict[str, Tensor]:
        width = max(map(len, rows))
        graphs = self._placement.graphs
        if graphs:
            width = bucket_of(width, self._limit)

        def tensor(values: list[list[int]]) -> Tensor:
            return torch.tensor([v + [0] * (width - len(v)) for v in values])

        inputs = {"ids": tensor(rows)}
        if self._types:
            inputs["types"] = tensor(types or [[0] * len(row) for row in rows])
        # Without a mask flash attention can run; a graph must serve texts with and without padding.
        if graphs or any(len(row) < width for row in rows):
            inputs["mask"] = tensor([[1] * len(row) for row in rows])
        return inputs

    def _unpadded_inputs(self, rows: list[list[int]], types: list[list[int]] | None) -> dict[str, Any]:
        tokens = longest = 0
        if self._placement.graphs:
            longest = bucket_of(max(map(len, rows)), self._limit)
            total = sum(map(len, rows))
            tokens = longest if len(rows) == 1 else tokens_bucket_of(total)
        inputs = packed_inputs(rows, types, tokens, longest)
        if self.attention == "varlen":
            del inputs["slots"]
        return inputs

    def _padded(self, ids: Tensor, types: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        # transformers asks the device whether a mask of two dimensions masks anything, and waits for the answer; one of
        # four it takes as it is. Attention that is written out adds its mask, so there it must be transformers' own.
        if mask is not None and self._model.config._attn_implementation == "sdpa":
            mask = mask[:, None, None, :].bool()
        inputs = {"input_ids": ids, "attention_mask": mask}
        if types is not None:
            inputs["token_type_ids"] = types
        answer = self._model(**inputs)
        if self.spans:
            return torch.stack([answer.start_logits, answer.end_logits]).flatten(1)
        found: Tensor = answer.logits
        return found

    def _kernels(self) -> dict[str, str]:
        """Which of PyTorch's attention kernels serves texts with and without padding here."""
        config, device = self._model.config, self._device.place if self._device else "cpu"
        heads, width = config.num_attention_heads, config.hidden_size
        query = torch.zeros(1, heads, 32, width // heads, dtype=self.dtype, device=device)
        mask = torch.ones(1, 1, 1, 32, dtype=torch.bool, device=device).expand(1, heads, 32, 32)
        names = {kind.value: name for name, kind in torch.nn.attention.SDPBackend.__members__.items()}
        return {
            case: names[torch._fused_sdp_choice(query, query, query, attn_mask=given)].lower()
            for case, given in (("without_padding", None), ("with_padding", mask))
        }
