"""Which of a teacher's layers a student keeps."""

from typing import Any

from ..errors import UserError
from .depth import check_layers


def spread(depth: int, teacher_layers: int) -> list[int]:
    """``depth`` of the teacher's layers, evenly spread from the first to the last, halves rounded up.

    For 6 of 12 this gives 0, 2, 4, 7, 9, 11: the list that the original names (``extract_distilbert.py``), and not
    every second layer.
    """
    if depth == 1:
        return [0]
    return [int(i * (teacher_layers - 1) / (depth - 1) + 0.5) for i in range(depth)]


def choose_layers(student: dict[str, Any], teacher_layers: int) -> list[int]:
    """The teacher's layers that the validated ``student`` group names; half of them if it names none.

    Raises:
        UserError: a layer that the teacher does not have, or a student deeper than the teacher.
    """
    layers, depth = student["layers"], student["depth"]
    if layers is not None:
        check_layers(layers, teacher_layers, "student.layers", "the teacher")
        return list(layers)
    depth = max(1, teacher_layers // 2) if depth is None else depth
    if depth > teacher_layers:
        raise UserError(f"student.depth={depth} is deeper than the teacher, which has {teacher_layers} layers")
    return spread(depth, teacher_layers)
