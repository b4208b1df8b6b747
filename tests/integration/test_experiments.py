"""The five seeds' experiments, in the shortest form that goes through every kind of step, on tiny models.

The quick form itself, with the embedded encoder (``offline=embedded quick=small``), is in the long tier, with a clock.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import RAPID

QUICK = ["offline=embedded", "quick=small"]
TRAINED = ["loader.batch_size=32", "task.limit_train=64", "task.limit_validation=40"]
BENCH = ["compression.recovery.steps=2", "compression.pruning.calibration_sentences=16", *RAPID,
         "measurement.lengths=[16]"]


def tables(text: str) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(the line above it, head, rows) of every Markdown table that was printed."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|--"):
            rows = []
            for row in lines[number + 1:]:
                if not row.startswith("|"):
                    break
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
            head = [cell.strip() for cell in lines[number - 1].strip("|").split("|")]
            yield lines[number - 2], head, rows


def check_claims(text: str, count: int) -> list[list[str]]:
    """Rows of all tables of claims, none of which has an empty cell; there are ``count`` tables."""
    found = [(head, rows) for _, head, rows in tables(text) if "what the claim really was" in head]
    assert len(found) == count, text
    for head, rows in found:
        assert head[-1] == "ours"
        assert rows
        assert all(all(row) for row in rows), rows
    return [row for _, rows in found for row in rows]


def ours(models: dict[str, Path], name: str = "distilbert_encoder") -> list[str]:
    return ["model=folder", f"model.location={models[name]}"]


QUICK_S = 300
# The script, and how many tables of claims it prints.
FORMS = {"glue_reproduction": ("train.py", 6), "tiny_distilbert": ("train.py", 3),
         "edge_reality_check": ("bench.py", 2), "sst2_device_matrix": ("bench.py", 3),
         "unified_edge_pipeline": ("bench.py", 2)}


@pytest.mark.long
@pytest.mark.parametrize("experiment", FORMS)
def test_the_quick_form_goes_through_everything_within_five_minutes(
    run: Any, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], experiment: str
) -> None:
    here = tmp_path_factory.mktemp(experiment)
    script, claims = FORMS[experiment]
    done = run(script, f"experiment={experiment}", *QUICK, cwd=here, store=here / "store", timeout=900).ok()
    with capsys.disabled():
        counts = {k: v for k, v in done.summary.items() if isinstance(v, int)}
        print(f"\n{experiment}: {done.seconds:.0f} s, {done.cpu_s:.0f} s of processor: {counts}")
    assert done.summary.get("failed", 0) == 0
    assert done.summary["done"] > 0
    check_claims(done.out, claims)
    assert done.seconds < QUICK_S


def test_every_experiment_of_a_seed_states_its_cost(repository: Path) -> None:
    for name in FORMS:
        lines = (repository / "conf" / "experiment" / f"{name}.yaml").read_text().splitlines()
        comment = " ".join(line for line in lines if line.startswith("# "))
        assert re.search(r"\d+ (hours|minutes)", comment), name
        assert re.search(r"GPU|CPU", comment), name


def test_glue_reproduction(run: Any, models: dict[str, Path], tmp_path: Path) -> None:
    command = ["train.py", "experiment=glue_reproduction", *QUICK, *TRAINED, *ours(models), "report.roles.full=folder",
               "task=reviews,similarity,spans"]
    done = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    assert (done.summary["cells"], done.summary["done"]) == (3, 3)
    rows = check_claims(done.out, 6)
    # What was learnt is generated: no row of CoLA's may be answered by it, and each says so.
    assert all("generated tasks alone" in row[-1] for row in rows if row[0] in ("BERT-base, CoLA", "DistilBERT, CoLA"))
    head, own = next((head, rows) for _, head, rows in tables(done.out) if "task" in head)
    assert {row[head.index("task")] for row in own} == {"reviews", "similarity", "spans"}
    assert {"pearson %", "accuracy %", "f1 %"} <= set(head)


def test_tiny_distilbert(run: Any, tmp_path: Path) -> None:
    command = ["train.py", "experiment=tiny_distilbert", *QUICK, "task.limit_train=32", "task.limit_validation=20",
               "report.roles.small=minilm", "task=spans"]
    done = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    # With and without the second distillation step.
    assert (done.summary["cells"], done.summary["done"]) == (2, 2)
    assert "teacher_logits" in done.computed
    check_claims(done.out, 3)


@pytest.fixture(scope="module")
def language(run: Any, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a tiny masked language model."""
    root = tmp_path_factory.mktemp("language")
    done = run("train.py", "experiment=docs_teacher", "model=folder", f"model.location={models['distilbert_encoder']}",
               "model.convert_to=null", "task.drop_unknown=1", "trainer.max_steps=2", "task.limit_train=64",
               cwd=root, store=root / "store").ok()
    return Path(done.summary["folder"])


