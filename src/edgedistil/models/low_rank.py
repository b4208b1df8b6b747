"""A word table as the product of two matrices, so that most of a small model's bytes need not be stored."""

from typing import Any

from torch import Tensor, nn


class FactoredEmbedding(nn.Embedding):
    """Rows of ``[pieces, rank]`` times one matrix ``[rank, width]`` that all pieces share (as ALBERT's embeddings, Lan
    et al. 2020, arXiv 1909.11942, section 3.1, are from the start).

    ``weight`` is the narrow table, ``projection`` the shared matrix, in PyTorch's order ``[width, rank]``.
    """

    def __init__(self, pieces: int, rank: int, width: int, padding_idx: int | None = None) -> None:
        super().__init__(pieces, rank, padding_idx)
        self.projection = nn.Linear(rank, width, bias=False)

    @classmethod
    def of(cls, rows: Tensor, projection: Tensor, padding_idx: int | None = None) -> "FactoredEmbedding":
        """With these values: ``rows`` ``[pieces, rank]``, ``projection`` ``[width, rank]``."""
        made = cls(len(rows), rows.shape[1], len(projection), padding_idx)
        made.weight, made.projection.weight = nn.Parameter(rows), nn.Parameter(projection)
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Vectors ``[..., width]`` of ids ``[...]``."""
        found: Tensor = self.projection(super().forward(input))
        return found


def rank_of(model: Any) -> int | None:
    """The rank of a transformers model's word table; None of one that is stored as it is."""
    words = model.get_input_embeddings()
    return words.embedding_dim if isinstance(words, FactoredEmbedding) else None
