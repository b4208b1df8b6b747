"""The written ONNX graph answers as PyTorch does, at every precision, shape and cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgedistil.compression.structured import Kept, cut
from edgedistil.devices.host import saturates_int8
from edgedistil.errors import UserError
from edgedistil.export.exporter import export_standard
from edgedistil.export.files import data_file, save
from edgedistil.export.graph import write_graph
from edgedistil.export.lint import bytes_by_part, lint
from edgedistil.export.named_precision import precision_of
from edgedistil.export.precision import Blocks4Bit, DynamicInt8, Float32, Precision
from edgedistil.export.reading import read_model
from edgedistil.models.folder import count_parameters
from edgedistil.models.reference import write_reference

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
SHAPES = [(1, 2), (1, 17), (3, 9), (8, 64)]
# Softmax far from saturation: with larger weights a rounding error grows tenfold from layer to layer.
CALM = {"initializer_range": 0.2}
# Signed weights of all 8 bits saturate on x86 without VNNI.
NATIVE = "s8_7bit" if saturates_int8() else "s8"
EVEN = [Kept([0, 1, 2, 3], list(range(48)))] * 2


def exported(folder: Path, precision: Precision, token_types: bool = False) -> onnx.ModelProto:
    return write_graph(read_model(folder), precision, token_types)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def batch(shape: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Random ids, each row but the first padded on the right to a length of its own, types 1 in the second half."""
    chance = np.random.default_rng(seed)
    lengths = np.array([shape[1], *chance.integers(1, shape[1] + 1, shape[0] - 1)])
    mask = (np.arange(shape[1])[None] < lengths[:, None]).astype(np.int64)
    types = (np.arange(shape[1])[None] >= shape[1] // 2).astype(np.int64) * mask
    return {"input_ids": chance.integers(5, 90, shape) * mask, "attention_mask": mask, "token_type_ids": types}


def both(model: Any, engine: onnxruntime.InferenceSession, feed: dict[str, np.ndarray]) -> tuple[Any, Any]:
    wanted = {i.name: feed[i.name] for i in engine.get_inputs()}
    with torch.inference_mode():
        expected = model(**{k: torch.from_numpy(v) for k, v in wanted.items()}).logits.numpy()
    return engine.run(["logits"], wanted)[0], expected


def rms_ratio(model: Any, engine: onnxruntime.InferenceSession) -> float:
    found, expected = both(model, engine, batch((32, 24), seed=5))
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean((expected - expected.mean(0)) ** 2)))


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    return {t.name: t.data_type for t in model.graph.initializer}


