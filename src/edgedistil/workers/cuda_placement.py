"""Where a worker runs a model and how: the ``placement`` field of a ``load`` request. Standard library only."""

from dataclasses import dataclass, fields
from typing import Any

from ..errors import UserError

DEVICES = ("cpu", "cuda")
# What a load request's ``quantization`` may be for PyTorch.
PRECISIONS = ("none", "fp16", "bf16", "nf4", "llm_int8")


@dataclass(frozen=True)
class Placement:
    """``device``; products of float32 in TF32; ``torch.compile``; CUDA graphs by length; batches without padding."""

    device: str = "cpu"
    tf32: bool = False
    compile: bool = False
    graphs: bool = False
    unpadded: bool = False

    @property
    def is_plain(self) -> bool:
        """The processor, with nothing asked for: PyTorch's eager mode."""
        return self == Placement()


def read_placement(request: dict[str, Any]) -> Placement:
    """The placement of a load request; the processor when it has none.

    Raises:
        UserError: an unknown field, a value that is not allowed, or something that only a GPU has on the processor.
    """
    asked = request.get("placement") or {}
    known = [field.name for field in fields(Placement)]
    for name, value in asked.items():
        if name not in known:
            raise UserError(f"placement.{name} is unknown; known: {', '.join(known)}")
        if name == "device" and value not in DEVICES:
            raise UserError(f"placement.device={value!r}; allowed: {', '.join(DEVICES)}")
        if name != "device" and not isinstance(value, bool):
            raise UserError(f"placement.{name}={value!r} is neither true nor false")
    found = Placement(**asked)
    for name in ("tf32", "graphs"):
        if getattr(found, name) and found.device != "cuda":
            raise UserError(f"placement.{name}=true needs placement.device=cuda")
    return found
