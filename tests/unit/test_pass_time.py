"""A pass over validation side by side: figures and ratios from known bursts, what is sent to workers, refusals."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgedistil import __main__ as command
from edgedistil.errors import UserError
from edgedistil.measurement.whole_pass import pass_figures, pass_ratio
from edgedistil.stages import pass_time
from edgedistil.workers.torch import TorchEngine


def burst(milliseconds: list[float], generation: int = 0, number: int = 0) -> dict[str, Any]:
    half = [ms / 2 for ms in milliseconds]
    return {"pass": number, "generation": generation, "wall_ms": milliseconds, "cpu_ms": half,
            "involuntary_switches": 0}


def test_a_pass_is_the_sum_of_its_texts_and_several_have_a_median() -> None:
    rounds = [burst([100, 300]), burst([600], 1), burst([2000, 1000], 2, 1), burst([1000], 3, 1), burst([3000], 4, 2)]
    assert pass_figures(rounds) == {
        "pass_s": 3.0, "pass_s_all": [1.0, 4.0, 3.0], "cpu_s": 1.5, "latency_ms_p50": 1000.0, "latency_ms_p90": 2400.0,
        "latency_ms_p99": 2940.0, "n": 7,
    }


def test_a_ratio_is_of_all_seconds_with_the_generations_interval() -> None:
    longer = [burst([400, 400]), burst([800]), burst([200], 1)]
    shorter = [burst([100, 100]), burst([600]), burst([100], 1)]
    found = pass_ratio(longer, shorter)
    assert found["ratio"] == 2.0
    assert found["generations"] == [2.0, 2.0]
    assert (found["ci95_low"], found["ci95_high"], found["bursts"]) == (2.0, 2.0, 3)
    # The bursts' own ratios are 4, 4/3 and 2.
    assert 4 / 3 - 1e-3 < found["bursts_ci95_low"] < 2 < found["bursts_ci95_high"] <= 4


def test_generations_that_differ_widen_the_interval_by_students_t() -> None:
    found = pass_ratio([burst([100]), burst([100], 1)], [burst([50]), burst([25], 1)])
    half = 12.7062 * math.log(2) / 2
    assert math.log(found["ci95_high"]) == pytest.approx(math.log(8) / 2 + half, abs=1e-3)
    assert found["ratio"] == pytest.approx(200 / 75, abs=1e-4)


def test_one_generation_says_nothing_of_the_next() -> None:
    found = pass_ratio([burst([100]), burst([300])], [burst([100]), burst([100])])
    assert (found["ci95_low"], found["ci95_high"]) == (None, None)
    assert (found["ratio"], found["bursts_ci95_low"], found["bursts_ci95_high"]) == (2.0, 1.0, 3.0)


class Clocked:
    """A worker whose time is known: a millisecond a token."""

    log: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, engine: str, threads: int, cores: Any) -> None:
        self._rows: list[list[int]] = []

    def __enter__(self) -> "Clocked":
        return self

    def __exit__(self, *_: Any) -> None:
        Clocked.log.append(("closed", self._name))

    def load(self, folder: Path, max_length: int, text: tuple[str, ...]) -> None:
        self._name = folder.name

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        if op == "prepare":
            self._rows = [row for (row,) in arguments["batches"]]
            Clocked.log.append(("padded to", arguments.get("pad_to")))
            return {}
        if op == "usage":
            return {"cpu_s": 1.5}
        own = self._rows[arguments["start"] : arguments["start"] + arguments["count"]]
        assert len(own) == arguments["count"]
        times = [float(len(row)) for row in own]
        return {"wall_ms": times, "cpu_ms": times, "involuntary_switches": 0}


def test_every_text_is_answered_once_a_pass_by_both_in_the_same_bursts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pass_time, "Worker", Clocked)
    monkeypatch.setattr(Clocked, "log", [])
    lengths = list(range(3, 26))
    rows = {"slow": [[1] * (2 * n) for n in lengths], "fast": [[1] * n for n in lengths]}
    samples, unsteady, own_cpu_s = pass_time._measure(tmp_path, rows, "torch", 1, None, 32, 3, 2, 4, 1)
    for name, factor in (("slow", 2), ("fast", 1)):
        for number in range(2):
            own = [r for r in samples[name]["real"] if r["pass"] == number]
            assert sorted(t for r in own for t in r["wall_ms"]) == [factor * n for n in lengths]
            # 23 texts in three parts of 8, 8 and 7.
            assert [len(r["wall_ms"]) for r in own] == [4, 4, 4, 4, 4, 3]
        assert [r["generation"] for r in samples[name]["real"]] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    found = pass_ratio(samples["slow"]["real"], samples["fast"]["real"])
    assert (found["ratio"], found["bursts_ci95_low"], found["bursts_ci95_high"]) == (2.0, 2.0, 2.0)
    assert unsteady == []
    assert own_cpu_s == 6 * 2 * 1.5
    assert Clocked.log.count(("padded to", 32)) == 12
    # Fresh processes: those of a part are gone before the next part's come.
    assert [what for what, _ in Clocked.log] == 6 * (2 * ["padded to"] + 2 * ["closed"])


def test_padded_texts_have_a_mask_that_says_so(tiny_folder: Callable[..., Path]) -> None:
    engine = TorchEngine()
    engine.load({"folder": str(tiny_folder("bert")), "threads": 1, "max_length": 32, "text": ["the film"]})
    packed = engine.pack([[2, 5, 3]], length=6)
    assert packed["input_ids"].tolist() == [[2, 5, 3, 0, 0, 0]]
    assert packed["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0]]
    assert engine.pack([[2, 5, 3]])["input_ids"].tolist() == [[2, 5, 3]]


@pytest.mark.parametrize(("changes", "message"), [
    ({"models": ["bert_base"]}, "--models=bert_base: give two or more of different names"),
    ({"models": ["a/x", "b/x"]}, "give two or more of different names"),
    ({"models": ["bert_base", "nope"]}, "--models='nope' is no folder; give one of bert_base, distil_minilm"),
    ({"models": ["minilm", "student_minilm"], "random_weights": False}, "student_minilm is what a training makes"),
    ({"task": "nope"}, "--task='nope' is no option of conf/task; allowed: .*sst2"),
    ({"task": "squad"}, "--task=squad is of kind question_answering: a pass is over texts"),
    ({"generations": 0}, "--generations=0 must be at least 1"), ({"burst": 0}, "--burst=0 must be at least 1"),
    ({"texts": 0}, "--texts=0 must be at least 1"), ({"pad_to": 2}, "--pad-to=2 must be at least 3"),
    ({"data": Path("nowhere")}, "task.data_dir='.*nowhere' is no folder"),
])
def test_wrong_input_is_one_line(changes: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"models": ["bert_base", "distilbert"], "task": "sst2", "random_weights": True}
    with pytest.raises(UserError, match=message) as caught:
        pass_time.pass_time(**right | changes)
    assert "\n" not in str(caught.value)


def test_the_command_hands_its_options_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                          tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(pass_time, "pass_time", lambda **given: asked.update(given) or {"kind": "pass_time"})
    monkeypatch.setattr(pass_time, "table", lambda record: "a table")
    words = ["--models", "a", "b", "--random", "--task", "stsb", "--data", "d", "--pad-to", "128"]
    assert command.main(["pass-time", *words, "--output", str(tmp_path / "r.json")]) == 0
    assert asked == {"models": ["a", "b"], "task": "stsb", "data": Path("d"), "engine": "torch", "threads": 1,
                     "texts": None, "pad_to": 128, "generations": 5, "passes": 1, "burst": 10, "random_weights": True}
    assert capsys.readouterr().out.startswith("a table\nrecord: ")
    assert command.main(["pass-time", *words, "--output", str(tmp_path / "no" / "r.json")]) == 2
