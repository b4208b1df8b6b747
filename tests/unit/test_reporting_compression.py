"""What reports say of compression: goals, products of parts, chains, the frontier; from records and answers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgedistil.errors import UserError
from edgedistil.reporting.ablation import ablation_tables, chain
from edgedistil.reporting.cells import Measured, measured_cells, parts_of
from edgedistil.reporting.goals import (
    answers,
    available,
    drop_of,
    goals_report,
    kept_share,
    speed_of,
    times_smaller,
    verdict_of_drop,
    verdict_of_speed,
)
from edgedistil.reporting.multiply import drop_sum, fours, multiply_tables, size_product, speed_product
from edgedistil.reporting.pareto import draw, frontier_table, frontier_tables, mark_front
from edgedistil.reporting.report import pictures
from edgedistil.reporting.rows import row, rows
from edgedistil.reporting.table import matrix, notes

N = 1000
CUT = {"method": "structured", "ratio": 0.5}
TEACH = {"method": "distillation", "steps": 600}
WORDS = {"method": "trimmed", "min_count": 1}
INT8 = {"method": "int8_dynamic", "embeddings": True}
Make = Callable[..., dict[str, Any]]


def compression(**parts: Any) -> dict[str, Any]:
    none = {"method": "none"}
    return {"pruning": none, "recovery": none, "quantization": none, "graph": {"padding": True}} | parts


def wrong(*sentences: int) -> np.ndarray:
    right = np.ones(N, bool)
    right[list(sentences)] = False
    return right


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make(compression, right, parent, mb=, faster=)``: the outcome of a cell, its record and answers in a store."""
    made = 0

    def answers_of(right: np.ndarray, phrases: bool = False) -> dict[str, str]:
        nonlocal made
        made += 1
        folder = tmp_path / "store" / "artifacts" / "predict" / f"p{made}"
        folder.mkdir(parents=True)
        (folder / "artifact.json").write_text("{}")
        logits = np.stack([~right, right], 1).astype(np.float32)
        # Ten phrases of each sentence.
        kept = {"sentences": np.arange(N) // 10} if phrases else {}
        kept |= {"logits": logits, "labels": np.ones(N, np.int64)}
        save_file(kept, folder / "predictions.safetensors")
        return {"step": "predict", "fingerprint": folder.name}

    def scores(right: np.ndarray, parent: np.ndarray) -> dict[str, Any]:
        lost, gained = int((parent & ~right).sum()), int((right & ~parent).sum())
        points = {"accuracy_points": 100 * (gained - lost) / N, "lost": lost, "gained": gained, "mcnemar_p": 1.0}
        bounds = {"accuracy_ci95_low": 0.8, "accuracy_ci95_high": 0.9}
        return {"accuracy": right.mean().item(), "n": N, "right": int(right.sum()), **bounds, "against_parent": points}

    def one(
        how: dict[str, Any], right: np.ndarray, parent: np.ndarray, mb: float = 90.0, faster: float = 2.0,
        spread: float = 1.02, seed: int = 1, test: bool = False, timed: bool = True,
    ) -> dict[str, Any]:
        nonlocal made
        made += 1
        folder = tmp_path / "store" / "artifacts" / "bench" / f"b{made}"
        folder.mkdir(parents=True)
        own, base = answers_of(right), answers_of(parent)
        inputs = {"predictions": own, "parent_predictions": base, "parent": {"step": "export", "fingerprint": "x"}}
        if test:
            inputs |= {"test_predictions": answers_of(right, True), "test_parent_predictions": answers_of(parent, True)}
        names = {"model": "m", "task": "sst2", "compression": "-".join(parts_of(how)) or "dense", "device": "cpu"}
        ratio = {"ratio": faster, "ci95_low": faster / spread, "ci95_high": faster * spread, "verdict": "faster"}
        memory = {phase: {"peak_rss_mb": 100.0} for phase in ("after_load", "batch_1", "batches")}
        latency = {f"latency_ms_p{p}": 10 / faster for p in (50, 90, 99)} | {"cpu_ms_p50": 1.0, "n": 128}
        times = {
            "latency": {"tokens_32": latency}, "speedup": {"torch_fp32": {"tokens_32": ratio}}, "throughput": {},
            "cold_start": {"cold_start_ms_p50": {"total": 200.0}}, "memory": memory, "baselines": {},
            "valid": True, "invalid_because": [],
        }
        record = {
            "schema_version": 3,
            "fingerprint": folder.name, "names": names, "compression": how, "device": {"threads": 1}, "seed": seed,
            "quality": scores(right, parent) | {"sample": False}, "size": {"model_mb": mb}, "model": {},
            "parent_size": {"model_mb": 90.0}, "environment": {"isa": ["avx2"]},
            **(times if timed else {"timed": False}),
        }
        if test:
            record["test_quality"] = scores(right, parent) | {"kept_from_training": True}
        (folder / "record.json").write_text(json.dumps(record))
        (folder / "artifact.json").write_text(json.dumps({"inputs": inputs}))
        return {"status": "done", "step": "bench", "folder": str(folder), "names": names, "stage": "bench",
                "fingerprint": folder.name, "overrides": ["task=sst2", f"seed={seed}", "task.data_dir=my data"]}

    return one


def cells(*outcomes: dict[str, Any]) -> list[Measured]:
    return measured_cells(outcomes)


def test_a_four_bit_table_is_a_part_of_its_own() -> None:
    found = parts_of(compression(quantization={"method": "int8_dynamic", "embeddings": "int4", "block_size": 32}))
    assert found == {"quantization": {"method": "int8_dynamic", "embeddings": True},
                     "table": {"embeddings": "int4", "block_size": 32}}
    assert list(parts_of(compression(vocabulary=WORDS, pruning=CUT))) == ["pruning", "vocabulary"]
    assert parts_of(compression()) == {}


def test_cells_are_read_once_and_answers_by_sentence(make: Make) -> None:
    outcome = make(compression(), wrong(3, 7), wrong(7))
    both = cells(outcome, outcome, {"status": "failed"}, {"status": "skipped"})
    assert len(both) == 1
    assert np.flatnonzero(~both[0].right("predictions")).tolist() == [3, 7]
    assert both[0].right("test_predictions") is None


def test_a_record_that_is_gone_is_said(make: Make) -> None:
    outcome = make(compression(), wrong(), wrong())
    (Path(outcome["folder"]) / "record.json").unlink()
    with pytest.raises(UserError, match="no longer in the store"):
        cells(outcome)


def four(make: Make, *, both_faster: float = 6.0, both_wrong: tuple[int, ...] = (0, 1, 2, 10, 11)) -> list[Measured]:
    parent = wrong(0)
    return cells(
        make(compression(), wrong(0), parent, 90.0, 1.0),
        make(compression(pruning=CUT), wrong(0, 1, 2), parent, 60.0, 2.0),
        make(compression(quantization=INT8), wrong(0, 10, 11), parent, 30.0, 3.0),
        make(compression(pruning=CUT, quantization=INT8), wrong(*both_wrong), parent, 20.0, both_faster),
    )


def test_two_parts_that_multiply_exactly(make: Make) -> None:
    [pair] = fours(four(make))
    assert pair.names == ("structured 50 %", "int8_dynamic")
    assert size_product(pair) == pytest.approx((1.5, 3.0, 4.5))
    speed = speed_product(pair)
    assert speed is not None
    assert (speed["first"], speed["second"], speed["both"], speed["share"]) == pytest.approx((2.0, 3.0, 6.0, 1.0))
    # Four intervals of ± 2 %: twice as wide on the logarithmic scale.
    assert speed["high"] == pytest.approx(math.exp(2 * math.log(1.02)))
    drop = drop_sum(pair)
    assert drop is not None
    assert {k: drop[k] for k in ("first", "second", "both", "more")} == pytest.approx(
        {"first": 0.2, "second": 0.2, "both": 0.4, "more": 0.0}
    )
    assert (drop["low"], drop["high"]) == (0.0, 0.0)
    assert multiply_tables(four(make))[1].splitlines()[-1].endswith("| size =, speed =, drop = |")


def test_two_parts_that_do_not_multiply(make: Make) -> None:
    [pair] = fours(four(make, both_faster=4.5, both_wrong=tuple(range(60))))
    drop, speed = drop_sum(pair), speed_product(pair)
    assert drop is not None
    assert speed is not None
    assert speed["share"] == pytest.approx(0.75)
    assert speed["high"] < 1
    # 59 lost together, 4 in the sum.
    assert drop["more"] == pytest.approx(5.5)
    # Bootstrap of the sentences: the standard error of 55 in 1000 is 0.72 points.
    assert drop["low"] == pytest.approx(5.5 - 1.96 * 0.72, abs=0.2)
    assert drop["high"] == pytest.approx(5.5 + 1.96 * 0.72, abs=0.2)
    last = multiply_tables(four(make, both_faster=4.5, both_wrong=tuple(range(60))))[1].splitlines()[-1]
    assert "size =, speed less, drop more" in last


def test_pruning_is_left_out_with_its_recovery_and_seeds_are_not_mixed(make: Make) -> None:
    parent = wrong()
    shared = [make(compression(), parent, parent), make(compression(vocabulary=WORDS), parent, parent)]
    taught = compression(pruning=CUT, recovery=TEACH)
    both = compression(pruning=CUT, recovery=TEACH, vocabulary=WORDS)
    found = fours(cells(*shared, make(taught, parent, parent), make(both, parent, parent)))
    assert [f.names for f in found] == [("structured 50 %", "vocabulary")]
    other = [make(taught, parent, parent, seed=2), make(both, parent, parent, seed=2)]
    assert fours(cells(*shared, *other)) == []
    assert multiply_tables(cells(*shared, *other)) == []


def test_recovery_alone_is_the_parent_itself(make: Make) -> None:
    parent = wrong(0)
    made = cells(
        make(compression(), wrong(0), parent, 90.0, 1.0),
        make(compression(pruning=CUT), wrong(*range(40)), parent, 60.0, 2.0),
        make(compression(pruning=CUT, recovery=TEACH), wrong(0, 1), parent, 60.0, 2.0),
    )
    [pair] = fours(made)
    assert pair.names == ("recovery", "structured 50 %")
    assert pair.first is pair.neither
    drop, speed = drop_sum(pair), speed_product(pair)
    assert drop is not None
    assert speed is not None
    assert {k: drop[k] for k in ("first", "second", "both", "more")} == pytest.approx(
        {"first": 0.0, "second": 3.9, "both": 0.1, "more": -3.8})
    # Two intervals of ± 2 %: the parent's own stands on both sides.
    assert speed["high"] == pytest.approx(math.exp(math.sqrt(2) * math.log(1.02)))
    assert "drop less" in multiply_tables(made)[1]


def test_recovery_alone_is_a_cell_of_its_own_where_tables_changed(make: Make) -> None:
    parent, rare = wrong(), WORDS | {"min_count": 20}
    bare = make(compression(vocabulary=rare), wrong(1), parent)
    alone = make(compression(vocabulary=rare, recovery=TEACH), wrong(2), parent)
    cut_alone = make(compression(vocabulary=rare, pruning=CUT), wrong(3), parent)
    both = make(compression(vocabulary=rare, pruning=CUT, recovery=TEACH | {"again": True}), wrong(4), parent)
    found = fours(cells(bare, alone, cut_alone, both))
    [pair] = [f for f in found if f.names[0] == "recovery"]
    assert [Path(o["folder"]) for o in (bare, alone, cut_alone, both)] == [c.folder for c in pair.all]


def test_a_chain_that_is_taught_twice_has_its_rows(make: Make) -> None:
    parent, rare, twice = wrong(), WORDS | {"min_count": 20}, TEACH | {"again": True}
    hows = [compression(), compression(pruning=CUT), compression(pruning=CUT, recovery=TEACH),
            compression(pruning=CUT, recovery=twice, vocabulary=rare)]
    _, table, _ = ablation_tables(cells(*(make(how, parent, parent) for how in hows)))
    assert "+ vocabulary + recovery again" in table


def test_runs_that_are_invalid_make_no_claim_of_speed(make: Make) -> None:
    def spoil(outcome: dict[str, Any]) -> dict[str, Any]:
        record = Path(outcome["folder"]) / "record.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"valid": False}))
        return outcome

    good, spoilt = point(0.9, 2.0, 10.0, valid=True), point(0.9, 9.0, 10.0, valid=False)
    assert [r["front"] for r in mark_front([good, spoilt])] == ["speed, size", ""]
    parent = wrong()
    hows = [compression(), compression(pruning=CUT), compression(quantization=INT8),
            compression(pruning=CUT, quantization=INT8)]
    made = [make(how, parent, parent, faster=2.0) for how in hows]
    spoil(made[1])
    [pair] = fours(cells(*made))
    assert speed_product(pair) is None
    assert "speed: a run is INVALID" in multiply_tables(cells(*made))[1]
    steps = stairs(make)
    spoil(steps[1])
    lines = ablation_tables(cells(*steps))[1].splitlines()[2:]
    assert [line.count("INVALID") for line in lines] == [0, 2, 0, 0, 0]
    assert [line.count("× ") for line in lines] == [0, 0, 0, 1, 1]


def test_phrases_of_one_sentence_are_no_further_sentences(make: Make) -> None:
    # All ten phrases of a sentence are lost together.
    parent, lost = wrong(), wrong(*range(60))
    [cell] = cells(make(compression(quantization=INT8), lost, parent, test=True))
    alone, together = drop_of([cell]), drop_of([cell], test=True)
    assert alone is not None
    assert together is not None
    assert (alone.n, alone.clusters, together.n, together.clusters) == (N, N, N, 100)
    assert together.points == alone.points == pytest.approx(6.0)
    assert together.error == pytest.approx(math.sqrt(10) * alone.error, rel=0.05)
    both = wrong(*range(60))
    found = cells(
        make(compression(), parent, parent, test=True), make(compression(pruning=CUT), parent, parent, test=True),
        make(compression(quantization=INT8), parent, parent, test=True),
        make(compression(pruning=CUT, quantization=INT8), both, parent, test=True),
    )
    [pair] = fours(found)
    by_text, by_sentence = drop_sum(pair), drop_sum(pair, "test_predictions")
    assert by_text is not None
    assert by_sentence is not None
    assert by_sentence["more"] == by_text["more"]
    # Standard error of 6 in 100 sentences, of 60 in 1000 texts.
    assert by_sentence["high"] - by_sentence["low"] == pytest.approx(2 * 196 * math.sqrt(0.06 * 0.94 / 100), rel=0.1)
    assert by_text["high"] - by_text["low"] == pytest.approx(2 * 196 * math.sqrt(0.06 * 0.94 / 1000), rel=0.1)


def test_a_repetition_is_no_further_seed_and_parents_of_two_recipes_are_not_pooled(make: Make, tmp_path: Path) -> None:
    how, parent = compression(quantization=INT8), wrong()
    goals = {"rows": [{"name": "x", "cell": {"quantization.method": ["int8_dynamic"]}}]}
    first, again, other = (make(how, wrong(*w), parent, seed=s) for w, s in (((0,), 1), ((1, 2), 1), ((3,), 2)))
    [answer] = answers(goals, cells(first, again, other))
    assert [(c.record["seed"], c.folder.name) for c in answer.cells] == [
        (1, Path(again["folder"]).name), (2, Path(other["folder"]).name)]
    record = Path(again["folder"]) / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"valid": False}))
    [answer] = answers(goals, cells(first, again, other))
    assert answer.cells[0].folder.name == Path(first["folder"]).name

    for outcome, epochs in ((first, 1), (other, 2)):
        folder = tmp_path / "store" / "artifacts" / "train" / f"t{epochs}"
        folder.mkdir(parents=True)
        options = {"trainer": {"max_epochs": epochs}, "seed": epochs}
        (folder / "artifact.json").write_text(json.dumps({"seconds": 1.0, "inputs": {}, "options": options}))
        artifact = Path(outcome["folder"]) / "artifact.json"
        inputs = json.loads(artifact.read_text())["inputs"] | {"parent": {"step": "train", "fingerprint": folder.name}}
        artifact.write_text(json.dumps({"inputs": inputs}))
    assert [len(a.cells) for a in answers(goals, cells(first, other))] == [1, 1]


