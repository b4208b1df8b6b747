"""Options of quantisation: what is off changes no name, what is said twice is one cell, what can't be is one line."""

from dataclasses import asdict
from typing import Any

import pytest

from edgedistil.config.quantization import (
    canonical_quantization,
    check_quantization,
    quantization_label,
    reads_texts,
)
from edgedistil.config.schemas import Quantization
from edgedistil.errors import UserError


def canonical(method: str, **options: Any) -> dict[str, Any]:
    return canonical_quantization(asdict(Quantization(method, **options)))


OLD = {
    "none": {}, "nf4": {}, "llm_int8": {},
    "int8_dynamic": {"embeddings": True, "weights": "auto", "max_rms": 0.0, "min_agreement": 0.0},
    "int8_static": {"embeddings": True, "weights": "auto", "calibration_sentences": 256, "slack": 0.25, "max_rms": 0.0,
                    "min_agreement": 0.0},
    "int4_ort": {"embeddings": True, "block_size": 32, "accuracy_level": 4, "max_rms": 0.0, "min_agreement": 0.0},
}


@pytest.mark.parametrize("method", OLD)
def test_what_was_there_before_keeps_its_name(method: str) -> None:
    assert canonical(method) == {"method": method} | OLD[method]
    off = {"exclude": [], "smooth": None, "max_drop": None, "sensitivity": False, "rounding": "nearest",
           "calibration": "least_error", "percentile": 99.0, "judged_sentences": 77}
    assert canonical(method, **off) == canonical(method)
    assert not reads_texts(canonical(method)) or method == "int8_static"


@pytest.mark.parametrize(("method", "said", "stored"), [
    ("int8_dynamic", "int8", True), ("int8_dynamic", "none", False), ("int8_static", "int8", True),
    ("int4_ort", "int4", True), ("int4_ort", "none", False), ("int4_ort", False, False),
    ("int8_dynamic", "int4", "int4"), ("int4_ort", "int8", "int8")])
def test_embeddings_have_one_name_each(method: str, said: Any, stored: Any) -> None:
    found = canonical(method, embeddings=said)
    assert found["embeddings"] is stored if isinstance(stored, bool) else found["embeddings"] == stored
    assert canonical_quantization(asdict(Quantization(**found))) == found


def test_only_the_method_that_reads_an_option_keeps_it() -> None:
    asked = {"calibration": "percentile", "percentile": 99.9, "smooth": 0.5, "rounding": "gptq",
             "exclude": ["head.*", "a", "a"], "max_drop": 0.5, "sensitivity": True}
    dynamic, static, four = (canonical(m, **asked) for m in ("int8_dynamic", "int8_static", "int4_ort"))
    new = {"smooth": 0.5, "exclude": ["a", "head.*"], "max_drop": 0.5, "judged_sentences": 256}
    assert dynamic == {"method": "int8_dynamic"} | OLD["int8_dynamic"] | new | {"calibration_sentences": 256}
    assert static == {"method": "int8_static"} | OLD["int8_static"] | new | {
        "calibration": "percentile", "percentile": 99.9}
    assert four == {"method": "int4_ort"} | OLD["int4_ort"] | {
        "exclude": ["a", "head.*"], "max_drop": 0.5, "judged_sentences": 256, "rounding": "gptq", "weights": "auto",
        "calibration_sentences": 256}
    assert canonical("nf4", **asked) == {"method": "nf4"}
    assert canonical("int8_dynamic", embeddings="int4", rounding="search")["rounding"] == "search"
    assert "percentile" not in canonical("int8_static", calibration="entropy")


@pytest.mark.parametrize(("options", "reads"), [
    ({"smooth": 0.5}, True), ({"max_drop": 1.0}, True), ({"sensitivity": True}, True), ({"exclude": ["a"]}, False),
    ({"embeddings": "int4"}, False)])
def test_texts_are_read_by_those_that_need_them(options: dict[str, Any], reads: bool) -> None:
    assert reads_texts(canonical("int8_dynamic", **options)) is reads


def test_gptq_reads_texts_and_other_roundings_do_not() -> None:
    assert [reads_texts(canonical("int4_ort", rounding=r)) for r in ("nearest", "search", "hqq", "gptq")] == [
        False, False, False, True]


@pytest.mark.parametrize(("method", "options", "label"), [
    ("int8_dynamic", {}, "INT8"), ("int8_dynamic", {"weights": "u8"}, "INT8 u8"),
    ("int8_dynamic", {"embeddings": "int4"}, "INT8, 4-bit table"),
    ("int8_dynamic", {"embeddings": "int4", "block_size": 64}, "INT8, 4-bit table, blocks of 64"),
    ("int4_ort", {"embeddings": "int8", "rounding": "hqq"}, "4-bit, 8-bit table, hqq"),
    ("int8_static", {"calibration": "percentile", "percentile": 99.9, "smooth": 0.5},
     "INT8 static, percentile 99.9, smoothed 0.5"),
    ("int8_dynamic", {"exclude": ["head.*"], "max_drop": 0.5}, "INT8, without head.*, at most 0.5 points lost")])
def test_label(method: str, options: dict[str, Any], label: str) -> None:
    assert quantization_label(canonical(method, **options)) == label


def plain(kind: str = "sequence_classification", **options: Any) -> dict[str, Any]:
    return {"task": {"kind": kind}, "compression": {"quantization": asdict(Quantization(**options))}}


@pytest.mark.parametrize(("config", "message"), [
    (plain(method="int8_dynamic", embeddings="int2"), "embeddings='int2' is unknown; allowed: int8, int4, none, true"),
    (plain(method="int8_dynamic", embeddings="int4", rounding="gptq"), "rounding=gptq is for products in 4 bits"),
    (plain("question_answering", method="int8_dynamic", max_drop=0.5), "max_drop reads texts with labels"),
    (plain("question_answering", method="int4_ort", rounding="gptq"), "rounding reads texts with labels")])
def test_what_can_not_be_is_one_line(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_quantization(config)


def test_configs_without_a_choice_pass() -> None:
    check_quantization({"task": {"kind": "sequence_classification"}})
    check_quantization(plain(method="int8_dynamic", embeddings="int4", rounding="search"))
    check_quantization(plain("question_answering", method="int8_dynamic"))


@pytest.mark.parametrize(
    ("engine", "kind", "asked", "method", "rounding"),
    [("onnxruntime", "cpu", "int8", "int8_dynamic", "nearest"), ("torch", "cuda", "int8", "llm_int8", "nearest"),
     ("onnxruntime", "cpu", "int4", "int4_ort", "nearest"), ("torch", "cuda", "int4", "nf4", "nearest"),
     ("onnxruntime", "android", "int4", "int4_ort", "asymmetric"),
     ("onnxruntime", "android", "int4_ort", "int4_ort", "nearest"),
     ("onnxruntime", "android", "fp16", "fp16", "nearest")],
)
def test_a_devices_own_precision(engine: str, kind: str, asked: str, method: str, rounding: str) -> None:
    from edgedistil.config.quantization import decide_method

    plain = {"device": {"engine": engine, "kind": kind},
             "compression": {"quantization": {"method": asked, "rounding": "nearest"}}}
    decide_method(plain)
    assert plain["compression"]["quantization"] == {"method": method, "rounding": rounding}
