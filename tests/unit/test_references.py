"""Published tables are whole, their arithmetic is the paper's, and each figure has an answer or a reason."""

import re
from typing import Any

import pytest
from omegaconf import OmegaConf

from edgedistil.errors import UserError
from edgedistil.reporting.filling import command, filler
from edgedistil.reporting.glue import NAMES, macro_score
from edgedistil.reporting.reference_answers import answer
from edgedistil.reporting.references import about_losses, available, compared, listed, published
from edgedistil.reporting.reproduction_scores import claims, number, scores
from edgedistil.reporting.roles import check, parse, role_facts
from edgedistil.reporting.score_error import matthews_error
from edgedistil.reporting.training_table import training_tables
from edgedistil.stages.job import _roles

ROLES = {"full": "bert_base", "small": "distilbert"}
# What the sources say, written down a second time: an edited figure fails. Tasks of GLUE first, score and nine tasks.
GLUE = ("score", "CoLA", "MNLI", "MRPC", "QNLI", "QQP", "RTE", "SST-2", "STS-B", "WNLI")
CLAIMED_GLUE = {
    "distilbert_table1": {"ELMo": "68.7 44.1 68.6 76.6 71.1 86.2 53.4 91.5 70.4 56.3",
                          "BERT-base": "79.5 56.3 86.7 88.6 91.8 89.6 69.3 92.7 89.0 53.5",
                          "DistilBERT": "77.0 51.3 82.2 87.5 89.2 88.5 59.9 91.3 86.9 56.3"},
    "seed0_glue": {"DistilBERT": "- 46.4 81.5 82.8 88.2 90.0 57.8 90.7 85.5 54.9"},
    "seed2_glue": {"BERT-base": "- 57.30 84.67 84.03 91.93 89.66 61.73 92.55 87.92 30.99",
                   "DistilBERT": "- 43.56 82.17 84.70 88.03 88.50 58.48 90.48 85.69 25.35"},
    "seed3_glue": {"TinyDistilBERT": "54.9 12.5 60.2 81.2 60.4 73.1 52.7 79.1 18.5 56.3"},
}
# A line a figure, a column a model; the models that ours answer twice have it twice.
CLAIMED_SEED0 = {
    "seed0_cpu": """
        figure             | baseline           | INT8      | pruned             | combined
        cold start         | 15.51 ms           | 12.15 ms  | 12.65 ms           | 9.28 ms
        latency, 8 tokens  | 12.02 ms           | 7.83 ms   | 11.29 ms           | 7.84 ms
        latency, 13 tokens | 15.54 ms           | 7.67 ms   | 14.34 ms           | 8.52 ms
        latency, 31 tokens | 17.58 ms           | 10.40 ms  | 16.90 ms           | 10.62 ms
        throughput         | 82.33 /s           | 136.39 /s | 82.82 /s           | 135.05 /s
        peak memory        | 60.70 MB           | 4.05 MB   | 0.41 MB            | 0.00 MB
        size               | 255.57 MB          | 154.77 MB | 255.57 MB          | 154.77 MB
        parameters         | 66,985,530         | PACKED    | 66,985,530         | PACKED
        full pass          | 51.26 s            | 34.18 s   | 51.55 s            | 34.03 s
        IMDb accuracy      | 1.0 in the JSON    |           | 1.0 in the JSON    |
        SQuAD EM           | 0.081 in the JSON  |           | 0.073 in the JSON  |
        SQuAD F1           | 0.1376 in the JSON |           | 0.1305 in the JSON |
        ONNX size          |                    |           |                    | 345.06 MB FP32, 86.71 MB INT8
        MLM loss           | 6.6854             | 6.8083    | 6.7859             | 6.9024
        distillation loss  | 7.6096             | 7.8827    | 7.9324             | 8.1377
        cosine loss        | 0.2679             | 0.2818    | 0.2761             | 0.2897
    """.replace("PACKED", "66,985,530 in one README, 23,855,616 in another and in the JSON"),
    "seed0_android": """
        figure           | baseline  | INT8     | pruned    | pruned + INT8
        latency, average | 164.35 ms | 51.12 ms | 163.45 ms | 51.29 ms
        latency p50      | 163.64 ms | 51.05 ms | 162.88 ms | 51.28 ms
        latency p90      | 166.01 ms | 51.24 ms | 163.99 ms | 51.73 ms
        size             | 345.06 MB | 86.71 MB | 345.06 MB | 86.71 MB
    """,
}
# A line a row: its name, then each figure.
CLAIMED = {
    "distilbert_table2": """
        BERT-base, IMDb | accuracy: 93.46
        DistilBERT, IMDb | accuracy: 92.82
        BERT-base, SQuAD | EM: 81.2 | F1: 88.5
        DistilBERT, SQuAD | EM: 77.7 | F1: 85.8
        DistilBERT (D), SQuAD | EM: 79.1 | F1: 86.9
    """,
    "distilbert_table3": """
        ELMo | parameters: 180 M | pass: 895 s
        BERT-base | parameters: 110 M | pass: 668 s
        DistilBERT | parameters: 66 M | pass: 410 s | on a phone: 71 % faster than BERT, 207 MB
    """,
    "distilbert_table4": """
        no L_ce | paper: Δ GLUE points: −2.96
        no L_cos | paper: Δ GLUE points: −1.46
        no L_mlm | paper: Δ GLUE points: −0.31
        triple loss + random initialisation | paper: Δ GLUE points: −3.69
    """,
    "seed1_cpu": """
        FP32 | accuracy: 91.06 % | latency: 0.072 s in the README, 0.352 s in the notebook
        | pass, ONNX FP32: 191.68 s | memory: 1666.8 MB | memory, ONNX: 0.00 MB
        INT8 | accuracy: 89.68 % (89.33 % in a rerun; ONNX 90.48 %)
        | latency: 0.158 s in the README, 0.151 s in the notebook | pass, ONNX INT8: 121.08 s | memory: 60.1 MB
        pruned 30 % + INT8 | accuracy: 90.48 % | latency: 70.550887 s | memory: 2216.4 MB
        pruned 40 % + INT8 | accuracy: 88.53 % | latency: 63.064142 s | memory: 2388.0 MB
        pruned 50 % + INT8 | accuracy: 87.16 % | latency: 53.988839 s | memory: 2563.8 MB
    """,
    "seed1_cuda": """
        T4, FP32 | accuracy: 91.06 % | latency: 0.007 s | memory: 280.0 MB
        T4, 8-bit | accuracy: 90.71 % | latency: 0.047 s | memory: 213.6 MB
        T4, 4-bit | accuracy: 91.17 % | latency: 0.027 s | memory: 89.5 MB
        GTX 1050 Ti, FP32 | accuracy: 91.06 % | latency: 0.012 s | memory: 282.9 MB
        GTX 1050 Ti, 8-bit | accuracy: 90.71 % | latency: 0.205 s | memory: 377.3 MB
    """,
    "seed2_speed": """
        BERT-base | parameters: 108.31 M | pass: 13.04 s
        DistilBERT | parameters: 65.78 M | pass: 6.61 s
    """,
    "seed2_tasks": """
        BERT-base, IMDb | accuracy: none
        DistilBERT, IMDb | accuracy: none
        BERT-base, SQuAD | EM: 81.79 | F1: 88.87
        DistilBERT, SQuAD | EM: none | F1: none
    """,
    "seed3_speed": """
        BERT-base | parameters: 110 M | pass: 423.65 s
        DistilBERT | parameters: 66 M | pass: 209.10 s
        TinyDistilBERT | parameters: 66 M | pass: 215.79 s
    """,
    "seed3_tasks": """
        TinyDistilBERT, IMDb | accuracy: 86.19
        TinyDistilBERT, SQuAD | EM: 10.4 | F1: 18.6
        TinyDistilBERT (D), SQuAD | EM: 11.0 | F1: 19.6
    """,
    "seed4": """
        DistilBERT | accuracy, published: 92.0 % | accuracy, logged: 89.45 → 87.84 % | FLOPs: 9.8 billion
        | size: 250 MB | latency: 100 ms
        pruned | accuracy, published: 91.5 % | accuracy, logged: 89.79 → 87.39 % | FLOPs: 4.9 billion
        | size: 250 MB | latency: 95 ms
        pruned, distilled | accuracy, published: 91.7 % | size: 250 MB | latency: 95 ms
        quantised | accuracy, published: none of its own | FLOPs: 3.0 billion
        pruned, quantised, distilled | accuracy, published: 91.0 %, then 90.1 %, in the README about 90 %
        | FLOPs: 2.3 billion | size: 62 MB, then 45 MB; "8 times smaller" | speed: 2 to 3 times | latency: 35 ms
        BERT-base | FLOPs: 20.0 billion
        TinyBERT | beside it: "superior" to TinyBERT
        MobileBERT | beside it: "superior" to MobileBERT
    """,
    "inc_sst2": """
        FP32 | accuracy: 91.06 % | size: 255 MB | throughput: 23.0 /s
        static INT8 | accuracy: 90.37 % | size: 65 MB | throughput: 47.6 /s, 2.06 times
    """,
    "small_berts_sst2": """
        BERT-base | SST-2: 92.7–93.5 | parameters: 110 M | speed-up over BERT-base: 1×
        CoFi, 60 % sparse | SST-2: 93.0 | parameters: ~58 M | speed-up over BERT-base: 2.1× | MNLI: 85.3
        | SQuAD 1.1 F1: 89.1
        CoFi, 3.7× faster | SST-2: ~92.9 | speed-up over BERT-base: 3.7×
        CoFi, 4.7× faster | SST-2: ~92.6 | speed-up over BERT-base: 4.7×
        CoFi, ~85 % sparse | SST-2: ~91.5 | parameters: ~32 M | speed-up over BERT-base: 7.0×
        CoFi, 95 % sparse | SST-2: 90.4 | parameters: ~28 M | speed-up over BERT-base: 12.2× | MNLI: 80.6
        | SQuAD 1.1 F1: 82.6
        TinyBERT, 6 layers | SST-2: 93.1 | parameters: 67 M | speed-up over BERT-base: 2.0×
        TinyBERT, 4 layers | SST-2: 92.6 | parameters: 14.5 M | speed-up over BERT-base: 9.4× | FLOPs: 1.2 billion
        MobileBERT | SST-2: 92.8 | parameters: 25.3 M | speed-up over BERT-base: 5.5×
        MobileBERT, tiny form | SST-2: 91.7 | parameters: 15.1 M | FLOPs: 3.1 billion
        MiniLM, 12 layers of 384 | SST-2: 93.0 | parameters: 33 M | speed-up over BERT-base: 2.7×
        MiniLM, 6 layers of 384 | SST-2: 91.5 | parameters: 22 M | speed-up over BERT-base: 5.3×
        DistilBERT | SST-2: 91.3 | parameters: 67 M | speed-up over BERT-base: 1.63×
    """,
}


