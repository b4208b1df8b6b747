"""A word table of low rank that errs least where the task's texts are."""

from collections.abc import Sequence
from typing import Any

import torch

from ..errors import UserError
from ..models.low_rank import FactoredEmbedding


def factorise_words(model: Any, counts: Sequence[int], rank: int) -> dict[str, Any]:
    """Replace a transformers model's word table ``E`` by ``A B``, ``A`` ``[pieces, rank]``, ``B`` ``[rank, width]``.

    ``A B`` minimises the squared error of the rows, each weighted by how often the texts hold its piece: a weighted
    low-rank approximation, which has a closed form where whole rows share a weight (Srebro and Jaakkola 2003, section
    2; by word frequency as in GroupReduce, Chen et al. 2018, arXiv 1806.06950, section 3). ``B`` holds the first right
    singular vectors of the table whose rows are scaled by the root of their weight, and the best ``A`` for it is
    ``E Bᵀ``. The weight is the count plus one, so that pieces which the texts lack are not given up.

    Args:
        counts: how often each id occurs in the texts, ``[pieces]``.

    Returns:
        ``rank``; ``energy_kept`` of the weighted table and ``energy_kept_unweighted`` (shares of its squared norm);
        numbers stored, ``values`` and ``values_before``.

    Raises:
        UserError: a rank above the table's width, or a table that is a product of two already.
    """
    words = model.get_input_embeddings()
    if isinstance(words, FactoredEmbedding):
        raise UserError(
            f"the word table has rank {words.embedding_dim} already: use compression/embeddings=none, or start from "
            "the model before"
        )
    if rank > words.embedding_dim:
        raise UserError(
            f"compression.embeddings.rank={rank} is more than the word table's width: it must be at most "
            f"{words.embedding_dim}, and saves bytes below {_worthwhile(*words.weight.shape)}"
        )
    table = words.weight.detach().double()
    # Padded tables have rows that no piece belongs to.
    weights = torch.ones(len(table), dtype=torch.float64)
    weights[: len(counts)] += torch.tensor(counts, dtype=torch.float64)
    # Eigenvectors of the small [width, width] matrix are the right singular vectors of the scaled table.
    energies, vectors = torch.linalg.eigh(table.T @ (weights[:, None] * table))
    shared = vectors[:, -rank:].flip(1)
    rows = table @ shared
    model.set_input_embeddings(FactoredEmbedding.of(rows.float(), shared.float().contiguous(), words.padding_idx))
    return {
        "rank": rank,
        "energy_kept": round(float(energies[-rank:].sum() / energies.sum()), 6),
        "energy_kept_unweighted": round(float(rows.square().sum() / table.square().sum()), 6),
        "values": rows.numel() + shared.numel(),
        "values_before": table.numel(),
    }


def _worthwhile(pieces: int, width: int) -> int:
    """The rank from which on a product holds as many numbers as the table."""
    return -(-pieces * width // (pieces + width))
