"""Answers of one model through the engine that ships, wherever it runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..devices.cuda import worker_variables
from ..tasks.encode import encode_with_types, load_tokenizer
from ..workers.client import Worker

# Texts, or windows, a request: their logits come back as JSON, and a limit of time is of one answer.
_ASKED_AT_ONCE = 8


class Teller:
    """One worker with its model.

    Args:
        takes_ids: the worker has no tokenizer, so token ids are made here.
    """

    def __init__(self, worker: Worker, folder: Path, max_length: int, takes_ids: bool) -> None:
        self._worker, self._folder, self._max_length, self._takes_ids = worker, folder, max_length, takes_ids

    def logits(self, texts: Sequence[tuple[str, ...]]) -> list[list[float]]:
        """Logits ``[text, class]``, one text at a time, unpadded."""
        if not self._takes_ids:
            found: list[list[float]] = self._worker.ask("predict", texts=[list(t) for t in texts])["logits"]
            return found
        ids, types = encode_with_types(load_tokenizer(self._folder, self._max_length), list(texts))
        return [row for some in _parts(ids, types) for row in self._worker.ask("predict", **some)["logits"]]

    def spans(self, ids: Sequence[list[int]], types: Sequence[list[int]]) -> list[list[list[float]]]:
        """Start and end logits of each window."""
        return [row for some in _parts(ids, types) for row in self._worker.ask("spans", **some)["logits"]]


def _parts(ids: Sequence[list[int]], types: Sequence[list[int]]) -> Iterator[dict[str, Any]]:
    for first in range(0, len(ids), _ASKED_AT_ONCE):
        part = slice(first, first + _ASKED_AT_ONCE)
        yield {"ids": list(ids[part]), "types": list(types[part])}


@contextmanager
def telling(request: dict[str, Any], folder: Path, text: tuple[str, ...]) -> Iterator[Teller]:
    """The model of a predict step, loaded on the engine and device of its options; ``text`` is its first one.

    Raises:
        WorkerError: it can't be loaded.
        PhoneError: of a phone that can't be reached.
    """
    options, runtime = request["options"], request["runtime"]
    max_length = options["task"]["max_length"]
    if options["engine"]["engine"] == "native":
        from .phone_site import phone_site
        from .site import Place

        with phone_site(request) as site:
            place = Place("native", folder)
            cores, _ = site.quiet_cores()
            with site.start(place, cores) as worker:
                site.load(worker, place, text)
                yield Teller(worker, folder, max_length, takes_ids=True)
        return
    more, variables = {}, None
    if "placement" in options:
        more, variables = {"placement": options["placement"]}, worker_variables(options["gpu"])
    with Worker(options["engine"]["engine"], 1, python=runtime.get("interpreter"), variables=variables) as worker:
        worker.load(folder, max_length, text, options["quantization"], **more)
        yield Teller(worker, folder, max_length, takes_ids=False)