def row(**changes: Any) -> dict[str, Any]:
    """A finished fine-tuning of the small model on CoLA."""
    return {"status": "done", "model": "distilbert", "task": "cola", "role": "small", "taught": False, "run": "",
            "seed": 1, "validation_n": 1043, "validation_matthews_correlation": 0.5, "glue_score": 0.5,
            "parameters": 66_955_010, "removed": None} | changes


def cell(status: str = "planned", model: str = "distilbert", task: str = "cola", **changes: Any) -> dict[str, Any]:
    """An outcome of train.py."""
    told = [f"task={task}", f"model={model}", "experiment=x", "seed=3", "plan=true"]
    return {"status": status, "stage": "train", "step": "train", "names": {"model": model, "task": task},
            "overrides": told, "roles": ROLES, "fingerprint": f"{model}{task}"} | changes


@pytest.mark.parametrize("name", available())
def test_a_published_table_is_whole(name: str) -> None:
    table = published(name)
    assert set(table) == {"title", "source", "note", "rows"}
    assert all(table[k].strip() for k in ("title", "source", "note"))
    assert table["rows"]
    for entry in table["rows"]:
        assert set(entry) == {"name", "cell", "figures"}
        assert entry["figures"]
        for figure in entry["figures"]:
            assert all(figure[k].strip() for k in ("what", "claimed", "really")), entry["name"]
            assert ("column" in figure) != ("why" in figure), (entry["name"], figure["what"])
            assert entry["cell"] is not None or "why" in figure, entry["name"]


