"""Train, compress, bench: one multirun over six cells, the same again, and what makes no other cell."""

import csv
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


def _rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def rows(swept: Any) -> list[dict[str, str]]:
    return _rows(swept.folder / "results.csv")


def _records(swept: Any) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(swept.store.glob("artifacts/bench/*/record.json"))]


def test_train_prints_its_facts_and_one_json_line(trained: Any) -> None:
    assert trained.train.computed == ["train"]
    summary = trained.train.summary
    assert (summary["status"], summary["cells"], summary["cached"], summary["step"]) == ("done", 1, 0, "train")
    assert summary["facts"]["validation"]["n"] == 80
    assert summary["facts"]["train_texts"] + summary["facts"]["held_out_texts"] == 200
    folder = Path(summary["folder"])
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {p.name for p in folder.iterdir()}
    assert list(folder.glob("logs/*/metrics.csv")), "the CSV logger left nothing"


def test_compress_takes_the_trained_model_from_the_store(swept: Any) -> None:
    assert swept.compress.computed == ["prune", "recover", "export"]
    facts = swept.compress.summary["facts"]
    assert facts["parity"]["n"] == 80
    assert any(layer["heads"] < 4 or layer["ffn"] < 64 for layer in facts["structure"])


def test_bench_computes_each_step_once(swept: Any) -> None:
    # One export was there already; the dense FP32 one is also everybody's parent.
    assert Counter(swept.bench.computed) == {"export": 5, "predict": 6, "bench": 6}


def test_last_line_is_json(swept: Any) -> None:
    summary = swept.bench.summary
    assert (summary["cells"], summary["done"], summary["cached"]) == (6, 6, 0)
    assert "failed" not in summary
    assert Path(summary["results"]).is_file()


def test_results_hold_a_row_with_figures_for_each_cell(rows: list[dict[str, str]]) -> None:
    assert len({r["fingerprint"] for r in rows}) == len(rows) == 6
    assert {(r["pruning"], r["quantization"]) for r in rows} == {
        (p, q) for p in ("none", "structured") for q in ("none", "int8_dynamic", "int4_ort")
    }
    for r in rows:
        assert r["status"] == "done"
        assert r["n"] == "80"
        assert int(r["right"]) == pytest.approx(80 * float(r["accuracy"]), abs=1e-3)
        assert float(r["accuracy_ci95_low"]) < float(r["accuracy"]) < float(r["accuracy_ci95_high"])
        assert 0 < float(r["tokens_32_latency_ms_p50"]) <= float(r["tokens_32_latency_ms_p99"])
        assert float(r["tokens_32_times_faster_than_onnxruntime_fp32"]) > 0
        for column in ("batch_8_sentences_per_s", "peak_rss_mb_batch_1", "size_model_mb", "cold_start_total_ms_p50"):
            assert float(r[column]) > 0, column


def test_figures_follow_what_was_done_to_the_model(rows: list[dict[str, str]]) -> None:
    by_cell = {(r["pruning"], r["quantization"]): r for r in rows}
    for pruning in ("none", "structured"):
        sizes = [float(by_cell[pruning, q]["size_model_mb"]) for q in ("none", "int8_dynamic", "int4_ort")]
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 3
    dense, cut = by_cell["none", "none"], by_cell["structured", "none"]
    assert int(cut["parameters"]) < int(dense["parameters"])
    assert float(cut["size_model_mb"]) < float(dense["size_model_mb"])
    assert float(cut["gflops_32_tokens"]) < float(dense["gflops_32_tokens"])
    assert (dense["parent_accuracy_points"], dense["parent_flips"]) == ("0.0", "0")
    assert float(cut["parent_max_logit_drift"]) > 0
    for r in rows:
        points = 100 * (float(r["accuracy"]) - float(dense["accuracy"]))
        assert float(r["parent_accuracy_points"]) == pytest.approx(points, abs=1e-3)


def test_parity_of_fp32_is_tight(rows: list[dict[str, str]]) -> None:
    gaps = [float(r["parity_max_abs_difference"]) for r in rows if r["quantization"] == "none"]
    assert len(gaps) == 2
    assert max(gaps) <= 1e-4


