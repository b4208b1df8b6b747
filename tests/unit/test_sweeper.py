"""The sweeper composes each job once, and hands every launcher what Hydra would have composed."""

from typing import Any

from omegaconf import OmegaConf

from hydra_plugins.compose_once import _KeepsComposed


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