def test_all_tables_of_the_paper_and_of_the_seeds_are_there() -> None:
    assert {f"distilbert_table{n}" for n in (1, 2, 3, 4)} <= set(available())
    assert {"seed0_cpu", "seed0_android", "seed0_glue", "seed1_cpu", "seed1_cuda", "seed2_glue", "seed2_tasks",
            "seed2_speed", "seed3_glue", "seed3_tasks", "seed3_speed", "seed4", "inc_sst2",
            "small_berts_sst2"} <= set(available())
    assert [line.split()[0] for line in listed()] == available()
    assert "DistilBERT, Table 1: GLUE" in listed()[available().index("distilbert_table1")]


def kept(name: str) -> dict[str, dict[str, str]]:
    """The claims of a published table: row -> figure -> what was claimed; no figure of a row stands there twice."""
    rows = published(name)["rows"]
    found = {entry["name"]: {f["what"]: f["claimed"] for f in entry["figures"]} for entry in rows}
    assert sum(map(len, found.values())) == sum(len(entry["figures"]) for entry in rows)
    return found


def test_every_table_is_written_down_a_second_time() -> None:
    assert sorted([*CLAIMED_GLUE, *CLAIMED_SEED0, *CLAIMED]) == available()


@pytest.mark.parametrize("name", CLAIMED_GLUE)
def test_a_figure_of_glue_is_what_its_source_says(name: str) -> None:
    expected = {
        f"{model}, {task}": value
        for model, line in CLAIMED_GLUE[name].items()
        for task, value in zip(GLUE, line.split(), strict=True)
        if value != "-"
    }
    if name == "seed0_glue":
        expected |= {"BERT-base, STS-B pass": "71.24 s", "DistilBERT, STS-B pass": "34.23 s"}
    assert {row: list(figures.values()) for row, figures in kept(name).items()} == {
        row: [value] for row, value in expected.items()
    }


