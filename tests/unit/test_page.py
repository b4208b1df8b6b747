"""What a page is made of: points, lines, phases, colours, specs, and texts that can't get out of their place."""

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from edgedistil.reporting.cells import Measured
from edgedistil.reporting.page import charts, details, render, theme
from edgedistil.reporting.page.matrix import lines_of, problems
from edgedistil.reporting.page.page import _quotable, _rendered
from edgedistil.reporting.page.points import key_of, labels_of, points, precision_of, score_title
from edgedistil.reporting.page.sections import Section, glance, latency, matrix, stacks, told_worse
from edgedistil.reporting.pareto import PRECISIONS
from edgedistil.reporting.sensitivity import PartCurve, Sensitivity
from edgedistil.reporting.table import columns, markdown


def row(compression: str = "dense · FP32", device: str = "cpu", **more: Any) -> dict[str, Any]:
    figures = {
        "accuracy": 0.9, "accuracy_ci95_low": 0.88, "accuracy_ci95_high": 0.92, "n": 100, "sample": False,
        "tokens_32_latency_ms_p50": 10.0, "size_model_mb": 90.0, "quantization": "none", "timed": True, "valid": True,
        "isa": "avx2", "threads": 1, "record": "/store/x/record.json", "peak_rss_mb_batch_1": 100.0,
    }
    names = {"model": "m", "task": "sst2", "compression": compression, "device": device}
    return {**names, "status": "done", "why": None, "fingerprint": f"{compression}{device}{more}", **figures, **more}


def lost(status: str, why: str, compression: str, device: str = "cuda") -> dict[str, Any]:
    names = {"model": "m", "task": "sst2", "compression": compression, "device": device}
    return {**names, "status": status, "why": why, "fingerprint": None}


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK])
def test_colours_have_contrast(colours: dict[str, Any]) -> None:
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    for ground in (colours["paper"], colours["panel"]):
        for text in ("ink", "muted", "accent", "bad", "warn", "good"):
            assert theme.contrast(colours[text], ground) >= 4.5, (text, ground)
    for mark in (*colours["precision"], *colours["phase"]):
        assert theme.contrast(mark, colours["paper"]) >= 3, mark
    assert theme.contrast(colours["ink"], colours["mark"]) >= 4.5
    assert len(colours["precision"]) >= len(PRECISIONS)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_numbers_have_contrast_on_the_cells_of_structures(name: str) -> None:
    import vl_convert

    colours, shares = {"light": theme.LIGHT, "dark": theme.DARK}[name], [n / 50 for n in range(51)]
    text = json.dumps(details.structure_chart("heads", "heads"))
    for key, value in {**{f"@{k}": v for k, v in colours.items()}, **theme.SCHEMES[name]}.items():
        text = text.replace(json.dumps(key), json.dumps(value))
    told = [{"name": "a", "part": "heads", "layer": n, "kept": n, "share": share} for n, share in enumerate(shares)]
    spec = json.loads(text) | {"datasets": {"structures": told}, "width": 2000}
    svg = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="6.4")
    cells = re.findall(r'aria-roledescription="rect mark"[^>]*fill="rgb\((\d+), (\d+), (\d+)\)"', svg)
    numbers = re.findall(r'aria-roledescription="text mark"[^>]*fill="(#\w{6})"', svg)
    assert len(cells) == len(numbers) == len(shares)
    for share, cell, number in zip(shares, cells, numbers, strict=True):
        ground = "#" + "".join(f"{int(channel):02x}" for channel in cell)
        assert theme.contrast(number, ground) >= 4.5, (share, number, ground)


def test_no_two_precisions_look_alike() -> None:
    assert len(set(charts.SHAPES)) == len(charts.SHAPES) >= len(PRECISIONS)
    for colours in (theme.LIGHT, theme.DARK):
        assert all(a != b for a, b in combinations(colours["precision"], 2))


def test_names_of_cells_are_their_own() -> None:
    assert labels_of([row(), row("dense · INT8")]) == ["dense · FP32", "dense · INT8"]
    assert labels_of([row(seed=1), row(seed=2)]) == ["dense · FP32 · seed 1", "dense · FP32 · seed 2"]
    assert labels_of([row(), row(), row(device="phone")]) == ["dense · FP32", "dense · FP32 (2)", "dense · FP32"]
    assert labels_of([row(), row(model="n")]) == ["dense · FP32 · m", "dense · FP32 · n"]
    # Threads tell cells of one device apart; another device may have its own count.
    threads = [row(), row(threads=2), row(device="phone", threads=4)]
    assert labels_of(threads) == ["dense · FP32 · 1 thread", "dense · FP32 · 2 threads", "dense · FP32"]
    assert labels_of(threads[1:]) == ["dense · FP32", "dense · FP32"]


