"""Masking as DistilBERT was trained with: how many, which, what becomes of them, and the same again from a seed."""

import math

import pytest
import torch

from edgedistil.learning.masking import NO_TARGET, DynamicMasking, Vocabulary, generator

SIZE, MASK, SPECIAL = 1000, 4, (0, 1, 2, 3, 4)


def vocabulary(counts: torch.Tensor | None = None) -> Vocabulary:
    return Vocabulary(torch.full((SIZE,), 50) if counts is None else counts, MASK, SPECIAL)


def batch(rows: int = 32, tokens: int = 64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids in [CLS] ... [SEP] with padding of various lengths, and the attention mask."""
    chance = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, SIZE, (rows, tokens), generator=chance)
    lengths = torch.randint(tokens // 2, tokens + 1, (rows,), generator=chance)
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    ids[:, 0] = 2
    ids[torch.arange(rows), lengths - 1] = 3
    return ids * mask, mask


def test_number_of_targets_is_the_share_of_real_tokens_rounded_up() -> None:
    for rows in (1, 3, 32):
        ids, mask = batch(rows)
        _, labels = DynamicMasking(vocabulary())(ids, mask, generator(0, rows))
        assert int((labels != NO_TARGET).sum()) == math.ceil(0.15 * int(mask.sum()))


def test_labels_are_the_true_tokens_and_nothing_else_changes() -> None:
    ids, mask = batch()
    hidden, labels = DynamicMasking(vocabulary())(ids, mask, generator(0))
    target = labels != NO_TARGET
    assert torch.equal(labels[target], ids[target])
    assert torch.equal(hidden[~target], ids[~target])


def test_special_tokens_and_padding_are_never_targets() -> None:
    ids, mask = batch()
    ids[:, 5] = 1
    for draw in range(20):
        _, labels = DynamicMasking(vocabulary(), probability=0.6)(ids, mask, generator(0, draw))
        target = labels != NO_TARGET
        assert not torch.isin(ids[target], torch.tensor(SPECIAL)).any()
        assert bool(mask[target].all())


def test_a_batch_with_too_few_candidates_masks_them_all_and_one_without_none() -> None:
    ids, mask = torch.tensor([[2, 10, 3, 0]]), torch.tensor([[1, 1, 1, 0]])
    _, labels = DynamicMasking(vocabulary(), probability=1.0)(ids, mask, generator(0))
    assert labels.tolist() == [[NO_TARGET, 10, NO_TARGET, NO_TARGET]]
    ids = torch.tensor([[2, 1, 3]])
    hidden, labels = DynamicMasking(vocabulary())(ids, torch.ones_like(ids), generator(0))
    assert torch.equal(hidden, ids)
    assert bool((labels == NO_TARGET).all())


def test_eighty_ten_ten() -> None:
    masking, n, masked, kept = DynamicMasking(vocabulary()), 0, 0, 0
    for draw in range(40):
        ids, mask = batch(seed=draw)
        hidden, labels = masking(ids, mask, generator(1, draw))
        target = labels != NO_TARGET
        n += int(target.sum())
        masked += int((hidden[target] == MASK).sum())
        kept += int((hidden[target] == labels[target]).sum())
    # A random token is [MASK], or the true one, once in 1000. Four standard errors of a binomial share.
    for found, share in ((masked, 0.8 + 0.1 / SIZE), (kept, 0.1 + 0.1 / SIZE)):
        assert found / n == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n))


def test_rare_tokens_are_favoured_by_the_power_of_their_counts() -> None:
    counts = torch.ones(SIZE, dtype=torch.int64)
    rare, common = 10, 11
    counts[rare], counts[common] = 10, 1000
    ratio = 100**0.7
    ids = torch.tensor([[rare, common]])
    masking, n, hits = DynamicMasking(vocabulary(counts), probability=0.5), 4000, 0
    for draw in range(n):
        _, labels = masking(ids, torch.ones_like(ids), generator(2, draw))
        hits += int(labels[0, 0] == rare)
    share = ratio / (1 + ratio)
    assert hits / n == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n))


def test_a_token_that_the_corpus_lacks_counts_as_seen_once() -> None:
    counts = torch.zeros(SIZE, dtype=torch.int64)
    masking = DynamicMasking(vocabulary(counts))
    assert torch.isfinite(masking._weights).all()
    assert float(masking._weights[10]) == 1.0


def test_the_same_place_of_a_run_gives_the_same_mask() -> None:
    ids, mask = batch()
    masking = DynamicMasking(vocabulary())
    first = masking(ids, mask, generator(7, 3, 12))
    torch.manual_seed(99)
    again = masking(ids, mask, generator(7, 3, 12))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (generator(8, 3, 12), generator(7, 4, 12), generator(7, 3, 13), generator(7, 31, 2)):
        assert not torch.equal(masking(ids, mask, other)[1], first[1])


@pytest.mark.parametrize("wrong", [{"masked": 0.9}, {"kept": -0.1, "swapped": 0.3}, {"probability": 0.0}])
def test_shares_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        DynamicMasking(vocabulary(), **wrong)