def test_a_timed_record_goes_before_one_of_scores_alone(make: Make) -> None:
    how = compression(quantization=INT8)
    clocked, scored = make(how, wrong(0), wrong(), 23.0, 5.0), make(how, wrong(0), wrong(), 23.0, timed=False)
    goals = {"rows": [{"name": "x", "cell": {"quantization.method": ["int8_dynamic"]}}]}
    for order in ((clocked, scored), (scored, clocked)):
        [answer] = answers(goals, cells(*order))
        assert [c.folder.name for c in answer.cells] == [Path(clocked["folder"]).name]
    other = make(how, wrong(0), wrong(), 23.0, timed=False, seed=2)
    assert "5.00 [4.90, 5.10] (1 of 2 seeds)" in goals_report("sst2_minilm", cells(clocked, other))


def test_texts_that_the_model_may_have_learnt_from_give_no_verdict(make: Make) -> None:
    outcome = make(compression(quantization=INT8), wrong(1), wrong(), 23.0, 6.0, test=True)
    record = Path(outcome["folder"]) / "record.json"
    read = json.loads(record.read_text())
    read["test_quality"]["kept_from_training"] = False
    record.write_text(json.dumps(read))
    text = goals_report("sst2_minilm", cells(outcome))
    assert "not to be quoted: the model came fine-tuned" in text