def test_precision_of_what_was_not_measured() -> None:
    assert precision_of(row(quantization="int4_ort")) == "4-bit"
    assert precision_of(lost("skipped", "", "structured 30 % · 4-bit, asymmetric")) == "4-bit"
    assert precision_of(lost("skipped", "", "dense · INT8 static")) == "INT8 static"
    assert precision_of(lost("unreadable", "", "-")) == "-"


def test_points_and_their_fronts() -> None:
    rows = [
        row(),
        row("fast", accuracy=0.89, tokens_32_latency_ms_p50=5.0, size_model_mb=20.0),
        row("beaten", accuracy=0.88, tokens_32_latency_ms_p50=6.0, size_model_mb=30.0),
        row("doubtful", accuracy=0.95, tokens_32_latency_ms_p50=1.0, size_model_mb=25.0, valid=False),
        row("phone", device="phone", accuracy=0.5),
        lost("failed", "it broke", "x"),
    ]
    found = {p["name"]: p for p in points(rows)}
    assert len(found) == 5
    assert [name for name, p in found.items() if p["front_speed"]] == ["dense · FP32", "fast", "phone"]
    assert [name for name, p in found.items() if p["front_size"]] == ["fast", "doubtful", "phone"]
    assert found["dense · FP32"]["parent"]
    assert not found["doubtful"]["quotable"]
    assert (found["fast"]["score"], found["fast"]["low"]) == (89.0, 88.0)
    assert score_title(rows) == "accuracy %"


def test_threads_have_fronts_cards_and_lines_of_their_own() -> None:
    rows = [row(), row("fast", threads=2, tokens_32_latency_ms_p50=5.0, size_model_mb=20.0), row(threads=2)]
    found = points(rows)
    assert [(p["threads"], p["front_speed"]) for p in found] == [("1 thread", True), ("2 threads", True),
                                                                 ("2 threads", False)]
    cards = glance(found, {key_of(r, n): r for n, r in enumerate(rows)}).cards
    assert [card["title"] for card in cards] == ["sst2 on cpu, 1 thread", "sst2 on cpu, 2 threads"]
    lines = matrix(rows, [], []).matrix["lines"]
    assert [line["told"] for line in lines] == ["m · sst2 · 1 thread", "m · sst2 · 2 threads", "m · sst2 · 2 threads"]
    # The phone's only count stands beside either.
    assert len(lines_of([*rows, row(device="phone", threads=4)])) == 3


def test_tasks_of_a_device_are_not_added_up() -> None:
    phases = {"cold_start_started_ms_p50": 30.0, "cold_start_imported_ms_p50": 10.0}
    rows = [row(**phases), row(task="cola", **phases), row(device="phone", **phases)]
    entries = charts.starts(rows)
    found = stacks("cold-start", "starts", entries, ("Cold start", "", "ms")).charts
    assert [(c.title, c.device, c.task) for c in found] == [
        ("sst2 on cpu: cold start", "cpu", "sst2"), ("cola on cpu: cold start", "cpu", "cola"),
        ("sst2 on phone: cold start", "phone", "sst2"),
    ]
    assert found[1].spec["transform"][0] == {"filter": 'datum.task === "cola" && datum.device === "cpu"'}
    lengths = latency(charts.lengths(rows[:1]), ["FP32"], "").charts
    assert [(c.title, c.task) for c in lengths] == [("cpu: latency by sequence length", "sst2")]


