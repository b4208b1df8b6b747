"""Unit tests see no data folder of the user's, whatever the shell has set; tiny models that answer by spans."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEDISTIL_DATA", raising=False)


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for files that are written and flushed for each of many inputs: in memory, where there is a place."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else tmp_path_factory.mktemp("inputs")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def span_model(tiny_model: Callable[..., Any]) -> Callable[..., Any]:
    """``span_model("bert", seed=0)``: the tiny model with a head that scores spans."""

    import torch
    from transformers import BertForQuestionAnswering, DistilBertForQuestionAnswering

    def make(kind: str, seed: int = 0, **changes: Any) -> Any:
        classifier = tiny_model(kind, seed=seed, **changes)
        head = DistilBertForQuestionAnswering if kind == "distilbert" else BertForQuestionAnswering
        model = head(classifier.config)
        getattr(model, kind).load_state_dict(getattr(classifier, kind).state_dict(), strict=False)
        torch.nn.init.normal_(model.qa_outputs.weight, std=0.5)
        torch.nn.init.normal_(model.qa_outputs.bias)
        return model.eval()

    return make
