"""Training loops side by side: a process that trains a masked language model and stops after each burst of steps.

Run as ``python -m edgedistil.peers.training``; one JSON object a line in, one out, as in
:mod:`edgedistil.workers.loop`, but the loop that is measured is the one that calls, and it blocks until it is asked for
more. Requests: ``load`` (arm, model, corpus, batch_size, max_length, learning_rate, seed, threads, scratch), then
``prepare`` (which needs nothing), ``time`` (count steps) and ``exit``.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import Any, TextIO

from ..workers.loop import CORES_VARIABLE

# What is measured -> what a reader must know of it.
ARMS = {
    "edgedistil": "length bins, vocabulary logits at masked tokens (this project's loop)",
    "trainer_longest": "transformers' Trainer, random batches padded to their longest text",
    "trainer_max_length": "transformers' Trainer, texts padded to max_length",
}
# Not reached: a run ends when nobody asks for more.
_ENDLESS = 10**9
# AdamW is fused in all arms: conf/optimizer has it so, and it is transformers' own default.
_CLIP, _DECAY = 1.0, 0.01


class Bursts:
    """Between a training loop and the process that asks.

    The time of a step is that from the end of the one before (or from the request) to its own end, so everything that a
    loop does for a step is in it: fetching, padding and masking texts, forward, backward, optimiser, callbacks.
    """

    def __init__(self, requests: TextIO, answers: TextIO) -> None:
        self._requests, self._answers = requests, answers
        self._left = 0
        self._found: dict[str, Any] = {}
        self._mark = (0, 0, 0)

    def next(self) -> dict[str, Any]:
        """The next request; ends this process when there is none."""
        line = self._requests.readline()
        request: dict[str, Any] = json.loads(line) if line else {"op": "exit"}
        if request["op"] == "exit":
            # Straight out of the middle of a training that nobody wants the end of.
            os._exit(0)
        return request

    def answer(self, values: dict[str, Any]) -> None:
        """Send one answer."""
        self._answers.write(json.dumps(values) + "\n")
        self._answers.flush()

    def begin(self) -> None:
        """The loop is about to take its first step."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        self.answer({"pid": os.getpid(), "cores": cores})
        self._wait()

    def step(self, real_tokens: int, places: int) -> None:
        """A step is done.

        Args:
            real_tokens: of its batch, without padding.
            places: of its batch, padding included.
        """
        wall, cpu, _ = self._now()
        self._found["wall_ms"].append((wall - self._mark[0]) / 1e6)
        self._found["cpu_ms"].append((cpu - self._mark[1]) / 1e6)
        self._found["real_tokens"].append(real_tokens)
        self._found["places"].append(places)
        self._left -= 1
        if self._left:
            self._mark = (wall, cpu, self._mark[2])
            return
        self._found["involuntary_switches"] = self._now()[2] - self._mark[2]
        self.answer(self._found)
        self._wait()

    def _wait(self) -> None:
        request = self.next()
        while request["op"] != "time":
            self.answer({})
            request = self.next()
        self._left = request["count"]
        self._found = {"wall_ms": [], "cpu_ms": [], "real_tokens": [], "places": []}
        self._mark = self._now()

    @staticmethod
    def _now() -> tuple[int, int, int]:
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return time.perf_counter_ns(), time.process_time_ns(), switches


def train(request: dict[str, Any], bursts: Bursts) -> None:
    """Train ``request["arm"]`` until nobody asks for more."""
    from ..learning.quiet import quiet
    from ..tasks.corpus import Corpus

    quiet()
    import torch
    import transformers

    torch.set_num_threads(request["threads"])
    transformers.set_seed(request["seed"])
    corpus = Corpus(Path(request["corpus"]))
    if request["arm"] == "edgedistil":
        _ours(request, bursts, corpus)
    else:
        _trainer(request, bursts, corpus)