def test_table_is_printed_and_kept(swept: Any, rows: list[dict[str, str]]) -> None:
    kept = (swept.folder / "table.md").read_text()
    assert kept.strip() in swept.bench.out
    lines = kept.split("\n\n")[0].splitlines()
    assert len(lines) == 2 + 6
    for r in rows:
        line = next(x for x in lines if x.split("|")[1].strip() == r["compression"])
        assert f"{100 * float(r['accuracy']):.2f}" in line


def test_the_report_says_whether_the_parts_multiply(swept: Any, rows: list[dict[str, str]]) -> None:
    products = (swept.folder / "table.md").read_text().split("### Do the parts multiply?")[1]
    lines = [[c.strip() for c in x.strip("|").split("|")] for x in products.splitlines() if x.startswith("| ")][1:]
    assert [line[0] for line in lines] == ["structured 50 % × int8_dynamic", "structured 50 % × int4_ort"]
    size = {(r["pruning"], r["quantization"]): float(r["size_model_mb"]) for r in rows}
    right = {(r["pruning"], r["quantization"]): int(r["right"]) for r in rows}
    dense = ("none", "none")
    for line, method in zip(lines, ("int8_dynamic", "int4_ort"), strict=True):
        cut, small = size[dense] / size["structured", "none"], size[dense] / size["none", method]
        assert line[2] == f"{cut:.2f} · {small:.2f} → {cut * small:.2f}"
        assert line[3] == f"{size[dense] / size['structured', method]:.2f}"
        assert line[8] == f"{100 * (right[dense] - right['structured', method]) / 80:+.2f}"


def test_pareto_is_a_picture(swept: Any) -> None:
    data = (swept.folder / "pareto.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width > 600
    assert height > 300
    assert data[-8:-4] == b"IEND"


def test_parquet_says_what_the_csv_says(swept: Any, rows: list[dict[str, str]]) -> None:
    import pandas

    frame = pandas.read_parquet(swept.folder / "results.parquet")
    assert list(frame["fingerprint"]) == [r["fingerprint"] for r in rows]
    assert list(frame["accuracy"]) == [float(r["accuracy"]) for r in rows]


def test_records_are_complete(swept: Any) -> None:
    records = _records(swept)
    assert len(records) == 6
    for record in records:
        assert record["quality"]["n"] == 80
        assert "against_parent" in record["quality"]
        assert set(record["latency"]) == {"real", "tokens_16", "tokens_32"}
        assert all(figures["n"] == 4 for figures in record["latency"].values())
        assert set(record["speedup"]) == {"onnxruntime_fp32"}
        assert record["throughput"]["batch_8"]["sentences_per_s"] > 0
        assert record["baseline_throughput"]["onnxruntime_fp32"]["batch_8"]["sentences_per_s"] > 0
        assert record["throughput_speedup"]["onnxruntime_fp32"]["batch_8"]["ratio"] > 0
        assert record["tokenization"]["tokenization_ms_p50"] > 0
        assert 0 < record["latency"]["tokens_32"]["share_of_peak"] < 1
        assert sum(record["token_lengths"]["histogram"].values()) == 80
        assert all(rate > 0.1 for when in record["calibration"].values() for rate in when.values())
        memory = record["memory"]
        for phase in ("imported", "tokenizer", "read", "session", "first_logits", "batch_1", "batches"):
            assert memory[phase]["peak_rss_mb"] >= memory[phase]["rss_mb"] > 1, phase
        assert memory["after_load"]["peak_rss_mb"] >= memory["session"]["peak_rss_mb"]
        size = record["size"]
        assert size["total_mb"] == pytest.approx(size["model_mb"] + size["tokenizer_mb"] + size["config_mb"], abs=1e-5)
        cold = record["cold_start"]["cold_start_ms_p50"]
        assert record["cold_start"]["n"] == 1
        assert record["cold_start"]["dropped"]["page_cache"] == "shipped files dropped" or (
            record["cold_start"]["dropped"]["page_cache"].startswith("warm: "))
        assert cold["total"] == pytest.approx(sum(v for k, v in cold.items() if k != "total"), abs=0.1)
        environment = record["environment"]
        assert environment["cpu"]
        assert environment["pinned_cores"] or environment["unpinned_because"]
        assert set(environment["cores_of_workers"]) == {"candidate", "onnxruntime_fp32"}
        if environment["pinned_cores"]:
            assert set(map(tuple, environment["cores_of_workers"].values())) == {tuple(environment["pinned_cores"])}
        assert environment["cores"] >= 1
        assert environment["engine"]["versions"]["onnxruntime"]
        # Four calls prove nothing, and the record says so.
        assert record["valid"] is False
        assert record["invalid_because"]


def test_samples_keep_every_single_time(swept: Any) -> None:
    files = sorted(swept.store.glob("artifacts/bench/*/samples.json"))
    assert len(files) == 6
    for file in files:
        samples = json.loads(file.read_text())
        assert set(samples) == {"candidate", "onnxruntime_fp32"}
        calls = {s: [len(r["wall_ms"]) for r in rounds] for s, rounds in samples["candidate"].items()}
        assert calls == {"real": [2, 2], "tokens_16": [2, 2], "tokens_32": [2, 2], "batch_8": [1], "sorted_8": [1]}


def test_second_run_computes_nothing(swept: Any, run: Any, tmp_path: Path, children_noted: Any) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in swept.store.glob("artifacts/*/*/**/*")}

    before = state()
    environment, children = children_noted
    again = run("bench.py", *swept.overrides, cwd=tmp_path, store=swept.store, env=environment).ok()
    assert again.summary["cached"] == again.summary["cells"] == 6
    assert again.computed == []
    assert children() == []
    assert state() == before
    for name in ("results.csv", "results.parquet", "table.md", "pareto.png"):
        assert (Path(again.summary["folder"]) / name).read_bytes() == (swept.folder / name).read_bytes(), name


