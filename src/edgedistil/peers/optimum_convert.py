"""What Optimum makes of a model folder, at its usual settings.

Run as ``python -m edgedistil.peers.optimum_convert SOURCE TARGET [reduce_range]`` by the interpreter of Optimum's
environment; the last line of its output is JSON: the names of the inputs.
"""

import json
import sys
import tempfile
from pathlib import Path


def main(source: str, target: str, *flags: str) -> None:
    """Export with Optimum's exporter, quantise dynamically with its AVX512-VNNI configuration, save to ``target``."""
    from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    with tempfile.TemporaryDirectory() as scratch:
        model = ORTModelForSequenceClassification.from_pretrained(source, export=True, trust_remote_code=False)
        model.save_pretrained(scratch)
        quantizer = ORTQuantizer.from_pretrained(scratch, file_name="model.onnx")
        settings = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        # An x86 processor without VNNI adds 8-bit products up in 16 bits: 7-bit weights don't overflow there.
        settings.reduce_range = "reduce_range" in flags
        quantizer.quantize(save_dir=target, quantization_config=settings)
        inputs = sorted(model.input_names)
    if not (Path(target) / "model_quantized.onnx").is_file():
        raise SystemExit(f"Optimum wrote no model_quantized.onnx into {target}")
    print(json.dumps({"inputs": inputs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
