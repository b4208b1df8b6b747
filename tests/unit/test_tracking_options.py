"""The logger group: what may stand in it, and what a machine without an account makes of W&B."""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgedistil.config.tracking import check_loggers, wandb_node
from edgedistil.errors import UserError
from edgedistil.reporting import wandb_session
from edgedistil.reporting.wandb_dashboard import Place, place_of

WANDB = {"_target_": "edgedistil.stages.wandb_logger.WandbLogger", "project": "p", "models": "references", "wait_s": 20}
CSV = {"_target_": "lightning.pytorch.loggers.CSVLogger"}


def test_chosen_loggers_without_the_dropped_ones() -> None:
    assert check_loggers(None) == check_loggers({"csv": None}) == {}
    assert check_loggers({"csv": CSV, "wandb": None, "other": WANDB}) == {"csv": CSV, "other": WANDB}
    assert wandb_node({"csv": CSV, "other": WANDB}) == WANDB
    assert wandb_node({"csv": CSV}) is None


@pytest.mark.parametrize("name", ["api_key", "apikey", "WANDB_API_KEY", "password"])
def test_a_secret_among_the_options_is_refused_without_its_value(name: str) -> None:
    for node in (WANDB | {name: "hidden"}, WANDB | {"settings": {name: "hidden"}}):
        with pytest.raises(UserError, match=rf"logger\.wandb\.{name}: a secret has no place .*WANDB_API_KEY") as told:
            check_loggers({"wandb": node})
        assert "hidden" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": "all"}, "logger.wandb.models='all' is unknown; allowed: none, references, files"),
        ({"wait_s": 0}, "logger.wandb.wait_s=0 is no number of seconds above 0"),
        ({"wait_s": "long"}, "logger.wandb.wait_s='long' is no number"),
        ({"wait_s": True}, "logger.wandb.wait_s=True is no number"),
    ],
)
def test_a_wrong_value_is_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        check_loggers({"wandb": WANDB | change})
    assert message in str(told.value)


def test_a_logger_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"logger=tensorboard needs .* pip install 'edgedistil\[dashboards\]'"):
        check_loggers({"tensorboard": {"_target_": "lightning.pytorch.loggers.TensorBoardLogger"}})
    with pytest.raises(UserError, match="logger=wandb needs the package wandb"):
        check_loggers({"wandb": WANDB})


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nobody's home, without variables of W&B, and a new session of wandb."""
    import wandb

    wandb.teardown()
    for name in [k for k in os.environ if k.startswith("WANDB_") or k == "EDGEDISTIL_WANDB_SESSION"]:
        monkeypatch.delenv(name)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # What settle() sets goes back with the test.
    for name in ("WANDB_MODE", "WANDB_SILENT", "WANDB_ERROR_REPORTING", "EDGEDISTIL_WANDB_SESSION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "edgedistil"]


def test_without_an_account_all_is_offline_and_one_line_says_so(alone: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="edgedistil"):
        assert wandb_session.settle(WANDB) == "offline"
        # The steps of the command, and its next cell.
        assert os.environ["WANDB_MODE"] == "offline"
        assert wandb_session.settle(WANDB) == "offline"
    (line,) = _lines(caplog)
    assert "no account found" in line
    assert f"`{wandb_session.upload_command(str(alone / 'wandb'))}`" in line
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_the_command_that_uploads_takes_run_after_run_from_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "it's my folder"
    runs = [folder / f"offline-run-2026_{n}" / f"run {n}.wandb" for n in (3, 1, 2)]
    for age, run in enumerate(runs):
        run.parent.mkdir(parents=True)
        run.touch()
        os.utime(run, (age, age))
    wandb, told = tmp_path / "wandb", tmp_path / "told"
    wandb.write_text(f'#!/bin/sh\nfor word; do echo "$word"; done >> {told}\n')
    wandb.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-c", wandb_session.upload_command(str(folder))], env={"PATH": path}, check=True)
    expected = [word for run in runs for word in ("sync", "--include-online", str(run))]
    assert told.read_text().splitlines() == expected


@pytest.mark.parametrize(("told", "mode"), [("online", "online"), ("dryrun", "offline"), ("disabled", "disabled")])
def test_wandb_mode_wins(
    told: str, mode: str, alone: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", told)
    assert wandb_session.settle(WANDB | {"offline": True}) == mode
    assert _lines(caplog) == []


@pytest.mark.parametrize(("told", "mode"), [("disabled", "disabled"), ("online", "offline"), (None, "offline")])
def test_disabled_wins_over_an_offline_run(
    told: str | None, mode: str, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    class Begun(Exception):
        pass

    def init(**given: Any) -> None:
        raise Begun(given["mode"])

    if told:
        monkeypatch.setenv("WANDB_MODE", told)
    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(Begun) as begun:
        wandb_session.begin(1.0, False, id="x", mode="offline")
    assert str(begun.value) == mode


def test_a_key_is_enough_to_be_online_and_offline_is_an_option_of_the_job(
    alone: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "planted0" * 5)
    assert wandb_session.settle(WANDB | {"offline": True}) == "offline"
    assert "WANDB_MODE" not in os.environ
    assert wandb_session.settle(WANDB) == "online"
    assert _lines(caplog) == []


def test_a_key_of_a_wrong_form_is_not_repeated(
    alone: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "nokey!")
    assert wandb_session.settle(WANDB) == "offline"
    assert "has a form that keys do not have" in _lines(caplog)[0]
    assert "nokey!" not in caplog.text


def test_a_failure_to_log_fails_nothing_but_a_wrong_input_does(caplog: pytest.LogCaptureFixture) -> None:
    with wandb_session.unharmed("this cell"):
        raise OSError("disk full")
    assert _lines(caplog) == ["W&B: this cell was not logged (OSError: disk full)"]
    with pytest.raises(UserError), wandb_session.unharmed("this cell"):
        raise UserError("no such record")


def test_projects_by_name() -> None:
    assert place_of("mine") == Place("mine", None)
    assert place_of("team/mine") == Place("mine", "team")
    for wrong in ("", "team/", "/mine", "a/b/c"):
        with pytest.raises(UserError, match="is no project of W&B"):
            place_of(wrong)


def test_wandb_is_imported_for_nobody_who_did_not_choose_it() -> None:
    modules = ("stages.job", "stages.app", "stages.train", "reporting.show", "reporting.wandb_log",
               "reporting.wandb_report", "reporting.wandb_dashboard", "commands.dashboard")  # fmt: skip
    program = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module("edgedistil." + name)
print(*({{"wandb", "wandb_workspaces", "tensorboard"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
