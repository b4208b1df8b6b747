"""The steps in which a dense parent teaches, run one after another in this process on a tiny model."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from edgedistil.config.schemas import register
from edgedistil.config.validation import validate
from edgedistil.models.reference import predict, read_reference
from edgedistil.models.shrunken import load_classifier
from edgedistil.stages.chain import Planner
from edgedistil.stages.child import run
from edgedistil.store.store import Store

CONF = Path(__file__).resolve().parents[2] / "conf"
SMALL = ["task=reviews", "task.generator.train=120", "task.generator.validation=20", "seed=3",
         "compression.quantization.max_rms=10", "compression.quantization.min_agreement=0"]  # fmt: skip


@pytest.fixture
def make(tmp_path: Path, tiny_folder: Callable[..., Path]) -> Callable[..., dict[str, tuple[Path, dict[str, Any]]]]:
    """``make(*overrides)``: (folder, facts) of every step of the chain by its name; the last of a name counts."""
    folder = tiny_folder("distilbert")

    def chain(*overrides: str) -> dict[str, tuple[Path, dict[str, Any]]]:
        register()
        given = ["model=folder", f"model.location={folder}", *SMALL, *overrides]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("compress", given, return_hydra_config=True)
            choices = dict(cfg.hydra.runtime.choices)
            with open_dict(cfg):
                del cfg.hydra
            goal = Planner(validate(cfg), Store(tmp_path / "store"), "compress", choices, None, False).cell().steps
        made: dict[str, tuple[Path, dict[str, Any]]] = {}
        folders: dict[str, str] = {}
        for number, step in enumerate(goal["exported"].ancestry()):
            output, work = tmp_path / "made" / f"{number}_{step.name}", tmp_path / "work" / str(number)
            output.mkdir(parents=True)
            work.mkdir(parents=True)
            request = {
                "step": step.name, "label": step.label, "options": step.options, "runtime": step.runtime,
                "inputs": {name: folders[s.fingerprint] for name, s in step.inputs.items()},
                "fingerprint": step.fingerprint, "output": str(output), "work": str(work),
            }  # fmt: skip
            # As the child reads it.
            facts = run(json.loads(json.dumps(request)))
            folders[step.fingerprint] = str(output)
            made[step.name] = output, json.loads(json.dumps(facts))
        return made

    return chain


def test_low_rank_trimmed_and_recovered_then_trained_for_4_bits(
    make: Callable[..., dict[str, tuple[Path, dict[str, Any]]]],
) -> None:
    made = make(
        "compression=int4", "compression/embeddings=low_rank", "compression.embeddings.rank=16",
        "compression.quantization.block_size=16",
        "compression/vocabulary=trimmed", "compression.vocabulary.min_count=2", "compression/recovery=distillation",
        "compression.recovery.steps=3", "compression.recovery.batch_size=8", "compression/qat=distillation",
        "compression.qat.epochs=1", "compression.qat.batch_size=16",
    )  # fmt: skip
    assert list(made) == ["adopt", "factorise", "trim", "teacher_logits", "recover", "qat", "export"]
    assert made["factorise"][1]["rank"] == 16
    assert 0.5 < made["factorise"][1]["energy_kept"] < 1
    assert (made["recover"][1]["steps"], made["recover"][1]["texts"]) == (3, 24)
    # The training part, once.
    assert (made["qat"][1]["texts"], made["qat"][1]["steps"]) == (114, 8)
    assert made["qat"][1]["held_out_texts"] == 6
    assert set(made["qat"][1]["held_out"]) == {"accuracy"}
    for name in ("factorise", "trim", "recover", "qat"):
        folder = made[name][0]
        ids, types, expected = read_reference(folder)
        assert (predict(load_classifier(folder), ids, types) == expected).all(), name
        assert json.loads((folder / "structure.json").read_text())["embedding_rank"] == 16
    weights = [load_classifier(made[name][0]).state_dict() for name in ("trim", "recover", "qat")]
    for before, after in pairwise(weights):
        assert any(not np.array_equal(before[key], after[key]) for key in before)
    assert made["export"][1]["parity"]["n"] == 20


def test_recovery_with_the_parent_along_copies_and_labels(
    make: Callable[..., dict[str, tuple[Path, dict[str, Any]]]],
) -> None:
    made = make(
        "compression=structured_50", "compression.pruning.ffn_multiple=8", "compression.recovery.epochs=2",
        "compression.recovery.batch_size=16", "+compression.recovery.objective.layer_map=[[2,2]]",
        "+compression.recovery.objective.hard_weight=0.5", "augmentation=embedding_neighbours",
        "augmentation.copies=1", "augmentation.candidates=3", "compression.recovery.augmentation=true",
    )  # fmt: skip
    assert list(made) == ["adopt", "prune", "augment", "recover", "export"]
    copies = made["augment"][1]["copies"]
    assert copies > 0
    texts = made["recover"][1]["texts"]
    assert texts == 114 + copies
    assert made["recover"][1]["steps"] == 2 * -(-texts // 16)
