"""Bad input of every kind, in one table: each case is answered as :mod:`bad_input` promises, and leaves nothing.

In CI a sixth of the cases runs in forks of a warmed-up process, and a sample of them as real processes; the others, and
all of them as real processes, are ``long``: ``make bad-input-test``, which prints the counts.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_input import Case, Place, broken_promises, environment, listing
from bad_input_files import files, save_onnx
from bad_input_options import OPTIONS
from warm_runner import WarmRunner

CASES = {f"{case.kind}: {case.name}": case for case in [*OPTIONS, *files()]}


def _every(number: int) -> list[str]:
    """Every so many-th case of each kind."""
    kinds = dict.fromkeys(case.kind for case in CASES.values())
    return [name for kind in kinds for name in [n for n, c in CASES.items() if c.kind == kind][::number]]


SAMPLE = _every(40)
# The others are long.
IN_CI = set(_every(6))
# Importing PyTorch and transformers alone takes a process of a step some seconds.
LIMIT_S_COLD = 25.0


@pytest.fixture(scope="session")
def places(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny model folders by name; ``onnx`` has a graph for ``predict``."""
    folder = tmp_path_factory.mktemp("bad") / "onnx"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((models["bert"] / name).read_bytes())
    save_onnx(folder / "model.onnx")
    return {**models, "onnx": folder}


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmRunner]:
    import os

    with WarmRunner(tmp_path_factory.mktemp("warm"), dict(os.environ) | {"OMP_NUM_THREADS": "1"}) as runner:
        yield runner


def _answered(case: Case, models: dict[str, Path], scratch: Path, ask: Any, limit_s: float) -> list[str]:
    place = Place(scratch / "here", models)
    place.here.mkdir()
    (scratch / "tmp").mkdir()
    if case.make:
        case.make(place)
    before = listing(place.here)
    command = [case.filled(word, place) for word in case.command]
    answer = ask(command, place.here, environment(case, place, scratch))
    wrong = broken_promises(case, answer, place, scratch, before, limit_s)
    return [*wrong, f"it said: {answer[1][-600:]}{answer[2][-1500:]}"] if wrong else []


def _alone(command: list[str], cwd: Path, variables: dict[str, str]) -> tuple[int, str, str, float]:
    import os

    repository = Path(__file__).resolve().parents[2]
    program = [str(repository / word) if word in ("train.py", "compress.py", "bench.py") else word for word in command]
    started = os.times()
    done = subprocess.run([sys.executable, *program], cwd=cwd, env=variables, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=120)
    ended = os.times()
    cpu_s = ended.children_user + ended.children_system - started.children_user - started.children_system
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), cpu_s


def test_there_are_enough_cases_of_every_kind() -> None:
    kinds = Counter(case.kind for case in CASES.values())
    assert sum(kinds.values()) >= 150
    assert min(kinds.values()) >= 15
    assert {CASES[name].kind for name in SAMPLE} == set(kinds)
    assert {CASES[name].kind for name in IN_CI} == set(kinds)


@pytest.mark.parametrize("name", [n if n in IN_CI else pytest.param(n, marks=pytest.mark.long) for n in CASES])
def test_answered_as_promised(name: str, warm: WarmRunner, places: dict[str, Path], tmp_path: Path) -> None:
    wrong = _answered(CASES[name], places, tmp_path, warm.answer, 5.0)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_as_real_processes(name: str, places: dict[str, Path], tmp_path: Path) -> None:
    wrong = _answered(CASES[name], places, tmp_path, _alone, LIMIT_S_COLD)
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_as_real_processes(places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tried, kept, broken = Counter[str](), Counter[str](), []
    for number, (name, case) in enumerate(CASES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        wrong = _answered(case, places, folder, _alone, LIMIT_S_COLD)
        tried[case.kind] += 1
        kept[case.kind] += not wrong
        broken += [f"{name}: {' | '.join(wrong)}"] if wrong else []
    with capsys.disabled():
        print()
        for kind in tried:
            print(f"{kind:14} {tried[kind]:4} tried  {kept[kind]:4} answered as promised")
        print(f"{'all':14} {sum(tried.values()):4} tried  {sum(kept.values()):4} answered as promised")
    assert not broken, "\n".join(broken)


def test_a_traceback_for_those_who_ask(warm: WarmRunner, places: dict[str, Path], tmp_path: Path) -> None:
    case = Case("typo", "", ("train.py", "seeed=3"), (), variables={"HYDRA_FULL_ERROR": "1"})
    place = Place(tmp_path, places)
    code, _, err, _ = warm.answer(list(case.command), tmp_path, environment(case, place, tmp_path))
    assert code
    assert re.search(r"^Traceback", err, re.M)
