"""Latency tables: exact on times that add up, rising whatever the noise, and measured through the worker protocol."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from edgedistil.measurement.latency_table import LatencyTable, Point, between, design, fit, isotonic
from edgedistil.models.shape import shape_of_config
from edgedistil.stages.profile import TABLE_FILE, profile, read_table


def test_isotonic_regression_pools_neighbours_that_fall() -> None:
    assert isotonic([1, 3, 2, 4]) == [1, 2.5, 2.5, 4]
    assert isotonic([3, 2, 1]) == [2, 2, 2]
    assert isotonic([1, 2, 3]) == [1, 2, 3]
    assert isotonic([5, 1, 1, 1]) == [2, 2, 2, 2]


def milliseconds(point: Point, repeated: int) -> float:
    """Times that add up: linear in heads and neurons, the last layer a tenth of the others."""
    inner = 0.0 if point.inner is None else repeated * (0.2 + 0.03 * point.inner[0] + 0.001 * point.inner[1])
    return 0.5 + inner + 0.1 * (0.2 + 0.03 * point.last[0] + 0.001 * point.last[1])


def test_times_that_add_up_are_predicted_exactly_for_structures_never_timed() -> None:
    plan = design(heads=12, neurons=384, multiple=16, distinct_last=True)
    table = fit(plan, {p: milliseconds(p, 5) for p in plan.points}, repeated=5, tokens=32)
    structure = [(9, 384), (1, 16), (5, 208), (2, 48), (12, 112), (4, 272)]
    expected = 0.5 + sum(share * (0.2 + 0.03 * h + 0.001 * n)
                         for share, (h, n) in zip([1] * 5 + [0.1], structure, strict=True))
    assert table.predict(structure) == pytest.approx(expected)
    assert table.predict(structure[:2] + structure[-1:]) == pytest.approx(
        expected - sum(0.2 + 0.03 * h + 0.001 * n for h, n in structure[2:5]))


def test_a_model_that_reads_all_tokens_has_one_kind_of_layer() -> None:
    plan = design(heads=2, neurons=64, multiple=16, distinct_last=False)
    assert not plan.last_heads
    whole = {p: milliseconds(p, 1) + 0.9 * (0.2 + 0.03 * p.last[0] + 0.001 * p.last[1]) for p in plan.points}
    table = fit(plan, whole, repeated=1, tokens=8)
    assert table.predict([(2, 64), (1, 48)]) == pytest.approx(0.5 + 2 * 0.2 + 0.09 + 0.112)


@pytest.mark.parametrize("seed", range(5))
def test_more_units_never_take_less_however_noisy(seed: int) -> None:
    chance = random.Random(seed)
    plan = design(heads=8, neurons=256, multiple=16, distinct_last=True)
    times = {p: milliseconds(p, 3) * chance.uniform(0.7, 1.3) for p in plan.points}
    table = fit(plan, times, repeated=3, tokens=32)
    for values in table.parts.values():
        ordered = [values[n] for n in sorted(values)]
        assert ordered == sorted(ordered)
        assert ordered[0] == 0
    assert table.layer_ms >= 0


def test_a_table_comes_back_from_its_file() -> None:
    plan = design(heads=3, neurons=48, multiple=16, distinct_last=True)
    table = fit(plan, {p: round(milliseconds(p, 2), 4) for p in plan.points}, repeated=2, tokens=16)
    again = LatencyTable.from_json(json.loads(json.dumps(table.to_json())))
    assert again.predict([(2, 32), (3, 40)]) == pytest.approx(table.predict([(2, 32), (3, 40)]), abs=1e-5)
    with pytest.raises(ValueError, match="version 0"):
        LatencyTable.from_json(table.to_json() | {"schema_version": 0})


def test_between_known_values_it_is_linear_and_beyond_them_an_error() -> None:
    known = {16: 0.0, 48: 1.0, 64: 3.0}
    assert [between(known, n) for n in (8, 16, 32, 48, 60, 64)] == [0, 0, 0.5, 1, 2.5, 3]
    with pytest.raises(ValueError, match="ends at 64 units, 65"):
        between(known, 65)


def test_every_count_of_heads_is_timed_and_widths_are_multiples() -> None:
    plan = design(heads=6, neurons=100, multiple=16, distinct_last=True)
    assert [p.inner[0] for p in plan.heads if p.inner] == [1, 2, 3, 4, 5, 6]
    widths = [p.inner[1] for p in plan.neurons if p.inner]
    assert widths == sorted(set(widths))
    assert (widths[0], widths[-1]) == (16, 100)
    assert all(w % 16 == 0 for w in widths[:-1])
    assert plan.points[0] == plan.reference
    assert len(set(plan.points)) == len(plan.points)


def test_shape_of_either_architecture_and_of_an_uneven_model() -> None:
    bert = {"model_type": "bert", "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2,
            "intermediate_size": 64, "hidden_act": "gelu"}
    distilbert = {"model_type": "distilbert", "dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 64,
                  "activation": "gelu"}
    assert shape_of_config(bert) == shape_of_config(distilbert) == {
        "width": 32, "head_size": 8, "layers": 2, "heads": 4, "neurons": 64, "activation": "gelu", "spans": False,
        "classes": 2}
    uneven = {"head_size": 8, "layers": [{"heads": 3, "ffn": 16}, {"heads": 1, "ffn": 48}]}
    assert (shape_of_config(bert, uneven)["heads"], shape_of_config(bert, uneven)["neurons"]) == (3, 48)


PROGRAM = """
import json, time
STARTED_NS = time.monotonic_ns()
from pathlib import Path
from edgedistil.workers.loop import serve