def test_parts_without_times_or_answers_have_dashes(make: Make) -> None:
    parent = wrong()
    hows = [compression(), compression(pruning=CUT), compression(quantization=INT8),
            compression(pruning=CUT, quantization=INT8)]
    untimed = cells(*(make(how, parent, parent, timed=False) for how in hows))
    for file in untimed[0].folder.parents[1].glob("predict/*/predictions.safetensors"):
        file.unlink()
    line = multiply_tables(untimed)[1].splitlines()[-1]
    assert line.count("| -") == 6
    # Four files of one size: both have 1, as the product.
    assert line.rstrip(" |").endswith("| size =")


def stairs(make: Make, seed: int = 1) -> list[dict[str, Any]]:
    parent, hows = wrong(0), [compression()]
    for name, options in (("pruning", CUT), ("recovery", TEACH), ("vocabulary", WORDS), ("quantization", INT8)):
        hows.append(hows[-1] | {name: options})
    errors = [(0,), (0, 1, 2, 3), (0, 1), (0, 1), (1,)]
    figures = zip(hows, errors, (90, 60, 60, 45, 10), (1, 2, 2, 2, 6), strict=True)
    return [make(how, wrong(*e), parent, float(mb), float(x), seed=seed) for how, e, mb, x in figures]


def test_each_technique_adds_a_row_with_its_step(make: Make) -> None:
    made = stairs(make)
    heading, table, _ = ablation_tables(cells(*made[::-1]))
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    assert [line[0] for line in lines[2:]] == [
        "dense", "+ structured 50 %", "+ recovery", "+ vocabulary", "+ int8_dynamic"]
    at = {name: lines[0].index(name) for name in ("accuracy %", "drop (points)", "× eager FP32", "model MB")}
    assert [line[at["accuracy %"]] for line in lines[2:]] == ["99.90", "99.60", "99.80", "99.80", "99.90"]
    assert [line[at["drop (points)"]] for line in lines[2:]] == ["+0.00", "+0.30", "+0.10", "+0.10", "+0.00"]
    assert [line[at["drop (points)"] + 1] for line in lines[2:]] == ["", "-0.30", "+0.20", "+0.00", "+0.10"]
    assert [line[at["× eager FP32"] + 1] for line in lines[2:]] == ["", "× 2.00", "× 1.00", "× 1.00", "× 3.00"]
    assert [line[at["model MB"] + 1] for line in lines[2:]] == ["", "÷ 1.50", "÷ 1.00", "÷ 1.33", "÷ 4.50"]
    assert "adds a row" in heading


