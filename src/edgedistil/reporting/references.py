"""Published and claimed figures, kept as data, set beside what we measured and never mixed with it.

Each file of ``src/edgedistil/reporting/published/*.json`` holds one table: its source, what its columns really are, and
its rows with the cell of ours (pruning method, ratio, quantisation) that answers each.
"""

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import read_json
from .table import markdown

_FOLDER = Path(__file__).parent / "published"


def available() -> list[str]:
    """Names of the published tables."""
    return sorted(p.stem for p in _FOLDER.glob("*.json"))


def check(names: list[str]) -> None:
    """Raise :class:`UserError` for a name that is no published table, before anything is computed."""
    for name in names:
        if name not in available():
            raise UserError(f"report.references holds {name!r}; allowed: {', '.join(available())}")


def compared(name: str, done: list[dict[str, Any]]) -> str:
    """The published table with three columns a figure: claimed, what the claim really was, ours."""
    check([name])
    table = read_json(_FOLDER / f"{name}.json")
    lines = []
    for entry in table["rows"]:
        ours = next((r for r in done if _answers(r, entry["cell"])), None)
        for figure in entry["figures"]:
            lines.append(
                [entry["name"], figure["what"], figure["claimed"], figure["really"], _ours(ours, figure.get("column"))]
            )
    text = markdown(["row", "figure", "claimed", "what the claim really was", "ours"], lines)
    return f"### {table['title']}\n\nClaimed: {table['source']}. {table['note']}\n\n{text}"


def beside(name: str, rows: list[dict[str, Any]]) -> tuple[str, list[str], str]:
    """A published table with one figure a row as a column: (its heading, the figure that answers each of ``rows`` or
    nothing, a note that says what it is)."""
    check([name])
    table = read_json(_FOLDER / f"{name}.json")
    answers = [next((e for e in table["rows"] if _answers(r, e["cell"])), None) for r in rows]
    claimed = [e["figures"][0]["claimed"] if e else "" for e in answers]
    head = table["rows"][0]["figures"][0]["what"]
    return head, claimed, f"{head}: {table['source']}. {table['note']}"


def _answers(r: dict[str, Any], cell: dict[str, Any]) -> bool:
    return all(r.get(k) == v for k, v in cell.items())


def _ours(r: dict[str, Any] | None, column: str | None) -> str:
    if column is None:
        return "not measured here"
    if r is None:
        return "cell missing"
    value = r.get(column)
    if value is None:
        return "not measured"
    if column == "accuracy":
        return (
            f"{100 * value:.2f} % of {r['n']} [{100 * r['accuracy_ci95_low']:.1f}, {100 * r['accuracy_ci95_high']:.1f}]"
        )
    if column == "parameters":
        return f"{value:,}"
    unit = (
        "ms a sentence (p50)"
        if "latency_ms" in column
        else "ms"
        if "_ms" in column
        else "MB"
        if column.endswith("_mb") or "_mb_" in column
        else ""
    )
    if "_per_s" in column:
        unit = "sentences/s"
    return f"{value:.2f} {unit}".strip()
