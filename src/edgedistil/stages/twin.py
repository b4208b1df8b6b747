"""A twin: a model's shape with random weights, for what does not depend on values: speed, memory, size."""

import json
from pathlib import Path
from typing import Any

from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError, first_line
from ..learning.quiet import quiet
from ..store.files import write_json
from ..tasks.source import Source


def twin(request: dict[str, Any]) -> dict[str, Any]:
    """Make a model of the given architecture, with the task's head and seeded random weights; none is downloaded.

    Raises:
        UserError: as :func:`write_twin`.
    """
    from ..models.folder import count_parameters
    from ..models.reference import write_reference
    from ..tasks.encode import encode_with_types, load_tokenizer
    from ..tasks.examples import SCORE, load
    from ..tasks.questions import load_questions
    from .answering import window_inputs

    options, runtime, output = request["options"], request["runtime"], Path(request["output"])
    task = options["task"]
    names = [SCORE] if task.get("regression") else task["labels"]
    spans = task["kind"] == QUESTION_ANSWERING
    if not names and not spans:
        raise UserError("a random twin needs task.labels: they say how many classes its head has")
    network, cut = write_twin(
        options["model"], runtime["location"], None if spans else names, output, request["label"], options["seed"]
    )
    tokenizer = load_tokenizer(output, task["max_length"])
    source = Source(options["data"], runtime["files"])
    if spans:
        ids, types = window_inputs(tokenizer, load_questions(task, source, "validation", options["seed"]), task)
    else:
        texts = load(task, source, "validation", names, options["seed"]).texts
        ids, types = encode_with_types(tokenizer, texts)
    write_reference(network, output, ids, types, options["seed"])
    return {"parameters": count_parameters(network), "random": True, **({"tokenizer": cut} if cut else {})}


def write_twin(
    model: dict[str, Any], tokenizer: str, names: list[str] | None, output: Path, label: str, seed: int
) -> tuple[Any, str | None]:
    """Write the model folder of a twin.

    Args:
        model: identity of its origin.
        tokenizer: folder of the tokenizer.
        names: of the classes; None for a head that answers by spans.

    Returns:
        The network, and what was left out of the tokenizer (None: nothing).

    Raises:
        UserError: the architecture has unknown keys, or fewer rows than the tokenizer needs to spell every word.
    """
    quiet()
    import torch
    from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    from ..models.folder import save_model
    from ..models.loading import save_tokenizer

    architecture = {**model["architecture"]}
    labels = (
        {} if names is None else {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    )
    head = AutoModelForQuestionAnswering if names is None else AutoModelForSequenceClassification
    torch.manual_seed(seed)
    try:
        config = AutoConfig.for_model(architecture.pop("model_type"), **{**architecture, **labels})
        network = head.from_config(config).float().eval()
    except Exception as error:
        # Whatever an architecture says of values that it can't be built with.
        given = f"model.architecture={model['architecture']}"
        raise UserError(f"{given} describes no model that can be built ({first_line(error)})") from error
    save_tokenizer(tokenizer, model, output)
    cut = _fit_tokenizer(output / "tokenizer.json", config.vocab_size)
    lines = ["random weights: speed and size only", *([f"tokenizer: {cut}"] if cut else [])]
    save_model(network, output, {"title": label, "lines": lines})
    return network, cut


def _fit_tokenizer(file: Path, rows: int) -> str | None:
    """Leave the rarest word pieces out of a stand-in tokenizer that knows more than the model has rows for (a cased
    model's twin: its own vocabulary is smaller, and is not at hand); what was done, None when nothing had to be.

    Every word can still be spelt, so texts have about the length that they had.

    Raises:
        UserError: there are too few rows for that.
    """
    from ..compression.vocabulary import kept_pieces, trimmed_tokenizer

    content = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    known = 1 + max([*vocabulary.values(), *(token["id"] for token in content.get("added_tokens", []))])
    if known <= rows:
        return None
    kept = set(kept_pieces(content, [0] * known, min_count=1, first=0))
    if len(kept) > rows:
        raise UserError(
            f"model.architecture has vocab_size={rows}, the tokenizer knows {known} tokens, {len(kept)} of which can't "
            "be spelt by others: give at least that many"
        )
    # The vocabulary is in the order of how common its pieces are.
    rest = [i for i in sorted(vocabulary.values()) if i not in kept]
    kept |= set(rest[: rows - len(kept)])
    write_json(file, trimmed_tokenizer(content, sorted(kept)))
    return f"a stand-in of {len(kept)} of {known} word pieces, since the model's own are not at hand"
