"""Generated reviews: the same for the same arguments, with the noise and the unseen adjectives that they promise."""

from typing import Any

import pytest
from scipy.stats import binom

from edgedistil.errors import UserError
from edgedistil.tasks import generated
from edgedistil.tasks.generated import generate

N = 4000


def reviews(split: str = "train", seed: int = 1, noise: float = 0.0) -> dict[str, list[Any]]:
    return generate(split, "reviews", train=N, validation=N // 2, seed=seed, label_noise=noise)


def within(count: int, n: int, share: float) -> bool:
    """Whether a count is inside the central 99.99 % of the binomial distribution."""
    return bool(binom.ppf(0.00005, n, share) <= count <= binom.ppf(0.99995, n, share))


def words(columns: dict[str, list[Any]]) -> set[str]:
    return {word for sentence in columns["sentence"] for word in sentence.split()}


def test_same_arguments_give_the_same_and_other_seeds_others() -> None:
    assert reviews() == reviews()
    assert reviews(seed=2)["sentence"] != reviews()["sentence"]
    assert reviews("validation")["sentence"] != reviews()["sentence"][: N // 2]


def test_sizes_and_both_classes() -> None:
    for split, n in (("train", N), ("validation", N // 2)):
        columns = reviews(split)
        assert len(columns["sentence"]) == len(columns["label"]) == n
        assert within(sum(columns["label"]), n, 0.5)
        assert set(columns["label"]) == {0, 1}


def test_adjectives_of_validation_are_never_in_train_nor_the_other_way() -> None:
    train, validation = words(reviews()), words(reviews("validation"))
    for adjectives in (generated._GOOD, generated._BAD):
        assert set(adjectives["train"]) <= train
        assert set(adjectives["validation"]) <= validation
        assert not set(adjectives["validation"]) & train
        assert not set(adjectives["train"]) & validation


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_the_stated_share_of_labels_is_flipped_and_no_sentence_changes(noise: float) -> None:
    clean, noisy = reviews(), reviews(noise=noise)
    assert clean["sentence"] == noisy["sentence"]
    flips = sum(a != b for a, b in zip(clean["label"], noisy["label"], strict=True))
    assert within(flips, N, noise)


def test_plain_and_negated_sentences_mean_what_their_label_says() -> None:
    good, bad = set(generated._GOOD["train"]), set(generated._BAD["train"])
    checked = 0
    columns = reviews()
    for sentence, label in zip(columns["sentence"], columns["label"], strict=True):
        found = [w for w in sentence.split() if w in good | bad]
        if len(found) != 1:
            continue
        negated = any(n in sentence for n in (" not ", " never ", " anything but ", " far from ", " hardly ", " less "))
        assert label == int((found[0] in good) != negated), sentence
        checked += 1
    assert checked > N / 4


def test_unknown_generator_is_the_users_error() -> None:
    with pytest.raises(UserError, match=r"task\.generator\.name='poems' is unknown; allowed: reviews"):
        generate("train", "poems", 1, 1, 1, 0.0)
