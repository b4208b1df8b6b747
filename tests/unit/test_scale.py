"""What makes large sweeps quick says the same as what was slow, and a page of many cells says what it leaves out."""

import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_page import lost, row
from tests.unit.tiny_records import in_store, leave, record

from edgedistil.errors import UserError
from edgedistil.reporting import outcomes as reading
from edgedistil.reporting import records
from edgedistil.reporting.estimate import _Like
from edgedistil.reporting.outcomes import checked, outcomes
from edgedistil.reporting.page import listing
from edgedistil.reporting.page.matrix import problems
from edgedistil.reporting.page.points import key_of, points
from edgedistil.reporting.page.sections import Section, glance
from edgedistil.reporting.pareto import unbeaten
from edgedistil.reporting.report import drawn_before, report
from edgedistil.store.store import Store


def test_fronts_are_those_of_every_pair() -> None:
    draw = random.Random(0)
    for _ in range(500):
        size = draw.choice((1, 2, 3))
        goods = [[draw.randint(0, 6) / 2 for _ in range(size)] for _ in range(draw.randint(0, 30))]
        beaten = [any(o != own and all(a >= b for a, b in zip(o, own, strict=True)) for o in goods) for own in goods]
        assert unbeaten(goods) == [not b for b in beaten]


@pytest.mark.parametrize("product", [False, True])
def test_the_nearest_jobs_are_those_of_every_pair(product: bool) -> None:
    draw = random.Random(1)
    words = [f"{name}={value}" for name in "abcd" for value in range(4)]

    def job() -> tuple[str, ...]:
        # Of a product each job sets every option.
        return tuple(f"{k}={draw.randint(0, 3)}" for k in "abcd") if product else tuple(draw.sample(words, 3))

    for _ in range(300):
        ended = [(job(), draw.random()) for _ in range(draw.randint(1, 12))]
        asked = [job()[: 4 if product else draw.randint(0, 3)] for _ in range(8)]
        like = _Like(ended, asked)
        for mine in asked:
            far = [len(set(mine) ^ set(overrides)) for overrides, _ in ended]
            wanted = statistics.median(c for (_, c), d in zip(ended, far, strict=True) if d == min(far))
            assert like.cost(mine) == wanted
    assert _Like([], [("a=1",)]).cost(("a=1",)) is None


@pytest.mark.parametrize("seeds", [270, 1])
def test_thousands_of_jobs_are_set_beside_each_other_in_a_moment(seeds: int) -> None:
    jobs = [(f"model={n % 5}", f"compression={n // 5 % 54}", f"seed={n // seeds}") for n in range(8_000)]
    began = time.process_time()
    like = _Like([(job, float(n)) for n, job in enumerate(jobs[::2])], jobs[1::2])
    assert all(like.cost(job) is not None for job in jobs[1::2])
    # One by one they would be sixteen million comparisons of sets.
    assert time.process_time() - began < 4


@pytest.fixture
def ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_CELLS", 10)


def many(count: int) -> list[dict[str, Any]]:
    """Cells on a line: cell 7 is the fastest of the good ones, the first the parent."""
    rows = [row("dense · FP32")]
    worse = {"accuracy": 0.5, "size_model_mb": 99.0}
    rows += [row(f"cell {n}", tokens_32_latency_ms_p50=20.0 + n, **worse) for n in range(1, count)]
    return [*rows[:7], row("fast", accuracy=0.91, tokens_32_latency_ms_p50=5.0, size_model_mb=20.0), *rows[8:]]


def test_a_page_that_can_hold_all_lists_all(ten: None) -> None:
    rows = many(10)
    assert listing.listed(rows, points(rows), Section("", "")) is None
    assert listing.shortened(["a", "", "b"], None) == ["a", "b"]


def test_a_page_lists_fronts_parents_and_others_at_even_distances(ten: None) -> None:
    rows = [*many(100), lost("failed", "it broke", "x")]
    found = listing.listed(rows, points(rows), Section("", ""))
    assert found is not None
    assert found.kinds == {"named on cards": (0, 0), "on a front": (1, 1), "FP32 parents": (1, 1), "others": (8, 99)}
    assert found.numbers == [0, 1, 7, 14, 26, 39, 51, 63, 76, 88]
    outcome = [{"fingerprint": r["fingerprint"], "at": n} for n, r in enumerate(rows)]
    listed_rows, dots, _, told = found.of(rows, points(rows), [], [*outcome, outcome[0]])
    assert [o["at"] for o in told] == found.numbers
    assert [r["compression"] for r in listed_rows[:3]] == ["dense · FP32", "cell 1", "fast"]
    assert len(dots) == 10
    assert [p["name"] for p in dots if p["front_speed"]] == ["fast"]


def test_no_kind_takes_all_the_room() -> None:
    assert listing._rooms([111, 1026, 707, 8156], 1000) == [111, 444, 222, 223]
    assert listing._rooms([0, 1, 1, 99], 10) == [0, 1, 1, 8]
    assert listing._rooms([2000, 0, 0, 3], 1000) == [997, 0, 0, 3]
    assert listing._rooms([0, 20, 0, 0], 10) == [0, 10, 0, 0]


def test_a_front_is_drawn_whole_though_not_all_of_it_is_listed(ten: None) -> None:
    rows = [row(f"cell {n}", accuracy=0.5 + 0.01 * n, tokens_32_latency_ms_p50=1.0 + n) for n in range(40)]
    found = listing.listed(rows, points(rows), Section("", ""))
    assert found is not None
    assert found.kinds["on a front"] == (10, 40)
    listed_rows, dots, *_ = found.of(rows, points(rows), [], [{} for _ in rows])
    assert (len(listed_rows), len(dots)) == (10, 40)


