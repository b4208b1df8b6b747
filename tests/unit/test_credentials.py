"""Credentials in texts and options: what is one, what is none, and that its value is never told."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from edgedistil import credentials
from edgedistil.__main__ import main
from edgedistil.credentials import in_options, in_words, kind, kinds, masked, refusal
from edgedistil.errors import StepError, UserError, error_line

HUB = "hf_" + "a1B2" * 8
GITHUB = "ghp_" + "a1B2" * 9
IN_ADDRESS = "an address with a name or a password in it"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of who runs the tests."""
    for name, _ in list(credentials._of_environment()):
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("text", "what", "hidden"),
    [
        (f"token {HUB}.", "a token of the model hub", "token ***."),
        (f"https://robot:{GITHUB}@git.invalid/a", IN_ADDRESS, "https://***@git.invalid/a"),
        ("https://me@host/x", IN_ADDRESS, "https://***@host/x"),
        ("HTTPS://me:a@b@host", IN_ADDRESS, "HTTPS://***@host"),
        ("redis://:word@host:1 and http://h", IN_ADDRESS, "redis://***@host:1 and http://h"),
        ("key AKIA" + "Z" * 16, "a key of a cloud", "key ***"),
        ("wandb_v1_" + "x" * 40, "a key of W&B", "***"),
    ],
)
def test_credentials_are_found_and_masked(text: str, what: str, hidden: str) -> None:
    assert kind(text) == what
    assert masked(text) == hidden
    assert kind(hidden.replace("***@", "")) is None


@pytest.mark.parametrize(
    "text",
    ["https://huggingface.co/a/b", "ssh://git@host/x", "git@host:a/b", "me@host.invalid", "https://host/a@b",
     "s3://bucket/a:b@c", "file:///a@b", "hf_short", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41", "[MASK]", ""],
)  # fmt: skip
def test_what_is_none_stays_as_it_is(text: str) -> None:
    assert kind(text) is None
    assert masked(text) == text


def test_values_of_variables_that_are_named_as_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MY_API_KEY": "feedfeedfeed", "OTHER_SECRET": "short", "SSH_KEY": "/home/me/.ssh/key",
                        "TOKENIZERS_PARALLELISM": "falsefalsefalse", "UNTOLD": "feedbeeffeed"}.items():
        monkeypatch.setenv(name, value)
    text = "feedfeedfeed short /home/me/.ssh/key falsefalsefalse feedbeeffeed"
    assert list(kinds(text)) == ["the value of $MY_API_KEY"]
    assert masked("x=feedfeedfeed") == "x=***"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-m", "seed=1", f"task.hub={HUB}"], ("task.hub", "a token of the model hub")),
        (["+logger.wandb.settings.api_key=feed"], ("logger.wandb.settings.api_key", "a secret by its name")),
        (["+hydra.job.env_set.HF_TOKEN=feed"], ("hydra.job.env_set.HF_TOKEN", "a secret by its name")),
        (["push", f"https://a:b@c/{HUB}"], ("an argument", IN_ADDRESS)),
        ([f"{HUB}=1"], ("an argument", "a token of the model hub")),
        (["~logger.csv", "seed=1", "objective.params.mask_token=[MASK]", "logger.wandb.api_key=null"], None),
    ],
)
def test_words_of_a_command_line(words: list[str], found: tuple[str, str] | None) -> None:
    assert in_words(words) == found


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"task": {"files": {"train": ["a.csv", "http://me:word@host/b.csv"]}}}, ("task.files.train.1", IN_ADDRESS)),
        ({"logger": {"wandb": {"s": {"api_key": "feed"}}}}, ("logger.wandb.s.api_key", "a secret by its name")),
        ({"task": {"name": "sst2", "labels": 2, "hub": None}, "logger": {"wandb": {"key": None}}}, None),
    ],
)
def test_composed_options(options: dict[str, Any], found: tuple[str, str] | None) -> None:
    assert in_options(options) == found


def test_commands_refuse_them_but_in_texts_that_a_model_is_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["package", f"https://me:{HUB}@host", "--output", "x"]) == 2
    assert capsys.readouterr().err.startswith(f"error: an argument holds {IN_ADDRESS}: ")
    assert main(["predict", str(tmp_path / "none"), "see https://me@host"]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_errors_never_tell_a_credential() -> None:
    address = f"https://robot:{GITHUB}@host"
    for error in (UserError(f"{address} does not answer"), StepError(f"train: {address}", f"Traceback ... {address}")):
        assert GITHUB not in f"{error} {error!r} {error_line(error)} {getattr(error, 'detail', '')}"
        assert "https://***@host" in str(error)
        # Launchers send errors between processes.
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert error_line(f"x {address}") == "error: x https://***@host"
    assert HUB not in refusal(*in_words([f"task.hub={HUB}"]) or ("", ""))
