"""The card of a folder that a step leaves: what the step knows. Scores through an engine, sizes and times belong to
bench records, so the full card is written when a measured cell is packaged."""

from .kinds import CLASSIFIER, MASKED_LM, SPANS

# Heads by how their class ends: the hub's name of what they do.
_PIPELINES = {CLASSIFIER: "text-classification", SPANS: "question-answering", MASKED_LM: "fill-mask"}
_NEXT = (
    "This folder is a step of a chain. `python -m edgedistil package CELL --output DIR` makes the folder that ships, "
    "with scores, sizes, times, licence and data in its card, from a cell that `bench.py` has measured."
)


def pipeline_of(architecture: str) -> str | None:
    """What the hub calls the task of a class of transformers; None of one without a head that we know."""
    return next((name for head, name in _PIPELINES.items() if architecture.endswith(head)), None)


def step_card(title: str, library: str, pipeline: str | None, paragraphs: list[str]) -> str:
    """The text of ``README.md``, with the few metadata that a step knows.

    Args:
        library: what loads the folder, as the hub calls it.
    """
    metadata = [f"library_name: {library}", *([f"pipeline_tag: {pipeline}"] if pipeline else []), "tags: [edgedistil]"]
    return "\n".join(["---", *metadata, "---", "\n\n".join([f"# {title}", *paragraphs, _NEXT])]) + "\n"
