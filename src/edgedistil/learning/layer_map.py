"""Which layer of the teacher each layer of the student learns from."""

from ..errors import UserError

Pair = tuple[int, int]


def layer_pairs(layer_map: list[list[int]] | None, student_depth: int, teacher_depth: int) -> list[Pair]:
    """(student, teacher) layers to be matched; layer 0 is the output of the embeddings, m that of the m-th layer.

    Args:
        layer_map: the pairs, or None for every layer of the student with g(m) = m · N / M of the teacher's, rounded
            half up (TinyBERT, Jiao et al. 2020, arXiv 1909.10351, section 3: the uniform strategy with g(0) = 0).
        student_depth: M, layers of the student.
        teacher_depth: N, layers of the teacher.

    Raises:
        UserError: an entry is no pair, or names a layer that is not there.
    """
    if layer_map is None:
        return [(m, (2 * m * teacher_depth + student_depth) // (2 * student_depth)) for m in range(student_depth + 1)]
    if not layer_map:
        raise UserError("objective.layer_map is empty; null matches every layer of the student")
    pairs = []
    for entry in layer_map:
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not all(type(n) is int for n in entry):
            raise UserError(
                f"objective.layer_map holds {entry!r}; each entry is [layer of the student, layer of the teacher], "
                f"e.g. objective.layer_map=[[1,{teacher_depth // student_depth}],[{student_depth},{teacher_depth}]]"
            )
        for whose, layer, depth in (("student", entry[0], student_depth), ("teacher", entry[1], teacher_depth)):
            if not 0 <= layer <= depth:
                raise UserError(
                    f"objective.layer_map={[list(e) for e in layer_map]} names layer {layer} of the {whose}, which "
                    f"has layers 1 to {depth} (0 is its embeddings)"
                )
        pairs.append((entry[0], entry[1]))
    return pairs
