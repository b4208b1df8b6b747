"""ONNX on disk: the graph in one file, its weights in another that ONNX Runtime maps instead of reading.

A mapped file is never held in memory twice: for INT8 DistilBERT that is 100 ms less cold start and 36 MiB less peak
memory than one file with everything inside (docs/log.md).
"""

from pathlib import Path

import onnx

# Smaller tensors stay in the graph: shapes and scalars are read while the session is built.
_INSIDE_BYTES = 1024


def data_file(model_file: Path) -> Path:
    """Where the weights of ``model_file`` lie."""
    return model_file.with_name(model_file.name + ".data")


def save(model: onnx.ModelProto, model_file: Path) -> None:
    """Write ``model_file`` and :func:`data_file`; empties the tensors of ``model``. What was there is replaced."""
    # onnx would append to the weights that lie there.
    data_file(model_file).unlink(missing_ok=True)
    onnx.save(
        model,
        model_file,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data_file(model_file).name,
        size_threshold=_INSIDE_BYTES,
    )
    # onnx makes it readable for its owner alone, whatever the umask.
    data_file(model_file).chmod(model_file.stat().st_mode)