@KINDS
@pytest.mark.parametrize("structure", ["dense", "even", "uneven"])
@pytest.mark.parametrize("token_types", [False, True])
def test_float_logits_equal_pytorch_at_every_shape(
        kind: str, structure: str, token_types: bool, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
        uneven_cut: Callable[[Any], Any]) -> None:
    model = tiny_model(kind, **CALM)
    if structure == "even":
        cut(model, EVEN)
    elif structure == "uneven":
        uneven_cut(model)
    onnx_model = exported(tiny_folder(model), Float32(), token_types)
    assert lint(onnx_model, quantised=False) == []
    engine = session(onnx_model)
    with_types = token_types and kind == "bert"
    assert [i.name for i in engine.get_inputs()] == \
        ["input_ids", "attention_mask"] + (["token_type_ids"] if with_types else [])
    for shape in SHAPES:
        found, expected = both(model, engine, batch(shape))
        assert found.shape == (shape[0], 2)
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_token_types_reach_the_logits(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> None:
    engine = session(exported(tiny_folder("bert"), Float32(), token_types=True))
    feed = batch((2, 12))
    found = engine.run(["logits"], feed)[0]
    assert np.abs(found - engine.run(["logits"], feed | {"token_type_ids": feed["token_type_ids"] * 0})[0]).max() > 0.01


@KINDS
def test_padding_and_neighbours_do_not_move_a_sentence(kind: str, tiny_folder: Callable[..., Path]) -> None:
    engine = session(exported(tiny_folder(kind), Float32()))
    feed = {k: v for k, v in batch((4, 20)).items() if k != "token_type_ids"}
    together = engine.run(["logits"], feed)[0]
    assert np.ptp(together[:, 0]) > 0.1
    for row, length in enumerate(feed["attention_mask"].sum(1)):
        alone = engine.run(["logits"], {k: v[row : row + 1, :length] for k, v in feed.items()})[0]
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_other_activations(activation: str, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> None:
    model = tiny_model("bert", hidden_act=activation, **CALM)
    found, expected = both(model, session(exported(tiny_folder(model), Float32())), batch((3, 9)))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_activation_without_a_counterpart_is_the_users_error(tiny_model: Callable[..., Any],
                                                             tiny_folder: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="activation 'silu' can't be exported; supported: gelu, gelu_new, relu"):
        exported(tiny_folder(tiny_model("bert", hidden_act="silu")), Float32())


@KINDS
@pytest.mark.parametrize("uneven", [False, True])
def test_int8_is_close_and_stored_as_int8(kind: str, uneven: bool, tiny_model: Callable[..., Any],
                                          tiny_folder: Callable[..., Path], uneven_cut: Callable[[Any], Any]) -> None:
    model = uneven_cut(tiny_model(kind, **CALM)) if uneven else tiny_model(kind, **CALM)
    folder = tiny_folder(model)
    quantised = exported(folder, DynamicInt8(embeddings=True, weights=NATIVE))
    stored = types_of(quantised)
    matrices = {"words.table", "positions.table", "dense.weight", "layer0.qkv.weight", "layer1.query.weight",
                "layer1.key.weight", "layer1.value.weight", "layer0.ffn_in.weight", "layer1.ffn_out.weight",
                "layer0.out.weight"}
    assert matrices <= set(stored)
    assert all(stored[name] == onnx.TensorProto.INT8 for name in matrices)
    assert stored["logits.weight"] == onnx.TensorProto.FLOAT
    assert 0 < rms_ratio(model, session(quantised)) < 0.1
    # Biases, gains and scales stay in float, so a tiny model shrinks less than fourfold.
    assert len(quantised.SerializeToString()) < 0.65 * len(exported(folder, Float32()).SerializeToString())


@KINDS
def test_four_bits_are_close_ish_and_smaller_than_int8(kind: str, tiny_model: Callable[..., Any],
                                                       tiny_folder: Callable[..., Path]) -> None:
    model = tiny_model(kind, **CALM)
    folder = tiny_folder(model)
    quantised = exported(folder, Blocks4Bit(embeddings=True, block_size=32, accuracy_level=0))
    stored = types_of(quantised)
    assert stored["words.table"] == stored["positions.table"] == onnx.TensorProto.INT4
    weight = next(t for t in quantised.graph.initializer if t.name == "layer0.ffn_in.weight")
    assert (weight.data_type, list(weight.dims)) == (onnx.TensorProto.UINT8, [64, 1, 16])
    ratio = rms_ratio(model, session(quantised))
    assert rms_ratio(model, session(exported(folder, DynamicInt8(True, NATIVE)))) < ratio < 0.5
    int8 = sum(bytes_by_part(exported(folder, DynamicInt8(True, NATIVE))).values())
    assert sum(bytes_by_part(quantised).values()) < int8


@pytest.mark.parametrize("block_size", [16, 32, 64])
def test_block_size_need_not_divide_any_width(block_size: int, tiny_model: Callable[..., Any],
                                              tiny_folder: Callable[..., Path],
                                              uneven_cut: Callable[[Any], Any]) -> None:
    model = uneven_cut(tiny_model("distilbert", **CALM))
    quantised = exported(tiny_folder(model), Blocks4Bit(embeddings=True, block_size=block_size, accuracy_level=0))
    weight = next(t for t in quantised.graph.initializer if t.name == "layer0.ffn_out.weight")
    assert list(weight.dims) == [32, -(-24 // block_size), block_size // 2]
    table = onnx.TensorProto.INT8 if 32 % block_size else onnx.TensorProto.INT4
    assert types_of(quantised)["words.table"] == table
    assert rms_ratio(model, session(quantised)) < 0.5


@pytest.mark.parametrize("level", [0, 4])
def test_four_bit_weights_on_the_grid_are_exact(level: int, tiny_model: Callable[..., Any],
                                                tiny_folder: Callable[..., Path]) -> None:
    model = tiny_model("distilbert", **CALM)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and not name.startswith("classifier"):
                values = torch.randint(-8, 8, parameter.shape, generator=generator)
                # Blocks run along either axis: the last layer multiplies by its key transposed.
                values[:, ::16] = values[::16, :] = -8
                parameter.copy_(values * 0.0625)
    quantised = exported(tiny_folder(model), Blocks4Bit(embeddings=True, block_size=16, accuracy_level=level))
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in quantised.graph.initializer}
    assert (arrays["layer0.ffn_in.scale"] == 0.0625).all()
    found, expected = both(model, session(quantised), batch((4, 12)))
    # Level 4 rounds activations to 8 bits.
    np.testing.assert_allclose(found, expected, atol=1e-4 if level == 0 else 0.1 * np.abs(expected).max())


@pytest.mark.parametrize("precision", [DynamicInt8(embeddings=False, weights=NATIVE),
                                       Blocks4Bit(embeddings=False, block_size=32, accuracy_level=0)])
def test_embeddings_stay_in_float_when_asked(precision: Precision, tiny_model: Callable[..., Any],
                                             tiny_folder: Callable[..., Path]) -> None:
    model = tiny_model("distilbert", **CALM)
    quantised = exported(tiny_folder(model), precision)
    assert types_of(quantised)["words.table"] == onnx.TensorProto.FLOAT
    assert rms_ratio(model, session(quantised)) < 0.5


def test_precision_goes_by_the_canonical_names() -> None:
    assert isinstance(precision_of({"method": "none"}), Float32)
    assert isinstance(precision_of({"method": "int8_dynamic", "embeddings": True, "weights": "s8"}), DynamicInt8)
    four = {"method": "int4_ort", "embeddings": True, "block_size": 32, "accuracy_level": 4}
    assert isinstance(precision_of(four), Blocks4Bit)
    with pytest.raises(UserError, match="block_size=48 is no power of two; allowed: 16, 32, 64, 128, 256"):
        precision_of(four | {"block_size": 48})
    with pytest.raises(ValueError, match="nf4 has no ONNX form"):
        precision_of({"method": "nf4"})


@KINDS
def test_parameters_read_from_the_folder_are_all_of_the_models(kind: str, tiny_model: Callable[..., Any],
                                                               uneven_cut: Callable[[Any], Any],
                                                               tiny_folder: Callable[..., Path]) -> None:
    model = uneven_cut(tiny_model(kind, **CALM))
    weights = read_model(tiny_folder(model))
    assert weights.parameters == count_parameters(model)
    assert [(x.heads, x.ffn_in.bias.size) for x in weights.encoder.layers] == [(1, 24), (3, 40)]


@pytest.mark.parametrize(("changes", "message"), [
    ({"model_type": "roberta"}, "model_type='roberta' can't be exported; supported: bert, distilbert"),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' can't be exported"),
])
def test_folder_that_can_not_be_exported_says_why(changes: dict[str, str], message: str,
                                                  tiny_folder: Callable[..., Path]) -> None:
    import json

    folder = tiny_folder("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=message):
        read_model(folder)


def task_model(kind: str, head: str, **changes: Any) -> Any:
    """A tiny question-answering or masked-language model with random biases."""
    import transformers

    names = {"distilbert": "DistilBert", "bert": "Bert"}
    common = {"vocab_size": 90, "max_position_embeddings": 64, "pad_token_id": 0, **CALM}
    shape = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64} if kind == "distilbert" else \
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    torch.manual_seed(0)
    config = getattr(transformers, names[kind] + "Config")(**common | shape | changes)
    model = getattr(transformers, f"{names[kind]}For{head}")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


@KINDS
@pytest.mark.parametrize("token_types", [False, True])
def test_spans_equal_pytorch(kind: str, token_types: bool, tmp_path: Path) -> None:
    model = task_model(kind, "QuestionAnswering")
    engine = session(exported(saved(model, tmp_path), Float32(), token_types))
    assert [o.name for o in engine.get_outputs()] == ["start_logits", "end_logits"]
    for shape in SHAPES:
        feed = batch(shape)
        wanted = {i.name: feed[i.name] for i in engine.get_inputs()}
        with torch.inference_mode():
            expected = model(**{k: torch.from_numpy(v) for k, v in wanted.items()})
        start, end = engine.run(None, wanted)
        real = feed["attention_mask"].astype(bool)
        assert start.shape == end.shape == shape
        np.testing.assert_allclose(start[real], expected.start_logits.numpy()[real], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(end[real], expected.end_logits.numpy()[real], atol=1e-5, rtol=1e-5)


@KINDS
@pytest.mark.parametrize("precision", [Float32(), DynamicInt8(True, NATIVE), DynamicInt8(True, "u8"),
                                       DynamicInt8(False, "u8"), Blocks4Bit(True, 32, 0)])
def test_the_vocabulary_head_is_tied_and_answers_as_pytorch(kind: str, precision: Precision, tmp_path: Path) -> None:
    model = task_model(kind, "MaskedLM")
    written = exported(saved(model, tmp_path), precision)
    feed = {k: v for k, v in batch((3, 17)).items() if k != "token_type_ids"}
    with torch.inference_mode():
        expected = model(**{k: torch.from_numpy(v) for k, v in feed.items()}).logits.numpy()
    found = session(written).run(["logits"], feed)[0]
    real = feed["attention_mask"].astype(bool)
    if isinstance(precision, Float32):
        np.testing.assert_allclose(found[real], expected[real], atol=1e-5, rtol=1e-5)
    else:
        error, spread = found[real] - expected[real], expected[real] - expected[real].mean(-1, keepdims=True)
        assert 0 < np.sqrt(np.mean(error**2) / np.mean(spread**2)) < (0.5 if isinstance(precision, Blocks4Bit) else 0.1)
    if not isinstance(precision, Blocks4Bit):
        # 90 × 32 numbers appear once: the decoder is the word table.
        assert sum(list(t.dims) in ([90, 32], [32, 90]) for t in written.graph.initializer) == 1


def test_an_untied_decoder_is_the_users_error(tmp_path: Path) -> None:
    model = task_model("distilbert", "MaskedLM", tie_word_embeddings=False)
    with pytest.raises(UserError, match="decoder is not tied to the word table"):
        exported(saved(model, tmp_path), Float32())


@KINDS
@pytest.mark.parametrize("precision", [Float32(), DynamicInt8(True, NATIVE)])
def test_without_padding_one_text_gets_the_same_answer(kind: str, precision: Precision,
                                                       tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder(kind))
    masked, bare = (session(write_graph(weights, precision, padding=p)) for p in (True, False))
    assert [i.name for i in bare.get_inputs()] == ["input_ids"]
    for length in (2, 17, 64):
        ids = batch((1, length))["input_ids"]
        expected = masked.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
        np.testing.assert_allclose(bare.run(None, {"input_ids": ids})[0], expected, atol=1e-5)


@KINDS
@pytest.mark.parametrize("weights", [pytest.param("s8", marks=pytest.mark.skipif(
    saturates_int8(), reason="x86 without VNNI saturates")), "s8_7bit", "u8"])
def test_the_device_chooses_the_form_of_the_weights(kind: str, weights: str, tiny_model: Callable[..., Any],
                                                    tiny_folder: Callable[..., Path]) -> None:
    model = tiny_model(kind, **CALM)
    written = exported(tiny_folder(model), DynamicInt8(True, weights))
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in written.graph.initializer}
    matrix = arrays["layer0.ffn_in.weight"]
    assert matrix.dtype == (np.uint8 if weights == "u8" else np.int8)
    centred = matrix.astype(int) - (128 if weights == "u8" else 0)
    assert np.abs(centred).max() == (63 if weights == "s8_7bit" else 127)
    assert rms_ratio(model, session(written)) < 0.1


def test_another_form_of_weights_is_an_error() -> None:
    with pytest.raises(ValueError, match="weights='s4' is none of s8, s8_7bit, u8"):
        DynamicInt8(True, "s4")


@KINDS
def test_weights_beside_the_graph_load_to_the_same_answers(kind: str, tmp_path: Path,
                                                           tiny_folder: Callable[..., Path]) -> None:
    model = exported(tiny_folder(kind), DynamicInt8(True, NATIVE))
    feed = {k: v for k, v in batch((2, 9)).items() if k != "token_type_ids"}
    expected = session(model).run(None, feed)[0]
    inside = len(model.SerializeToString())
    save(model, tmp_path / "model.onnx")
    assert data_file(tmp_path / "model.onnx").name == "model.onnx.data"
    assert (tmp_path / "model.onnx").stat().st_size < inside / 2
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    engine = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(engine.run(None, feed)[0], expected)


@KINDS
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_standard_operators_compute_the_same(kind: str, activation: str, tiny_model: Callable[..., Any],
                                             tiny_folder: Callable[..., Path]) -> None:
    model = tiny_model(kind, **{"activation" if kind == "distilbert" else "hidden_act": activation}, **CALM)
    weights = read_model(tiny_folder(model))
    plain = write_graph(weights, Float32(), standard=True)
    assert {node.domain for node in plain.graph.node} == {""}
    for shape in SHAPES:
        feed = {k: v for k, v in batch(shape).items() if k != "token_type_ids"}
        ours = session(write_graph(weights, Float32())).run(None, feed)[0]
        np.testing.assert_allclose(session(plain).run(None, feed)[0], ours, atol=1e-5)


@KINDS
@pytest.mark.parametrize("uneven", [False, True])
def test_the_graph_answers_as_pytorchs_exporter(kind: str, uneven: bool, tiny_model: Callable[..., Any], tmp_path: Path,
                                                tiny_folder: Callable[..., Path], sentence_ids: list[list[int]],
                                                uneven_cut: Callable[[Any], Any]) -> None:
    model = uneven_cut(tiny_model(kind, **CALM)) if uneven else tiny_model(kind, **CALM)
    folder = tiny_folder(model)
    write_reference(model, folder, sentence_ids, [[0] * len(row) for row in sentence_ids], seed=0)
    export_standard(folder, tmp_path / "oracle.onnx", token_types=False)
    oracle = onnxruntime.InferenceSession(str(tmp_path / "oracle.onnx"), providers=["CPUExecutionProvider"])
    ours = session(write_graph(read_model(folder), Float32()))
    for shape in SHAPES:
        feed = {k: v for k, v in batch(shape).items() if k != "token_type_ids"}
        np.testing.assert_allclose(ours.run(None, feed)[0], oracle.run(None, feed)[0], atol=1e-5, rtol=1e-5)
