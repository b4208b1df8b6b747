"""Which files of a model folder ship: what any engine opens."""

from pathlib import Path

from edgedistil.measurement.size import shipped_files


def test_models_tokenizers_and_configurations_ship_and_notes_do_not(tmp_path: Path) -> None:
    ships = ["config.json", "model.onnx", "model.onnx.data", "model.bin", "model.xml", "model.safetensors"]
    ships += ["structure.json", "tokenizer.json"]
    (tmp_path / "deeper").mkdir()
    ships.append("deeper/model.bin")
    for name in [*ships, "README.md", "artifact.json", "reference.safetensors"]:
        (tmp_path / name).touch()
    assert {str(p.relative_to(tmp_path)) for p in shipped_files(tmp_path)} == set(ships)