def test_edge_reality_check(run: Any, language: Path, tmp_path: Path) -> None:
    command = ["bench.py", "experiment=edge_reality_check", *QUICK, *BENCH, "model@teacher=folder",
               f"teacher.location={language}", "student.depth=1", "task.drop_unknown=1", "task.limit_validation=20",
               "trainer.max_steps=2", "compression/pruning=structured", "compression/quantization=int8_dynamic"]
    done = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    assert (done.summary["cells"], done.summary["done"], done.summary["skipped"]) == (2, 1, 1)
    assert "no Android device" in done.out
    rows = check_claims(done.out, 2)
    pruned = {row[1]: row[-1] for row in rows if row[0].startswith("combined") and "really cut" in row[0]}
    for loss in ("MLM loss", "distillation loss", "cosine loss"):
        assert float(pruned[loss].split()[0]) > 0, pruned


def test_sst2_device_matrix(run: Any, models: dict[str, Path], tmp_path: Path) -> None:
    # A GPU has its own baselines.
    bench = [option for option in BENCH if not option.startswith("device.baselines")]
    command = ["bench.py", "experiment=sst2_device_matrix", *QUICK, *TRAINED, *bench, *ours(models),
               "report.roles.small=folder", "compression=structured_50", "compression/quantization=int8"]
    done = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    assert (done.summary["cells"], done.summary["done"]) == (2, 1)
    assert "no CUDA device" in done.out
    rows = check_claims(done.out, 3)
    accuracy = {row[0]: row[-1] for row in rows if row[1] == "accuracy"}
    assert accuracy["FP32"].startswith("cell missing")
    assert "% of 40" in accuracy["pruned 50 % + INT8"]


def test_unified_edge_pipeline(run: Any, tmp_path: Path) -> None:
    # Beside what is trained: models in shape alone.
    roles = "report.roles={small: tinybert_4, full: tinybert_4, tinybert: tinybert_4, mobilebert: tinybert_4}"
    command = ["bench.py", "experiment=unified_edge_pipeline", *QUICK, *TRAINED, *BENCH, roles, "model.weights=random",
               "compression/quantization=none", "compression=none"]
    done = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    # The second, MobileBERT's, is the first without a revision.
    assert (done.summary["cells"], done.summary["done"], done.summary["cached"]) == (2, 2, 1)
    assert "random weights" in done.out
    rows = check_claims(done.out, 2)
    assert any("GFLOP at 128 tokens" in row[-1] for row in rows)
    assert any(row[-1].startswith("cell missing") for row in rows if row[0].startswith("pruned"))


def test_unified_edge_pipeline_of_a_trained_model(run: Any, models: dict[str, Path], tmp_path: Path) -> None:
    command = ["bench.py", "experiment=unified_edge_pipeline", *QUICK, *TRAINED, *BENCH, *ours(models),
               "report.roles.small=folder", "compression=structured_50", "compression/recovery=distillation",
               "compression/quantization=int8_dynamic"]
    done = run(*command, cwd=tmp_path, store=tmp_path / "store").ok()
    assert (done.summary["cells"], done.summary["done"]) == (1, 1)
    assert [step for step in done.computed if step in ("train", "prune", "recover")] == ["train", "prune", "recover"]
    rows = check_claims(done.out, 2)
    (accuracy,) = (row for row in rows if row[:2] == ["pruned, quantised, distilled", "accuracy, published"])
    assert "% of 40" in accuracy[-1]
