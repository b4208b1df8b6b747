"""Answers of a model folder through ONNX Runtime: the engine that a bench record is measured with, one text at a time.

Nothing here imports PyTorch or transformers.
"""

from typing import Any

from ..config.allowed import MASKED_LM
from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError
from ..workers.onnx import OnnxEngine
from .model_folder import ModelFolder

# Words that are named for each masked place.
_BEST = 5


class Predictor:
    """Loads a model folder; :meth:`answer` answers one row of :mod:`.rows`.

    Args:
        threads: of ONNX Runtime; 1 gives the bits of a record made with 1.

    Raises:
        UserError: ONNX Runtime or the tokenizer can't read their files, or the graph is not of this kind of task.
    """

    def __init__(self, folder: ModelFolder, threads: int = 1) -> None:
        self._folder, self._engine = folder, OnnxEngine()
        try:
            self._engine.open(folder.path, folder.max_length, threads)
        except Exception as error:
            # Whatever the two libraries raise, over files that are cut off or another program's.
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{folder.path} can't be loaded ({first}); is it complete? Copy the folder again, or make it anew"
            ) from error
        self._check_outputs()

    def answer(self, row: dict[str, str], logits: bool = False) -> dict[str, Any]:
        """The row with its answer.

        Classes: ``label`` and ``score`` (softmax, 0 to 1). Numbers: ``value``. Questions: ``answer``, its characters
        ``start`` to ``end`` of the context, ``score`` (sum of two logits). Masked texts: ``fills``, for each ``[MASK]``
        the likeliest pieces with their probabilities. ``cut``: true where a text was longer than the model reads.

        Args:
            logits: with the model's own outputs, of classes and numbers.

        Raises:
            UserError: a text to be filled without a mask, outputs that are no numbers.
        """
        if self._folder.kind == QUESTION_ANSWERING:
            return row | self._answer_span(row)
        encoding = self._engine.tokenize(list(row.values()))
        output = self._engine.run(self._engine.pack([encoding.ids], [encoding.type_ids]))[0][0]
        if not bool((abs(output) < float("inf")).all()):
            raise UserError("the model's outputs are no finite numbers; the graph is broken, make it anew")
        cut = {"cut": True} if encoding.overflowing else {}
        if self._folder.kind == MASKED_LM:
            return row | {"fills": self._fills(encoding, output)} | cut
        own = {"logits": output.tolist()} if logits else {}
        if self._folder.regression:
            return row | {"value": round(float(output[0]), 6)} | own | cut
        likely = _softmax(output)
        best = int(likely.argmax())
        return row | {"label": self._folder.labels[best], "score": round(float(likely[best]), 6)} | own | cut

    def _check_outputs(self) -> None:
        names = self._engine.outputs
        wanted = ["start_logits", "end_logits"] if self._folder.kind == QUESTION_ANSWERING else ["logits"]
        if not set(wanted) <= set(names) and not (wanted == ["logits"] and len(names) == 1):
            raise UserError(
                f"{self._folder.path}/model.onnx gives {', '.join(names)}, but config.json speaks of a model for "
                f"{self._folder.kind}, which gives {', '.join(wanted)}"
            )
        if wanted != ["logits"]:
            return
        shape = self._engine.run(self._engine.pack([[0, 0, 0]], [[0, 0, 0]]))[0].shape
        expected = (1, len(self._folder.labels)) if self._folder.kind != MASKED_LM else (1, 3, shape[-1])
        if shape != expected:
            raise UserError(
                f"{self._folder.path}/model.onnx gives logits of the shape {list(shape)} for one text, not "
                f"{list(expected)} as config.json says: graph and config are not of one model"
            )

    def _answer_span(self, row: dict[str, str]) -> dict[str, Any]:
        import numpy as np

        from ..tasks.questions import Questions
        from ..tasks.span_answers import answers
        from ..tasks.windows import windows

        task = {"max_length": self._folder.max_length, **self._folder.windows}
        asked = Questions(["0"], [row["context"]], [row["question"]], [[""]], [0])
        parts = windows(self._engine.tokenizer, asked, task, offsets=True)
        logits = [np.array(self._engine.spans(p.ids.tolist(), p.types.tolist()), np.float32) for p in parts]
        best = answers(asked, parts, logits, task)[0]
        if best.text == "":
            return {"answer": "", "start": 0, "end": 0, "score": None}
        return {"answer": best.text, "start": best.begin, "end": best.end, "score": round(best.score, 6)}

    def _fills(self, encoding: Any, output: Any) -> list[list[dict[str, Any]]]:
        mask = self._engine.tokenizer.token_to_id("[MASK]")
        places = [i for i, piece in enumerate(encoding.ids) if piece == mask]
        if not places:
            raise UserError("the model fills in masked words: write [MASK] where one is missing")
        fills = []
        for place in places:
            likely = _softmax(output[place])
            best = (-likely).argsort(kind="stable")[:_BEST].tolist()
            named = [(self._engine.tokenizer.id_to_token(i), round(float(likely[i]), 6)) for i in best]
            fills.append([{"token": token, "score": score} for token, score in named])
        return fills


def _softmax(logits: Any) -> Any:
    import numpy as np

    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()
