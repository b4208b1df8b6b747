"""Unit tests see no data folder of the user's, whatever the shell has set."""

import pytest


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEDISTIL_DATA", raising=False)
