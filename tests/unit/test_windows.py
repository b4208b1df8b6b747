"""Windows of a hand-made text, answers chosen by hand-worked scores, and SQuAD's metrics in their edge cases."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchmetrics.functional.text.squad import squad

from edgedistil.errors import UserError
from edgedistil.tasks.encode import load_tokenizer
from edgedistil.tasks.questions import Questions
from edgedistil.tasks.span_answers import answers, best_pair
from edgedistil.tasks.span_metrics import exact_match, normalised, span_scores, token_f1
from edgedistil.tasks.windows import Window, windows

CONTEXT = "the film was very good and the plot was dull"
TASK = {"max_length": 10, "stride": 2, "max_question_length": 3, "n_best": 20, "max_answer_length": 30}


def asked(question: str, answer: str, context: str = CONTEXT) -> Questions:
    return Questions(["q"], [context], [question], [[answer]], [context.index(answer)])


@pytest.fixture
def tokenizer(tokenizer_file: Path) -> Any:
    return load_tokenizer(tokenizer_file.parent, 512)


def test_windows_overlap_and_know_their_characters(tokenizer: Any) -> None:
    found = windows(tokenizer, asked("is it good", "good and"), TASK, offsets=True)
    # [CLS] is it good [SEP] and four tokens of the context, two of them shared with the next window
    places = [[list(map(int, p)) for p in w.offsets[5:9]] for w in found]  # type: ignore[index]
    assert places == [
        [[0, 3], [4, 8], [9, 12], [13, 17]],
        [[9, 12], [13, 17], [18, 22], [23, 26]],
        [[18, 22], [23, 26], [27, 30], [31, 35]],
        [[27, 30], [31, 35], [36, 39], [40, 44]],
    ]
    for window in found:
        assert (len(window), window.context, window.question) == (10, (5, 9), 0)
        assert tokenizer.decode(window.ids[:5].tolist(), skip_special_tokens=False) == "[CLS] is it good [SEP]"
        assert window.ids[-1] == 3
        assert window.types.tolist() == [0] * 5 + [1] * 5
        assert not window.offsets[:5].any()  # type: ignore[index]
        assert not window.offsets[9:].any()  # type: ignore[index]
    # whole in the two windows of the middle, cut or absent in the others, which point at [CLS]
    assert [(w.start, w.end) for w in found] == [(0, 0), (7, 8), (5, 6), (0, 0)]


def test_an_answer_cut_by_a_window_points_at_the_first_token(tokenizer: Any) -> None:
    found = windows(tokenizer, asked("is it good", "very good"), TASK, offsets=False)
    assert [(w.start, w.end) for w in found] == [(0, 0), (6, 7), (0, 0), (0, 0)]
    assert all(w.offsets is None for w in found)


def test_an_answer_inside_a_word_takes_the_whole_token(tokenizer: Any) -> None:
    (found,) = windows(tokenizer, asked("is it good", "oo"), TASK | {"max_length": 64}, offsets=False)
    assert (found.start, found.end) == (9, 9)


@pytest.mark.parametrize(("question", "kept"), [
    ("is it good and funny", "is it good"), ("is it fastly good", "is it fast"), ("is it", "is it"),
])
def test_long_questions_are_cut(tokenizer: Any, question: str, kept: str) -> None:
    for window in windows(tokenizer, asked(question, "dull"), TASK, offsets=False):
        first = window.context[0]
        assert window.ids[1 : first - 1].tolist() == tokenizer.encode(kept, add_special_tokens=False).ids


@pytest.mark.parametrize("context", ["thé film was dull", "the\u0301 film was dull", "\U0001f3ac film  was\tdull ."])
def test_offsets_count_characters_of_the_original(tokenizer: Any, context: str) -> None:
    for answer in ("film", "dull"):
        (found,) = windows(tokenizer, asked("is it", answer, context), TASK | {"max_length": 64}, offsets=True)
        assert found.offsets is not None
        assert context[found.offsets[found.start, 0] : found.offsets[found.end, 1]] == answer


def test_several_questions_keep_their_order(tokenizer: Any) -> None:
    both = Questions(["a", "b"], [CONTEXT, "the plot was dull"], ["is it", "was it"], [["dull"]] * 2, [40, 13])
    assert [w.question for w in windows(tokenizer, both, TASK, offsets=False)] == [0, 0, 0, 1]


@pytest.mark.parametrize("change", [{"stride": 4}, {"max_length": 8}, {"max_question_length": 5}])
def test_a_window_without_room_is_the_users_error(tokenizer: Any, change: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"leaves . tokens for the context .* lower task.stride or task.max_question"):
        windows(tokenizer, asked("is it", "dull"), TASK | change, offsets=False)


# tokens 3 to 6 are the context; the best scores stand outside of it
SCORES = np.array([[9, 0, 0, 1, 5, 2, 0, 9], [9, 0, 0, 4, 1, 3, 2, 9]], np.float32)


@pytest.mark.parametrize(("n_best", "longest", "expected"), [
    (20, 30, (8.0, 4, 5)),  # start 4 and end 3 would be 9, but end before they start
    (2, 30, (8.0, 4, 5)),
    (20, 1, (6.0, 4, 4)),
    (1, 30, None),  # the one start is token 4, the one end token 3
])
def test_best_pair_by_hand(n_best: int, longest: int, expected: Any) -> None:
    assert best_pair(SCORES, (3, 7), n_best, longest) == expected


def test_no_context_has_no_pair() -> None:
    assert best_pair(SCORES, (4, 4), 20, 30) is None


def test_n_best_of_all_tokens_finds_the_best_of_all_pairs() -> None:
    chance = np.random.default_rng(0)
    for _ in range(20):
        logits = chance.normal(size=(2, 30)).astype(np.float32)
        every = [(float(np.float64(logits[0, i]) + np.float64(logits[1, j])), i, j)
                 for i in range(5, 25) for j in range(i, min(i + 7, 25))]
        assert best_pair(logits, (5, 25), 30, 7) == max(every)


def part(question: int, offsets: list[tuple[int, int]]) -> Window:
    places = np.array([(0, 0), *offsets, (0, 0)], np.int32)
    n = len(places)
    return Window(question, np.zeros(n, np.int32), np.zeros(n, np.int8), places, (1, n - 1), 0, 0)


def test_the_best_window_answers_in_the_words_of_the_context() -> None:
    both = Questions(["a", "b"], ["Good, and  BAD", "never"], ["?", "?"], [["x"], ["x"]], [0, 0])
    parts = [part(0, [(0, 4), (4, 5)]), part(0, [(6, 9), (11, 14)]), part(1, [])]
    raw: list[Any] = [[[0, 1, 0, 0]] * 2, [[0, 2, 0, 0], [0, 0, 1, 0]], [[5, 5]] * 2]
    logits = [np.array(x, np.float32) for x in raw]
    found = answers(both, parts, logits, TASK)
    assert [a.text for a in found] == ["and  BAD", ""]
    assert (found[0].begin, found[0].end, found[0].score) == (6, 14, 3.0)
    assert (found[1].begin, found[1].end) == (0, 0)
    # among equals the earlier window
    logits[1] = logits[0]
    assert answers(both, parts, logits, TASK)[0].text == "Good"


@pytest.mark.parametrize(("answer", "expected", "exact", "f1"), [
    ("The  Cat's!", ["cats"], 1, 1.0),
    ("an apple a day", ["apple, day"], 1, 1.0),
    ("theatre", ["atre"], 0, 0.0),
    ("", ["x"], 0, 0.0),
    ("the", ["a"], 1, 0.0),  # both are empty once normalised: the official script of 1.1 counts no shared word
    ("new new york", ["new york york"], 0, 2 / 3),
    ("in paris france", ["paris", "in paris"], 0, 0.8),
    ("4.5", ["45"], 1, 1.0),
    ("\u201ccat\u201d", ["cat"], 0, 0.0),  # only ASCII punctuation goes
])
def test_metrics_by_hand(answer: str, expected: list[str], exact: int, f1: float) -> None:
    assert exact_match(answer, expected) == exact
    assert token_f1(answer, expected) == pytest.approx(f1)


def test_metrics_equal_torchmetrics() -> None:
    chance = random.Random(1)
    words = ["The", "a", "cat's", "dog", "dog.", "an", "New", "york,", "1,000", "x-y"]
    several = 0
    for _ in range(300):
        own, *theirs = (" ".join(chance.choices(words, k=chance.randint(1, 4))) for _ in range(3))
        if not all(normalised(text) for text in (own, *theirs)):
            continue
        several += 1
        answer = {"answers": {"answer_start": [0, 0], "text": theirs}, "id": "1"}
        reference = squad([{"prediction_text": own, "id": "1"}], [answer])
        scores = span_scores([own], [theirs])
        assert 100 * scores["f1"][0] == pytest.approx(float(reference["f1"]), abs=1e-4)
        assert 100 * scores["exact_match"][0] == float(reference["exact_match"])
    assert several > 200
