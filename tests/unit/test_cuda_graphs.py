"""Which lengths share a graph, and batches that go through one, with a recorder that runs on the processor."""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgedistil.workers.cuda_graphs import bucket_of, buckets, tokens_bucket_of
from edgedistil.workers.cuda_placement import Placement
from edgedistil.workers.cuda_runner import Runner


@pytest.mark.parametrize(("length", "limit", "expected"), [
    (1, 512, 16), (16, 512, 16), (17, 512, 32), (32, 512, 32), (128, 512, 128), (129, 512, 160), (256, 512, 256),
    (257, 512, 320), (512, 512, 512), (3, 10, 10), (60, 66, 64), (65, 66, 66)])
def test_buckets(length: int, limit: int, expected: int) -> None:
    assert bucket_of(length, limit) == expected


def test_few_buckets_hold_every_length() -> None:
    assert buckets(128) == [16, 32, 48, 64, 80, 96, 112, 128]
    assert buckets(512) == [*range(16, 129, 16), 160, 192, 224, 256, 320, 384, 448, 512]
    assert all(bucket_of(n, 512) >= n for n in range(1, 513))
    for wrong in (0, 513):
        with pytest.raises(ValueError, match=f"a text of {wrong} tokens; allowed are 1 to 512"):
            bucket_of(wrong, 512)


def test_unpadded_batches_are_filled_by_a_sixteenth_at_most() -> None:
    for tokens in range(1, 40_000, 7):
        filled = tokens_bucket_of(tokens)
        assert tokens <= filled <= max(tokens + 15, tokens * 17 / 16)
        assert tokens_bucket_of(filled) == filled
    assert len({tokens_bucket_of(n) for n in range(4096, 8192)}) <= 33
    with pytest.raises(ValueError, match="no tokens"):
        tokens_bucket_of(0)


class Recorder:
    """Stands in for CUDA graphs: a replay runs the function again into the place of its first answer."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        self.recorded += 1
        output = torch.full_like(function(), float("nan"))

        def replay() -> None:
            self.replayed += 1
            output.copy_(function())

        return replay, output


@pytest.mark.parametrize("unpadded", [False, True])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_texts_of_a_bucket_share_a_graph_and_answer_as_without(
    kind: str, unpadded: bool, tiny_model: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    model, record = tiny_model(kind), Recorder()
    plain = Runner(model, Placement(), None, 64)
    graphed = Runner(model, Placement(graphs=True, unpadded=unpadded), None, 64, record)
    lengths = sorted({len(row) for row in sentence_ids})
    assert lengths[0] < 16 < lengths[-1] <= 32
    batches = [(row, graphed.pack([row])) for row in sentence_ids]
    assert record.recorded == 2
    for row, batch in [*batches, *reversed(batches)]:
        expected, packed = plain.pack([row]), graphed.run(batch)
        torch.testing.assert_close(packed, plain.run(expected), atol=1e-5, rtol=1e-5)
    assert record.replayed == 2 * len(sentence_ids)
    assert record.recorded == 2


@pytest.mark.parametrize("unpadded", [False, True])
def test_a_batch_has_a_graph_of_its_own_shape(
    unpadded: bool, tiny_model: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    model, record = tiny_model("bert"), Recorder()
    types = [[0, *[1] * (len(row) - 1)] for row in sentence_ids]
    plain = Runner(model, Placement(), None, 64)
    graphed = Runner(model, Placement(graphs=True, unpadded=unpadded), None, 64, record)
    first, second = graphed.pack(sentence_ids[:6], types[:6]), graphed.pack(sentence_ids[5:11], types[5:11])
    third = graphed.pack(sentence_ids[:5], types[:5])
    if unpadded:
        assert {int(batch.shapes["ids"][0]) % 16 for batch in (first, second, third)} == {0}
    else:
        assert [batch.shapes["ids"] for batch in (first, second, third)] == [(6, 32), (6, 16), (5, 32)]
    assert record.recorded == 3
    for start, stop, batch in ((0, 6, first), (5, 11, second), (0, 5, third)):
        expected = plain.run(plain.pack(sentence_ids[start:stop], types[start:stop]))
        torch.testing.assert_close(graphed.run(batch), expected, atol=1e-5, rtol=1e-5)


def test_graphs_of_batches_go_with_their_batches_and_those_of_single_texts_stay(
    tiny_model: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    record = Recorder()
    runner = Runner(tiny_model("bert"), Placement(graphs=True), None, 64, record)
    prepared = [runner.pack(sentence_ids[:6]), runner.pack(sentence_ids[:6])]
    assert record.recorded == 1
    prepared.pop()
    assert record.recorded == 1
    runner.run(runner.pack(sentence_ids[:6]))
    assert record.recorded == 1
    prepared.clear()
    gc.collect()
    runner.pack(sentence_ids[:6])
    assert record.recorded == 2
    for _ in range(2):
        runner.run(runner.pack(sentence_ids[:1]))
        gc.collect()
    assert record.recorded == 3
