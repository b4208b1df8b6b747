"""What compress leaves: a folder that loads again, in a process that knows nothing of the run."""

import json
from pathlib import Path
from typing import Any

import pytest

RELOAD = """
import json
import sys
from pathlib import Path

import numpy as np
from edgedistil.models.reference import predict, read_reference
from edgedistil.models.shrunken import load_classifier, structure_of
from transformers import AutoModelForSequenceClassification

found = {}
for folder in map(Path, sys.argv[1:]):
    ids, types, expected = read_reference(folder)
    model = load_classifier(folder)
    found[str(folder)] = {
        "equal": bool((predict(model, ids, types) == expected).all()),
        "n": len(ids),
        "spread": float(np.ptp(expected, axis=0).min()),
        "structure": structure_of(model)["layers"],
        "training": model.training,
    }
    if not (folder / "structure.json").exists():
        auto = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        found[str(folder)]["auto"] = float(np.abs(predict(auto, ids, types) - expected).max())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def reloaded(swept: Any, run: Any) -> dict[str, dict[str, Any]]:
    """By step, what a fresh process finds in the trained, pruned and recovered folders."""
    folders = {
        step: str(next(swept.store.glob(f"artifacts/{step}/*"))) for step in ("train", "prune", "recover", "export")
    }
    ran = run("-c", RELOAD, *folders.values(), cwd=swept.cwd / "reload", store=swept.store).ok()
    return {step: ran.summary[folder] for step, folder in folders.items()}


@pytest.mark.parametrize("step", ["train", "prune", "recover", "export"])
def test_answers_are_bit_equal_after_reloading(reloaded: dict[str, dict[str, Any]], step: str) -> None:
    found = reloaded[step]
    assert found["equal"]
    assert found["n"] == 80
    assert found["spread"] > 0
    assert found["training"] is False


def test_cut_is_really_gone(reloaded: dict[str, dict[str, Any]], swept: Any) -> None:
    full = [{"heads": 4, "ffn": 64}] * 2
    assert reloaded["train"]["structure"] == full
    cut = reloaded["prune"]["structure"]
    assert reloaded["recover"]["structure"] == cut
    assert cut != full
    assert all(new["heads"] <= 4 and new["ffn"] <= 64 and new["ffn"] % 16 == 0 for new in cut)
    sizes = {s: next(swept.store.glob(f"artifacts/{s}/*/model.safetensors")).stat().st_size for s in ("train", "prune")}
    assert sizes["prune"] < sizes["train"]


def test_uncut_folder_loads_with_transformers_alone(reloaded: dict[str, dict[str, Any]]) -> None:
    # Its weights lie in memory as they lie in the file, which moves the last bit of sums.
    assert reloaded["train"]["auto"] < 1e-5
    assert "auto" not in reloaded["prune"]


def test_recovery_moved_the_pruned_model(swept: Any) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    files = [next(swept.store.glob(f"artifacts/{step}/*/model.safetensors")) for step in ("prune", "recover")]
    before, after = map(load_file, files)
    assert before.keys() == after.keys()
    assert any(np.abs(before[name] - after[name]).max() > 1e-6 for name in before)


def test_manifest_holds_the_digest_of_every_file(swept: Any) -> None:
    import hashlib

    manifests = list(swept.store.glob("artifacts/*/*/artifact.json"))
    assert len(manifests) >= 22
    for manifest in manifests:
        folder: Path = manifest.parent
        files = json.loads(manifest.read_text())["files"]
        assert set(files) == {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"artifact.json"}
        for name, facts in files.items():
            data = (folder / name).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (facts["bytes"], facts["sha256"])


def test_a_product_answers_what_the_record_was_scored_on(swept: Any, run: Any, tmp_path: Path) -> None:
    """The INT8 cell as a folder to give away, moved elsewhere: the same logits bit by bit, its score in the card."""
    from huggingface_hub import ModelCard
    from safetensors.numpy import load_file

    from edgedistil.reporting.outcomes import outcomes
    from edgedistil.store.files import read_json
    from edgedistil.tasks.generated import generate

    names = [cell["names"]["compression"] for cell in outcomes(swept.folder)]
    cell = swept.folder / str(next(i for i, name in enumerate(names) if "structured" in name and "INT8" in name))
    packaged = run("-m", "edgedistil", "package", str(cell), "--output", "product", cwd=tmp_path, store=tmp_path / "no")
    assert "licence is not known" in packaged.ok().out
    folder = (tmp_path / "product").rename(tmp_path / "moved")
    record = Path(read_json(cell / "cell.json")["folder"])
    predictions = read_json(record / "artifact.json")["inputs"]["predictions"]
    scored = swept.store / "artifacts/predict" / predictions["fingerprint"] / "predictions.safetensors"
    texts = generate("validation", "reviews", 200, 80, 1)["sentence"][:20]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    asked = ["predict", str(folder), "--file", "texts.txt", "--logits"]
    answers = run("-m", "edgedistil", *asked, cwd=tmp_path, store=tmp_path / "no").ok().out.splitlines()
    assert [json.loads(line)["logits"] for line in answers] == load_file(scored)["logits"][:20].tolist()
    data = ModelCard.load(folder / "README.md").data
    accuracy = read_json(record / "record.json")["quality"]["accuracy"]
    assert [(r.metric_type, r.metric_value, r.dataset_split) for r in data.eval_results] == [
        ("accuracy", accuracy, "validation")
    ]
    assert (data.language, data.pipeline_tag) == ("en", "text-classification")
    pushed = run("-m", "edgedistil", "push", str(folder), "me/reviews", cwd=tmp_path, store=tmp_path / "no").ok()
    assert pushed.out.splitlines()[-1] == "nothing was sent; --upload would send it to me/reviews"
    assert not (tmp_path / "no").exists()
