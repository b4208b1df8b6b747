"""Tiny models and tokenizers that every tier shares; nothing here touches the network or the user's cache."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time and on every machine: what only chance finds is the fuzzer's (make fuzz).
settings.register_profile(
    "same", derandomize=True, deadline=None, database=None, max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("same")

VOCABULARY = (
    "the a film movie story plot cast is was not never very really good great bad awful dull funny fresh boring "
    "clever weak superb witty i it this that and but with for of in on at by from to first second one two more less "
    "than ending script drama comedy warm cold long short best worst heart scene music light dark hope fear love hate "
    "day night red blue green old new big small fast slow up down here there ##s ##ed ##ing ##ly , . ! ?"
)
WORDS = VOCABULARY.split()
SENTENCES = (
    "the film is very good", "a dull story , never funny", "this movie was not bad", "superb !",
    "the cast is fresh and the script is clever but the ending was weak and boring .", "i love it", "the worst drama",
    "a warm comedy with heart", "dark night , cold day and slow music in the second scene", "great plot",
    "it was long", "old and new , big and small , fast and slow , up and down , here and there",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", default=False, help="run the tests marked long too")
    parser.addoption("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: run the tests marked cuda too")


def pytest_configure(config: pytest.Config) -> None:
    from edgedistil.devices.cuda import why_no_gpu

    # Asked for and not there is a mistake, not a reason to skip.
    if config.getoption("--device") == "cuda" and (reason := why_no_gpu()):
        raise pytest.UsageError(f"--device cuda: {reason}")


# Files that take minutes, the longest first: what begins last is short then, and no worker waits for another.
HEAVY = ("test_experiments", "test_phone_bench", "test_tracking", "test_sweep", "test_errors", "test_kills", "test_hub")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: HEAVY.index(item.path.stem) if item.path.stem in HEAVY else len(HEAVY))
    for item in items:
        if item.get_closest_marker("real") and not os.environ.get("EDGEDISTIL_DATA"):
            item.add_marker(pytest.mark.skip(reason="EDGEDISTIL_DATA is not set"))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long: give --long"))
        if item.get_closest_marker("cuda") and config.getoption("--device") != "cuda":
            item.add_marker(pytest.mark.skip(reason="cuda: needs a GPU and --device cuda"))


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own, so that no test reads or writes the user's."""
    monkeypatch.setenv("EDGEDISTIL_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def word_pieces(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[str]], Path]:
    """``word_pieces(pieces)``: a real ``tokenizer.json`` as BERT's that knows the special tokens and these pieces."""

    def save(pieces: Iterable[str]) -> Path:
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

        known = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])
        tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(known)}, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        tokenizer.decoder = decoders.WordPiece()
        path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
        tokenizer.save(str(path))
        return path

    return save


@pytest.fixture(scope="session")
def tokenizer_file(word_pieces: Callable[[Iterable[str]], Path]) -> Path:
    """A tokenizer that knows :data:`WORDS`."""
    return word_pieces(WORDS)


@pytest.fixture(scope="session")
def spans_tokenizer(word_pieces: Callable[[Iterable[str]], Path]) -> Path:
    """A tokenizer that knows the words of the generated contexts and questions, and letters."""
    from edgedistil.tasks.generated import generate

    columns = generate("train", "spans", 200, 200, 1)
    words = sorted({w for name in ("context", "question") for text in columns[name] for w in text.split()})
    letters = "abcdefghijklmnopqrstuvwxyz.?"
    return word_pieces([*words, *letters, *(f"##{x}" for x in letters)])


@pytest.fixture(scope="session")
def tiny_model(tokenizer_file: Path) -> Callable[..., Any]:
    """Factory of a tiny classifier, ``tiny_model("distilbert" or "bert", seed=0, **config)``, in eval mode.

    Weights are large and biases random, so that logits differ between sentences and no part can be left out unseen.
    """

    def make(kind: str, seed: int = 0, **changes: Any) -> Any:
        import torch
        from transformers import (
            BertConfig,
            BertForSequenceClassification,
            DistilBertConfig,
            DistilBertForSequenceClassification,
        )

        common = {"vocab_size": 5 + len(WORDS), "max_position_embeddings": 64, "initializer_range": 0.5,
                  "pad_token_id": 0, "id2label": {0: "negative", 1: "positive"},
                  "label2id": {"negative": 0, "positive": 1}}
        torch.manual_seed(seed)
        if kind == "distilbert":
            shape = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
            model = DistilBertForSequenceClassification(DistilBertConfig(**common | shape | changes))
        else:
            shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
            model = BertForSequenceClassification(BertConfig(**common | shape | changes))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter += 0.2 * torch.randn_like(parameter)
        return model.eval()

    return make


@pytest.fixture
def tiny_folder(tmp_path: Path, tokenizer_file: Path, tiny_model: Callable[..., Any]) -> Callable[..., Path]:
    """Factory of a model folder with tokenizer: ``tiny_folder("bert")`` or ``tiny_folder(model, "name")``."""

    def make(model: Any, name: str = "tiny") -> Path:
        from edgedistil.models.folder import save_model

        model = tiny_model(model) if isinstance(model, str) else model
        save_model(model, tmp_path / name, {"title": name, "lines": []})
        shutil.copyfile(tokenizer_file, tmp_path / name / "tokenizer.json")
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def sentence_ids(tokenizer_file: Path) -> list[list[int]]:
    """Token ids of a dozen sentences of 3 to 22 tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    return [tokenizer.encode(sentence).ids for sentence in SENTENCES]


@pytest.fixture(scope="session")
def uneven_cut() -> Callable[[Any], Any]:
    """Cuts the two layers of a tiny model to (1 head, 24 neurons) and (3 heads, 40 neurons), in place."""

    def apply(model: Any) -> Any:
        from edgedistil.compression.structured import Kept, cut

        cut(model, [Kept([2], list(range(5, 29))), Kept([0, 1, 3], list(range(20, 60)))])
        return model

    return apply


@pytest.fixture
def task_group() -> Callable[..., dict[str, Any]]:
    """Factory of a validated ``task`` group: the schema's own defaults and what the test gives."""

    def make(**values: Any) -> dict[str, Any]:
        from dataclasses import asdict

        from edgedistil.config.schemas import Task

        return asdict(Task(name="mine")) | values

    return make
