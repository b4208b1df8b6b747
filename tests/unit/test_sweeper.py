"""The sweeper composes each job once, and hands every launcher what Hydra would have composed."""

import copy
from typing import Any

from omegaconf import OmegaConf

from hydra_plugins.compose_once import ComposeOnceSweeper, _KeepsComposed, jobs_of


class Loader:
    """Stands for Hydra's; counts."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def load_sweep_config(self, master_config: Any, sweep_overrides: list[str]) -> Any:
        self.calls.append(sweep_overrides)
        return OmegaConf.create({"overrides": sweep_overrides})

    def other(self) -> str:
        return "as Hydra's"


def test_the_check_and_the_launch_share_one_composition() -> None:
    loader = Loader()
    keeps = _KeepsComposed(loader)  # type: ignore[arg-type]
    checked = [keeps.load_sweep_config(None, ["a=1"]), keeps.load_sweep_config(None, ["a=2"])]
    launched = [keeps.load_sweep_config(None, ["a=1"]), keeps.load_sweep_config(None, ["a=2"])]
    assert loader.calls == [["a=1"], ["a=2"]]
    assert launched[0] is checked[0]
    assert launched[1] is checked[1]


def test_a_config_is_given_away_once() -> None:
    loader = Loader()
    keeps = _KeepsComposed(loader)  # type: ignore[arg-type]
    keeps.load_sweep_config(None, ["a=1"])
    first = keeps.load_sweep_config(None, ["a=1"])
    first.overrides.append("written by the launcher")
    assert keeps.load_sweep_config(None, ["a=1"]).overrides == ["a=1"]


def test_everything_else_is_hydras() -> None:
    assert _KeepsComposed(Loader()).other() == "as Hydra's"  # type: ignore[arg-type]


def test_other_processes_get_the_loader_without_what_was_composed_here() -> None:
    keeps = _KeepsComposed(Loader())  # type: ignore[arg-type]
    keeps.load_sweep_config(None, ["a=1"])
    make, arguments = keeps.__reduce__()
    sent = make(*arguments)
    assert sent.load_sweep_config(None, ["a=1"]).overrides == ["a=1"]
    assert sent.calls == [["a=1"], ["a=1"]]
    # Not by its attributes, which it asks the loader for before it has one.
    assert copy.copy(keeps).other() == "as Hydra's"


def test_a_product_alone_is_hydras() -> None:
    assert jobs_of({"a": "1,2", "b": "x"}, None, []) == [["a=1", "b=x"], ["a=2", "b=x"]]
    assert jobs_of({"a": "1,2", "b": "x"}, {}, ["a=3", "c=4"]) == [["a=3", "b=x", "c=4"]]


ALSO = {"taught": {"task": "squad", "objective": "taught"}, "peers": {"model": "t,m", "weights": "random"}}


def test_blocks_stand_behind_the_product_and_take_the_rest_from_it() -> None:
    assert jobs_of({"task": "cola,squad", "model": "d"}, ALSO, []) == [
        ["task=cola", "model=d"], ["task=squad", "model=d"],
        ["model=d", "task=squad", "objective=taught"],
        ["task=cola", "model=t", "weights=random"], ["task=cola", "model=m", "weights=random"],
        ["task=squad", "model=t", "weights=random"], ["task=squad", "model=m", "weights=random"],
    ]


def test_the_command_line_replaces_what_a_block_does_not_set() -> None:
    jobs = jobs_of({"task": "cola", "seed": "1,2,3"}, ALSO, ["seed=7"])
    assert jobs == [
        ["task=cola", "seed=7"], ["seed=7", "task=squad", "objective=taught"],
        ["task=cola", "seed=7", "model=t", "weights=random"], ["task=cola", "seed=7", "model=m", "weights=random"],
    ]


def test_the_command_line_leaves_out_blocks_that_set_something_else() -> None:
    assert jobs_of({"task": "cola,squad", "model": "d"}, ALSO, ["task=cola", "model=d,m"]) == [
        ["task=cola", "model=d"], ["task=cola", "model=m"],
        ["task=cola", "model=m", "weights=random"],
    ]


def test_a_cell_that_two_blocks_make_is_one() -> None:
    assert jobs_of({"a": "1,2"}, {"again": {"a": "2,3"}}, []) == [["a=1"], ["a=2"], ["a=3"]]
    assert jobs_of({"a": "1,2", "b": "3,4"}, {"again": {"a": "2"}}, ["a=2", "b=3"]) == [["a=2", "b=3"]]


def test_batches_of_the_launcher_hold_every_job_once() -> None:
    # Hydra imports its plugins anew when it looks for them, so that a class of before can't be made any more.
    sweeper = ComposeOnceSweeper.__new__(ComposeOnceSweeper)
    sweeper.max_batch_size, sweeper.batch_index = 2, 0
    sweeper._jobs = jobs_of({"a": "1,2,3"}, {"more": {"a": "4,5"}}, [])
    batches = []
    while not sweeper.is_done():
        batches.append(list(sweeper.get_job_batch()))
    assert [len(b) for b in batches] == [2, 2, 1]
    assert [job for batch in batches for job in batch] == sweeper._jobs