def test_times_that_may_not_be_quoted_are_not() -> None:
    doubtful = {"tokens_32_latency_ms_p50": 1.0, "valid": False, "invalid_because": "throttled"}
    rows = [row("a"), row(**doubtful), row(device="phone", emulated=True)]
    found = points(rows)
    assert [p["quotable"] for p in found] == [True, False, False]
    cards = glance(found, {key_of(r, n): r for n, r in enumerate(rows)}).cards
    said = [text for card in cards for _, text, _ in card["lines"]]
    assert said == ["dense · FP32 · accuracy % 90.00 · 90.0 MB", "a · accuracy % 90.00 · 10.00 ms · 90.0 MB",
                    "dense · FP32 · accuracy % 90.00 · 90.0 MB", "dense · FP32 · accuracy % 90.00 · 90.0 MB"]
    assert [e["name"] for e in _quotable(charts.lengths(rows), found)] == ["a"]
    heads = [head for head, _ in columns(rows)][1:]
    cell = lines_of(rows)[1].cells[0]
    struck = [head for head, no in zip(heads, cell.unquoted, strict=True) if no]
    assert struck == ["p50 ms real / 32 / 128 tokens", "× eager FP32 at 32 [95 %]", "cold start ms", "batch 32 /s"]
    assert not any(lines_of(rows)[0].cells[0].unquoted)
    assert "struck through" in matrix(rows, [], []).lead
    assert "struck through" not in matrix(rows[:1], [], []).lead


def test_cards_of_matthews_say_what_the_test_is_of() -> None:
    rows = [row(accuracy=1 / 3)]
    assert [line[0] for line in glance(points(rows), {key_of(rows[0], 0): rows[0]}).cards[0]["lines"]] == [
        "dense FP32 parent", "highest score"]
    rows = [row(matthews_correlation=0.4, parent_accuracy_points=0.0, parent_mcnemar_p=1.0)]
    [card] = glance(points(rows), {key_of(r, n): r for n, r in enumerate(rows)}).cards
    assert [name for name, _, _ in card["lines"]] == [
        "dense FP32 parent", "fastest, accuracy not worse by test", "smallest, accuracy not worse by test",
        "highest score"
    ]
    assert "Matthews × 100 40.00" in card["lines"][1][1]


def measured(model: str = "m", task: str = "sst2", **more: Any) -> Measured:
    names = {"model": model, "task": task, "compression": "structured 50 % · FP32", "device": "cpu"}
    kept = [{"heads": 6 if model == "m" else 12, "ffn": 100}]
    record = {"names": names, "model": {"structure": kept}, "size": {"model_mb": 1.0}, "seed": 1, **more}
    return Measured(Path("nowhere"), record)


def test_structures_of_models_and_tasks_are_told_apart() -> None:
    one = details.structures([measured(), measured()])
    assert [(e["name"], e["part"], e["kept"], e["share"]) for e in one] == [
        ("structured 50 %", "heads", 6, 1.0), ("structured 50 %", "ffn", 100, 1.0)]
    two = details.structures([measured(), measured(task="cola"), measured("n")])
    assert [(e["name"], e["kept"]) for e in two if e["part"] == "heads"] == [
        ("structured 50 % · m · sst2", 6), ("structured 50 % · m · cola", 6), ("structured 50 % · n · sst2", 12)]
    # What is left is a share of the same model's widest layer: another model's is no measure of it.
    assert {e["share"] for e in two} == {1.0}


def test_the_score_of_an_ablation_is_what_the_task_is_judged_by() -> None:
    latency = {"tokens_32": {"latency_ms_p50": 3.0}}
    memory = {part: {"peak_rss_mb": 50.0} for part in ("after_load", "batch_1")}
    timed = {"latency": latency, "memory": memory, "quality": {"accuracy": 0.8, "matthews_correlation": 0.5}}
    assert details._figures(measured(**timed)) == {"mb": 1.0, "rss": 50.0, "ms": 3.0, "score": 50.0}
    assert details._figures(measured(**timed, valid=False)) == {"mb": 1.0, "rss": 50.0, "score": 50.0}
    loss = details._figures(measured(timed=False, quality={"mlm_loss": 7.1234}))
    assert loss == {"mb": 1.0, "score": 7.123}


def test_models_with_one_name_have_menu_entries_of_their_own() -> None:
    nodes = [{"node": "n", "rms_ratio": 0.1, "flips": 0, "bytes_saved": 1, "precision": "int8"}]
    one = Sensitivity("cut", [PartCurve(0, "heads", [4, 2], [0.1, 0.2], 2, 10)], [], [], nodes, {}, None)
    found = [one, replace(one, label="other"), one]
    assert list(dict.fromkeys(e["which"] for e in details.damages(found))) == ["cut", "other", "cut (2)"]
    assert [e["which"] for e in details.node_errors(found)] == ["cut", "other", "cut (2)"]


