"""Training loops side by side: figures and ratios from known bursts, the protocol, and what is refused."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from edgedistil import __main__ as command
from edgedistil.errors import UserError
from edgedistil.measurement.training import training_figures, training_ratio
from edgedistil.peers import training as worker
from edgedistil.stages import training_speed
from edgedistil.stages.named import model_group
from edgedistil.stages.training_speed import table


def burst(generation: int, seconds: float, real: int, places: int) -> dict[str, Any]:
    """Two steps that took ``seconds`` in all and trained ``real`` tokens of ``places``."""
    return {"generation": generation, "wall_ms": [400 * seconds, 600 * seconds], "real_tokens": [real // 2, real // 2],
            "places": [places // 4, places - places // 4]}


def test_tokens_per_second_are_of_all_real_tokens_and_all_seconds() -> None:
    found = training_figures([burst(0, 2.0, 1000, 1600), burst(0, 0.5, 200, 400)])
    assert found == {"real_tokens_per_s": 480.0, "padding_share": 0.4, "steps": 4, "bursts": 2, "real_tokens": 1200,
                     "seconds": 2.5}


def test_a_ratio_is_the_mean_of_the_generations_logarithms() -> None:
    ours = [burst(0, 1.0, 800, 800), burst(0, 3.0, 800, 800), burst(1, 1.0, 800, 800)]
    # Generation 0: 400 against 200 tokens/s over all its bursts; generation 1: 800 against 100.
    theirs = [burst(0, 1.0, 400, 800), burst(0, 3.0, 400, 800), burst(1, 2.0, 200, 800)]
    found = training_ratio(ours, theirs)
    assert found["ratio"] == pytest.approx(4.0)
    # Student's t of one degree of freedom at 97.5 %, times the standard error of ln 2 and ln 8.
    half = 12.7062 * (math.log(8) - math.log(2)) / 2
    assert math.log(found["ci95_high"]) == pytest.approx(math.log(4) + half, rel=1e-3)
    assert found["generations"] == 2


def test_one_generation_has_the_interval_of_its_rounds() -> None:
    ours = [burst(0, 1.0, real, 800) for real in (200, 400, 800)]
    found = training_ratio(ours, [burst(0, 1.0, 200, 800)] * 3)
    assert (found["ratio"], found["ci95_low"], found["ci95_high"]) == (2.0, 1.0, 4.0)


def test_the_table_shows_what_the_record_holds() -> None:
    rounds = {"edgedistil": (1.0, 1000, 1000), "trainer_longest": (2.0, 1000, 1250),
              "trainer_max_length": (4.0, 1000, 2000)}
    samples = {name: {"steps": [burst(g, *of) for g in (0, 1)]} for name, of in rounds.items()}
    record = {"arms": training_speed._figures(samples), "model": "m", "environment": {"cpu": "a chip"},
              "measurement": {"batch_size": 8, "generations": 2, "burst": 2, "dtype": "float32"}}
    head, _, *lines, _, note = table(record).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, *lines)]
    assert cells[0] == ["loop", "real tokens/s", "padding %", "ours / this [95 %]", "n"]
    assert [row[1:] for row in cells[1:]] == [
        ["1,000", "0.0", "", "4 steps"], ["500", "20.0", "2.00 [2.00, 2.00]", "4 steps"],
        ["250", "50.0", "4.00 [4.00, 4.00]", "4 steps"],
    ]
    assert [row[0].split(":")[0] for row in cells[1:]] == list(worker.ARMS)
    assert "2 generations of processes, bursts of 2 steps" in note


def test_a_loop_is_held_up_after_each_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    def exit_now(code: int) -> None:
        ended.append(code)
        raise SystemExit

    monkeypatch.setattr(worker.os, "_exit", exit_now)
    requests = [{"op": "prepare"}, {"op": "time", "count": 2}, {"op": "time", "count": 1}]
    answers = io.StringIO()
    bursts = worker.Bursts(io.StringIO("".join(json.dumps(r) + "\n" for r in requests)), answers)
    bursts.begin()
    bursts.step(5, 8)
    assert len(answers.getvalue().splitlines()) == 2, "an answer before the burst was over"
    bursts.step(6, 9)
    with pytest.raises(SystemExit):
        bursts.step(7, 10)
    assert ended == [0]
    begun, prepared, first, second = map(json.loads, answers.getvalue().splitlines())
    assert begun["pid"] == worker.os.getpid()
    assert prepared == {}
    assert (first["real_tokens"], first["places"]) == ([5, 6], [8, 9])
    assert (second["real_tokens"], second["places"]) == ([7], [10])
    assert len(first["wall_ms"]) == len(first["cpu_ms"]) == 2
    assert min(first["wall_ms"]) >= 0


def test_padded_rows_know_what_is_special_and_what_is_padding() -> None:
    import numpy as np

    corpus = [np.array([2, 9, 8, 3], np.uint16)]
    assert worker._Rows(corpus, 6, 0, [0, 2, 3])[0] == {
        "input_ids": [2, 9, 8, 3, 0, 0], "attention_mask": [1, 1, 1, 1, 0, 0],
        "special_tokens_mask": [1, 0, 0, 1, 1, 1],
    }
    assert worker._Rows(corpus, None, 0, [0, 2, 3])[0]["input_ids"] == [2, 9, 8, 3]


@pytest.mark.parametrize(("changes", "message"), [
    ({"seconds": 0}, "--seconds=0 must be above 0"), ({"batch_size": 0}, "--batch-size=0 must be at least 1"),
    ({"model": "nope"}, "--model='nope' is no folder; give one of bert_base, distil_minilm"),
    ({"texts": Path("no.txt")}, "--texts: no file"),
])
def test_wrong_input_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(training_speed, "find_spec", lambda name: object())
    texts = tmp_path / "a.txt"
    texts.write_text("a text\n")
    with pytest.raises(UserError, match=message):
        training_speed.training_speed(**{"model": str(tmp_path), "texts": texts} | changes)


def test_a_missing_accelerate_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_speed, "find_spec", lambda name: None)
    assert command.main(["training-speed", "--model", "distil_minilm", "--texts", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: transformers' Trainer needs accelerate")
    assert "edgedistil[peers]" in line


def test_a_model_is_an_option_of_conf_or_a_folder(tmp_path: Path) -> None:
    named = model_group("distil_minilm")
    assert (named["origin"], named["convert_to"], named["weights"]) == ("package", "distilbert", "pretrained")
    assert "defaults" not in named
    own = model_group(str(tmp_path))
    assert (own["origin"], own["location"], own["convert_to"]) == ("folder", str(tmp_path), None)