class Engine:
    # A device whose time is known: of each layer 0.4 ms a head, and 0.02 ms a neuron.
    def load(self, request):
        import onnx
        graph = onnx.load(Path(request["folder"]) / "model.onnx", load_external_data=False).graph
        shapes = {t.name: list(t.dims) for t in graph.initializer}
        widths = [d[1] for n, d in shapes.items() if n.endswith(".ffn_in.weight")]
        inner = [d[0] for n, d in shapes.items() if n.endswith(".out.weight")]
        self.seconds = 1e-3 * (0.4 * sum(inner) / 8 + 0.02 * sum(widths))
        return {"imported": time.monotonic_ns()}

    def pack(self, rows):
        assert len(rows[0]) == 6
        return rows

    def run(self, packed):
        time.sleep(self.seconds)


serve(Engine(), STARTED_NS)
"""


def test_a_profile_of_a_known_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "known_device.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    shape = {"width": 32, "head_size": 8, "layers": 3, "heads": 3, "neurons": 128, "activation": "gelu", "spans": True,
             "classes": 2}
    options: dict[str, Any] = {
        "shape": shape, "tokens": 6, "ffn_multiple": 64, "seconds": 0.5, "quantization": {"method": "none"},
        "padding": True, "device": {"kind": "known", "threads": 1}, "host": {}, "engine": {"engine": "known_device"}}
    (tmp_path / "out").mkdir()
    facts = profile({"options": options, "inputs": {}, "work": str(tmp_path / "work"), "output": str(tmp_path / "out"),
                     "label": "known"})
    assert json.loads(json.dumps(facts)) == facts
    assert not (tmp_path / "work" / "models").exists()
    table = read_table(tmp_path / "out")
    # Sleeping takes a little longer than asked for, and on a busy machine more.
    assert table.parts["neurons"][128] == pytest.approx(64 * 0.02, rel=0.3)
    assert table.parts["heads"][3] == pytest.approx(2 * 0.4, rel=0.4)
    assert facts["largest_error"] < 0.25
    written = json.loads((tmp_path / "out" / TABLE_FILE).read_text())
    assert {"device", "engine", "host", "precision", "shape", "checks", "measured_ms"} <= set(written)
    assert written["checks"][0]["structure"] == [[3, 128]] * 3
