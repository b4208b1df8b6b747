"""The generated tasks beside reviews and spans: seeded, with the stated noise, unseen words and true labels."""

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import binom

from edgedistil.errors import UserError
from edgedistil.tasks import (
    generated_acceptability,
    generated_pairs,
    generated_similarity,
    generated_three_classes,
)
from edgedistil.tasks.generated import OTHER_KINDS, generate
from edgedistil.tasks.generated_labels import with_noise

N = 2000
KINDS = [kind for kind in OTHER_KINDS if kind != "spans"]


def made(kind: str, split: str = "train", seed: int = 1, noise: float = 0.0) -> dict[str, list[Any]]:
    return generate(split, kind, train=N, validation=N // 2, seed=seed, label_noise=noise)


def texts(columns: dict[str, list[Any]]) -> list[tuple[str, ...]]:
    return list(zip(*(values for name, values in columns.items() if name != "label"), strict=True))


def within(count: int, n: int, share: float) -> bool:
    """Whether a count is inside the central 99.99 % of the binomial distribution."""
    return bool(binom.ppf(0.00005, n, share) <= count <= binom.ppf(0.99995, n, share))


@pytest.mark.parametrize("kind", KINDS)
def test_same_arguments_give_the_same_and_other_seeds_others(kind: str) -> None:
    assert made(kind) == made(kind)
    assert texts(made(kind, seed=2)) != texts(made(kind))
    assert len(made(kind)["label"]) == N
    assert len(made(kind, "validation")["label"]) == N // 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_the_texts_is_the_beginning_of_more(kind: str) -> None:
    few = generate("train", kind, train=50, validation=1, seed=1, label_noise=0.3)
    assert {name: values[:50] for name, values in made(kind, noise=0.3).items()} == few


@pytest.mark.parametrize("kind", KINDS)
def test_the_stated_share_of_labels_is_wrong_and_no_text_changes(kind: str) -> None:
    clean, noisy = made(kind), made(kind, noise=0.1)
    assert texts(clean) == texts(noisy)
    changed = sum(a != b for a, b in zip(clean["label"], noisy["label"], strict=True))
    assert within(changed, N, 0.1)


def test_noise_takes_each_other_label_alike() -> None:
    labels = [0] * 6000
    noisy = with_noise(labels, (0, 1, 2), 0.5, "seed")
    assert within(noisy.count(1), 6000, 0.25)
    assert within(noisy.count(2), 6000, 0.25)
    assert with_noise(labels, (0, 1, 2), 0.0, "seed") == labels


CONTENT: dict[str, Callable[[str], set[str]]] = {
    "pairs": lambda split: {word for place, aim, events in generated_pairs._PLACES[split]
                            for word in " ".join((place, *events)).split()},
    "three_classes": lambda split: {w for pair in (*generated_three_classes._NOUNS[split],
                                                   *generated_three_classes._OPPOSITES[split]) for w in pair},
    "similarity": lambda split: {word for part in generated_similarity._PARTS for sort in part[split]
                                 for meaning in sort for words in meaning for word in words.split()},
    "acceptability": lambda split: {w.split()[0] for entry in (*generated_acceptability._NOUNS[split],
                                                               *generated_acceptability._VERBS[split]) for w in entry}
    | set(generated_acceptability._QUALITIES[split]),
}
# What every English sentence is made of.
GRAMMAR = {"a", "an", "the", "in", "on", "at", "to", "of", "with", "after", "some", "two", "behind", "up"}


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_validation_are_not_in_train(kind: str) -> None:
    seen = {split: {word for text in texts(made(kind, split)) for part in text for word in part.split()}
            for split in ("train", "validation")}
    for split, other in (("train", "validation"), ("validation", "train")):
        own = CONTENT[kind](split) - GRAMMAR
        spoken = {word for words in own for word in words.split()}
        assert spoken <= seen[split]
        assert not spoken & seen[other], spoken & seen[other]


@pytest.mark.parametrize(("kind", "shares"), [("pairs", [0.5, 0.5]), ("three_classes", [1 / 3] * 3),
                                              ("acceptability", [0.5, 0.5])])
def test_classes_are_even(kind: str, shares: list[float]) -> None:
    labels = made(kind)["label"]
    assert all(within(labels.count(i), N, share) for i, share in enumerate(shares))


def test_a_pair_follows_when_person_and_place_do() -> None:
    columns = made("pairs")
    by_place = {place: set(events) for place, _, events in generated_pairs._PLACES["train"]}
    kinds = set()
    for first, second, label in zip(*columns.values(), strict=True):
        who, place = re.match(r"(\w+) went to the (\w+) to .* \.$", first).groups()  # type: ignore[union-attr]
        other, event = re.match(r"(?:there|then|later) (\w+) (.*) \.$", second).groups()  # type: ignore[union-attr]
        same_person, same_place = who == other, event in by_place[place]
        assert label == int(same_person and same_place)
        kinds.add((same_person, same_place))
    assert kinds == {(True, True), (True, False), (False, True)}


def test_hypotheses_say_what_their_label_says() -> None:
    kind_of = dict(generated_three_classes._NOUNS["train"])
    opposite = {a: b for pair in generated_three_classes._OPPOSITES["train"] for a, b in (pair, pair[::-1])}
    labels = {name: i for i, name in enumerate(generated_three_classes.LABELS)}
    for premise, hypothesis, label in zip(*made("three_classes").values(), strict=True):
        like, noun, here = re.match(r"the (\w+) (\w+) is ((?:in|near|behind|at|on|by) the \w+)$", premise).groups()  # type: ignore[union-attr]
        if noun not in kind_of:
            # The premise names the kind, the hypothesis one of them.
            assert kind_of[re.match(r"there is an? (\w+) ", hypothesis)[1]] == noun  # type: ignore[index]
            assert label == labels["neutral"]
            continue
        kind = kind_of[noun]
        follows = {f"the {noun} is {here}", f"there is a {kind} {here}", f"the {noun} is {like}",
                   f"the {noun} is not {opposite[like]}"}
        denies = {f"the {noun} is {opposite[like]}", f"there is no {kind} {here}", f"the {noun} is not {like}"}
        if hypothesis in follows:
            assert label == labels["entailment"]
        elif hypothesis in denies or re.match(rf"the {noun} is (in|near|behind|at|on|by) the", hypothesis):
            assert label == labels["contradiction"]
        else:
            assert label == labels["neutral"]
            assert noun in hypothesis


def test_similarity_is_the_sum_of_its_parts() -> None:
    chance, sorts = random.Random(1), generated_similarity._WHAT["train"]
    seen = set()
    for _ in range(500):
        first, second, score = generated_similarity._part(chance, sorts, 0.5)
        place = {words: (s, m) for s, sort in enumerate(sorts) for m, meaning in enumerate(sort) for words in meaning}
        a, b = place[first], place[second]
        assert score == (1.0 if a == b else 0.4 if a[0] == b[0] else 0.0)
        seen.add(score)
    assert seen == {0.0, 0.4, 1.0}
    labels = made("similarity")["label"]
    assert min(labels) < 0.5
    assert max(labels) == 5.0
    # All of the scale is there.
    assert all(sum(low <= x < low + 1 for x in labels) > 100 for low in range(5))
    same = [label for a, b, label in zip(*made("similarity").values(), strict=True) if a == b]
    assert set(same) <= {5.0}


@pytest.mark.parametrize("shape", generated_acceptability._SHAPES)
def test_one_thing_is_wrong_with_what_is_no_english(shape: Callable[..., str]) -> None:
    for seed in range(30):
        right, wrong = (shape(random.Random(seed), "train", r) for r in (True, False))
        assert right != wrong
    # Verbs whose past is their participle ("followed") have no wrong past.
    assert "has follow " in generated_acceptability._participle(_First(4), "train", False) + " "


class _First(random.Random):
    """Chooses the entry ``index`` of every list that is long enough, else the first."""

    def __init__(self, index: int) -> None:
        super().__init__(0)
        self._index = index + 1

    def choice(self, seq: Any) -> Any:
        return seq[self._index] if len(seq) > self._index else seq[0]


def test_examples_of_acceptability() -> None:
    sentences = dict(zip(made("acceptability")["sentence"], made("acceptability")["label"], strict=True))
    for text, label in sentences.items():
        if re.search(r"\bhas (saw|took|knew|broke|wrote)\b", text) or re.search(r"^(him|her|them|us) ", text):
            assert label == 0
        if re.search(r"\bhas (seen|taken|known|broken|written)\b", text) or re.search(r"^(he|she|they|we) ", text):
            assert label == 1


def test_unknown_generator_and_noise_without_labels() -> None:
    with pytest.raises(UserError, match="allowed: reviews, pairs, three_classes, similarity, acceptability, spans"):
        generate("train", "poems", 1, 1, 1)
    with pytest.raises(UserError, match=r"label_noise=0\.1: generated questions have none"):
        generate("train", "spans", 1, 1, 1, label_noise=0.1)
