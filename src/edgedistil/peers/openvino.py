"""The OpenVINO worker: ``model.xml`` on the CPU plugin, tuned for the latency of one request.

Run as ``python -m edgedistil.peers.openvino``.
"""

import time

STARTED_NS = time.monotonic_ns()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.peers.engine import PeerEngine  # noqa: E402
from edgedistil.telemetry import no_reports  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402


class OpenVinoEngine(PeerEngine):
    """One stream, dynamic shapes. A float model is held to float32; a quantised one keeps the plugin's own choice."""

    weights = "model.bin"

    def bring(self) -> None:
        with no_reports():
            import openvino

        self._openvino = openvino

    def open(self, folder: Path, request: dict[str, Any]) -> None:
        core = self._openvino.Core()
        model = core.read_model(folder / "model.xml")
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": request["threads"],
        }
        if not any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
            # Where the processor has bfloat16 the plugin would use it, and the row would no longer be FP32.
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        self._inputs = [port.get_any_name() for port in model.inputs]
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()

    def feed(self, ids: Any, mask: Any, types: Any) -> Any:
        everything = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: everything[name] for name in self._inputs}

    def run(self, packed: Any) -> Any:
        # The inputs are shared, not copied; the output is a copy, which the next call does not overwrite.
        return self._request.infer(packed, share_inputs=True)[0]


if __name__ == "__main__":
    serve(OpenVinoEngine(), STARTED_NS)
