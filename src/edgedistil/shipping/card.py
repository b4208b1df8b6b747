"""The model card of a product folder: what a stranger must know to use the model, to judge it and to make it again."""

from collections.abc import Iterable

from ..config.allowed import MASKED_LM
from ..config.question_answering import QUESTION_ANSWERING
from ..reporting.table import markdown
from .known import BASES
from .measured import device_line, size_table, speed
from .metadata import front_matter, model_name
from .model_folder import CLASSIFICATION, PIPELINES
from .product_facts import Facts
from .scores import scores_of
from .story import precision_of, story, taught_by

_HEADS = {QUESTION_ANSWERING: "QuestionAnswering", MASKED_LM: "MaskedLM"}
_EXAMPLES = {QUESTION_ANSWERING: """'{"question": "...", "context": "..."}'""", MASKED_LM: '"a [MASK] text"'}
# transformers 5 has none for questions any more.
_WITH_PIPELINE = (CLASSIFICATION, MASKED_LM)


def card(facts: Facts, files: dict[str, int]) -> str:
    """The text of ``README.md``.

    Args:
        files: bytes of each file that ships, by name.
    """
    dense = loads_with_transformers(files)
    sections = [
        f"# {facts.title}\n\n{_summary(facts)}",
        f"## Use\n\n{_use(facts, files, dense)}",
        "\n\n".join(["## How it was made", _numbered(story(facts)), *taught_by(facts), _shape(facts)]),
        f"## Scores\n\n{_scores(facts)}",
        f"## Size\n\n{size_table(facts, files)}",
        f"## Speed\n\n{speed(facts)}",
        f"## Limits\n\n{_bullets(_limits(facts, files, dense))}",
        f"## Data and licence\n\n{_bullets(_data(facts))}",
        f"## Making it again\n\n{_again(facts)}",
        f"## Citation\n\n{_bullets(_citations(facts))}",
    ]
    return f"---\n{front_matter(facts, list(files), dense)}\n---\n\n" + "\n\n".join(sections) + "\n"


def loads_with_transformers(files: Iterable[str]) -> bool:
    """Whether ``AutoModel`` can read the weights: it can't where layers or the word table have sizes of their own."""
    return "model.safetensors" in files and "structure.json" not in files


def _summary(facts: Facts) -> str:
    base = f"[{facts.base}](https://huggingface.co/{facts.base})" if facts.base else "a model that is not named here"
    return (
        f"Made from {base} for `{facts.task.get('name', facts.record['names']['task'])}`, precision: "
        f"{precision_of(facts)}. Every figure below is of one measured record "
        f"(`{facts.record['fingerprint'][:12]}`), taken through the files of this folder."
    )


def _use(facts: Facts, files: dict[str, int], dense: bool) -> str:
    kind = str(facts.task.get("kind", CLASSIFICATION))
    head = _HEADS.get(kind, "SequenceClassification")
    text = _EXAMPLES.get(kind, '"a text"')
    parts = []
    if "model.onnx" in files:
        parts.append(f"```bash\npython -m edgedistil predict FOLDER {text}   # ONNX Runtime alone, no PyTorch\n```")
    if "model.onnx" in files and facts.architecture:
        parts.append(
            _python(
                "Optimum (optimum-onnx), with the same graph",
                f"from optimum.onnxruntime import ORTModelFor{head}",
                f"model = ORTModelFor{head}.from_pretrained(FOLDER)",
            )
        )
    if dense and kind in _WITH_PIPELINE:
        said = "transformers, with the weights in 32-bit floats"
        made = f'answer = pipeline("{PIPELINES[kind]}", model=FOLDER)'
        parts.append(_python(said, "from transformers import pipeline", made))
    elif dense:
        said = "transformers, with the weights in 32-bit floats"
        made = f"model = AutoModelFor{head}.from_pretrained(FOLDER)"
        parts.append(_python(said, f"from transformers import AutoModelFor{head}", made))
    elif "model.safetensors" in files:
        said = "the weights in 32-bit floats: layers have sizes of their own, so AutoModel refuses them"
        parts.append(_python(said, "from edgedistil.models.shrunken import load_model", "model = load_model(FOLDER)"))
    if facts.method in ("nf4", "llm_int8"):
        parts.append(
            "The measured precision is made when the weights are loaded: `BitsAndBytesConfig` of transformers."
        )
    return "\n\n".join(parts)


def _python(said: str, *lines: str) -> str:
    return "\n".join(["```python", f"# {said}", *lines, "```"])


