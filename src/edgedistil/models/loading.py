"""Loading a model that is to be trained: from the hub, a folder or the embedded package, with a head for its labels."""

import shutil
from pathlib import Path
from typing import Any

from ..config.hub import explain
from ..errors import UserError, first_line
from .depth import keep_layers


def load_for_training(location: str, identity: dict[str, Any], label_names: list[str] | None) -> Any:
    """An encoder with a classification head of ``len(label_names)`` classes, or for None one that scores spans, in
    float32.

    The head is new unless the folder holds one of the same size. ``layers`` of the identity are those that stay.

    Raises:
        UserError: the hub can't be reached, the folder is not what it says, or a layer is not there.
    """
    network = _load(location, identity, label_names)
    return keep_layers(network, identity["layers"]) if identity.get("layers") else network


def _load(location: str, identity: dict[str, Any], label_names: list[str] | None) -> Any:
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, BertModel

    from .conversion import distilbert_from_bert

    spans = label_names is None
    id2label = dict(enumerate(label_names or []))
    labels = {} if spans else {"id2label": id2label, "label2id": {v: k for k, v in id2label.items()}}
    where = hub_arguments(identity)
    with hub_errors(location, identity):
        if identity.get("convert_to") == "distilbert":
            bert = BertModel.from_pretrained(location, add_pooling_layer=False, dtype="float32", **where)
            return distilbert_from_bert(bert, None if spans else id2label)
        head = AutoModelForQuestionAnswering if spans else AutoModelForSequenceClassification
        network, report = head.from_pretrained(
            location,
            **labels,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype="float32",
            **where,
        )
    _check_encoder(location, report)
    return network


# What a new head may lack; everything else must come from the pretrained weights.
_HEAD = ("classifier.", "pre_classifier.", "bert.pooler.", "mobilebert.pooler.", "qa_outputs.")


def _check_encoder(location: str, report: dict[str, Any]) -> None:
    lost = [str(k[0] if isinstance(k, tuple) else k) for k in (*report["missing_keys"], *report["mismatched_keys"])]
    lost = [name for name in lost if not name.startswith(_HEAD)]
    if lost:
        raise UserError(
            f"{location}: {len(lost)} encoder weights are missing or of another shape (the first is {lost[0]}), so "
            "they would start from random values; a pruned folder can be measured and compressed, not trained again"
        )


def save_tokenizer(location: str, identity: dict[str, Any], folder: Path) -> None:
    """Put the tokenizer's files into a model folder: copied when local, saved by transformers when from the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    if identity["origin"] != "hub":
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (Path(location) / name).is_file():
                shutil.copyfile(Path(location) / name, folder / name)
        return
    from transformers import AutoTokenizer

    with hub_errors(location, identity):
        AutoTokenizer.from_pretrained(location, **hub_arguments(identity)).save_pretrained(folder)


class hub_errors:
    """Turns what can't be loaded into one line that says what to do instead."""

    def __init__(self, location: str, identity: dict[str, Any]) -> None:
        self._location, self._identity = location, identity

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._identity["origin"] == "hub":
            if isinstance(error, OSError):
                raise explain(error, "model", self._location, self._identity["revision"]) from error
            return
        # Whatever an architecture says of a config and weights that it can't be built of.
        if isinstance(error, Exception) and not isinstance(error, UserError | MemoryError):
            raise UserError(f"the model {self._location!r} can't be loaded ({first_line(error)})") from error


def hub_arguments(identity: dict[str, Any]) -> dict[str, Any]:
    """Keywords of ``from_pretrained`` that pin a hub model and refuse code and pickles from anywhere."""
    common = {"trust_remote_code": False, "use_safetensors": True}
    return {**common, "revision": identity["revision"]} if identity["origin"] == "hub" else common
