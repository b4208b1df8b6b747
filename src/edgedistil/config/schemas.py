"""The types of our own config groups: a typo or a wrong type stops before anything runs.

YAML files under ``conf/`` hold the values; these classes hold names and types only. ``params`` and the
``_target_`` nodes (importance, objective, ...) are free-form: their keys are checked against the class's signature
in the child process that builds them.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from .device_schemas import Device

# Tables (or null), by what their values are. Typed as tables, OmegaConf could not set them on the command line where
# they are null (``task.rows={train: 3}``): validation checks them.
_ANY, _TEXT, _INTEGER = ({"table": of} for of in ("any", "text", "integer"))


@dataclass
class Model:
    origin: str = MISSING
    location: str = MISSING
    revision: str | None = None
    convert_to: str | None = None
    fine_tuned: bool | None = None
    weights: str = "pretrained"
    architecture: Any = field(default=None, metadata=_ANY)
    tokenizer: str | None = None
    layers: list[int] | None = None
    # of a recipe; null: the run's own
    seed: int | None = None


@dataclass
class Task:
    name: str = MISSING
    kind: str = "sequence_classification"
    hub: str | None = None
    hub_config: str | None = None
    revision: str | None = None
    generator: Any = field(default=None, metadata=_ANY)
    data_dir: str | None = None
    train: str | None = None
    validation: str | None = None
    train_split: str = "train"
    validation_split: str = "validation"
    text_columns: list[str] | None = None
    label_column: str = "label"
    labels: list[str] | None = None
    # the label column holds numbers to be predicted as they are, not classes
    regression: bool = False
    metrics: list[str] = field(default_factory=lambda: ["accuracy"])
    max_length: int = 128
    held_out: float = 0.02
    phrases: bool = False
    test_texts: int = 0
    limit_train: int | None = None
    limit_validation: int | None = None
    # further splits that are reported beside validation: name -> split of the hub, stem of a file, or a file
    more_splits: Any = field(default=None, metadata=_TEXT)
    # of the published splits: others are marked as samples
    rows: Any = field(default=None, metadata=_INTEGER)
    # of texts to be learnt from as they are (kind: masked_language_modelling)
    drop_up_to: int = 11
    drop_unknown: float = 0.5
    unknown_marker: str | None = None
    # of questions with their contexts (kind: question_answering)
    stride: int = 128
    max_question_length: int = 64
    max_answer_length: int = 30
    n_best: int = 20


@dataclass
class Student:
    """How a student is made from ``model@teacher``: :mod:`edgedistil.models.student` explains each key."""

    init: str = "teacher"
    layers: list[int] | None = None
    depth: int | None = None
    vocab_transform: bool = False
    architecture: Any = field(default=None, metadata=_ANY)


@dataclass
class Augmentation:
    """Texts made out of the training texts: :mod:`edgedistil.tasks.augmentation` explains each key.

    ``model`` predicts the words; without one, ``embedding_neighbours`` takes the table of the ``model`` group.
    """

    method: str = MISSING
    copies: int = 1
    probability: float = 0.0
    candidates: int = 1
    model: Model | None = None


@dataclass
class Teaching:
    """Training a compressed model by its dense parent; alone it is the short one after each of several cuts
    (``pruning.between``)."""

    method: str = "none"
    objective: Any = None
    optimizer: Any = None
    steps: int = 0
    batch_size: int = 64
    warmup_fraction: float = 0.1


@dataclass
class Pruning:
    method: str = MISSING
    ratio: float = 0.0
    importance: Any = None
    calibration_sentences: int = 2048
    labels: bool = False
    ffn_multiple: int = 16
    budget: str = "ratio"
    target: float | None = None
    tokens: int = 32
    profile_seconds: float = 40.0
    steps: int = 1
    between: Teaching = field(default_factory=Teaching)
    reconstruction: str = "none"
    ridge: float = 0.001
    rounds: int = 1


@dataclass
class LongTeaching(Teaching):
    """What a training of its own can do besides: whole epochs, and copies of texts."""

    epochs: int | None = None
    augmentation: bool = False


@dataclass
class QuantisationAware(LongTeaching):
    pass


@dataclass
class Recovery(LongTeaching):
    method: str = MISSING
    again: bool = False


@dataclass
class Embeddings:
    method: str = "none"
    rank: int = 128


@dataclass
class Vocabulary:
    method: str = "none"
    min_count: int = 1
    first: int = 0
    positions: int | None = None


@dataclass
class Quantization:
    """What is stored in fewer bits: :mod:`edgedistil.config.quantization` says which method reads which key."""

    method: str = MISSING
    embeddings: bool | str = True
    weights: str = "auto"
    calibration_sentences: int = 256
    slack: float = 0.25
    block_size: int = 32
    accuracy_level: int = 4
    max_rms: float = 0.0
    min_agreement: float = 0.0
    calibration: str = "least_error"
    percentile: float = 99.99
    smooth: float | None = None
    rounding: str = "nearest"
    exclude: list[str] = field(default_factory=list)
    sensitivity: bool = False
    max_drop: float | None = None
    judged_sentences: int = 256


@dataclass
class Graph:
    padding: bool = True
    head: str = "task"


@dataclass
class Compression:
    """A chain; ``until`` stops it early: :func:`edgedistil.config.canonical.until` says where."""

    pruning: Pruning = field(default_factory=Pruning)
    recovery: Recovery = field(default_factory=Recovery)
    quantization: Quantization = field(default_factory=Quantization)
    graph: Graph = field(default_factory=Graph)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    embeddings: Embeddings = field(default_factory=Embeddings)
    qat: QuantisationAware = field(default_factory=QuantisationAware)
    until: str = "all"


@dataclass
class Measurement:
    """How much is measured; ``conf/measurement/`` explains each number.

    ``rounds``, ``seconds`` and ``batch_rounds`` are of the whole run and are shared out among the ``generations``.
    ``repeat`` changes nothing but the cell's fingerprint: another number measures the same cell anew.
    """

    mode: str = MISSING
    lengths: list[int] = field(default_factory=list)
    generations: int = MISSING
    restart_within_s: float = 600.0
    rounds: int = MISSING
    burst: int = MISSING
    seconds: float = MISSING
    seconds_of: str = "candidate"
    warmup_calls: int = MISSING
    warmup_limit: int = MISSING
    batches: list[int] = field(default_factory=list)
    exact_batches: list[str] = field(default_factory=list)
    batch_rounds: int = MISSING
    cold_starts: int = MISSING
    repeat: int = 0


@dataclass
class Loader:
    batch_size: int = MISSING
    group_by_length: bool = True


@dataclass
class Store:
    root: str | None = None
    repair: bool = False
    threads: int | None = None


SCHEMAS: dict[str, type] = {
    "model": Model,
    "teacher": Model,
    "student": Student,
    "task": Task,
    "augmentation": Augmentation,
    "loader": Loader,
    "compression": Compression,
    "device": Device,
    "measurement": Measurement,
    "store": Store,
}


def register() -> None:
    """Make the schemas known to Hydra, so that each option of a group of ours has all its keys, with types.

    ``defaults: [/schema/task@_here_, _self_]`` at the top of an option refers to them.
    """
    from hydra.core.config_store import ConfigStore

    groups = {
        "model": Model,
        "student": Student,
        "task": Task,
        "augmentation": Augmentation,
        "pruning": Pruning,
        "recovery": Recovery,
        "vocabulary": Vocabulary,
        "embeddings": Embeddings,
        "qat": QuantisationAware,
        "quantization": Quantization,
        "graph": Graph,
        "device": Device,
        "measurement": Measurement,
    }
    for name, schema in groups.items():
        ConfigStore.instance().store(group="schema", name=name, node=schema)
