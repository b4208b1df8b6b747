"""The peers that take their time: PyTorch's compiler, and Optimum in an environment of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistil.models.reference import predict, write_reference
from edgedistil.models.shrunken import load_classifier
from edgedistil.peers.convert import convert
from edgedistil.peers.registry import PEERS, interpreter, missing
from edgedistil.tasks.encode import encode, load_tokenizer
from edgedistil.workers.client import Worker

pytestmark = pytest.mark.long
TEXTS = [["superb !"], ["the worst drama"], ["dark night , cold day and slow music in the second scene"]]


@pytest.mark.parametrize(("peer", "moved"), [("torch_compile", 1e-4), ("optimum_int8", 0.3)])
@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_slow_peer_answers_as_pytorch(
    peer: str,
    moved: float,
    kind: str,
    tiny_model: Callable[..., Any],
    tiny_folder: Callable[..., Path],
    sentence_ids: list[list[int]],
    tmp_path: Path,
) -> None:
    if why := missing(peer):
        pytest.skip(why)
    source = tiny_folder(tiny_model(kind, initializer_range=0.2))
    model = load_classifier(source)
    write_reference(model, source, sentence_ids, [[0] * len(row) for row in sentence_ids], seed=0)
    output = tmp_path / "output"
    output.mkdir()
    convert({"inputs": {"model": str(source)}, "options": {"peer": peer, "reduce_range": True}, "output": str(output)})
    with Worker(PEERS[peer].worker, threads=1, python=interpreter(peer)) as worker:
        worker.load(output, 32, ("superb !",))
        worker.ask("prepare", name="batch", batches=[[[2, 10, 11, 3], [2, 3]], [[2, 10, 3], [2, 10, 10, 10, 3]]])
        assert len(worker.ask("time", name="batch", start=0, count=4)["wall_ms"]) == 4
        found = np.array(worker.ask("predict", texts=TEXTS)["logits"])
    expected = predict(model, encode(load_tokenizer(source, 32), [tuple(text) for text in TEXTS]))
    assert np.abs(found - expected).max() <= moved * expected.std()
