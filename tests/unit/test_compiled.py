"""Compiled trainings answer as uncompiled ones and leave no trace."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from edgedistil.learning.compiled import compiled


def test_encoders_of_network_and_teacher_are_compiled_and_set_free_again(
    tiny_model: Callable[..., Any], monkeypatch: Any
) -> None:
    """torch's own eager backend: what is traced and when, without a C++ compiler."""
    real, asked = torch.compile, []

    def eager(model: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(options)
        return real(model, *arguments, **options | {"backend": "eager"})

    monkeypatch.setattr(torch, "compile", eager)
    student, teacher = tiny_model("distilbert"), tiny_model("bert", seed=1)
    module = SimpleNamespace(network=student, _teacher=[teacher])
    names, inputs = list(student.state_dict()), [torch.randint(5, 20, (2, length)) for length in (5, 9, 12)]
    expected = [[m(ids).logits for ids in inputs] for m in (student, teacher)]
    with compiled(module, True):
        assert student.distilbert._compiled_call_impl is not None and teacher.bert._compiled_call_impl is not None
        torch._dynamo.utils.counters.clear()
        found = [[m(ids).logits for ids in inputs] for m in (student, teacher)]
        assert torch._dynamo.utils.counters["frames"]["ok"] > 0
        assert list(student.state_dict()) == names
    assert [options["dynamic"] for options in asked] == [True, True]
    assert student.distilbert._compiled_call_impl is None and teacher.bert._compiled_call_impl is None
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_nothing_is_compiled_unless_asked_for(tiny_model: Callable[..., Any]) -> None:
    network = tiny_model("distilbert")
    with compiled(SimpleNamespace(network=network), False):
        assert network.distilbert._compiled_call_impl is None
