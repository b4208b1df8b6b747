"""The tables of training sweeps say what the artifacts say, name what was removed, and count seeds."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgedistil.errors import UserError
from edgedistil.reporting.reference_answers import sampled
from edgedistil.reporting.report import files_of, report
from edgedistil.reporting.training import removed, training_rows
from edgedistil.reporting.training_table import removed_label, training_tables
from edgedistil.store.store import Store

WEIGHTS = {"soft_target_weight": 5.0, "masked_token_weight": 2.0, "cosine_weight": 1.0}
FULL, SOFT, START, ALONE = "none", "no_soft_targets", "random_start", "masked_tokens_only"
CHANGES: dict[str, tuple[dict[str, float], str]] = {
    FULL: ({}, "teacher"), SOFT: ({"soft_target_weight": 0.0}, "teacher"), START: ({}, "random"),
    ALONE: ({"soft_target_weight": 0.0, "cosine_weight": 0.0}, "teacher"),
}


def outcome(folder: Path, ablation: str, seed: int, after: float, **changes: Any) -> dict[str, Any]:
    """A finished cell of the sweep whose artifact holds these figures."""
    weights, init = CHANGES[ablation]
    name = f"{ablation}{seed}{len(changes)}"
    facts = {
        "before": {"mlm_loss": 6.0, "soft_target_loss": 2.5, "cosine_loss": 0.5, "perplexity": 403.43,
                   "teacher_mlm_loss": 2.25},
        "validation": {"mlm_loss": after, "soft_target_loss": 1.25, "cosine_loss": 0.125, "perplexity": 20.09,
                       "teacher_mlm_loss": 2.25},
        "parameters": 1000, "tokens_seen": 599_040, "tokens_per_s": 1234.5, "held_out_texts": 956,
        "student": {"init": init, "layers": [0, 2, 5]},
    }
    options = {"objective": WEIGHTS | weights, "student": {"init": init}, "seed": seed}
    (folder / name).mkdir(parents=True)
    (folder / name / "artifact.json").write_text(json.dumps({"facts": facts, "options": options}))
    return {"status": "done", "stage": "train", "step": "pretrain", "fingerprint": name, "folder": str(folder / name),
            "names": {"model": "student of t", "task": "texts"},
            "overrides": ["experiment=x", f"ablation={ablation}", f"seed={seed}"]} | changes


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_line_names_what_was_removed_beside_the_papers_figure(tmp_path: Path) -> None:
    made = [outcome(tmp_path, FULL, 1, 3.0), outcome(tmp_path, SOFT, 1, 3.25), outcome(tmp_path, START, 1, 5.5),
            outcome(tmp_path, ALONE, 1, 2.875)]
    table, paper, notes = training_tables(training_rows(made), ["distilbert_table4"])
    head, _, *lines = table.splitlines()
    assert cells(head) == ["removed", "n", "MLM loss", "soft-target loss", "1 − cos", "perplexity", "tokens seen",
                           "tokens/s", "Δ MLM loss", "paper: Δ GLUE points"]
    rest = ["2.5000 → 1.2500", "0.5000 → 0.1250", "403.4 → 20.1", "599,040", "1,234"]
    assert [cells(line) for line in lines] == [
        ["nothing removed", "1", "6.0000 → 3.0000", *rest, "+0.0000", "-"],
        ["− L_ce (soft targets)", "1", "6.0000 → 3.2500", *rest, "+0.2500", "−2.96"],
        ["triple loss + random initialisation", "1", "6.0000 → 5.5000", *rest, "+2.5000", "−3.69"],
        ["− L_ce (soft targets) − L_cos (hidden states): masked tokens alone", "1", "6.0000 → 2.8750", *rest,
         "-0.1250", "-"],
    ]
    assert "arXiv 1910.01108" in paper
    assert "Another quantity" in paper
    assert "956 held-out texts" in notes
    assert "The teacher's own MLM loss there: 2.2500." in notes
    assert "seeds" not in notes


def test_seeds_are_one_line_with_median_spread_and_differences_of_the_same_seed(tmp_path: Path) -> None:
    made = [outcome(tmp_path, FULL, 1, 3.0), outcome(tmp_path, FULL, 2, 4.0), outcome(tmp_path, SOFT, 1, 3.5),
            outcome(tmp_path, SOFT, 2, 4.75)]
    table, notes = training_tables(training_rows(made), [])
    full, soft = (cells(line) for line in table.splitlines()[2:])
    assert full[:3] == ["nothing removed", "2", "6.0000 → 3.5000 [3.0000–4.0000]"]
    assert soft[:3] == ["− L_ce (soft targets)", "2", "6.0000 → 4.1250 [3.5000–4.7500]"]
    # 0.5 for seed 1 and 0.75 for seed 2; across seeds they would spread from -0.5 to 1.75.
    assert soft[-1] == "+0.6250 [+0.5000–+0.7500]"
    assert "median [least–greatest]" in notes


def test_a_run_is_compared_with_the_one_that_differs_in_the_losses_alone(tmp_path: Path) -> None:
    made = []
    for number, (rate, full, soft) in enumerate([("1e-3", 3.0, 3.5), ("1e-4", 5.0, 5.125)]):
        for ablation, after in ((FULL, full), (SOFT, soft)):
            one = outcome(tmp_path / str(number), ablation, 1, after)
            made.append(one | {"fingerprint": f"{ablation}{rate}",
                               "overrides": [*one["overrides"], f"optimizer.lr={rate}"]})
    rows = training_rows(made)
    assert [r["mlm_loss_difference"] for r in rows] == [0.0, 0.5, 0.0, 0.125]
    lines = [cells(line) for line in training_tables(rows, [])[0].splitlines()[2:]]
    assert [line[:2] for line in lines] == [
        ["optimizer.lr=1e-3", "nothing removed"], ["optimizer.lr=1e-3", "− L_ce (soft targets)"],
        ["optimizer.lr=1e-4", "nothing removed"], ["optimizer.lr=1e-4", "− L_ce (soft targets)"],
    ]


def test_without_the_whole_loss_there_is_no_difference(tmp_path: Path) -> None:
    made = [outcome(tmp_path, SOFT, 1, 3.0), outcome(tmp_path, START, 1, 3.0), outcome(tmp_path, FULL, 2, 3.0)]
    rows = training_rows(made)
    assert ["mlm_loss_difference" in r for r in rows] == [False, False, True]


def test_a_run_that_failed_says_why_and_equal_runs_are_one(tmp_path: Path) -> None:
    done = outcome(tmp_path, FULL, 1, 3.0)
    failed = {"status": "failed", "stage": "train", "why": "the loss is nan", "overrides": ["ablation=no_cosine"],
              "names": {"model": "m", "task": "t"}}
    parts = training_tables(training_rows([done, done, failed]), [])
    assert len(parts[0].splitlines()) == 3
    assert parts[-1] == "failed: ablation=no_cosine: the loss is nan"


def test_an_artifact_that_is_gone_is_said(tmp_path: Path) -> None:
    one = outcome(tmp_path, FULL, 1, 3.0)
    (Path(one["folder"]) / "artifact.json").unlink()
    with pytest.raises(UserError, match="no longer in the store; run the sweep again"):
        training_rows([one])


@pytest.mark.parametrize(("options", "expected"), [
    ({"objective": {"masking": {}}}, None),
    ({"objective": WEIGHTS, "student": {"init": "teacher"}}, ""),
    ({"objective": WEIGHTS | {"masked_token_weight": 0.0}, "student": {"init": "random"}}, "mlm_loss+teacher_layers"),
    ({"objective": WEIGHTS | {"cosine_weight": 0.0}, "student": {"init": "model"}}, "cosine_loss"),
])
def test_what_is_removed_is_read_off_the_options(options: dict[str, Any], expected: str | None) -> None:
    assert removed(options) == expected


def test_a_label_for_every_part() -> None:
    assert removed_label("mlm_loss") == "− L_mlm (masked tokens)"
    assert removed_label("cosine_loss") == "− L_cos (hidden states)"
    assert removed_label("cosine_loss+teacher_layers") == "− L_cos (hidden states), random initialisation"


def tuned(folder: Path, rate: str, seed: int, accuracy: float, **facts: Any) -> dict[str, Any]:
    validation = {"accuracy": accuracy, "n": 872, "accuracy_ci95_low": accuracy - 0.02,
                  "accuracy_ci95_high": accuracy + 0.02}
    name = f"{rate}{seed}"
    (folder / name).mkdir(parents=True)
    whole = {"facts": {"validation": validation, "parameters": 22_713_986} | facts,
             "options": {"seed": seed, "objective": {}}}
    (folder / name / "artifact.json").write_text(json.dumps(whole))
    return {"status": "done", "stage": "train", "step": "train", "fingerprint": name, "folder": str(folder / name),
            "names": {"model": "m", "task": "sst2"}, "overrides": [f"optimizer.lr={rate}", f"seed={seed}"]}


def test_fine_tunings_have_a_plain_table(tmp_path: Path) -> None:
    kept = {"teacher": {"validation": {"accuracy": 0.9}, "retention": 0.975, "retention_ci95_low": 0.96,
                        "retention_ci95_high": 0.99}}
    several = ((1, 0.86), (2, 0.87), (3, 0.91))
    made = [tuned(tmp_path, "1e-4", 1, 0.88, **kept), *(tuned(tmp_path, "5e-5", i, score) for i, score in several)]
    table, notes = training_tables(training_rows(made), [])
    head, _, first, second = (cells(line) for line in table.splitlines())
    assert head == ["run", "seeds", "accuracy %", "accuracy's 95 %", "n", "parameters", "retention of the teacher %",
                    "its 95 %"]
    assert first == ["optimizer.lr=1e-4", "1", "88.00", "[86.0, 90.0]", "872", "22,713,986", "97.5", "[96.0, 99.0]"]
    assert second == ["optimizer.lr=5e-5", "3", "87.00 [86.00–91.00]", "-", "872", "22,713,986", "-", "-"]
    assert "several seeds: median [least–greatest]" in notes
    assert "-: another task's metric" in notes


def test_texts_of_validation_that_train_has_too_are_a_count_and_no_score(tmp_path: Path) -> None:
    made = [tuned(tmp_path, "1e-4", 1, 0.88, validation_texts_in_train=16), tuned(tmp_path, "5e-5", 1, 0.9)]
    (table,) = training_tables(training_rows(made), [])
    head, _, first, second = (cells(line) for line in table.splitlines())
    assert head == ["run", "seeds", "accuracy %", "accuracy's 95 %", "n", "of them in train too", "parameters"]
    assert (first[5], second[5]) == ("16", "0")


def test_a_sample_of_another_split_is_called_that(tmp_path: Path) -> None:
    samples = {"validation": {"rows": 1000, "of": 363846, "from": "train"}}
    (row,) = training_rows([tuned(tmp_path, "1e-4", 1, 0.88, samples=samples)])
    assert sampled(row) == "1,000 of 363,846 train as validation"


def test_the_report_of_a_sweep_is_written_as_table_csv_and_parquet(tmp_path: Path) -> None:
    made = [outcome(tmp_path / "runs", FULL, 1, 3.0), outcome(tmp_path / "runs", SOFT, 1, 3.25)]
    store, target = Store(tmp_path / "store"), tmp_path / "sweep"
    target.mkdir()
    printed = report(made, store, target, ["distilbert_table4"])
    assert (target / "table.md").read_text() == printed
    found = list(csv.DictReader(io.StringIO((target / "results.csv").read_text())))
    assert [r["removed"] for r in found] == ["", "soft_target_loss"]
    assert [r["validation_mlm_loss"] for r in found] == ["3.0", "3.25"]
    assert (target / "results.parquet").is_file()
    assert not (target / "pareto.png").exists()
    # The same artifacts under other overrides are other lines.
    other = [made[0], made[1] | {"overrides": ["ablation=mine", "seed=1"]}]
    report(other, store, target, [])
    assert len(list((tmp_path / "store").glob("artifacts/report/*"))) == 2


def test_a_report_of_other_roles_is_another_and_only_its_files_are_ours(tmp_path: Path) -> None:
    one = outcome(tmp_path / "runs", FULL, 1, 3.0)
    store, target = Store(tmp_path / "store"), tmp_path / "sweep"
    target.mkdir()
    (target / "mine.csv").write_text("of the user")
    report([one], store, target, [])
    report([one | {"roles": {"full": "m"}}], store, target, [])
    assert len(list((tmp_path / "store").glob("artifacts/report/*"))) == 2
    assert {p.name for p in files_of(target)} == {"report.html", "results.csv", "results.parquet", "table.md"}


def test_what_a_killed_report_left_is_gone_after_the_next_whatever_that_one_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [outcome(tmp_path / "runs", FULL, 1, 3.0), outcome(tmp_path / "runs", SOFT, 1, 3.25)]
    store, target = Store(tmp_path / "store"), tmp_path / "sweep"
    target.mkdir()

    def dies(_: object) -> str:
        raise KeyboardInterrupt

    report(made, store, target, [])
    for then in (made[:1], made):
        with monkeypatch.context() as killed:
            killed.setattr("edgedistil.reporting.report.as_csv", dies)
            with pytest.raises(KeyboardInterrupt):
                report(made[1:], store, target, [])
        assert list((tmp_path / "store" / "work").iterdir()), "nothing was left to remove"
        report(then, store, target, [])
        assert list((tmp_path / "store" / "work").iterdir()) == []