def _shape(facts: Facts) -> str:
    model = facts.record["model"]
    facts_line = []
    if model.get("parameters"):
        facts_line.append(f"{model['parameters']:,} parameters")
    if model.get("encoder_sparsity"):
        facts_line.append(f"{100 * model['encoder_sparsity']:.1f} % of the encoder's weights are zeros that are stored")
    gflops = model.get("gflops_by_tokens", {})
    if "128" in gflops:
        facts_line.append(f"{gflops['128']:.2f} GFLOP for 128 tokens")
    lines = [f"As it is: {', '.join(facts_line)}."] if facts_line else []
    if model.get("structure"):
        head = ["layer", *(str(i) for i in range(len(model["structure"])))]
        body = [[name, *(str(layer[key]) for layer in model["structure"])] for name, key in _SHAPES]
        lines += ["", markdown(head, body)]
    return "\n".join(lines)


_SHAPES = (("attention heads", "heads"), ("FFN width", "ffn"))


def _scores(facts: Facts) -> str:
    scores = scores_of(facts.record, facts.task.get("metrics", []))
    if not scores:
        return "None were measured."
    head = ["split", "metric", "value", "95 %", "texts", "points against the uncompressed parent"]
    where = f"Through the files of this folder on {device_line(facts)}, one text at a time."
    if facts.task.get("kind") == MASKED_LM:
        where = f"Through a graph of this model that gives its hidden states too, on {device_line(facts)}."
    return f"{where}\n\n{markdown(head, [score.cells() for score in scores])}"


def _limits(facts: Facts, files: dict[str, int], dense: bool) -> list[str]:
    record, told = facts.record, []
    if "model.safetensors" in files and not dense:
        told.append(
            "`AutoModel.from_pretrained` can't load `model.safetensors` here: layers or the word table have sizes of "
            "their own (`structure.json`); edgedistil's loader does, and `model.onnx` runs anywhere."
        )
    if {"model.onnx", "model.safetensors"} <= set(files) and facts.method != "none":
        told.append(
            "`model.safetensors` is the same model before rounding, in 32-bit floats: its answers differ a little, and "
            "the scores are those of `model.onnx`."
        )
    if (record["compression"] or {}).get("graph", {}).get("padding") is False:
        told.append("The graph takes no `attention_mask`: one text at a time, never padded.")
    length, stride = facts.task.get("max_length"), facts.task.get("stride")
    if length and facts.task.get("kind") == QUESTION_ANSWERING:
        told.append(f"Contexts are read in windows of {length} tokens that share {stride}; answers are parts of them.")
    elif length:
        told.append(f"Texts are cut after {length} tokens, as in training and in the scores above.")
    told.append("Scores are of one seed and of texts like those it learnt from; other texts were not tried.")
    if facts.data_set and facts.data_set.title.endswith("(GLUE)"):
        told.append("GLUE's test labels are not public: validation is reported.")
    told.append(
        "Not measured: other devices than the one named, robustness, fairness between groups, whether scores of "
        "classes are probabilities. What the base model learnt wrongly is still in it."
    )
    if record["environment"].get("int8_warning"):
        told.append(str(record["environment"]["int8_warning"]))
    if facts.gone:
        told.append(f"Its history is not complete: the step `{facts.gone}` is no longer in the store it came from.")
    return told


def _data(facts: Facts) -> list[str]:
    data, told = facts.data_set, []
    if data:
        config = f", `{data.config}`" if data.config else ""
        told.append(
            f"Texts: {data.title}, [{data.hub}](https://huggingface.co/datasets/{data.hub}){config}; its terms apply."
        )
    elif facts.generated:
        told.append(
            f"Texts: generated by edgedistil (`task={facts.task.get('name')}`); scores on them say little of others."
        )
    else:
        told.append(
            f"Texts: files of its maker's own (`task={facts.task.get('name', '?')}`), which are not in this folder."
        )
    for split, digest in sorted(_digests(facts).items()):
        told.append(f"{split} was read from a file with SHA-256 `{digest}`.")
    known = BASES.get(facts.base or "")
    if facts.licence:
        whose = f"as its base model, {facts.base}" if known and known.licence == facts.licence else "as its maker says"
        told.append(f"Licence: {facts.licence}, {whose}.")
    else:
        told.append("Licence: not known: the base model's card on the hub states none, or its maker did not say.")
    return told


def _digests(facts: Facts) -> dict[str, str]:
    found: dict[str, str] = {}
    for made in facts.steps:
        files = made.options.get("data", {}).get("files", {})
        found |= {s: d for s, d in files.items() if isinstance(d, str)} if isinstance(files, dict) else {}
    return found


def _again(facts: Facts) -> str:
    if facts.command is None:
        return "The command is kept with the run's cell, not with the record; this card was made from the record alone."
    return (
        f"```bash\n{facts.command}\npython -m edgedistil package CELL --output {model_name(facts)}\n```\n\n"
        "Words in capitals are places on your machine; steps that a store has are not done again."
    )


def _citations(facts: Facts) -> list[str]:
    known, data = BASES.get(facts.base or ""), facts.data_set
    told = [*(known.citations if known else ()), *(data.citations if data else ())]
    return [*dict.fromkeys(told), "edgedistil, which made and measured this model"]


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _numbered(lines: list[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
