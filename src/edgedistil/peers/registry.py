"""The engines that our ONNX graphs are compared with: what runs each, what it needs, how it is set up."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import UserError

OPTIMUM_VARIABLE = "EDGEDISTIL_OPTIMUM_PYTHON"
_CHECKOUT = Path(__file__).resolve().parents[3]
_INSTALL = "make install-peers"


@dataclass(frozen=True)
class Peer:
    """One engine at one precision.

    ``packages`` are distributions: they must be installed, and their versions belong into a fingerprint of what the
    peer computed. ``session`` is the text that a table shows. ``own_environment`` marks the peer that runs on the
    interpreter of the Optimum environment; ``compiler`` one that needs a C++ compiler when it loads.
    """

    worker: str
    precision: str
    packages: tuple[str, ...]
    session: str
    own_environment: bool = False
    compiler: bool = False


_OPENVINO = "PERFORMANCE_HINT=LATENCY, NUM_STREAMS=1, INFERENCE_NUM_THREADS=threads, dynamic shapes"
_TORCH = ("torch", "transformers")
PEERS: dict[str, Peer] = {
    "openvino_fp32": Peer(
        "edgedistil.peers.openvino",
        "fp32",
        ("openvino", "torch", "transformers", "onnx"),
        f"{_OPENVINO}, INFERENCE_PRECISION_HINT=f32; graph of PyTorch's exporter",
    ),
    "openvino_int8": Peer(
        "edgedistil.peers.openvino",
        "int8_static",
        ("openvino", "nncf", "torch", "transformers", "onnx"),
        f"{_OPENVINO}; NNCF post-training quantisation (TRANSFORMER, MIXED) of the exporter's graph",
    ),
    "openvino_int8_trimmed": Peer(
        "edgedistil.peers.openvino",
        "int8_static",
        ("openvino", "nncf", "onnx"),
        f"{_OPENVINO}; NNCF post-training quantisation (TRANSFORMER, MIXED) of our graph, whose last layer computes "
        "the first token only",
    ),
    "ctranslate2_int8": Peer(
        "edgedistil.peers.ctranslate2",
        "int8_dynamic",
        ("ctranslate2", "torch", "transformers"),
        "Encoder, compute_type=int8, intra_threads=threads, inter_threads=1; classification head in NumPy",
    ),
    "optimum_int8": Peer(
        "edgedistil.peers.optimum",
        "int8_dynamic",
        ("optimum", "optimum-onnx", "onnxruntime", "torch", "transformers"),
        "ORTModelForSequenceClassification, intra_op_num_threads=threads; avx512_vnni(is_static=False, "
        "per_channel=True)",
        own_environment=True,
    ),
    "onnxruntime_int8_recipe": Peer(
        "edgedistil.workers.onnx",
        "int8_dynamic",
        ("onnxruntime", "onnx", "torch", "transformers"),
        "intra_op_num_threads=threads; quantize_dynamic(per_channel, QInt8) of the exporter's graph",
    ),
    "torch_dynamic_int8": Peer(
        "edgedistil.peers.torch_dynamic",
        "int8_dynamic",
        _TORCH,
        "torch.ao.quantization.quantize_dynamic(Linear, qint8), inference_mode",
    ),
    "torch_compile": Peer(
        "edgedistil.peers.torch_compile",
        "fp32",
        _TORCH,
        "torch.compile(inductor), dynamic sequence length, no_grad",
        compiler=True,
    ),
}


def peer(name: str) -> Peer:
    """The table's row.

    Raises:
        UserError: no such peer.
    """
    if name not in PEERS:
        raise UserError(f"peer {name!r} is unknown; allowed: {', '.join(PEERS)}")
    return PEERS[name]


def optimum_python() -> Path:
    """The interpreter of Optimum's environment, whether it exists or not.

    optimum-onnx holds transformers below 5, so it can't share ours. ``EDGEDISTIL_OPTIMUM_PYTHON`` names another one
    than the checkout's ``.venv-optimum``.
    """
    return Path(os.environ.get(OPTIMUM_VARIABLE) or _CHECKOUT / ".venv-optimum" / "bin" / "python")


def interpreter(name: str) -> str | None:
    """The Python that the peer's worker runs on; None for this one."""
    return str(optimum_python()) if peer(name).own_environment else None


def missing(name: str) -> str | None:
    """One line that says what is not there and how to get it, or None. Imports none of the engines."""
    wanted = peer(name)
    if wanted.own_environment:
        python = optimum_python()
        if not python.is_file():
            return f"{name} needs an environment of its own, and {str(python)!r} is not there: {_INSTALL}"
        lacking = [package for package, version in versions(name).items() if version is None]
        if lacking:
            return f"{name} needs {', '.join(lacking)} in the environment of {str(python)!r}: {_INSTALL}"
        return None
    lacking = [package for package in wanted.packages if find_spec(package) is None]
    if lacking:
        return f"{name} needs {', '.join(lacking)}: {_INSTALL} (or pip install 'edgedistil[peers]')"
    if wanted.compiler and compiler() is None:
        return f"{name} needs a C++ compiler: install g++ or clang++, or name one in CXX"
    return None


def compiler() -> str | None:
    """The C++ compiler that inductor would call, or None."""
    return next((found for c in (os.environ.get("CXX"), "g++", "clang++") if c and (found := shutil.which(c))), None)


def versions(name: str) -> dict[str, str | None]:
    """Versions of the peer's packages in the environment that it runs in; None for what is not installed."""
    wanted = peer(name)
    return dict(_versions(interpreter(name) or sys.executable, wanted.packages))


@cache
def _versions(python: str, packages: tuple[str, ...]) -> dict[str, str | None]:
    program = (
        "import json, sys\n"
        "from importlib.metadata import PackageNotFoundError, version\n"
        "def find(name):\n"
        "    try: return version(name)\n"
        "    except PackageNotFoundError: return None\n"
        "print(json.dumps({name: find(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run([python, "-I", "-c", program, *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{python!r} can't be run: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    found: dict[str, str | None] = json.loads(done.stdout)
    return found