def _ours(request: dict[str, Any], bursts: Bursts, corpus: Any) -> None:
    import lightning
    import torch
    from tokenizers import Tokenizer

    from ..learning.masking import DynamicMasking, Vocabulary
    from ..learning.pretraining import MaskedLanguageModelling
    from ..models.masked_lm import load_masked_lm
    from ..tasks.corpus import special_tokens
    from ..tasks.corpus_data import CorpusDataModule

    class Steps(lightning.Callback):
        def on_train_start(self, *_: Any) -> None:
            bursts.begin()

        def on_train_batch_end(self, _trainer: Any, _module: Any, _outputs: Any, batch: Any, _index: int) -> None:
            mask = batch["attention_mask"]
            bursts.step(int(mask.sum()), mask.numel())

    network = load_masked_lm(request["model"], {"origin": "folder"}, needs_head=True)
    special = special_tokens(Tokenizer.from_file(f"{request['model']}/tokenizer.json"))
    counts = torch.zeros(network.config.vocab_size, dtype=torch.int64)
    counts[: len(corpus.counts)] = torch.from_numpy(corpus.counts.copy())
    module = MaskedLanguageModelling(
        network.train(),
        lambda parameters: torch.optim.AdamW(parameters, lr=request["learning_rate"], weight_decay=_DECAY, fused=True),
        lambda optimizer, total_steps: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0),
        DynamicMasking,
        Vocabulary(counts, special.mask, special.all),
        request["seed"],
    )
    data = CorpusDataModule(
        corpus,
        corpus,
        network.config.pad_token_id or 0,
        seed=request["seed"],
        batch_size=request["batch_size"],
        group_by_length=True,
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        max_steps=_ENDLESS,
        gradient_clip_val=_CLIP,
        limit_val_batches=0,
        logger=False,
        callbacks=[Steps()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=request["scratch"],
    )
    trainer.fit(module, data)


def _trainer(request: dict[str, Any], bursts: Bursts, corpus: Any) -> None:
    from transformers import (
        AutoModelForMaskedLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    # Of batches that are collated and not yet trained on: the loader is one batch ahead.
    ahead: deque[tuple[int, int]] = deque()
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)

    def collate(texts: list[dict[str, Any]]) -> Any:
        batch = collator(texts)
        ahead.append((int(batch["attention_mask"].sum()), batch["attention_mask"].numel()))
        return batch

    class Steps(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            bursts.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            bursts.step(*ahead.popleft())

    pad_to = request["max_length"] if request["arm"] == "trainer_max_length" else None
    Trainer(
        model=AutoModelForMaskedLM.from_pretrained(
            request["model"], dtype="float32", trust_remote_code=False, use_safetensors=True
        ),
        args=TrainingArguments(
            output_dir=request["scratch"],
            use_cpu=True,
            per_device_train_batch_size=request["batch_size"],
            learning_rate=request["learning_rate"],
            weight_decay=_DECAY,
            max_grad_norm=_CLIP,
            lr_scheduler_type="constant",
            max_steps=_ENDLESS,
            seed=request["seed"],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            # Else the mask of special tokens is dropped before the collator can use it.
            remove_unused_columns=False,
        ),
        train_dataset=_Rows(corpus, pad_to, tokenizer.pad_token_id, tokenizer.all_special_ids),
        data_collator=collate,
        callbacks=[Steps()],
    ).train()


class _Rows:
    """A corpus as ``Trainer`` takes it: what its tokenizer would give, mask of special tokens included, so that the
    collator has nothing to look up."""

    def __init__(self, corpus: Any, pad_to: int | None, pad_id: int, special: list[int]) -> None:
        self._corpus, self._pad_to, self._pad_id, self._special = corpus, pad_to, pad_id, frozenset(special)

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        ids = self._corpus[index].tolist()
        missing = max(0, (self._pad_to or 0) - len(ids))
        return {
            "input_ids": ids + [self._pad_id] * missing,
            "attention_mask": [1] * len(ids) + [0] * missing,
            "special_tokens_mask": [int(i in self._special) for i in ids] + [1] * missing,
        }


def main() -> None:
    """Pin this process, then serve."""
    if os.environ.get(CORES_VARIABLE):
        os.sched_setaffinity(0, [int(core) for core in os.environ[CORES_VARIABLE].split(",")])
    # Libraries print to standard output; the protocol keeps its own copy of it.
    bursts = Bursts(sys.stdin, os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)
    try:
        train(bursts.next(), bursts)
        bursts.answer({"error": "the training ended before it was asked to"})
    except Exception as error:
        bursts.answer({"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})


if __name__ == "__main__":
    main()
