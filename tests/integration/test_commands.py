"""plan=true and ``python -m edgedistil``: what is there, what would be done, upkeep, reports again."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

STEPS = {"train": 1, "prune": 1, "recover": 1, "export": 6, "predict": 6, "bench": 6, "report": 1}


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_plan_lists_the_steps_and_computes_nothing(
    run: Any, tiny: list[str], rapid: list[str], tmp_path: Path, children_noted: Any
) -> None:
    environment, children = children_noted
    sweep = ["compression/pruning=none,structured", "compression/quantization=none,int8_dynamic,nf4"]
    store = tmp_path / "store"
    ran = run("bench.py", "-m", *tiny, *rapid, *sweep, "plan=true", cwd=tmp_path / "cwd", store=store, env=environment)
    assert ran.ok().summary["planned"] == 4
    assert ran.summary["skipped"] == 2
    steps = Counter(re.findall(r"^  would run (\w+)", ran.out, re.M))
    assert steps == {"train": 1, "prune": 1, "export": 4, "predict": 4, "bench": 4}
    assert ran.summary["steps_to_compute"] == sum(steps.values())
    assert ran.computed == []
    assert children() == []
    assert not list(store.glob("artifacts/*/*"))
    assert not list(store.glob("work/*"))


def test_plan_tells_what_is_in_the_store(
    run: Any, tiny: list[str], rapid: list[str], tmp_path: Path, trained: Any, swept: Any
) -> None:
    new = run("bench.py", *tiny, *rapid, "plan=true", cwd=tmp_path / "new", store=trained.store).ok()
    assert "would run train" not in new.out
    assert re.findall(r"would run (\w+)", new.out) == ["export", "predict", "bench"]
    old = run("bench.py", *tiny, *rapid, "plan=true", cwd=tmp_path / "old", store=swept.store).ok()
    assert (old.summary["cached"], old.summary["steps_to_compute"]) == (1, 0)
    assert "read from the store" in old.out


def test_store_is_listed_and_measured(run: Any, swept: Any, tmp_path: Path, artifacts: Any) -> None:
    listed = run("-m", "edgedistil", "store", "ls", cwd=tmp_path, store=swept.store).ok()
    total = sum(len(keys) for keys in artifacts(swept.store).values())
    lines = listed.out.strip().splitlines()
    assert lines[-1].startswith(f"{total} artifacts, ")
    assert len(lines) == total + 1
    for step, keys in artifacts(swept.store).items():
        for key in keys:
            assert re.search(rf"^{step} +{key[:12]} ", listed.out, re.M)
    sized = run("-m", "edgedistil", "store", "size", cwd=tmp_path, store=swept.store).ok()
    counts = {step: int(n) for step, n in re.findall(r"^(\w+) +(\d+) artifacts", sized.out, re.M)}
    assert {k: counts[k] for k in STEPS if k != "report"} == {k: v for k, v in STEPS.items() if k != "report"}


def test_store_is_cleaned(run: Any, copied: Path, tmp_path: Path, artifacts: Any) -> None:
    abandoned = copied / "work" / ("0" * 64)
    abandoned.mkdir(parents=True)
    (abandoned / "request.json").write_text("{}")
    young = run("-m", "edgedistil", "store", "gc", cwd=tmp_path, store=copied).ok()
    assert young.out.startswith("removed 0 folders")
    assert list(artifacts(copied)) == ["train"]
    # Left by a run that was killed just now, which may go on from here.
    assert abandoned.exists()
    everything = run("-m", "edgedistil", "store", "gc", "--all", cwd=tmp_path, store=copied).ok()
    assert everything.out.startswith("removed 2 folders")
    assert not abandoned.exists()
    assert artifacts(copied) == {}
    empty = run("-m", "edgedistil", "store", "ls", cwd=tmp_path, store=copied).ok()
    assert empty.out.startswith("0 artifacts")


def test_report_of_a_sweep_again(run: Any, swept: Any, tmp_path: Path) -> None:
    folder = tmp_path / "multirun"
    names = {"results.csv", "results.parquet", "table.md", "pareto.png"}
    shutil.copytree(swept.folder, folder, ignore=shutil.ignore_patterns(*names))
    assert not names & {p.name for p in folder.iterdir()}
    ran = run("-m", "edgedistil", "report", str(folder), cwd=tmp_path, store=swept.store).ok()
    assert ran.out.strip() == (swept.folder / "table.md").read_text().strip()
    for name in names:
        assert (folder / name).read_bytes() == (swept.folder / name).read_bytes()


def test_report_with_published_figures_beside_ours(run: Any, swept: Any, tmp_path: Path) -> None:
    names = run("-m", "edgedistil", "list", "references", cwd=tmp_path, store=tmp_path / "s").ok().out.split()
    assert {"seed0_cpu", "seed1_cpu"} <= set(names)
    folder = tmp_path / "multirun"
    shutil.copytree(swept.folder, folder, ignore=shutil.ignore_patterns("table.md"))
    command = ["report", str(folder), "--references", "seed1_cpu"]
    ran = run("-m", "edgedistil", *command, cwd=tmp_path, store=swept.store).ok()
    ours = ran.out.split("### Seed 1, CPU rows")[1]
    assert "| claimed" in ours
    assert re.search(r"\| FP32 +\| accuracy +\| 91\.06 % .*\d\d\.\d\d % of 80 \[", ours)
    assert "cell missing" in ours
    assert (folder / "table.md").read_text().strip() == ran.out.strip()


def test_report_with_unknown_reference(run: Any, swept: Any, tmp_path: Path) -> None:
    command = ["report", str(swept.folder), "--references", "nope"]
    ran = run("-m", "edgedistil", *command, cwd=tmp_path, store=swept.store)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert len(ran.err.strip().splitlines()) == 1
    assert "nope" in ran.err
    assert "seed0_cpu" in ran.err


def test_report_of_a_folder_without_cells(run: Any, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        ran = run("-m", "edgedistil", "report", str(folder), cwd=tmp_path, store=tmp_path / "store")
        assert ran.code == 2
        assert ran.err.startswith("error: ")
        assert len(ran.err.strip().splitlines()) == 1
        assert str(folder) in ran.err


def test_report_survives_a_cleaned_store(run: Any, swept: Any, tmp_path: Path) -> None:
    """The records are gone: one line that says so, no traceback."""
    folder = tmp_path / "multirun"
    shutil.copytree(swept.folder, folder, ignore=shutil.ignore_patterns("results.*", "table.md", "pareto.png"))
    gone = tmp_path / "gone"
    for cell in folder.glob("*/cell.json"):
        cell.write_text(cell.read_text().replace(str(swept.store), str(gone)))
    ran = run("-m", "edgedistil", "report", str(folder), cwd=tmp_path, store=gone)
    assert "Traceback" not in ran.err
    assert ran.code == 2
    assert ran.err.startswith("error: ")


def test_outcome_says_what_was_asked(swept: Any) -> None:
    cell = json.loads((swept.folder / "3" / "cell.json").read_text())
    assert cell["stage"] == "bench"
    assert cell["status"] == "done"
    assert "compression/pruning=structured" in cell["overrides"]
    assert Path(cell["folder"], "record.json").is_file()
