"""Published tables are whole, their arithmetic is the paper's, and each figure has an answer or a reason."""

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
