"""Published and claimed figures, kept as data, set beside what we measured and never mixed with it.

Each file of ``src/edgedistil/reporting/published/*.json`` holds one table: its source, what its columns really are, and
its rows with the cell of ours that answers each: keys of a flat row (:mod:`.rows`, :mod:`.training`) such as pruning,
ratio, quantisation, task, and the role that a run gives to its models (:mod:`.roles`). A figure without a ``column``
has the reason ``why`` nothing of ours answers it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import read_json
from .reference_answers import answer
from .table import markdown

_FOLDER = Path(__file__).parent / "published"
Fill = Callable[[dict[str, Any]], str]


def available() -> list[str]:
    """Names of the published tables."""
    return sorted(p.stem for p in _FOLDER.glob("*.json"))


def listed() -> list[str]:
    """A line for each published table: its name and its title."""
    names = available()
    width = max(len(name) for name in names)
    return [f"{name:{width}}  {published(name)['title']}" for name in names]


def check(names: list[str]) -> None:
    """Raise :class:`UserError` for a name that is no published table, before anything is computed."""
    if not isinstance(names, list):
        raise UserError(f"report.references={names!r} is no list; example: report.references=[{available()[0]}]")
    for name in names:
        if name not in available():
            raise UserError(f"report.references holds {name!r}; allowed: {', '.join(available())}")


def published(name: str) -> dict[str, Any]:
    """One table as it is kept: ``title``, ``source``, ``note``, ``rows``."""
    check([name])
    return dict(read_json(_FOLDER / f"{name}.json"))


def about_losses(name: str) -> bool:
    """Whether a table is about what was left out of a language model's losses: it stands beside the lines of such runs,
    the others under the table of fine-tuned models."""
    return any("removed" in (entry["cell"] or {}) for entry in published(name)["rows"])


def compared(name: str, done: list[dict[str, Any]], fill: Fill | None = None) -> str:
    """The published table with three columns a figure: claimed, what the claim really was, ours.

    Args:
        done: flat rows of finished cells.
        fill: says of a missing cell how to make it.
    """
    table = published(name)
    lines = []
    for entry in table["rows"]:
        for figure in entry["figures"]:
            ours = answer(figure, entry["cell"], done, fill)
            lines.append([entry["name"], figure["what"], figure["claimed"], figure["really"], ours])
    text = markdown(["row", "figure", "claimed", "what the claim really was", "ours"], lines)
    return f"### {table['title']}\n\nClaimed: {table['source']}. {table['note']}\n\n{text}"


def beside(name: str, rows: list[dict[str, Any]]) -> tuple[str, list[str], str]:
    """A published table with one figure a row as a column: (its heading, the figure that answers each of ``rows`` or
    nothing, a note that says what it is)."""
    table = published(name)
    answers = [next((e for e in table["rows"] if _answers(r, e["cell"])), None) for r in rows]
    claimed = [e["figures"][0]["claimed"] if e else "" for e in answers]
    head = table["rows"][0]["figures"][0]["what"]
    return head, claimed, f"{head}: {table['source']}. {table['note']}"


def _answers(r: dict[str, Any], cell: dict[str, Any]) -> bool:
    return all(r.get(k) == v for k, v in cell.items())
