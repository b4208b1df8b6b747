"""Choices of quantisation from the command line: what is kept out of it, and the facts that say why."""

import json
from pathlib import Path
from typing import Any

LOOSE = ["compression.quantization.max_rms=10", "compression.quantization.min_agreement=0"]


def exported(store: Path, label: str) -> dict[str, Any]:
    """The artifact of the one export with this label at its end."""
    found = [json.loads(p.read_text()) for p in store.glob("artifacts/export/*/artifact.json")]
    (wanted,) = [a for a in found if a["label"].endswith(label)]
    return wanted


def test_four_bits_within_a_budget(run: Any, tiny: list[str], copied: Path, tmp_path: Path) -> None:
    chosen = [
        "compression=int4", "compression.quantization.rounding=gptq", "compression.quantization.max_drop=100",
        "compression.quantization.exclude=[head.*]", "compression.quantization.judged_sentences=16",
        "compression.quantization.calibration_sentences=100",
    ]  # fmt: skip
    run("compress.py", *tiny, *LOOSE, *chosen, cwd=tmp_path, store=copied).ok()
    facts = exported(copied, "4-bit, gptq, without head.*, at most 100 points lost")["facts"]
    assert facts["excluded_by_hand"] == ["head.dense"]
    found = facts["sensitivity"]
    assert found["verdict"].startswith("nothing had to be excluded: ")
    assert (found["excluded"], found["moved_to_8_bits"], found["held_out_texts"]) == ([], [], 10)
    assert {row["precision"] for row in found["nodes"]} == {"int4_ort"}
    assert "head.dense" not in {row["node"] for row in found["nodes"]}
    errors = [row["rms_ratio"] for row in found["nodes"]]
    assert errors == sorted(errors, reverse=True)


def test_static_ranges_of_smoothed_activations_and_a_4_bit_table(
    run: Any, tiny: list[str], copied: Path, tmp_path: Path
) -> None:
    chosen = [
        "compression/quantization=int8_static", "compression.quantization.calibration=entropy",
        "compression.quantization.smooth=0.5", "compression.quantization.embeddings=int4",
        "compression.quantization.block_size=16", "compression.quantization.calibration_sentences=100",
    ]  # fmt: skip
    run("compress.py", *tiny, *LOOSE, *chosen, cwd=tmp_path, store=copied).ok()
    facts = exported(copied, "INT8 static, 4-bit table, blocks of 16, entropy, smoothed 0.5")["facts"]
    assert facts["smoothed"] == {"alpha": 0.5, "observed_texts": 100}
    assert facts["static_activations"]["observed_texts"] == 36


def test_a_name_that_no_node_has_is_one_line(run: Any, tiny: list[str], copied: Path, tmp_path: Path) -> None:
    refused = run("compress.py", *tiny, "compression=int8", "compression.quantization.exclude=[layer99.*]",
                  cwd=tmp_path, store=copied)  # fmt: skip
    assert refused.code != 0
    assert "exclude holds 'layer99.*', which names no product or table of this model; allowed" in refused.err
