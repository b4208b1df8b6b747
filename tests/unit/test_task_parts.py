"""What a training split is divided into."""

from typing import Any

import pytest

from edgedistil.errors import UserError
from edgedistil.tasks.examples import Examples
from edgedistil.tasks.parts import Parts, divide

THOUSAND = Examples([(str(i),) for i in range(1000)], [i % 2 for i in range(1000)], ["a", "b"])


def task(**values: Any) -> dict[str, Any]:
    return {"held_out": 0.1} | values


def test_parts_are_disjoint_complete_and_the_same_for_a_seed() -> None:
    parts = divide(THOUSAND, task(), 3)
    assert (len(parts.train), len(parts.held_out), len(parts.test)) == (900, 100, 0)
    assert sorted(parts.train + parts.held_out) == list(range(1000))
    assert divide(THOUSAND, task(), 3) == parts
    assert divide(THOUSAND, task(), 4).held_out != parts.held_out


def test_nothing_and_too_little_to_hold_out() -> None:
    twenty = THOUSAND.take(list(range(20)))
    assert divide(twenty, task(held_out=0.0), 1) == Parts(list(range(20)), [], [])
    parts = divide(twenty, task(held_out=0.01), 1)
    assert [len(parts.train), len(parts.held_out)] == [18, 2]


def test_test_texts_are_set_aside_first_and_are_the_same_for_every_seed() -> None:
    one, other = (divide(THOUSAND, task(test_texts=300), seed) for seed in (1, 2))
    assert (len(one.train), len(one.held_out), len(one.test)) == (630, 70, 300)
    assert one.test == other.test
    assert one.held_out != other.held_out
    assert sorted(one.train + one.held_out + one.test) == list(range(1000))
    assert one.sentences == one.test


def test_a_sentence_is_set_aside_with_all_its_phrases() -> None:
    sentences = [f"{a} film {b} of {c}" for a in "abcd" for b in "efgh" for c in "ijkl"]
    phrases = [" ".join(s.split()[i:j]) for s in sentences for i, j in ((0, 2), (2, 5), (4, 5), (1, 5))]
    texts = sentences + phrases
    examples = Examples([(t,) for t in texts], [0] * len(texts), ["a", "b"])
    parts = divide(examples, task(phrases=True, test_texts=40), 1)
    learnt = {texts[i] for i in parts.train + parts.held_out}
    test = {texts[i] for i in parts.test}
    assert not learnt & test
    aside = [s for s in sentences if s in test]
    assert len(parts.test) >= 40
    assert len(aside) < len(sentences) / 2
    assert all(" ".join(s.split()[i:j]) not in learnt for s in aside for i in range(5) for j in range(i + 1, 6))
    # Beside each text of the part the whole sentence that holds it.
    named = [texts[i] for i in parts.sentences]
    assert all(f" {texts[i]} " in f" {sentence} " for i, sentence in zip(parts.test, named, strict=True))
    assert set(named) == set(aside)
    # Nothing else: every text of the part is a phrase of a sentence of it.
    assert all(any(f" {t} " in f" {s} " for s in aside) for t in test)


def test_test_texts_must_leave_something() -> None:
    with pytest.raises(UserError, match=r"task.test_texts=1000 leaves nothing to learn from: .* has 1000 texts"):
        divide(THOUSAND, task(test_texts=1000), 1)


def test_copies_of_a_text_are_set_aside_with_it() -> None:
    texts = [(str(i // 3),) for i in range(300)]
    parts = divide(Examples(texts, [0] * 300, ["a", "b"]), task(test_texts=30), 1)
    aside = {texts[i] for i in parts.test}
    assert len(parts.test) == 3 * len(aside) >= 30
    assert not aside & {texts[i] for i in parts.train + parts.held_out}
    assert [texts[i] for i in parts.sentences] == [texts[i] for i in parts.test]
    assert len(set(parts.sentences)) == len(aside)
