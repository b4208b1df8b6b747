"""How many processes train, what they find in their environment, and who has the last word on a failure."""

import json
from pathlib import Path

import pytest

from edgedistil.errors import UserError
from edgedistil.stages import ranks
from edgedistil.stages.runner import _environment
from edgedistil.stages.step import Step
from edgedistil.stages.trainer_options import resolve_trainer
from edgedistil.store.store import Store

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "0", "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0",
    "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, visible: str | None = None) -> None:
    monkeypatch.setattr("edgedistil.devices.host.gpu_names", lambda: ["H"] * count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(("given", "count", "visible", "devices"), [
    ({}, 4, None, None),
    ({"devices": 1}, 4, None, None),
    ({"devices": "auto"}, 4, None, 4),
    ({"devices": -1}, 4, "0,2", 2),
    ({"devices": "auto"}, 1, None, None),
    ({"devices": "auto"}, 0, None, None),
    ({"devices": 3}, 0, None, 3),
    ({"devices": [1, 3]}, 4, None, [1, 3]),
])
def test_one_device_unless_more_are_asked_for(
    given: dict[str, object], count: int, visible: str | None, devices: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, count, visible)
    assert resolve_trainer({"accelerator": "auto", **given}).get("devices") == devices


@pytest.mark.usefixtures("launched")
def test_torchrun_says_how_many_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 8)
    found = resolve_trainer({"accelerator": "gpu"})
    assert (found["devices"], found["num_nodes"]) == (2, 2)
    assert ranks.processes({"trainer": found}) == 4
    ranks.check({"trainer": found})
    ranks.check({"trainer": {}})
    with pytest.raises(UserError, match=r"torchrun started 4 processes, but trainer\.devices asks for 3"):
        ranks.check({"trainer": {"devices": 3}})


@pytest.mark.parametrize("wrong", ["zwei", 0, -2, 1.5])
def test_numbers_of_devices_that_are_none(wrong: object) -> None:
    with pytest.raises(UserError, match="is no number of processes"):
        resolve_trainer({"accelerator": "cpu", "devices": wrong})


def test_strategies_that_scatter_weights_are_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.strategy='fsdp' is not supported; allowed: auto, ddp"):
        ranks.check({"trainer": {"devices": 2, "strategy": "fsdp"}})


def test_we_start_a_process_for_each_device_and_torchrun_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"trainer": {"devices": 2}}
    assert [place["RANK"] for place in ranks.places(two)] == ["0", "1"]
    assert {place["WORLD_SIZE"] for place in ranks.places(two)} == {"2"}
    assert ranks.places({}) == [{}]
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert ranks.places(two) == [{}]


@pytest.mark.usefixtures("launched")
def test_only_trainings_know_of_the_other_processes(monkeypatch: pytest.MonkeyPatch, own_store: Path) -> None:
    """SLURM's variables never arrive: Lightning would take a process's place from them."""
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setattr("edgedistil.devices.host.free_cores", lambda: 6)
    alone = _environment(Step("corpus", "c", {}), Store(own_store), 5)
    assert not {"RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS"} & set(alone)
    # torchrun's one thread is for its workers.
    assert alone["OMP_NUM_THREADS"] == "6"
    assert "MALLOC_MMAP_MAX_" not in alone
    both = _environment(Step("train", "t", {"trainer": {"devices": 2, "num_nodes": 2}}), Store(own_store), 5)
    assert (both["RANK"], both["WORLD_SIZE"], both["OMP_NUM_THREADS"]) == ("1", "4", "1")
    assert both["MALLOC_MMAP_MAX_"] == "0"
    assert "SLURM_NTASKS" not in both


def test_cores_are_shared_among_our_own_processes(monkeypatch: pytest.MonkeyPatch, own_store: Path) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("edgedistil.devices.host.free_cores", lambda: 6)
    assert _environment(Step("train", "t", {"trainer": {"devices": 2}}), Store(own_store), 5)["OMP_NUM_THREADS"] == "3"
    assert _environment(Step("train", "t", {}, runtime={"threads": 2}), Store(own_store), 5)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert _environment(Step("corpus", "c", {}), Store(own_store), 5)["OMP_NUM_THREADS"] == "4"


def test_what_one_process_says_first_is_the_cause(tmp_path: Path) -> None:
    from edgedistil.stages.child import _leave_error

    _leave_error(tmp_path, "failed", "the loss is nan at step 3")
    _leave_error(tmp_path, "failed", "Connection closed by peer")
    assert json.loads((tmp_path / "error.json").read_text())["message"] == "the loss is nan at step 3"


def test_a_cause_that_no_file_can_keep_is_one_line_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgedistil.stages import child

    def full(file: Path, value: object) -> None:
        raise OSError(28, "No space left on device", str(file))

    request = {"step": "prune", "work": str(tmp_path), "options": {}, "runtime": {}}
    (tmp_path / "request.json").write_text(json.dumps(request))
    monkeypatch.setattr(child, "write_json", full)
    monkeypatch.setattr(child.gc, "set_threshold", lambda _: None)
    monkeypatch.setattr(child, "run", lambda _: {"parameters": 3})
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    assert child.main(str(tmp_path / "request.json")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.count("No space left on device") == 2, "of the facts, and of their cause"
    assert "error.json" in line
