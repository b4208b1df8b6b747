"""Several processes that train one model: started by us (``trainer.devices=2``) or by ``torchrun``.

One command, the leader, plans and publishes. Under ``torchrun`` it is the one of rank 0; the others only start, when
it says so, their process of a training step, and end with it. They talk through the key-value store that ``torchrun``
keeps for its workers anyway.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..errors import UserError
from . import stopping

# What torchrun and we tell a training process about its place.
_LAUNCHERS = ("TORCHELASTIC_", "SLURM_")
_PLACE = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK")
# Those that leave whole weights in every process, and that don't start processes of their own.
_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
_POLL_S = 0.2
_PATIENCE = timedelta(days=1)
# A leader whose own process of a step failed, too, says so soon; else something is wrong with this one alone.
_GRACE_S = 60.0


def launched() -> bool:
    """Whether ``torchrun`` started this command as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """This process's number over all; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def shape() -> tuple[int, int]:
    """(processes on each node, nodes) of a ``torchrun`` command."""
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return local, int(os.environ["WORLD_SIZE"]) // local


def processes(options: Mapping[str, Any]) -> int:
    """How many processes make the step with these options."""
    trainer = options.get("trainer") or {}
    devices = trainer.get("devices", 1)
    return (len(devices) if isinstance(devices, list) else int(devices)) * int(trainer.get("num_nodes", 1))


def check(options: Mapping[str, Any]) -> None:
    """Refuse a count of processes that this command can't have.

    Raises:
        UserError: more nodes than one, another count than torchrun's, or a strategy that is none of DDP's.
    """
    wanted = processes(options)
    strategy = (options.get("trainer") or {}).get("strategy", "auto")
    if strategy not in _STRATEGIES:
        raise UserError(f"trainer.strategy={strategy!r} is not supported; allowed: {', '.join(_STRATEGIES)}")
    if launched() and wanted not in (1, int(os.environ["WORLD_SIZE"])):
        raise UserError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but trainer.devices asks for {wanted}: "
            "leave trainer.devices out"
        )
    if not launched() and int((options.get("trainer") or {}).get("num_nodes", 1)) > 1:
        raise UserError(
            f"trainer.num_nodes={options['trainer']['num_nodes']} needs torchrun on every node, with one store that "
            "all of them see; see docs/distillation.md"
        )


def places(options: Mapping[str, Any]) -> list[dict[str, str]]:
    """The environment of each process that this command must start for a step, in the order of their ranks."""
    count = processes(options)
    if count == 1 or launched():
        return [{}]
    return [
        {"RANK": str(i), "LOCAL_RANK": str(i), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        for i in range(count)
    ]


def without_place(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a process is alone."""
    return {k: v for k, v in environment.items() if k not in _PLACE and not k.startswith(_LAUNCHERS)}


def without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Lightning takes a process's place from us or from ``torchrun``, never from SLURM, which
    knows of one task where we have started several."""
    return {k: v for k, v in environment.items() if not k.startswith("SLURM_")}


def join(request: Mapping[str, Any]) -> None:
    """Connect this process of a training step with the others, before Lightning would; alone it does nothing."""
    if processes(request["options"]) == 1:
        return
    import torch.distributed as dist

    backend = "gloo" if request["options"]["trainer"].get("accelerator") == "cpu" else "nccl"
    if launched():
        # torchrun's store outlives a step, and a failed one leaves addresses of the dead: a namespace for each attempt.
        store: Any = dist.PrefixStore(f"{request['fingerprint']}/{request['attempt']}", _agent_store())
    else:
        store = dist.FileStore(str(Path(request["work"]) / "rendezvous"), processes(request["options"]))
    # The first measures the untrained model alone, and the others wait; who dies is noticed by the runner.
    world = int(os.environ["WORLD_SIZE"])
    dist.init_process_group(backend, store=store, rank=rank(), world_size=world, timeout=_PATIENCE)


def leave() -> None:
    """End the connection after the training; all ranks but the first have nothing left to do and end here."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    if rank() > 0:
        raise SystemExit(0)


class Leader:
    """What the leading command tells the others; without ``torchrun`` there are none."""

    def __init__(self) -> None:
        self._store = _agent_store() if launched() else None
        self._said = 0

    def start(self, request_file: Path, variables: Mapping[str, str]) -> None:
        """Have every other command start its process of this step, with these in its environment."""
        self._say({"request": str(request_file), "variables": dict(variables)})

    def over(self) -> None:
        """The leader's own process of the step has ended, well or not."""
        self._say({"over": True})

    def end(self) -> None:
        """All is done, or has failed; the leader's exit code tells which."""
        self._say({"end": True})

    def _say(self, message: dict[str, Any]) -> None:
        if self._store is not None:
            self._store.set(_key(self._said), json.dumps(message))
            self._said += 1


def follow() -> int:
    """Do what the leader says until it ends; returns the exit code."""
    store, number = _agent_store(), 0
    while True:
        message = _next(store, number)
        if message is None or "end" in message:
            return 0
        number += 1
        if "over" in message:
            continue
        command = [sys.executable, "-m", "edgedistil.stages.child", message["request"]]
        # As in runner: at the end of this process, which the child watches, the child ends too.
        watch, alive = os.pipe()
        environment = {**without_slurm(os.environ), **message["variables"], stopping.PARENT: str(watch)}
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=(watch,))
            os.close(watch)
            with stopping.passed_on([child]):
                code = child.wait()
        finally:
            os.close(alive)
        if code and _next(store, number, time.monotonic() + _GRACE_S) is None:
            # The leader's process has not failed with this one: it waits for an answer that never comes.
            _tell(Path(message["request"]).parent / "error.json")
            return code


def _next(store: Any, number: int, until: float | None = None) -> dict[str, Any] | None:
    """The leader's message of that number; None when ``until`` has passed or torchrun's store is gone."""
    import torch.distributed as dist

    key = _key(number)
    while until is None or time.monotonic() < until:
        try:
            # Not wait(): it logs a line each time that it gives up.
            if store.check([key]):
                message: dict[str, Any] = json.loads(store.get(key))
                return message
        except dist.DistError:
            return None
        time.sleep(_POLL_S)
    return None


def _key(number: int) -> str:
    # torchrun may start all commands again, and its store remembers what was said before.
    return f"edgedistil/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{number}"


def _tell(error_file: Path) -> None:
    try:
        message = json.loads(error_file.read_text())["message"]
    except (OSError, ValueError, KeyError):
        message = "the process died"
    print(f"error: process {rank()}: {message}", file=sys.stderr)


def _agent_store() -> Any:
    import torch.distributed as dist

    return dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