@pytest.mark.parametrize("name", CLAIMED_SEED0)
def test_a_figure_of_seed_0_is_what_its_source_says(name: str) -> None:
    grid = [[part.strip() for part in line.split("|")] for line in CLAIMED_SEED0[name].strip().splitlines()]
    models = grid[0][1:]
    expected = {model: {line[0]: line[n] for line in grid[1:] if line[n]} for n, model in enumerate(models, 1)}
    found = kept(name)
    assert {row.split(";")[0] for row in found} == set(models)
    for row, figures in found.items():
        assert figures == expected[row.split(";")[0]], row


@pytest.mark.parametrize("name", CLAIMED)
def test_a_figure_is_what_its_source_says(name: str) -> None:
    expected = {}
    for line in re.sub(r"\n\s*\|", " |", CLAIMED[name]).strip().splitlines():
        row, *figures = (part.strip() for part in line.split(" | "))
        expected[row] = {what: claimed for what, _, claimed in (f.rpartition(": ") for f in figures)}
    assert kept(name) == expected


def test_what_nothing_of_ours_answers_says_so() -> None:
    tables = {name: {e["name"]: {f["what"]: f for f in e["figures"]} for e in published(name)["rows"]}
              for name in available()}
    assert all("percentiles" in row["latency, average"]["why"] for row in tables["seed0_android"].values())
    for row in tables["seed0_cpu"].values():
        assert "STS-B" in row["full pass"]["really"]
        assert "why" in row["full pass"]
        assert row["latency, 13 tokens"]["column"] == "tokens_13_latency_ms_p50"
    cards = [figures["accuracy"].get("why") for row, figures in tables["seed1_cuda"].items() if row.startswith("GTX")]
    assert cards == ["no GTX 1050 Ti here"] * 2
    read = {row: figures["SST-2"]["really"] for row, figures in tables["small_berts_sst2"].items()
            if figures["SST-2"]["claimed"].startswith("~")}
    assert len(read) == 3
    assert all("read off its plot" in really for really in read.values())
    # Nobody of seed 4 counted TinyBERT's or MobileBERT's operations.
    assert not any("FLOPs" in tables["seed4"][row] for row in ("TinyBERT", "MobileBERT"))


def test_the_papers_scores_are_the_means_of_its_columns() -> None:
    table = claims("distilbert_table1")
    means = {role: macro_score(scores(table, role)) for role in ("elmo", "full", "small")}
    assert {role: round(mean or 0, 1) for role, mean in means.items()} == {"elmo": 68.7, "full": 79.5, "small": 77.0}
    for role, mean in means.items():
        assert number(table["glue", role, False][0]) == round(mean or 0, 1)
    # With the MNLI that is printed the mean is another one.
    printed = scores(table, "full") | {"mnli": float(table["mnli", "full", False][0]["claimed"])}
    assert round(macro_score(printed) or 0, 1) == 79.7
    seed = claims("seed3_glue")
    assert number(seed["glue", "small", False][0]) == round(macro_score(scores(seed, "small")) or 0, 1) == 54.9


def test_a_mean_of_eight_tasks_is_no_score() -> None:
    assert macro_score({t: 1.0 for t in NAMES if t != "wnli"}) is None


def test_elmo_is_never_measured() -> None:
    done = [row(role="elmo", task=t, glue_score=0.9) for t in NAMES]
    lines = [line for line in compared("distilbert_table1", done).splitlines() if line.startswith("| ELMo")]
    assert len(lines) == 10
    assert all("not measured: ELMo stands here as published" in line for line in lines)


