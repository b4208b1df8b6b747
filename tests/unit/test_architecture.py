"""The arrows between packages, what must stay light, and the house rules, read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "edgedistil"
FILES = sorted(SOURCE.rglob("*.py"))
ENTRIES = [ROOT / name for name in ("train.py", "compress.py", "bench.py")]

# Each package may import itself and what stands here; nothing of the same rank. No wider than what is used today.
ALLOWED = {
    "credentials": set(),
    "errors": {"credentials"},
    "telemetry": set(),
    "config": {"errors", "credentials"},
    "store": {"errors"},
    "devices": {"errors"},
    "tasks": {"errors", "config", "store"},
    "models": {"errors", "config", "store"},
    "learning": {"errors", "models"},
    "export": {"errors", "models"},
    "workers": {"errors", "devices", "tasks", "models"},
    "measurement": {"errors", "tasks"},
    "compression": {"errors", "models", "export", "measurement"},
    "reporting": {"errors", "credentials", "config", "store", "measurement"},
    "shipping": {"errors", "credentials", "config", "store", "tasks", "models", "workers", "reporting"},
    "peers": {"errors", "telemetry", "store", "tasks", "models", "learning", "export", "workers"},
}
# Highest: they may import everything.
TOP = {"stages", "commands", "__main__", "__init__"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, as an absolute dotted name."""
    package = ["edgedistil", *path.relative_to(SOURCE).parts[:-1]] if path.is_relative_to(SOURCE) else []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def ours(path: Path) -> set[str]:
    """Our packages that a file imports, without its own."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith("edgedistil.")}
    return found - {package_of(path)}


def test_the_reader_of_imports_sees_all_forms() -> None:
    assert ours(SOURCE / "workers" / "torch.py") >= {"models", "tasks"}
    assert "config" in ours(SOURCE / "stages" / "job.py")
    assert "errors" in ours(SOURCE / "tasks" / "generated.py")
    assert set(ours(SOURCE / "models" / "origin.py")) == {"config", "errors", "store"}


def test_every_package_has_a_rank() -> None:
    assert {package_of(path) for path in FILES} - TOP == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_downwards(package: str) -> None:
    for path in FILES:
        if package_of(path) != package:
            continue
        name = str(path.relative_to(SOURCE))
        wrong = ours(path) - ALLOWED[package]
        assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("package", ["config", "store", "devices", "reporting"])
def test_light_packages_never_import_the_heavy_libraries(package: str) -> None:
    heavy = {"torch", "transformers", "lightning", "onnxruntime", "onnx"}
    for path in FILES:
        if package_of(path) == package:
            found = {name.split(".")[0] for name in imports(path)} & heavy
            assert not found, f"{path.relative_to(SOURCE)} imports {', '.join(found)}"


def test_modules_that_plan_and_serve_load_without_torch() -> None:
    modules = ("workers.onnx", "stages.chain", "stages.job", "stages.bench", "stages.corpus", "tasks.corpus_build",
               "tasks.texts", "export.graph", "export.parity", "shipping.predictor", "shipping.product",
               "shipping.publishable", "shipping.hub")
    program = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module("edgedistil." + name)
    print(name, *sorted({{"torch", "transformers", "lightning"}} & set(sys.modules)), sep=",")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(modules)


def test_the_worker_that_ships_loads_the_standard_library_only_until_it_is_asked() -> None:
    program = ("import sys; before = set(sys.modules); import edgedistil.workers.onnx; "
               "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["edgedistil"]


def test_nothing_but_the_stages_knows_the_peers() -> None:
    for path in FILES:
        assert package_of(path) in ("peers", "stages") or "peers" not in ours(path), path


@pytest.mark.parametrize("path", ENTRIES, ids=lambda p: p.name)
def test_entry_scripts_are_short_and_import_one_module_of_ours(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40
    assert {n.rsplit(".", 1)[0] for n in imports(path) if n.startswith("edgedistil")} == {"edgedistil.stages.app"}


def test_no_source_file_is_over_300_lines() -> None:
    long = {str(p.relative_to(SOURCE)): n for p in FILES if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_hydra_instantiates_behind_one_door() -> None:
    doors = [str(p.relative_to(SOURCE)) for p in FILES if "hydra.utils.instantiate" in set(imports(p))]
    assert doors == ["config/build.py"]
    for path in FILES:
        attributes = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        assert "instantiate" not in attributes, path


def calls(path: Path) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """(dotted name, keywords) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: k.value for k in node.keywords if k.arg}


def test_pickles_are_never_loaded() -> None:
    loads = 0
    for path in FILES:
        assert not {"pickle", "joblib", "dill"} & {name.split(".")[0] for name in imports(path)}, path
        for name, keywords in calls(path):
            if name == "torch.load":
                loads += 1
                assert ast.unparse(keywords.get("weights_only", ast.Constant(None))) == "True", path
            if name.endswith(".from_pretrained"):
                allowed = keywords.get("trust_remote_code")
                assert allowed is None or ast.unparse(allowed) == "False", path
    assert loads >= 1


# They load folders that this project or the user has on this machine.
LOCAL_LOADS = {"models/shrunken.py", "peers/training.py", "peers/optimum.py", "peers/optimum_convert.py"}


def test_what_the_hub_gives_is_pinned() -> None:
    pinned, local = set(), set()
    for path in FILES:
        name = str(path.relative_to(SOURCE))
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith(".from_pretrained"):
                continue
            # Its argument is a table of numbers.
            if ast.unparse(node.func) == "nn.Embedding.from_pretrained":
                continue
            # Other keywords come from models.loading.hub_arguments alone.
            given = {keyword.arg for keyword in node.keywords}
            (pinned if given & {"revision", None} else local).add(name)
    assert pinned >= {"models/loading.py", "models/masked_lm.py", "stages/adopt.py"}
    assert local == LOCAL_LOADS


def test_nothing_goes_through_a_shell_or_eval() -> None:
    for path in FILES:
        for name, keywords in calls(path):
            assert name not in ("eval", "exec", "os.system", "os.popen"), path
            assert "shell" not in keywords, path
