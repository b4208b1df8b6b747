"""Quantisation-aware training: a model folder learns to answer well once it is rounded."""

from pathlib import Path
from typing import Any

from ..store.files import read_json
from .recover import taught


def quantisation_aware(request: dict[str, Any]) -> dict[str, Any]:
    """Step: the dense FP32 parent teaches the model while it computes as its quantised file will.

    What comes out is an ordinary FP32 folder, to be exported and quantised as any other. ``held_out_before`` and
    ``held_out`` are scores of the rounded model.

    Raises:
        UserError: an architecture or activation whose graph we don't write.
    """
    from ..errors import UserError
    from ..export.reading import can_read
    from ..learning.fake_quantisation import ACTIVATIONS, fake_quantised
    from ..learning.rounding import rounding_of
    from ..models.reference import uses_types

    source = Path(request["inputs"]["model"])
    why = can_read(source)
    if why:
        raise UserError(f"{why}; use compression/qat=none")
    config = read_json(source / "config.json")
    active = config.get("hidden_act", config.get("activation"))
    if active not in ACTIVATIONS:
        raise UserError(
            f"quantisation-aware training knows the activations {', '.join(ACTIVATIONS)}, not {active!r} of {source}: "
            "use compression/qat=none"
        )
    rounding = rounding_of(request["options"]["quantization"])
    return taught(request, "qat", lambda network: fake_quantised(network, rounding, uses_types(source)))