def test_an_answer_has_its_seeds_its_n_and_its_sample() -> None:
    figure = {"what": "accuracy", "claimed": "90", "really": "x", "column": "validation_accuracy"}
    asked = {"task": "sst2", "role": "small", "taught": False}
    one = row(task="sst2", validation_accuracy=0.875, validation_n=872, validation_accuracy_ci95_low=0.851,
              validation_accuracy_ci95_high=0.895)
    assert answer(figure, asked, [one], None) == "87.50 % of 872 [85.1, 89.5]"
    three = [one, one | {"seed": 2, "validation_accuracy": 0.89}, one | {"seed": 3, "validation_accuracy": 0.88}]
    assert answer(figure, asked, three, None) == "88.00 % [87.50–89.00], n = 3 seeds"
    # The same seed again is no other seed, and other runs are other answers.
    assert answer(figure, asked, [one, one | {"run": "optimizer.lr=1"}, one], None).startswith("87.50 % of 872")
    part = one | {"samples_train_rows": 9000, "samples_train_of": 87599}
    assert answer(figure, asked, [part], None) == "87.50 % of 872 [85.1, 89.5], sample: 9,000 of 87,599 train"
    assert answer(figure | {"column": "parameters"}, asked, [one], None) == "66,955,010"
    error = matthews_error(0.5, 1043, 721 / 1043)
    assert answer(figure | {"column": "glue_score"}, {"task": "cola"}, [row()], None) == (
        f"50.00 of 1043 [{50 - 196 * error:.1f}, {50 + 196 * error:.1f}]"
    )


def test_no_answer_is_without_its_reason() -> None:
    figure = {"what": "latency", "claimed": "1 s", "really": "x", "column": "real_latency_ms_p50"}
    bench = {"status": "done", "quantization": "none", "n": 80, "accuracy": 0.5, "sample": True, "seed": 1}
    asked = {"quantization": "none"}
    assert answer(figure, asked, [bench], None) == "not measured: the record has no real_latency_ms_p50"
    assert answer(figure, asked, [bench | {"timed": False}], None) == (
        "not measured: a run without times (measurement=quality)"
    )
    phone = bench | {"emulated": True, "real_latency_ms_p50": 900.0}
    assert answer(figure, asked, [phone], None) == "not measured: the device was emulated, its times mean nothing"
    real = phone | {"emulated": False, "real_latency_ms_p50": 5.0}
    assert answer(figure, asked, [phone, real], None) == "5.00 ms a sentence (p50)"
    scored = figure | {"column": "accuracy"}
    assert answer(scored, asked, [bench], None) == "50.00 % of 80, sample: 80 texts"
    random = bench | {"n": None, "accuracy": None}
    assert answer(scored, asked, [random], None) == "not measured: random weights, speed and size only"
    never = {"what": "a", "claimed": "b", "really": "c", "why": "no phone here"}
    assert answer(never, None, [bench], None) == "not measured: no phone here"
    assert answer(figure, {"quantization": "nf4"}, [bench], lambda cell: f"`make {cell}`") == (
        "cell missing: `make {'quantization': 'nf4'}`"
    )


def test_a_whole_table_beside_cells_has_no_empty_cell() -> None:
    outcomes = [cell("done"), cell(), cell(model="bert_base", task="rte")]
    for name in available():
        if name == "distilbert_table4":
            continue
        for line in compared(name, [row()], filler(outcomes)).splitlines():
            if line.startswith("| "):
                assert all(part.strip() for part in line.strip("|").split("|")), line