def test_a_card_calls_a_loss_a_loss_and_a_share_a_score() -> None:
    def names(**figures: Any) -> list[str]:
        rows = [row(**figures)]
        (card,) = glance(points(rows), {key_of(rows[0], 0): rows[0]}).cards
        return [name for name, _, _ in card["lines"]]

    # 100 times 0.900002 is not 90.0002 in binary.
    assert names(accuracy=0.900002)[-1] == "highest score"
    assert names(accuracy=None, mlm_loss=2.5)[-1] == "lowest loss"


def test_what_is_left_out_is_said_with_its_command(ten: None) -> None:
    rows = [*many(30), *(row(f"b {n}", device="my phone") for n in range(20))]
    found = listing.listed(rows, points(rows), Section("", ""))
    assert found is not None
    section = listing.left_out(rows, found, lambda parts: list(parts))  # type: ignore[arg-type,return-value]
    assert section.lead.startswith("10 of 50 cells are listed on this page: ")
    lines = section.blocks[0].splitlines()
    assert [line.split("|")[1:3] for line in lines[2:]] == [
        [" sst2 · cpu · m      ", " 30    "], [" sst2 · my phone · m ", " 20    "]]  # fmt: skip
    assert "--only task=sst2 'device=my phone' model=m --output DIR`" in lines[3]


def test_cards_reasons_and_tables_past_what_is_read_are_counted(ten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_MOST_CARDS", "_MOST_REASONS", "_MOST_LINES", "_MOST_TABLES"):
        monkeypatch.setattr(listing, name, 2)
    rows = [row(seed=seed) for seed in range(12)]
    cards = glance(points(rows), {key_of(r, n): r for n, r in enumerate(rows)})
    assert len(cards.cards) == 12
    found = listing.listed(rows, points(rows), cards)
    assert len(cards.cards) == 2
    assert cards.lead.endswith(" The first 2 of 12 cards; pages of a part have the others.")
    reasons = problems([lost("failed", f"reason {n}", f"c{n % 3}") for n in range(5)])
    assert [p.why for p in listing.fewer(reasons, found)] == [
        "reason 0", "reason 1", "3 more reasons, of 3 cells: table.md"
    ]
    table = "\n".join(["| a |", "|---|", *(f"| {n} |" for n in range(5))])
    assert listing.shortened([table, "note", "more", "and more"], found) == [
        "\n".join(["| a |", "|---|", "| 0 |", "| 1 |", "", "3 more lines: table.md."]),
        "note",
        "2 more tables and notes: table.md.",
    ]


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A sweep of two cells, one of whose records is of a schema of the future."""
    sweep, store = tmp_path / "sweep", tmp_path / "store"
    for number, made in enumerate((record("a", key="a"), record("b", key="b", schema_version=99))):
        told = {"status": "done", "stage": "bench", "step": "bench", "names": made["names"], "overrides": ["task=sst2"]}
        folder = in_store(store, made)
        facts = {"step": "bench", "fingerprint": made["fingerprint"], "label": "cell", "facts": {}, "inputs": {}}
        (folder / "artifact.json").write_text(json.dumps(facts))
        told |= {"folder": str(folder), "fingerprint": made["fingerprint"]}
        leave(sweep, number, told | {"store": str(store), "output_dir": str(sweep / str(number))})
    return sweep


def test_a_report_of_the_same_records_parses_none_of_them(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    assert drawn_before(outcomes(swept), store, swept, []) is None
    table = report(checked(outcomes(swept)), store, swept, [])
    assert "unreadable" in table
    page = (swept / "report.html").read_text()
    (swept / "report.html").unlink()
    monkeypatch.setattr(records, "parse_json", None)
    assert drawn_before(outcomes(swept), store, swept, []) == table
    assert (swept / "report.html").read_text() == page
    # Another figure, another job, another name: none is the report that was drawn.
    file = store.path("bench", "a") / "record.json"
    told = file.read_text()
    file.write_text(told.replace("90.0", "91.0"))
    assert drawn_before(outcomes(swept), store, swept, []) is None
    file.write_text(told)
    assert drawn_before(outcomes(swept)[:1], store, swept, []) is None
    assert drawn_before(outcomes(swept), store, swept, ["minilm"]) is None
    file.unlink()
    assert drawn_before(outcomes(swept), store, swept, []) is None


def test_a_command_reads_a_record_once(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistil.reporting.gather import gather

    read: list[Path] = []
    original = records.read_whole

    def noted(file: Path) -> Any:
        read.append(file)
        return original(file)

    monkeypatch.setattr(records, "read_whole", noted)
    monkeypatch.setattr("edgedistil.reporting.rows.read_whole", noted)
    report(reading.checked(outcomes(swept)), Store(tmp_path / "store"), swept, [])
    assert sorted(f.parent.name for f in read) == ["a", "b"]
    read.clear()
    cells, _ = gather(swept)
    assert [c.row["compression"] for c in cells] == ["a"]
    assert sorted(f.parent.name for f in read) == ["a", "b"]


def test_cells_are_chosen_by_their_names(swept: Path) -> None:
    from edgedistil.commands.places import only

    cells = checked(outcomes(swept))
    assert [c["fingerprint"] for c in only(cells, ["compression=a", "seed=1"])] == ["a"]
    assert [c["fingerprint"] for c in only(cells, ["compression=b", "compression=a"])] == ["a", "b"]
    with pytest.raises(UserError, match="--only model=z: no cell is of it; there are: m"):
        only(cells, ["model=z"])
    with pytest.raises(UserError, match="--only holds 'seed='; give NAME=VALUE with one of model"):
        only(cells, ["seed="])
    assert json.dumps([c["names"] for c in cells])
