"""Students: which layers, copied bit for bit; conversion of a BERT; parameter facts; folders that come back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edgedistil.errors import UserError
from edgedistil.models.folder import count_parameters, save_model
from edgedistil.models.layer_choice import choose_layers, spread
from edgedistil.models.masked_lm import load_masked_lm
from edgedistil.models.student import student_of
from edgedistil.models.vocabulary import check_same_vocabulary

PLAIN: dict[str, Any] = {
    "init": "teacher",
    "layers": None,
    "depth": None,
    "vocab_transform": False,
    "architecture": None,
}


@pytest.fixture
def teacher(tiny_model: Callable[..., Any]) -> Callable[..., Any]:
    def make(kind: str = "distilbert", layers: int = 6) -> Any:
        from transformers import AutoModelForMaskedLM

        config = tiny_model(kind, **{"n_layers" if kind == "distilbert" else "num_hidden_layers": layers}).config
        torch.manual_seed(3)
        return AutoModelForMaskedLM.from_config(config).eval()

    return make


def test_even_spread_of_six_in_twelve_is_the_originals_list() -> None:
    assert spread(6, 12) == [0, 2, 4, 7, 9, 11]
    assert choose_layers(PLAIN, 12) == [0, 2, 4, 7, 9, 11]
    assert spread(3, 6) == [0, 3, 5]
    assert spread(6, 6) == list(range(6))
    assert spread(1, 6) == [0]
    assert choose_layers(PLAIN, 1) == [0]


@pytest.mark.parametrize(
    ("changes", "needle"),
    [
        ({"layers": [0, 6]}, "names layer 6, but the teacher has layers 0 to 5"),
        ({"layers": [-1]}, "names layer -1"),
        ({"layers": [0, 1], "depth": 3}, "student.depth=3 but student.layers names 2"),
        ({"depth": 7}, "student.depth=7 is deeper than the teacher, which has 6"),
    ],
)
def test_layers_that_are_not_there_are_refused(changes: dict[str, Any], needle: str) -> None:
    with pytest.raises(UserError) as caught:
        choose_layers(PLAIN | changes, 6)
    assert needle in str(caught.value)


@pytest.mark.parametrize("vocab_transform", [False, True])
def test_what_is_copied_is_bit_equal(teacher: Any, vocab_transform: bool) -> None:
    source = teacher()
    student = student_of(source, PLAIN | {"layers": [1, 4], "vocab_transform": vocab_transform})
    theirs, ours = source.state_dict(), student.state_dict()
    renamed = {
        n.replace("layer.1.", "layer.0.").replace("layer.4.", "layer.1."): n
        for n in theirs
        if ".layer.1." in n or ".layer.4." in n
    }
    renamed |= {n: n for n in theirs if ".layer." not in n}
    assert set(renamed) == set(ours)
    for new, old in renamed.items():
        if new.startswith(("vocab_transform.weight", "vocab_layer_norm.weight")) and not vocab_transform:
            assert new == "vocab_layer_norm.weight" or not torch.equal(ours[new], theirs[old])
        elif not new.startswith(("vocab_transform", "vocab_layer_norm")) or vocab_transform:
            assert torch.equal(ours[new], theirs[old]), new
    assert student.vocab_projector.weight is student.distilbert.embeddings.word_embeddings.weight
    # Not the teacher's own tensors: training the student must not move it.
    assert (
        student.distilbert.embeddings.word_embeddings.weight.data_ptr()
        != theirs["distilbert.embeddings.word_embeddings.weight"].data_ptr()
    )


def test_all_layers_of_a_bert_answer_what_it_answers(teacher: Any) -> None:
    bert = teacher("bert", layers=2)
    student = student_of(bert, PLAIN | {"layers": [0, 1], "vocab_transform": True})
    ids = torch.tensor([[2, 10, 11, 12, 3]])
    with torch.no_grad():
        assert torch.allclose(student(input_ids=ids).logits, bert(input_ids=ids).logits, atol=1e-5)


def test_random_students_take_the_shape_and_may_change_it(teacher: Any) -> None:
    source = teacher()
    student = student_of(source, PLAIN | {"init": "random", "depth": 3})
    assert (student.config.n_layers, student.config.dim) == (3, 32)
    words = "distilbert.embeddings.word_embeddings.weight"
    assert not torch.equal(student.state_dict()[words], source.state_dict()[words])
    with pytest.raises(UserError, match=r"student\.init=random"):
        student_of(source, PLAIN | {"architecture": {"dim": 16}})


def test_published_parameter_counts() -> None:
    from transformers import DistilBertConfig, DistilBertForMaskedLM, DistilBertForSequenceClassification

    with torch.device("meta"):
        language_model = DistilBertForMaskedLM(DistilBertConfig())
        language_model.tie_weights()
        assert count_parameters(language_model) == 66_985_530
        assert count_parameters(DistilBertForSequenceClassification(DistilBertConfig())) == 66_955_010


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
def test_folder_of_a_masked_language_model_comes_back(teacher: Any, tmp_path: Path, kind: str) -> None:
    from safetensors import safe_open
    from transformers import AutoModelForMaskedLM

    model = teacher(kind, layers=2)
    save_model(model, tmp_path / "made", {"title": "made", "lines": []})
    with safe_open(tmp_path / "made" / "model.safetensors", "pt") as file:
        stored = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    # The tied matrix is written once.
    assert stored == count_parameters(model)
    ids = torch.tensor([[2, 10, 11, 3]])
    ours = load_masked_lm(str(tmp_path / "made"), {"origin": "folder"}, needs_head=True)
    for again in (ours, AutoModelForMaskedLM.from_pretrained(tmp_path / "made")):
        with torch.no_grad():
            assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
        assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


@pytest.mark.parametrize("convert_to", [None, "distilbert"])
def test_an_encoder_gets_a_new_head_but_is_no_teacher(tiny_folder: Any, convert_to: str | None) -> None:
    folder = tiny_folder("bert")
    identity = {"origin": "folder", "convert_to": convert_to}
    made = load_masked_lm(str(folder), identity, needs_head=False)
    assert made.config.model_type == (convert_to or "bert")
    assert made.get_output_embeddings().weight is made.get_input_embeddings().weight
    with pytest.raises(UserError, match="no trained masked-language-modelling head"):
        load_masked_lm(str(folder), identity, needs_head=True)


def test_vocabularies_that_differ_name_the_first_token(tmp_path: Path, tokenizer_file: Path) -> None:
    text = tokenizer_file.read_text()
    for name, content in (("a", text), ("b", text), ("c", text.replace('"film"', '"filn"'))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text(content)
    check_same_vocabulary(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError, match=r"'film' is .* and missing"):
        check_same_vocabulary(tmp_path / "a", tmp_path / "c")
