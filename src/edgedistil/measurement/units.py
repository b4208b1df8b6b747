"""What pruning counts in: attention heads and FFN neurons, and how many weights one of each owns."""

HEADS, NEURONS = "heads", "neurons"


def unit_weights(width: int, head_size: int) -> dict[str, int]:
    """Weights of one unit of each kind: of a head query, key and value with biases and its rows of the output; of a
    neuron in with bias and out.

    Args:
        width: of the hidden states.
    """
    return {HEADS: head_size * (4 * width + 3), NEURONS: 2 * width + 1}