def test_cells_of_tables_stay_cells_and_names_are_no_links() -> None:
    text = markdown(["a|b", "c"], [["x | y\nz", "1"], ["[dense](https://evil)", "![p](https://evil/p.png)"]])
    assert text.splitlines()[0].startswith("| a\\|b")
    assert len(text.splitlines()) == 4
    [html] = _rendered([text, ""])
    assert html.count("<td>") == 4
    assert "<td>x | y z</td>" in html
    assert "<td>[dense](https://evil)</td>" in html
    assert "<a" not in html
    assert "<img" not in html
    [line] = _rendered(["<https://evil> [dense][e]\n\n[e]: https://evil"])
    assert "href" not in line


def test_what_is_skipped_to_is_there_and_commands_alone_are_not_filtered() -> None:
    rows = [row(), row(device="phone")]
    commands = [{"key": "k", "name": "n", "device": "cpu", "precision": "-", "task": "t", "model": "m",
                 "status": "done", "command": "python train.py"}]
    sent = [Section("commands", "Run it again", commands=commands)]
    pages = [render.render(rows, sent, {}, "", render.titled(rows), filtered=told) for told in (True, False)]
    assert ["<fieldset>" in text for text in pages] == [True, False]
    for text in pages:
        [target] = re.findall(r'class="skip" href="#(\w+)"', text)
        assert f'id="{target}"' in text
        assert 'autocomplete="off"' in text


def test_a_page_of_cells_without_names_has_a_title() -> None:
    assert render.titled([lost("unreadable", "", "-") | {"model": "-", "task": "-"}]).text == "cells"
    assert render.titled([lost("unreadable", "", "-") | {"model": "-"}]).text == "sst2"
    assert render.titled([row()]).text == "m on sst2"


def test_the_part_that_nothing_was_chosen_by_goes_before_validation() -> None:
    tested = {"test_accuracy": 0.8, "test_accuracy_ci95_low": 0.7, "test_accuracy_ci95_high": 0.9}
    assert points([row(**tested)])[0]["score"] == 80.0
    assert score_title([row(**tested)]) == "test accuracy %"
    # One without it, and all are compared on what they share; another device has its own.
    both = points([row(**tested), row("x"), row("y", device="phone", **tested)])
    assert [p["score"] for p in both] == [90.0, 90.0, 80.0]


def test_a_smaller_loss_is_better() -> None:
    told = {"accuracy": None}
    losses = [row("a", mlm_loss=7.5, size_model_mb=10, **told), row("b", mlm_loss=7.4, size_model_mb=20, **told)]
    found = points(losses)
    assert [p["score"] for p in found] == [7.5, 7.4]
    assert [p["front_size"] for p in found] == [True, True]
    chart = charts.pareto("sst2", "cpu", "mb", "MB", score_title(losses), ["FP32"])
    assert chart["layer"][0]["encoding"]["y"]["scale"]["reverse"]


def test_told_worse_by_the_test_that_counts() -> None:
    worse = {"parent_accuracy_points": -1.0, "parent_mcnemar_p": 0.01}
    assert told_worse(row(**worse))
    assert not told_worse(row(**{**worse, "parent_mcnemar_p": 0.2}))
    assert not told_worse(row(**{**worse, "parent_accuracy_points": 1.0}))
    assert not told_worse(row(**worse, test_parent_accuracy_points=-0.1, test_parent_p=0.5))
    assert told_worse(row(parent_mlm_loss_difference_ci95_low=0.01))
    # Nothing was tested: nothing is said.
    assert told_worse(row()) is None
    untested = {"accuracy": 0.2, "tokens_32_latency_ms_p50": 1.0}
    rows = [row(parent_accuracy_points=0.0, parent_mcnemar_p=1.0), row("untested", **untested),
            row(model="other", accuracy=0.5, parent_accuracy_points=0.1, parent_mcnemar_p=1.0)]
    cards = glance(points(rows), {key_of(r, n): r for n, r in enumerate(rows)}).cards
    assert [card["title"] for card in cards] == ["sst2 on cpu, m", "sst2 on cpu, other"]
    told = {name: text for name, text, _ in cards[0]["lines"]}
    assert told["fastest, not worse by test"].startswith("dense · FP32 · m · accuracy % 90.00 · 10.00 ms")
    assert told["highest score"].startswith("dense · FP32 · m")


