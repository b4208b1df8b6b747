"""The native runner's own reader and writer of JSON, with the compiler's checks of memory and arithmetic on, beside
Python's: odd requests by the thousand, each refused with a word, or read as Python reads it."""

import json
import math
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.mutation import odd_bytes, odd_json
from tests.fuzz.worker_targets import requests

pytestmark = [pytest.mark.long, pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")]
SOURCE = Path(__file__).resolve().parents[2] / "mobile" / "src"
INPUTS = 20_000
# Each input after its length in 4 bytes, so that line ends may be in it.
DRIVER = """
#include <cstdint>
#include <iostream>
#include "json.hpp"
int main() {
  for (std::uint32_t length; std::cin.read(reinterpret_cast<char*>(&length), 4);) {
    std::string text(length, 0);
    std::cin.read(text.data(), length);
    try {
      const std::string line = edgedistil::json::parse(text).line();
      if (edgedistil::json::parse(line).line() != line) return 3;
      std::cout << "read " << line << '\\n';
    } catch (const edgedistil::json::Malformed& error) {
      std::cout << "refused " << error.what() << '\\n';
    }
  }
}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    (folder / "driver.cpp").write_text(DRIVER)
    sources = [folder / "driver.cpp", SOURCE / "json_read.cpp", SOURCE / "json_write.cpp"]
    options = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g", "-std=c++17", f"-I{SOURCE}"]
    subprocess.run(["g++", *options, *map(str, sources), "-o", str(folder / "reader")], check=True)
    return folder / "reader"


def pythons(data: bytes) -> Any:
    """What Python reads, strictly; None where it refuses."""
    try:
        return [json.loads(data.decode("utf-8"), parse_constant=lambda text: 1 / 0)]
    except (ValueError, ZeroDivisionError, RecursionError):
        return None


def same(one: Any, other: Any) -> bool:
    """Equal, whole numbers beyond 64 bits as the nearest double."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, int) and not isinstance(one, bool) and abs(one) >= 2**63:
        return isinstance(other, float | int) and math.isclose(one, other, rel_tol=1e-15)
    return type(one) is type(other) and one == other


def test_odd_requests_are_refused_or_read_as_python_reads_them(reader: Path) -> None:
    inputs = list(requests())
    for number in range(INPUTS):
        chance = random.Random(number)
        data = chance.choice(inputs[:11])
        for _ in range(chance.choice((1, 1, 2, 3))):
            data = (odd_json if chance.random() < 0.7 else odd_bytes)(chance, data)
        inputs.append(data)
    told = b"".join(len(data).to_bytes(4, "little") + data for data in inputs)
    done = subprocess.run([str(reader)], input=told, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    said = done.stdout.decode().split("\n")[:-1]
    assert len(said) == len(inputs)
    read = 0
    for data, line in zip(inputs, said, strict=True):
        known = pythons(data)
        if line.startswith("read "):
            read += 1
            assert known is not None, (data, line)
            assert same(known[0], json.loads(line.removeprefix("read "))), (data, line)
        elif known is not None:
            # What it is stricter in than Python is.
            stricter = ("comes twice", "lone surrogate", "too large", "64 levels")
            assert any(why in line for why in stricter), (data, line)
    assert 0.1 * INPUTS < read < INPUTS