def test_ratio_of_an_unpruned_cell_makes_no_other_cell(
    swept: Any, run: Any, tiny: list[str], rapid: list[str], tmp_path: Path
) -> None:
    sweep = ["compression/pruning=none", "compression.pruning.ratio=0.3,0.5,0.7"]
    again = run("bench.py", "-m", *tiny, *rapid, *sweep, cwd=tmp_path, store=swept.store).ok()
    assert (again.summary["cells"], again.summary["cached"]) == (3, 3)
    assert again.computed == []
    found = [json.loads(p.read_text())["fingerprint"] for p in Path(again.summary["folder"]).glob("*/cell.json")]
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(_rows(Path(again.summary["results"]))) == 1


def test_sweep_manifest_lists_the_jobs(swept: Any) -> None:
    manifest = json.loads((swept.folder / "sweep.json").read_text())
    assert len(manifest["jobs"]) == 6
    cells = [json.loads((swept.folder / str(n) / "cell.json").read_text()) for n in range(6)]
    assert [c["overrides"] for c in cells] == manifest["jobs"]


def test_a_sweep_tells_each_cell_in_plain_lines(swept: Any) -> None:
    told = [line for line in swept.bench.err.splitlines() if line.startswith("cell ")]
    assert sum(" of 6 done after " in line for line in told) == 6
    assert told[-1].endswith("(0 left)")
    assert "\x1b" not in swept.bench.err
    assert "\r" not in swept.bench.err


def test_status_recommend_and_compare_read_the_sweep(swept: Any, run: Any, tmp_path: Path) -> None:
    def command(*words: str) -> Any:
        return run("-m", "edgedistil", *words, cwd=tmp_path, store=tmp_path / "no_store")

    status = command("status", str(swept.folder)).ok()
    assert status.out == f"{swept.folder}: finished, 6 cells: 6 done\n"
    assert status.cpu_s < 2
    records = _records(swept)
    small = min(r["size"]["model_mb"] for r in records)
    found = command("recommend", str(swept.folder), "--max-size-mb", str(small), "--json").ok().summary
    assert found["qualify"] == [found["best"]["cell"]]
    assert found["best"]["figures"]["size"]["value"] == small
    assert found["best"]["commands"][0].startswith("python bench.py ")
    # Four calls prove nothing, so no cell's times count.
    late = command("recommend", str(swept.folder), "--max-latency-ms", "1000")
    assert late.code == 1
    assert "INVALID" in late.out
    same = command("compare", str(swept.folder), str(swept.folder), "--tolerance", "quality=0", "size=0%", "--json")
    assert same.ok().summary["past"] == []
    assert len(same.summary["cells"]) == 6
    quality = [d for c in same.summary["cells"] for d in c["differences"] if d["figure"] == "accuracy_points"]
    assert {d["how"] for d in quality} == {"the same sentences, paired"}
