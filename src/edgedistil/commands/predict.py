"""Answers of a model folder to texts, on ONNX Runtime alone: JSON lines, one for each text, as it is read."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError

HELP = "answers of a model folder to texts, as JSON lines, without PyTorch"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a folder with model.onnx: a product, or an artifact of the store")
    parser.add_argument(
        "texts",
        nargs="*",
        help="texts, each maybe two with a tab between them, or JSON objects; none: one a line of standard input",
    )
    parser.add_argument("--file", type=Path, help="read the texts from this file, one a line")
    parser.add_argument("--logits", action="store_true", help="with the model's outputs of classes and numbers")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime (1)")
    parser.add_argument("--max-length", type=int, help="tokens of a text at most (what the model was trained with)")


def run(chosen: argparse.Namespace) -> int:
    """Prints a JSON object a text; exit code 2 at the first that can't be read."""
    import json

    from ..shipping.model_folder import read_model_folder
    from ..shipping.predictor import Predictor
    from ..shipping.rows import rows

    if chosen.texts and chosen.file is not None:
        raise UserError(f"texts and --file={str(chosen.file)!r} are both given; leave one out")
    if chosen.threads < 1:
        raise UserError(f"--threads={chosen.threads} is not at least 1")
    folder = read_model_folder(chosen.folder, chosen.max_length)
    with _lines(chosen) as (lines, named):
        predictor = Predictor(folder, chosen.threads)
        try:
            for where, row in rows(lines, folder.kind, named):
                try:
                    answer = predictor.answer(row, chosen.logits)
                except UserError as error:
                    raise UserError(f"{where}: {error}") from error
                print(json.dumps(answer, ensure_ascii=False), flush=True)
        except KeyboardInterrupt:
            # At the keyboard this is how one stops; the exit code that shells give.
            return 130
    return 0


@contextmanager
def _lines(chosen: argparse.Namespace) -> Iterator[tuple[Iterable[str | bytes], str]]:
    """(lines, what one is called in messages)."""
    if chosen.texts:
        yield chosen.texts, "text"
    elif chosen.file is None:
        yield sys.stdin.buffer, "line"
    else:
        try:
            stream = chosen.file.open("rb")
        except OSError as error:
            raise UserError(f"--file={str(chosen.file)!r} can't be read: {error.strerror}") from error
        with stream:
            yield stream, f"{chosen.file}: line"
