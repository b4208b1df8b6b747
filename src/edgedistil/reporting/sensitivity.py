"""What pruning and quantising cost and gain, layer by layer and node by node: from the facts of the steps that did it.

A prune step notes, for every layer's heads and neurons, the damage that its score expects at each number of units kept
(``curves``) and what was kept; an export step the error that each node alone brings in when it is quantised
(``sensitivity``, with ``compression.quantization.sensitivity=true`` or ``max_drop``); a profile step the milliseconds
of each number of heads and each width on a device.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..measurement.units import HEADS, unit_weights
from ..store.files import read_json
from ..store.store import ARTIFACT_FILE, Store
from .ancestry import Found, ancestry
from .table import markdown

LATENCY_FILE = "latency_table.json"
_PRUNES = ("prune", "prune_gradually")
_SHARES = (0.25, 0.5, 0.75)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class PartCurve:
    """One layer's heads or neurons: damage by units kept (descending), and how many were kept in the end.

    Attributes:
        weights: of one unit (with its biases).
        ms: of so many units kept; empty where no device was profiled.
    """

    layer: int
    kind: str
    units: list[int]
    damage: list[float]
    kept: int
    weights: int
    ms: dict[int, float] = field(default_factory=dict)

    @property
    def all(self) -> int:
        """Units before the cut."""
        return self.units[0]

    def damage_at(self, kept: int) -> float:
        """The damage expected with so many units kept, between two levels on the line through them."""
        return _between(dict(zip(self.units, self.damage, strict=True)), kept)

    def saved_mb(self) -> float:
        """MB of FP32 weights that the cut took out."""
        return (self.all - self.kept) * self.weights * _FLOAT_BYTES / 1e6

    def saved_ms(self) -> float | None:
        """Milliseconds that the cut took out, by the device's table."""
        return _between(self.ms, self.all) - _between(self.ms, self.kept) if self.ms else None


@dataclass(frozen=True)
class Sensitivity:
    """All that one compressed model says.

    Attributes:
        structure, full: heads and width (``ffn``) of each layer, after all cuts and before the first.
        path: the steps of a gradual cut, as that step notes them.
        nodes: rows as the export step notes them, the worst first; ``quantization`` is what else it notes.
        tokens: of the texts that the device's table is of.
    """

    label: str
    parts: list[PartCurve]
    structure: list[dict[str, int]]
    full: list[dict[str, int]]
    nodes: list[dict[str, Any]]
    quantization: dict[str, Any]
    tokens: int | None
    path: list[dict[str, Any]] = field(default_factory=list)


def found_in(folder: Path, cells: Sequence[dict[str, Any]]) -> list[Sensitivity]:
    """What a sweep's cells say, or one artifact's folder, each chain once.

    Args:
        folder: an artifact of the store, when there are no ``cells``.
        cells: outcomes of a sweep or a run.

    Raises:
        UserError: the folder holds neither, or nothing in it was looked at part by part.
    """
    folders = [Path(c["folder"]) for c in cells if c["status"] == "done"] or [folder.absolute()]
    if not all((f / ARTIFACT_FILE).is_file() for f in folders):
        raise UserError(f"{folder} is neither a run of bench.py or compress.py nor an artifact of the store")
    result = all_in(folders)
    if not result:
        raise UserError(
            f"no step behind {folder} was looked at part by part: prune with compression/pruning=structured, or export "
            "with compression.quantization.sensitivity=true"
        )
    return result


def all_in(folders: Sequence[Path]) -> list[Sensitivity]:
    """What the artifacts in ``folders`` and the steps behind them say, each chain once."""
    result: dict[tuple[str, ...], Sensitivity] = {}
    stores: dict[Path, Found] = {}
    for place in folders:
        found = _of_chain(place, stores.setdefault(place.parents[2], {}), result)
        if found:
            result.setdefault(*found)
    return list(result.values())


def _of_chain(
    folder: Path, known: Found, done: Container[tuple[str, ...]]
) -> tuple[tuple[str, ...], Sensitivity] | None:
    """Its key and what it says; None when nothing in it was looked at part by part, or its key is ``done``."""
    chain = list(ancestry(folder, found=known))
    prunes = [
        (f, a) for f, a in chain if a["step"] in _PRUNES and (a["facts"] or {}).get("structure", {}).get("layers")
    ]
    export = next(
        (a for _, a in reversed(chain) if a["step"] == "export" and "sensitivity" in (a["facts"] or {})), None
    )
    if not prunes and export is None:
        return None
    key = tuple(a["fingerprint"] for a in (*(a for _, a in prunes), *([export] if export else [])))
    if key in done:
        return None
    table = next((read_json(f / LATENCY_FILE) for f, a in chain if (f / LATENCY_FILE).is_file()), None)
    structure: list[dict[str, int]] = prunes[-1][1]["facts"]["structure"]["layers"] if prunes else []
    full = _structure_before(folder, prunes[0][1]) if prunes else []
    parts = _parts(*prunes[0], structure, table) if prunes else []
    path = [step for _, a in prunes for step in a["facts"].get("path", [])]
    quantization = (export or {}).get("facts", {}).get("sensitivity", {})
    label = export["label"] if export else prunes[-1][1]["label"]
    nodes = quantization.get("nodes", [])
    tokens = table["tokens"] if table else None
    return key, Sensitivity(label, parts, structure, full, nodes, quantization, tokens, path)


