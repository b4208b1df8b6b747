"""What phones, GPUs and workers say, put into their words and read back; what a worker answers to any object."""

import csv
import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.target import REFUSED, answered
from tests.fuzz.worker_targets import SmallEngine, Told
from tests.unit.test_properties import TREES

from edgedistil.devices import cuda, phone
from edgedistil.workers.loop import Conversation

# What stands on one line of a terminal.
PRINTED = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)
NAMES = st.text("abcdefgh.-_0", min_size=1, max_size=12)


@given(st.dictionaries(NAMES, PRINTED.map(lambda text: f"a {text} b")))
def test_properties_are_those_that_getprop_prints(properties: dict[str, str]) -> None:
    printed = "".join(f"[{key}]: [{value}]\r\n" for key, value in properties.items())
    assert phone.parse_properties(printed) == properties


@given(st.dictionaries(st.integers(0, 999), st.tuples(st.none() | st.integers(1, 10**7), st.none() | NAMES)))
def test_cores_are_read_with_what_a_phone_denies(cores: dict[int, tuple[int | None, str | None]]) -> None:
    told = "".join(f"{core} {khz or '-'} {name or '-'}\n" for core, (khz, name) in cores.items())
    expected = [(core, khz, None if name == "-" else name) for core, (khz, name) in sorted(cores.items())]
    assert phone.parse_cores(told) == expected
    known = {str(core): khz for core, (khz, _) in cores.items()}
    big = phone.big_cores(known)
    if big is None:
        assert not cores or None in known.values()
    else:
        fastest, slowest = max(khz or 0 for khz in known.values()), min(khz or 0 for khz in known.values())
        assert max(known[str(core)] or 0 for core in big) == fastest
        assert all((known[str(core)] or 0) > slowest for core in big) or fastest == slowest


@given(st.sets(st.integers(0, 1023), min_size=1, max_size=40), st.booleans())
def test_a_list_of_cores_is_read_as_it_is_written(cores: set[int], ranges: bool) -> None:
    ordered = sorted(cores)
    runs: list[list[int]] = []
    for core in ordered:
        if ranges and runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    text = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f" {run[0]}" for run in runs)
    assert phone.listed_cores(text) == ordered


@given(st.integers(0, 6), st.integers(0, 100), st.integers(-200, 900), st.booleans(), st.booleans())
def test_the_state_of_a_phone_is_read(status: int, level: int, tenths: int, usb: bool, saver: bool) -> None:
    told = (
        f"Thermal Status: {status}\n  AC powered: false\n  USB powered: {str(usb).lower()}\n  level: {level}\n"
        f"  temperature: {tenths}\nlow_power: {int(saver)}\nload: 1.25 2 3 4/5 6\n"
    )
    assert phone.parse_state(told) == {
        "thermal_status": status, "battery_percent": level, "battery_celsius": tenths / 10, "powered": usb,
        "battery_saver": saver, "load_average": 1.25,
    }  # fmt: skip


@given(st.lists(st.tuples(PRINTED.filter(bool), st.floats(0, 1e6), st.none() | st.integers(0, 10**6)), max_size=4))
def test_lines_of_nvidia_smi_are_read_with_what_is_not_told(gpus: list[tuple[str, float, int | None]]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for name, power, mib in gpus:
        writer.writerow([f"NVIDIA {name}", repr(power), "[N/A]" if mib is None else mib])
    wanted = {"name": ("name", str), "power_w": ("power.draw", float), "memory_mb": ("memory.total", "mib"),
              "old": ("gone", str)}  # fmt: skip
    assert cuda.parse(stream.getvalue().split("\n"), wanted, ["name", "power.draw", "memory.total"]) == [
        {"name": f"NVIDIA {name}", "power_w": power, "old": None,
         "memory_mb": None if mib is None else round(mib * 1024 * 1024 / 1e6)} for name, power, mib in gpus
    ]  # fmt: skip


@given(st.integers(0, 2**63))
def test_reasons_of_a_throttled_gpu_lose_no_bit(mask: int) -> None:
    words = {words: bit for bit, words in cuda._REASONS.items()}
    found = cuda.throttle_reasons(f"0x{mask:016x}")
    assert found is not None
    assert sum(words[word] if word in words else int(word, 16) for word in found) == mask


@settings(max_examples=40)
@given(st.dictionaries(st.text(), TREES))
def test_an_answer_comes_as_it_was_given_and_an_error_is_an_error(answer: dict[str, Any]) -> None:
    told = Told(json.dumps(answer).encode() + b"\n")
    try:
        found = answered(lambda: told.ask("usage"), "told worker")
    finally:
        told.__exit__(None, None, None)
    assert found is REFUSED if "error" in answer else found == answer


@given(st.lists(st.lists(st.integers(0, 10**6), max_size=5), max_size=4))
def test_a_worker_answers_what_its_engine_says(ids: list[list[int]]) -> None:
    talk = Conversation(SmallEngine(), 0)  # type: ignore[arg-type]
    request = {"op": "predict", "ids": ids, "types": [[0] * len(row) for row in ids]}
    said = talk.reply(json.dumps(request).encode())
    assert json.loads(said or "") == {"logits": [[float(sum(row))] for row in ids]}
    assert talk.reply(b'{"op": "exit"}\n') is None
