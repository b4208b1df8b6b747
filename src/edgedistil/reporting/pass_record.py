"""Table 3 of the DistilBERT paper: parameters and the time of a pass over STS-B's validation split, claimed and ours.

Ours come from records that ``python -m edgedistil pass-time --output FILE`` writes, where the models take turns burst
by burst, so that their ratio stands when the machine's speed drifts.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, first_line
from ..store.files import read_json
from .references import published
from .reproduction_cells import Section
from .table import markdown

Record = dict[str, Any]
_CLAIMED = (
    ("paper", "distilbert_table3"),
    ("seed 0", "seed0_glue"),
    ("seed 2", "seed2_speed"),
    ("seed 3", "seed3_speed"),
)
_HEAD = ["of", "model", "parameters", "% of the full model's", "pass s", "times faster than the full model", "remarks"]
Line = list[str]


def read_pass_record(file: Path) -> Record:
    """A record of passes over a split.

    Raises:
        UserError: there is no such file, or it is another kind of record.
    """
    try:
        record = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"the record {file} can't be read: {error}") from error
    if not isinstance(record, dict) or record.get("kind") != "pass_time":
        raise UserError(f"{file} is no record of passes; python -m edgedistil pass-time --output FILE writes one")
    try:
        "".join(cell for line in _measured(record) for cell in line).encode()
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration) as error:
        raise UserError(
            f"the record {file} has a part that can't be told ({first_line(error)}): it is of another version, or was "
            "edited; python -m edgedistil pass-time --output FILE writes a new one"
        ) from error
    return dict(record)


def pass_table(section: Section | None, records: Sequence[Record]) -> str:
    """Claims, then ours: of each record every model, and of trained models the parameters."""
    lines = [line for source, name in _CLAIMED for line in _claimed(source, name)]
    lines += [line for record in records for line in _measured(record)]
    if section is not None:
        lines += _trained(section, {name for record in records for name in record["models"]})
    missing = (
        "" if records else f"\n\nOurs, the time of a pass, is missing: `{_command(section)}`, then --pass-record FILE"
    )
    return markdown(_HEAD, lines) + missing


def _claimed(source: str, name: str) -> list[Line]:
    """The lines of a published table; a ratio is of the seconds that it claims itself."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for entry in published(name)["rows"]:
        figures = {f["what"]: f for f in entry["figures"]}
        if "pass" in figures:
            found.append((entry["name"].removesuffix(", STS-B pass"), (entry["cell"] or {}).get("role", ""), figures))
    full = next((f for _, role, f in found if role == "full"), None)
    lines = []
    for model, role, figures in found:
        own, whole = figures.get("parameters"), (full or {}).get("parameters")
        share = "not claimed" if not own or not whole else f"{100 * _first(own) / _first(whole):.0f}"
        ratio = "not claimed" if full is None else f"{_first(full['pass']) / _first(figures['pass']):.2f}"
        parameters = own["claimed"] if own else "not claimed"
        plain = "1" if role == "full" else ratio
        lines.append(
            [source, model, parameters, share, f"{_first(figures['pass']):g}", plain, figures["pass"]["really"]]
        )
    return lines


def _first(figure: dict[str, Any]) -> float:
    return float(figure["claimed"].split()[0])


def _measured(record: Record) -> list[Line]:
    measured, first = record["measurement"], next(iter(record["models"]))
    padding = "texts at their own lengths" if measured["pad_to"] is None else f"padded to {measured['pad_to']} tokens"
    told = [
        f"{record['task']['name']}, {record['texts']:,} texts one at a time, {padding}",
        f"{measured['engine']} FP32, {measured['threads']} thread(s), in turns, {record['environment']['cpu']}",
    ]
    whole = record["texts"] == record["all_texts"]
    if not whole:
        told.append(f"sample: a part of {record['all_texts']:,} texts")
    if not record["valid"]:
        told.append("INVALID: " + ", ".join(record["invalid_because"]))
    lines = []
    for name, model in record["models"].items():
        ratio = record["ratios"].get(name)
        share = f"{100 * model['parameters'] / record['models'][first]['parameters']:.1f}"
        seconds = f"{model['pass_s']:.2f}" if whole else "no whole pass"
        times = "1" if ratio is None else f"{ratio['ratio']:.2f} {interval(ratio)}"
        if not record["valid"]:
            seconds = times = "not quoted: INVALID"
        remarks = [*(["random weights: shape alone"] if model["random_weights"] else []), *told]
        lines.append(["ours", name, f"{model['parameters']:,}", share, seconds, times, "; ".join(remarks)])
    return lines


def interval(ratio: dict[str, Any]) -> str:
    """Over generations of processes, else over bursts."""
    low, high = (
        ratio[f"ci95_{end}"] if ratio[f"ci95_{end}"] is not None else ratio[f"bursts_ci95_{end}"]
        for end in ("low", "high")
    )
    return f"[{low:.2f}, {high:.2f}]"


def _trained(section: Section, measured: set[str]) -> list[Line]:
    """Parameters of the models that were trained, where no record of passes tells them."""
    counts = {}
    for role in ("full", "small"):
        rows = sorted((r for r in section.rows if r["role"] == role), key=lambda r: str(r["task"]) != "stsb")
        if rows and section.roles[role] not in measured:
            counts[role] = rows[0]["parameters"]
    lines = []
    for role, count in counts.items():
        share = f"{100 * count / counts['full']:.1f}" if "full" in counts else "no full model"
        lines.append(
            ["ours", section.roles[role], f"{count:,}", share, "missing", "missing", "as trained; no record of a pass"]
        )
    return lines


def _command(section: Section | None) -> str:
    roles = section.roles if section else {}
    models = [roles.get("full", "bert_base"), roles.get("small", "distilbert")]
    return shlex.join(
        ["python", "-m", "edgedistil", "pass-time", "--models", *models, "--task", "stsb", "--output", "pass.json"]
    )
