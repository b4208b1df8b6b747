"""What differs between architectures, said once."""

from typing import Any

# Those whose layers we know: graphs written from weights, pruning.
KNOWN = ("bert", "distilbert")
# Others go through PyTorch's exporter, uncut.
EXPORTED = ("albert", "electra", "mobilebert", "roberta")
_TYPED = ("bert", "albert", "electra", "mobilebert")


def takes_token_types(model: Any) -> bool:
    """Whether the model tells the two texts of a pair apart by a third input."""
    return model.config.model_type in _TYPED
