"""From a model folder to CTranslate2's format at INT8, with the classification head kept apart."""

from pathlib import Path
from typing import Any

import numpy as np

from ..export.reading import read_model
from ..export.weights import ClassificationHead
from ..models.shrunken import STRUCTURE_FILE, load_classifier

# Where the worker finds it; CTranslate2 writes a config.json of its own, which must not replace the model's.
ENCODER_FOLDER, HEAD_FILE = "ctranslate2", "head.safetensors"


def why_not(source: Path) -> str | None:
    """Why CTranslate2 can't hold this model, or None."""
    if (source / STRUCTURE_FILE).is_file():
        return "CTranslate2 has one number of heads for all layers; this model's layers have numbers of their own"
    return None


class _Vocabulary:
    """Tokens by id, as far as the converter asks a tokenizer; ids come from our own tokenizer at run time."""

    unk_token = "[UNK]"  # noqa: S105 (a token of text, no secret)  # nosec B105

    def __init__(self, file: Path, size: int) -> None:
        from tokenizers import Tokenizer

        self._ids = Tokenizer.from_file(str(file)).get_vocab()
        self._ids |= {f"<extra_{i}>": i for i in set(range(size)) - set(self._ids.values())}

    def get_vocab(self) -> dict[str, int]:
        return self._ids


def convert_int8(source: Path, output: Path) -> None:
    """Write the encoder at INT8 and ``head.safetensors`` (weights ``[in, out]``) into ``output``.

    Raises:
        ValueError: CTranslate2 has no loader for the architecture, or no such activation.
    """
    from ctranslate2.converters import TransformersConverter
    from safetensors.numpy import save_file

    class Converter(TransformersConverter):  # type: ignore[misc]
        """Reads the encoder with our own loader: strict, and nothing is looked up anywhere else."""

        def load_model(self, model_class: Any, model_name_or_path: str, **_: Any) -> Any:
            model = load_classifier(Path(model_name_or_path))
            encoder = getattr(model, model.base_model_prefix)
            # The converter asks BERT's config for it; transformers 5 no longer has it, being the only kind left.
            encoder.config.position_embedding_type = "absolute"
            return encoder

        def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **_: Any) -> Any:
            return _Vocabulary(Path(model_name_or_path) / "tokenizer.json", weights.encoder.words.shape[0])

    weights = read_model(source)
    Converter(str(source), trust_remote_code=False).convert(str(output / ENCODER_FOLDER), quantization="int8")
    own = weights.head
    assert isinstance(own, ClassificationHead)
    head = {"classifier.weight": own.classifier.weight, "classifier.bias": own.classifier.bias}
    if own.dense_activation == "relu":
        # BERT's dense layer (the pooler) is converted with the encoder, DistilBERT's is not.
        head |= {"dense.weight": own.dense.weight, "dense.bias": own.dense.bias}
    save_file({name: np.ascontiguousarray(array) for name, array in head.items()}, output / HEAD_FILE)