def test_devices_stand_side_by_side() -> None:
    rows = [
        row(), row("a"), lost("skipped", "no GPU", "dense · FP32"), lost("skipped", "no GPU", "b"),
        row("a", seed=2, accuracy=0.8),
    ]
    lines = lines_of(rows)
    assert [line.name for line in lines] == ["dense · FP32", "a", "b", "a"]
    assert [[c.status if c else None for c in line.cells] for line in lines] == [
        ["done", "skipped"], ["done", None], [None, "skipped"], ["done", None]
    ]
    assert lines[0].cells[0].figures[0] == "90.00 [88.0, 92.0]"
    assert lines[0].cells[0].record == "file:///store/x/record.json"
    assert lines[0].cells[1].why == "no GPU"


def test_reasons_are_told_once_and_what_broke_first() -> None:
    gone = [lost("skipped", "no GPU", "a"), lost("failed", "broke", "c"), lost("skipped", "no GPU", "b")]
    found = problems([row(), *gone])
    assert [(p.status, p.why, p.devices, p.names) for p in found] == [
        ("failed", "broke", ["cuda"], ["c"]), ("skipped", "no GPU", ["cuda"], ["a", "b"])
    ]


def test_memory_is_what_each_phase_added() -> None:
    one = row()
    peaks = {"imported": 50.0, "session": 80.5, "read": 60.0, "first_logits": 80.0, "batches": 90}
    found = charts.memories([one], {one["fingerprint"][:12]: peaks})
    assert [(e["phase"], e["value"]) for e in found] == [
        ("imported", 50.0), ("read", 10.0), ("session", 20.5), ("first_logits", 0.0), ("batches", 9.5)
    ]
    assert charts.phases_in(found) == ["imported", "read", "session", "first_logits", "batches"]


def test_lengths_are_those_that_were_timed() -> None:
    found = charts.lengths([row(tokens_128_latency_ms_p50=40.0, tokens_128_latency_ms_p50_ci95_low=39.0)])
    assert sorted((e["tokens"], e["ms"], e["low"]) for e in found) == [(32, 10.0, None), (128, 40.0, 39.0)]


def test_curves_of_a_resumed_training_are_one(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "train" / "abc"
    for number, lines in enumerate((["1,,0.5", "2,,0.4"], ["3,0.9,", "4,,nan"])):
        (folder / "logs" / f"run_{number}").mkdir(parents=True)
        text = "\n".join(["step,held_out/accuracy,train/loss", *lines])
        (folder / "logs" / f"run_{number}" / "metrics.csv").write_text(text)
    artifact = {"step": "train", "fingerprint": "abc", "label": "m on t", "inputs": {}}
    (folder / "artifact.json").write_text(json.dumps(artifact))
    found = details.curves([folder, folder])
    # A loss that is no number has no place on an axis; a folder that is named twice comes once.
    assert found == [
        {"run": "train: m on t", "which": "held_out/accuracy (train)", "key": "abc", "step": 3, "value": 0.9},
        {"run": "train: m on t", "which": "train/loss (train)", "key": "abc", "step": 1, "value": 0.5},
        {"run": "train: m on t", "which": "train/loss (train)", "key": "abc", "step": 2, "value": 0.4},
    ]


def test_texts_stay_in_their_place() -> None:
    text = render._embedded({"why": "</script><b>&amp;"})
    assert "<" not in text
    assert "&" not in text
    assert json.loads(text) == {"why": "</script><b>&amp;"}


def test_every_spec_is_one_that_vega_lite_compiles() -> None:
    import vl_convert

    specs = [
        charts.pareto('a "task"', "cpu", "ms", "ms", "accuracy (%)", ["FP32", "INT8"]),
        charts.pareto("t", "cpu", "mb", "MB", "MLM loss (nats, smaller is better)", ["FP32"]),
        charts.by_length("t", "cpu", ["FP32"], [32, 64]),
        charts.stacked("starts", "t", "cpu", "ms", ["imported", "read"]),
        details.structure_chart("heads", "heads"),
        details.damage_chart("heads", ["a", "b"]),
        details.node_chart(["a"]),
        details.curve_chart(["train/loss", "train/lr"]),
        *(details.ablation_chart(figure, ["one"]) for figure in ("score", "ms", "mb", "rss", "times")),
    ]
    for spec in specs:
        # The page's script puts colours in for these.
        text = json.dumps(spec).replace('"container"', "300")
        colours = {"precision": ["#000"], "phase": ["#000"], "sequential": "blues", "layers": "viridis"}
        for name, value in colours.items():
            text = text.replace(f'"@{name}"', json.dumps(value))
        compiled = vl_convert.vegalite_to_vega(text.replace('"@', '"'), vl_version="6.4")
        assert {s["name"] for s in compiled["signals"]} >= {"shown"}