def test_techniques_are_judged_by_what_their_task_is(make: Make) -> None:
    made = stairs(make)
    for number, outcome in enumerate(made):
        file = Path(outcome["folder"]) / "record.json"
        record = json.loads(file.read_text())
        record["quality"]["matthews_correlation"] = 0.5 - number / 100
        record["quality"]["against_parent"]["matthews_correlation_points"] = -float(number)
        file.write_text(json.dumps(record))
    table = ablation_tables(cells(*made))[1]
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    assert lines[0][1:4] == ["Matthews × 100", "drop (points)", "step"]
    assert [line[1:4] for line in lines[2:5]] == [
        ["50.00", "+0.00", ""], ["49.00", "+1.00", "-1.00"], ["48.00", "+2.00", "-1.00"]]


def test_every_seed_has_its_chain(make: Make) -> None:
    both = cells(*stairs(make, 1), *stairs(make, 2))
    assert chain(both) is None
    heading = "### Each technique adds a row: m · sst2 · cpu, seed"
    assert ablation_tables(both)[::3] == [f"{heading} 1", f"{heading} 2"]


def test_what_is_no_chain_has_no_such_table(make: Make) -> None:
    assert chain(four(make)) is None
    made = stairs(make)
    assert chain(cells(*made[:2])) is None
    other = make(compression(pruning=CUT | {"ratio": 0.8}, recovery=TEACH), wrong(), wrong(0))
    assert chain(cells(*made[:2], other)) is None
    assert ablation_tables(cells(*made[:2], other)) == []