def _parts(
    folder: Path, prune: dict[str, Any], structure: list[dict[str, int]], table: dict[str, Any] | None
) -> list[PartCurve]:
    """Curves of the first cut, with what was left in the end (``structure``); a gradual cut has none."""
    facts = prune["facts"]
    each = unit_weights(_config(folder)["width"], facts["structure"]["head_size"])
    parts = []
    for curve in facts.get("curves", []):
        heads = curve["kind"] == HEADS
        parts.append(
            PartCurve(
                curve["layer"],
                curve["kind"],
                curve["units"],
                curve["damage"],
                structure[curve["layer"]]["heads" if heads else "ffn"],
                each[curve["kind"]],
                _times(table, curve["kind"], curve["layer"] == len(structure) - 1),
            )
        )
    return parts


def _structure_before(folder: Path, prune: dict[str, Any]) -> list[dict[str, int]]:
    """Of the model that a prune step read: its ``structure.json``, else layers that are all as its config says."""
    source = prune["inputs"]["model"]
    model = Store(folder.parents[2]).find(source["step"], source["fingerprint"])
    if model is not None and (model / "structure.json").is_file():
        return list(read_json(model / "structure.json")["layers"])
    layers = len(prune["facts"]["structure"]["layers"])
    if model is not None:
        config = _config(model)
        return [{"heads": config["heads"], "ffn": config["ffn"]}] * layers
    raise UserError(f"the model that {prune['label']!r} was cut from is no longer in the store; make it again")


def _config(folder: Path) -> dict[str, int]:
    """Width, heads and FFN width of a BERT's or DistilBERT's ``config.json``."""
    config = read_json(folder / "config.json")
    names = {"width": ("dim", "hidden_size"), "heads": ("n_heads", "num_attention_heads")}
    names["ffn"] = ("hidden_dim", "intermediate_size")
    return {key: int(config.get(one) or config[other]) for key, (one, other) in names.items()}


def _times(table: dict[str, Any] | None, kind: str, last: bool) -> dict[int, float]:
    if table is None:
        return {}
    own = f"last_{kind}" if last and table.get("distinct_last") else kind
    return {int(units): float(ms) for units, ms in table["parts"][own].items()}


def _between(values: dict[int, float], at: int) -> float:
    import numpy as np

    known = sorted(values)
    return float(np.interp(at, known, [values[k] for k in known]))


def sensitivity_tables(found: Sensitivity) -> str:
    """Markdown: what was kept and its cost, part by part; every node's error and bytes."""
    parts = [f"### {found.label}"]
    if found.parts:
        timed = found.tokens is not None
        head = ["layer", "part", "kept", *(f"damage at − {100 * s:g} %" for s in _SHARES), "of the cut", "MB saved"]
        head += [f"ms saved at {found.tokens} tokens", "damage / ms"] if timed else []
        parts += [markdown(head, [_part_line(part, timed) for part in found.parts]), _PRUNING_NOTE]
    if found.path:
        head = ["step", "heads by layer", "FFN widths by layer", "damage expected", "held out, after it"]
        parts.append(markdown(head, [_path_line(step) for step in found.path]))
    elif found.structure and not found.parts:
        kept = [[str(i), str(x["heads"]), str(x["ffn"])] for i, x in enumerate(found.structure)]
        parts.append(markdown(["layer", "heads kept", "FFN width kept"], kept))
    if found.nodes:
        head = ["node", "rms of the logits' error", "KL", "answers flipped", "MB saved", "became"]
        lines = [
            [
                str(node["node"]),
                f"{node['rms_ratio']:.4f}",
                f"{node['kl']:.2e}",
                str(node["flips"]),
                f"{node['bytes_saved'] / 1e6:.3f}",
                str(node["precision"]),
            ]
            for node in found.nodes
        ]
        parts += [markdown(head, lines), _node_note(found.quantization)]
    return "\n\n".join(parts)


_PRUNING_NOTE = (
    "damage: what the importance score expects of the cut, before anything is reconstructed or recovered, in its own "
    "measure (compare within a table); MB: weights in FP32."
)


def _part_line(part: PartCurve, timed: bool) -> list[str]:
    shares = [f"{part.damage_at(round(part.all * (1 - share))):.3g}" for share in _SHARES]
    of_cut = part.damage_at(part.kept)
    line = [
        str(part.layer),
        part.kind,
        f"{part.kept} of {part.all}",
        *shares,
        f"{of_cut:.3g}",
        f"{part.saved_mb():.2f}",
    ]
    if timed:
        ms = part.saved_ms()
        line += ["-" if ms is None else f"{ms:.3f}", f"{of_cut / ms:.3g}" if ms else "-"]
    return line


def _path_line(step: dict[str, Any]) -> list[str]:
    held_out = {k: v for k, v in (step.get("held_out") or {}).items() if isinstance(v, int | float) and k != "texts"}
    said = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in held_out.items())
    heads, widths = (" ".join(str(x[key]) for x in step["layers"]) for key in ("heads", "ffn"))
    return [str(step["step"]), heads, widths, f"{step['expected_damage']:.3g}", said or "-"]


def _node_note(quantization: dict[str, Any]) -> str:
    note = (
        f"Each node quantised alone, all others in FP32, on {quantization['judged_texts']} held-out texts; rms: of the "
        "difference of the logits over that of the logits."
    )
    return f"{note} {quantization['verdict']}." if quantization.get("verdict") else note
