"""Fine-tuning of a sequence classifier as a LightningModule."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MetricCollection, PearsonCorrCoef, SpearmanCorrCoef
from torchmetrics.classification import (
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassMatthewsCorrCoef,
)

from ..models.kinds import is_regression, takes_token_types
from .answers import answers_of
from .base import TrainingModule
from .work import TRAINED, encoder_flops, head_flops

Batch = dict[str, Tensor]


class FineTuning(TrainingModule):
    """Cross-entropy on labels; of a network with a single output the squared error of its number.

    Args:
        network: a transformers model for sequence classification.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``(optimizer, total_steps) -> LRScheduler``, stepped each optimiser step.
        metrics: names as in ``task.metrics``; the first is logged as ``held_out/score``, which chooses the model.
    """

    def __init__(
        self,
        network: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        metrics: Sequence[str],
    ) -> None:
        super().__init__(network, optimizer, scheduler)
        self._names = list(metrics)
        self._metrics = _collection(self._names, network.config.num_labels)
        self._answers = answers_of(network)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(mean loss, logits ``[batch, classes]``)."""
        logits = self.logits(self.network(**self.inputs(batch)))
        return self.hard_label(logits.float(), batch), logits

    def logits(self, answer: Any) -> Tensor:
        """The scores in a network's output that the losses are about."""
        return self._answers.logits(answer)

    def hard_label(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of float32 ``logits`` against what the batch says is right."""
        return self._answers.loss(logits, batch)

    def inputs(self, batch: Batch, network: Any = None) -> Batch:
        """The tensors that ``network`` (the module's own if None) takes: DistilBERT knows no token types."""
        return model_inputs(self.network if network is None else network, batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, _ = self.loss(batch)
        self.stop_unless_finite(loss)
        self.log("train/loss", loss, prog_bar=True)
        return self.counted(loss, batch)

    def counted(self, loss: Tensor, batch: Batch, teacher: Any = None) -> Tensor:
        """The loss as ``training_step`` returns it, its work noted; ``teacher`` is a network that ran along."""
        lengths = batch["attention_mask"].sum(1)
        flop = TRAINED * (encoder_flops(self.network, lengths) + head_flops(self.network, len(lengths)))
        if teacher is not None:
            flop += encoder_flops(teacher, lengths) + head_flops(teacher, len(lengths))
        self.note_work(int(lengths.sum()), flop)
        return self.weighted(loss, len(lengths))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss, logits = self.loss(batch)
        found = logits[:, 0].float() if is_regression(self.network) else logits.argmax(-1)
        self._metrics.update(found, batch["labels"])
        self.log("held_out/loss", loss, batch_size=len(logits), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        values = self._metrics.compute()
        self._metrics.reset()
        for name, value in values.items():
            self.log(f"held_out/{name}", value)
        self.log("held_out/score", values[self._names[0]], prog_bar=True)


def model_inputs(network: Any, batch: Batch) -> Batch:
    """What of a batch a network takes."""
    names = {"input_ids", "attention_mask"} | ({"token_type_ids"} if takes_token_types(network) else set())
    return {name: value for name, value in batch.items() if name in names}


def _collection(names: Sequence[str], classes: int) -> MetricCollection:
    known: dict[str, Callable[[], Any]] = {
        "accuracy": lambda: MulticlassAccuracy(classes, average="micro"),
        "f1": BinaryF1Score,
        "matthews_correlation": lambda: MulticlassMatthewsCorrCoef(classes),
        "pearson": PearsonCorrCoef,
        "spearman": SpearmanCorrCoef,
    }
    return MetricCollection({name: known[name]() for name in names})