def point(accuracy: float, faster: float, mb: float, **more: Any) -> dict[str, Any]:
    return {"compression": f"{mb:g}", "accuracy": accuracy, "tokens_32_times_faster_than_torch_fp32": faster,
            "tokens_32_latency_ms_p50": 10 / faster, "size_model_mb": mb, **more}


def test_the_front_holds_what_nothing_beats() -> None:
    best = point(0.90, 1.0, 90.0)
    fast = point(0.88, 8.0, 40.0)
    small = point(0.86, 3.0, 10.0)
    between = point(0.87, 4.0, 39.0)
    beaten = point(0.86, 7.0, 41.0)
    assert [r["front"] for r in mark_front([best, fast, small, between, beaten])] == [
        "speed, size", "speed, size", "size", "size", ""]
    joint = point(0.86, 5.0, 30.0)
    slow, large = point(0.87, 4.0, 30.0), point(0.87, 6.0, 31.0)
    assert [r["front"] for r in mark_front([joint, slow, large])] == ["both", "size", "speed"]
    table = frontier_table(mark_front([best, fast, small, between, beaten]))
    assert "4 of 5 cells" in table[2]
    assert [line.split("|")[1].strip() for line in table[1].splitlines()[2:]] == ["40", "39", "10", "90"]


def test_a_picture_of_a_front_is_of_one_task_and_device(tmp_path: Path) -> None:
    def cells(task: str, device: str, count: int, **more: Any) -> list[dict[str, Any]]:
        named = {"status": "done", "model": "m", "task": task, "device": device}
        named |= {"quantization": "none", "masked": False}
        return [point(0.8 + n / 100, 1.0 + n, 90.0, n=872, **named, **more) for n in range(count)]

    few, most, one = cells("stsb", "cpu", 2), cells("my/task", "cpu", 3), cells("stsb", "phone", 1)
    for r in few:
        r |= {"pearson": r.pop("accuracy")}
    found = pictures([*few, *most, *one, *cells("stsb", "phone", 2, emulated=True)])
    assert found == {"pareto.png": most, "pareto_stsb_cpu.png": few}
    assert sorted(pictures([*most, *cells("my/task", "phone", 2)])) == ["pareto.png", "pareto_phone.png"]
    assert list(pictures([*few, *cells("my/task", "cpu", 2)])) == ["pareto.png", "pareto_stsb_cpu.png"]
    draw(few, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_the_front_is_of_the_test_part_where_all_have_one() -> None:
    one, two = point(0.9, 1.0, 10.0, test_accuracy=0.80), point(0.8, 1.0, 10.0, test_accuracy=0.9)
    assert [r["front"] for r in mark_front([one, two])] == ["", "speed, size"]
    assert [r["front"] for r in mark_front([one, point(0.8, 1.0, 10.0)])] == ["speed, size", ""]
    assert mark_front([{"compression": "untimed", "accuracy": 1.0}]) == [
        {"compression": "untimed", "accuracy": 1.0, "front": ""}]
    assert frontier_table(mark_front([{"compression": "untimed", "accuracy": 1.0}])) == []


def test_what_a_task_is_ranked_by_has_a_column_with_its_difference(make: Make) -> None:
    outcome = make(compression(), wrong(0), wrong())
    record = Path(outcome["folder"]) / "record.json"
    read = json.loads(record.read_text())
    read["quality"] |= {"matthews_correlation": 0.25}
    read["quality"]["against_parent"] |= {"matthews_correlation_points": -1.5}
    record.write_text(json.dumps(read))
    table = matrix([row(outcome)])
    assert "MCC × 100 (Δ)" in table
    assert "25.00 (-1.50)" in table
    assert "MCC" not in matrix([row(make(compression(), wrong(0), wrong()))])


def test_seeds_and_tasks_have_a_front_each() -> None:
    both = [point(0.9, 1.0, 10.0, task="sst2", device="cpu", seed=seed) for seed in (1, 2)]
    worse = point(0.8, 1.0, 10.0, task="sst2", device="cpu", seed=2)
    other = point(0.7, 1.0, 10.0, task="cola", device="cpu", seed=2)
    tables = frontier_tables([*both, worse, other])
    assert [r["front"] for r in (*both, worse, other)] == ["speed, size", "speed, size", "", "speed, size"]
    assert tables[::3] == [f"### What nothing beats on this device: {which}"
                           for which in ("sst2 on cpu, seed 1", "sst2 on cpu, seed 2", "cola on cpu, seed 2")]


def test_seeds_are_one_figure(make: Make) -> None:
    how = compression(quantization=INT8)
    parent = wrong()
    first = make(how, wrong(0, 1), parent, 23.0, 5.0, 1.1, seed=1)
    seeds = cells(first, make(how, wrong(0), parent, 22.0, 7.2, 1.1, seed=2))
    found = drop_of(seeds)
    assert found is not None
    assert found.seeds == pytest.approx((0.2, 0.1))
    assert found.points == pytest.approx(0.15)
    ratio = speed_of(seeds, "torch_fp32", "tokens_32")
    assert ratio is not None
    assert ratio.value == pytest.approx(6.0)
    assert ratio.high == pytest.approx(6.0 * 1.1 ** (1 / math.sqrt(2)))
    assert times_smaller(seeds, []) == pytest.approx(90 / 23)
    assert kept_share(seeds) == pytest.approx(0.9985)
    goals = {"rows": [{"name": "x", "cell": {"quantization.method": ["int8_dynamic"], "vocabulary.method": ["none"]}}]}
    assert [len(a.cells) for a in answers(goals, seeds)] == [2]


def test_the_steps_behind_a_cell_say_how_long_they_took(make: Make, tmp_path: Path) -> None:
    outcome = make(compression(pruning=CUT), wrong(), wrong())
    above: dict[str, Any] = {}
    for step, seconds in (("train", 900.0), ("prune", 40.0), ("prune", 50.0), ("export", 6.0)):
        name = f"{step}{seconds:g}"
        folder = tmp_path / "store" / "artifacts" / step / name
        folder.mkdir(parents=True)
        (folder / "artifact.json").write_text(json.dumps({"seconds": seconds, "inputs": above}))
        above = {"model": {"step": step, "fingerprint": name}}
    artifact = Path(outcome["folder"]) / "artifact.json"
    inputs = json.loads(artifact.read_text())["inputs"]
    artifact.write_text(json.dumps({"inputs": inputs | {"candidate": above["model"]}}))
    [cell] = cells(outcome)
    assert cell.seconds() == {"prune": 90.0, "export": 6.0}
    assert list(cell.seconds()) == ["prune", "export"]
    assert "- 50 % cut, no retraining, pruning: prune 90, export 6" in goals_report("sst2_minilm", [cell])


def test_counts_of_one_record_stand_in_for_answers_that_are_gone(make: Make) -> None:
    [cell] = cells(make(compression(), wrong(0, 1, 2), wrong(2, 3)))
    with_answers = drop_of([cell])
    for file in cell.folder.parents[1].glob("predict/*/predictions.safetensors"):
        file.unlink()
    assert drop_of([cell]) == with_answers
    assert drop_of([cell, cell]) is None


def test_verdicts(make: Make) -> None:
    [cell] = cells(make(compression(), wrong(*range(20)), wrong(), faster=5.0, spread=1.1))
    found = drop_of([cell])
    assert verdict_of_drop(found, 4.0) == "met"
    assert verdict_of_drop(found, 0.5) == "not met"
    assert verdict_of_drop(found, 2.2) == "not shown (estimate meets it)"
    assert verdict_of_drop(found, 1.9) == "not shown (estimate misses it)"
    assert verdict_of_drop(None, 1.0) == "not measured"
    ratio = speed_of([cell], "torch_fp32", "tokens_32")
    assert [verdict_of_speed(ratio, goal) for goal in (4.5, 4.9, 5.1, 5.6)] == [
        "met", "not shown (estimate meets it)", "not shown (estimate misses it)", "not met"]
    assert verdict_of_speed(None, 5) == "not measured"


def test_goals_of_sst2_find_their_cells(make: Make) -> None:
    parent = wrong()
    whole = compression(pruning=CUT, recovery=TEACH, vocabulary=WORDS, quantization=INT8)
    tiny = compression(pruning=CUT | {"ratio": 0.9}, recovery=TEACH, vocabulary=WORDS, quantization=INT8)
    bad = compression(pruning=CUT | {"ratio": 0.95}, recovery=TEACH, vocabulary=WORDS, quantization=INT8)
    found = cells(
        make(compression(quantization=INT8), wrong(1), parent, 23.0, 6.0, test=True),
        make(compression(pruning=CUT), wrong(*range(60)), parent, 70.0, 2.5, test=True),
        make(whole, wrong(), parent, 8.0, 9.0, test=True),
        make(tiny, wrong(*range(30)), parent, 2.5, 21.0, test=True),
        make(bad, wrong(*range(80)), parent, 1.5, 30.0, test=True),
    )
    text = goals_report("sst2_minilm", found)
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    by_goal = {line[0]: line for line in lines}
    assert len({len(line) for line in lines}) == 1
    assert by_goal["INT8 everywhere"][1] == "quantization"
    assert by_goal["INT8 everywhere"][-1] == "met"
    assert by_goal["50 % cut, no retraining"][6] == "not met"
    assert by_goal["80 % cut + recovery + INT8 (or 4-bit table) + vocabulary"][1] == "no cell of these sweeps"
    smallest = by_goal["smallest that keeps 95 % of the parent's score"]
    assert smallest[10] == "< 3 MB"
    assert smallest[11] == "36.00× smaller, 2.50 MB"
    assert smallest[12:] == ["met", "≥ 20", "21.00 [20.59, 21.42]", "met"]
    assert "- INT8 everywhere: `python bench.py task=sst2 seed=1 'task.data_dir=my data'`" in text


def test_tables_of_goals_are_listed_and_checked() -> None:
    assert "sst2_minilm" in available()
    with pytest.raises(UserError, match=r"--goals='nope' is no table of goals; allowed: .*sst2_minilm"):
        goals_report("nope", [])


def test_rows_of_a_cell_that_was_not_timed_render(make: Make) -> None:
    untimed = make(compression(quantization=INT8), wrong(0), wrong(), 23.0, test=True, timed=False)
    usual = make(compression(), wrong(0), wrong())
    flat = rows([untimed, usual])
    assert flat[0]["timed"] is False
    assert flat[0]["test_accuracy"] == pytest.approx(0.999)
    assert "timed" not in flat[1]
    first, second = matrix(flat).splitlines()[2:]
    assert "not timed" in first
    assert [c.strip() for c in first.strip("|").split("|")][-5:-1] == ["23.0", "-", "-", "-"]
    assert "not timed" not in second
    assert "1000 texts of the training split" in " ".join(notes(flat))
    assert "test" not in matrix([row(usual)])