def test_the_command_of_a_missing_cell() -> None:
    planned, done = cell(task="rte"), cell("done", model="bert_base", overrides=["task=cola", "model=bert_base",
                                                                                "trainer.max_epochs=2", "seed=1"])
    assert command(planned) == "python train.py task=rte model=distilbert experiment=x seed=3 hydra.mode=RUN"
    assert command(done) == "python train.py task=cola model=bert_base trainer.max_epochs=2 seed=1"
    fill = filler([done, planned])
    asked = {"task": "rte", "role": "small", "taught": False}
    assert fill(asked) == f"`{command(planned)}`"
    # Of the same task for the other model: as that one was.
    asked["task"] = "cola"
    assert fill(asked) == "`python train.py trainer.max_epochs=2 task=cola model=distilbert`"
    # Of another task: what runs of the model share.
    other = {"task": "mnli", "role": "small", "taught": False}
    assert fill(other) == "`python train.py experiment=x task=mnli model=distilbert hydra.mode=RUN`"
    assert fill({"task": "cola", "role": "tinybert"}) == "no model has the role tinybert (report.roles.tinybert=MODEL)"
    assert fill({"task": "glue", "role": "small", "taught": False}) == "it needs all nine tasks"
    failed = filler([cell("failed", why="out of memory")])
    assert failed({"task": "cola", "role": "small", "taught": False}).startswith("failed: out of memory; `python train")
    # Neither what a taught run was told nor what belongs to another experiment or to the whole sweep.
    told = ["matrix.seeds=\"1,2\"", "experiment=y", "objective=task_distillation", "model=distilbert", "task=squad"]
    learnt = cell(task="squad", overrides=told, names={"model": "distilbert taught by bert_base", "task": "squad"})
    more = cell("done", overrides=["experiment=z", "matrix.seeds=1", "model=distilbert", "task=sst2", "optimizer.lr=1"])
    asked = {"task": "squad", "role": "small", "taught": False}
    assert filler([learnt, more, cell("done")])(asked) == (
        "`python train.py experiment=z optimizer.lr=1 task=squad model=distilbert hydra.mode=RUN`"
    )
    assert command(learnt) == (
        "python train.py experiment=y objective=task_distillation model=distilbert task=squad hydra.mode=RUN"
    )
    taught = fill({"task": "squad", "role": "small", "taught": True})
    assert taught.startswith("`python train.py experiment=distilbert_squad task=squad model=distilbert ")
    assert "model@teacher=bert_base" in taught


def test_the_command_of_a_missing_cell_of_a_bench_sweep() -> None:
    told = ["sweep=seed1_cpu", "experiment=sst2_minilm", "compression/quantization=none"]
    made = {"status": "done", "stage": "bench", "overrides": [*told, "compression=none"], "names": {}}
    other = {"status": "done", "stage": "bench", "overrides": [*told, "compression=structured_30"], "names": {}}
    fill = filler([made, other])
    assert fill({"pruning": "structured", "pruning_ratio": 0.3, "quantization": "int8_dynamic"}) == (
        "`python bench.py sweep=seed1_cpu experiment=sst2_minilm compression/pruning=structured "
        "compression.pruning.ratio=0.3 compression/quantization=int8_dynamic hydra.mode=RUN`"
    )
    assert "pruning.ratio" not in fill({"pruning": "none", "pruning_ratio": 0.0, "quantization": "nf4"})


def test_a_table_of_losses_stands_beside_language_models_alone() -> None:
    assert [name for name in available() if about_losses(name)] == ["distilbert_table4"]
    both = training_tables([row(step="train"), row(step="pretrain", removed="", validation_mlm_loss=3.0, task="w")],
                           ["distilbert_table4", "seed3_tasks"])
    assert ["### Seed 3" in part for part in both].count(True) == 1
    assert "Δ GLUE points" in both[0]
    assert not any("### DistilBERT, Table 4" in part for part in both)


def test_which_part_a_model_plays() -> None:
    def facts(name: str, *overrides: str) -> dict[str, Any]:
        return role_facts({"names": {"model": name}, "overrides": list(overrides), "roles": ROLES})

    assert facts("distilbert") == {"role": "small", "taught": False}
    assert facts("distilbert taught by bert_base") == {"role": "small", "taught": True}
    # A recipe's model has the recipe's name.
    assert facts("some_recipe", "model=bert_base") == {"role": "full", "taught": False}
    assert facts("bert_base layers 0,1", "model=bert_base") == {"role": None, "taught": False}
    assert role_facts({"names": {"model": "distilbert"}}) == {}
    assert check({"full": "a", "small": None}) == {"full": "a"}
    assert check(None) == {}
    assert parse(["full=a", "small=b"]) == {"full": "a", "small": "b"}
    assert parse(None) is None
    for wrong in ("x", {"full": 3}, {"full": ""}):
        with pytest.raises(UserError, match="no map of parts to models"):
            check(wrong)
    with pytest.raises(UserError, match="full=bert_base"):
        parse(["full"])


def test_an_outcome_carries_the_roles_that_its_run_named() -> None:
    named = {"report": {"roles": {"full": "bert_base", "small": None}}}
    assert _roles(OmegaConf.create(named)) == {"roles": {"full": "bert_base"}}
    for none in ({"report": {"roles": {"full": None, "small": None}}}, {"report": {"roles": "x"}}, {"report": {}}, {}):
        assert _roles(OmegaConf.create(none)) == {}
