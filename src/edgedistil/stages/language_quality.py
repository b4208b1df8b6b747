"""What a record says of a masked language model: its losses, its parent's beside them, and the texts it is run on."""

from pathlib import Path
from typing import Any

from ..store.files import read_json
from ..tasks.encode import encode, load_tokenizer
from ..tasks.source import Source
from ..tasks.texts import read

# Each text's sums of losses, as the step evaluate_language leaves them.
LOSSES_FILE = "losses.safetensors"
_RESAMPLES = 2000
# Texts that times are taken on at most.
_TIMED = 1000


def language_quality(request: dict[str, Any], answers: str) -> dict[str, Any] | None:
    """Losses in nats on the held-out texts; the parent's difference with a 95 % interval of resampled texts.

    Args:
        answers: ``predictions`` or ``parent_predictions``, as of other kinds of tasks.
    """
    inputs = request["inputs"]
    name = {"predictions": "evaluated", "parent_predictions": "parent_evaluated"}.get(answers)
    if name not in inputs:
        return None
    facts = read_json(Path(inputs[name]) / "artifact.json")["facts"]
    result = {**facts["losses"], "n": facts["texts"], "targets": facts["targets"]}
    result["parity_with_shipped"] = facts["parity_with_shipped"]
    if name == "evaluated" and "parent_evaluated" in inputs:
        result["against_parent"] = _against(Path(inputs[name]), Path(inputs["parent_evaluated"]))
    return result | {"sample": request["options"]["task"]["limit_validation"] is not None}


def _against(own: Path, parent: Path) -> dict[str, Any]:
    import numpy as np
    from safetensors.numpy import load_file

    mine, theirs = (load_file(folder / LOSSES_FILE) for folder in (own, parent))
    targets = mine["targets"]
    difference = mine["mlm_loss"] - theirs["mlm_loss"]
    chance, n = np.random.default_rng(0), len(targets)
    drawn = []
    for _ in range(_RESAMPLES):
        some = chance.integers(n, size=n)
        drawn.append(float(difference[some].sum() / max(1, targets[some].sum())))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return {
        "mlm_loss_difference": round(float(difference.sum() / targets.sum()), 6),
        "mlm_loss_difference_ci95_low": round(float(low), 6),
        "mlm_loss_difference_ci95_high": round(float(high), 6),
    }


def lines_and_ids(request: dict[str, Any], folder: Path) -> tuple[list[tuple[str, ...]], list[list[int]]]:
    """(held-out lines, their token ids), those that are long enough to be learnt from, in order."""
    options = request["options"]
    task, source = options["task"], Source(options["data"], request["runtime"]["files"])
    tokenizer, marker = load_tokenizer(folder, task["max_length"]), task["unknown_marker"]
    most = min(_TIMED, task["limit_validation"] or _TIMED)
    texts: list[tuple[str, ...]] = []
    ids: list[list[int]] = []
    for line in read(source, (task["text_columns"] or ["text"])[0]):
        text = line.strip().replace(marker, "[UNK]") if marker else line.strip()
        (row,) = encode(tokenizer, [(text,)]) if text else ([],)
        if len(row) > task["drop_up_to"]:
            texts.append((text,))
            ids.append(row)
        if len(ids) == most:
            break
    return texts, ids
