"""What the peers' workers share: the tokenizer, the phases of a cold start, batches padded on the right.

Standard library only until a model is loaded, because one of them runs in an environment of its own.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from edgedistil.workers.phases import Phases, read_through


class PeerEngine(ABC):
    """An engine of :mod:`edgedistil.workers.loop`; a peer adds its weights' place and the first four methods."""

    #: The file of weights, relative to the model's folder.
    weights: str

    @abstractmethod
    def bring(self) -> None:
        """Import the engine's libraries."""

    @abstractmethod
    def open(self, folder: Path, request: dict[str, Any]) -> None:
        """Load the model for ``request["threads"]`` threads."""

    @abstractmethod
    def feed(self, ids: Any, mask: Any, types: Any) -> Any:
        """The engine's own input of int64 arrays ``[batch, longest]``."""

    @abstractmethod
    def run(self, packed: Any) -> Any:
        """Logits ``[batch, classes]``, in whatever array type the engine's users get."""

    def load(self, request: dict[str, Any]) -> Phases:
        """Import, tokenizer, the weights' file read, model, first answer; returns the end of each."""
        folder = Path(request["folder"])
        phases = Phases(folder)
        import numpy
        import tokenizers

        self._numpy = numpy
        self.bring()
        phases.end("imported")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(request["max_length"])
        phases.end("tokenizer")
        read_through(folder / self.weights)
        phases.end("read")
        self.open(folder, request)
        phases.end("session")
        self.predict([request["text"]])
        phases.end("first_logits")
        return phases

    def pack(self, rows: list[list[int]], types: list[list[int]] | None = None) -> Any:
        """Rows of token ids, padded on the right with 0 and masked there, as the engine's own input."""
        shape = (len(rows), max(map(len, rows)))
        ids, mask, kinds = (self._numpy.zeros(shape, self._numpy.int64) for _ in range(3))
        for index, row in enumerate(rows):
            ids[index, : len(row)], mask[index, : len(row)] = row, 1
            if types:
                kinds[index, : len(row)] = types[index]
        return self.feed(ids, mask, kinds)

    def tokenize(self, text: list[str]) -> Any:
        """One text or pair to the tokenizer's encoding."""
        return self._tokenizer.encode(text[0], text[1] if len(text) > 1 else None)

    def predict(self, texts: list[list[str]]) -> list[list[float]]:
        """Logits of each text or pair, one at a time, unpadded."""
        rows = []
        for text in texts:
            encoding = self.tokenize(text)
            rows.append(self.run(self.pack([encoding.ids], [encoding.type_ids]))[0].tolist())
        return rows
