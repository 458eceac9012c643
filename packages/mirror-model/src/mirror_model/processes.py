"""Several processes that train one fold together, as `torchrun` or `accelerate launch` start them.

Each takes a share of every batch. What the loss compares is gathered from all of them, gradients are added up, and
decisions (to stop, what is best) are made by the first or by all together, so that no process ever waits for a step
that another does not take. A process that dies or hangs makes the others give up after ``timeout_s``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from mirror_data.errors import BadInput, Exit, MirrorError
from torch import Tensor, distributed, nn

from mirror_model.config import RuntimeConfig
from mirror_model.device import choose_device

_CPU = torch.device("cpu")


class ProcessLost(MirrorError):
    """Another process of the same training died or hangs; run again to resume."""

    exit = Exit.INTERRUPTED


@dataclass(frozen=True)
class Processes:
    """The processes of one training, and which of them this is."""

    rank: int = 0
    count: int = 1
    device: torch.device = _CPU  # of what they send each other

    @property
    def leads(self) -> bool:
        """Whether this one writes checkpoints, logs and results."""
        return self.rank == 0

    def add(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same to the last bit in each."""
        if self.count == 1:
            return values
        moved = values.to(self.device)
        moved = moved.clone() if moved is values else moved
        with _heard():
            distributed.all_reduce(moved)
        return moved.to(values.device)

    def gather(self, rows: Tensor) -> Tensor:
        """Everybody's rows (n, D) one below the other, in the order of the processes; n may differ, 0 included."""
        if self.count == 1:
            return rows
        shapes = torch.zeros((self.count, 2), dtype=torch.int64)
        shapes[self.rank] = torch.tensor([len(rows), rows.shape[1] if len(rows) else 0])
        shapes = self.add(shapes)
        start, width = int(shapes[: self.rank, 0].sum()), int(shapes[:, 1].max())
        every = rows.new_zeros((int(shapes[:, 0].sum()), max(width, 1)))  # others' rows are 0: adding is gathering
        if len(rows):
            every[start : start + len(rows)] = rows.detach()
        return self.add(every)

    def place(self, rows: Tensor) -> int:
        """At which row of `gather` this process's own rows begin."""
        if self.count == 1:
            return 0
        counts = torch.zeros(self.count, dtype=torch.int64)
        counts[self.rank] = len(rows)
        return int(self.add(counts)[: self.rank].sum())

    def any(self, flag: bool) -> bool:
        """Whether one of them says so."""
        return flag if self.count == 1 else bool(self.add(torch.tensor([int(flag)]))[0])

    def leaders(self, values: Sequence[float]) -> list[float]:
        """The first process's numbers."""
        own = torch.tensor(values, dtype=torch.float64)
        return self.add(own if self.leads else torch.zeros_like(own)).tolist()

    def agree(self, network: nn.Module) -> None:
        """Give the network of every process the first one's weights: machines may round their start differently."""
        if self.count > 1:
            for value in network.state_dict().values():
                value.copy_(self.add(value if self.leads else torch.zeros_like(value)))

    def wait(self) -> None:
        """Until all of them are here."""
        self.any(False)


ALONE = Processes()


@contextmanager
def joined(runtime: RuntimeConfig) -> Iterator[Processes]:
    """The processes that the environment names (RANK, WORLD_SIZE, ...); by itself where it names none.

    Raises:
        BadInput: ``BAD_OPTION`` if the launcher's variables are incomplete.
        ProcessLost: a process died, or did not answer for ``runtime.timeout_s`` seconds.
    """
    device = choose_device(runtime.device)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        message, hint = "a launcher's variables are missing", "start with torchrun, or unset WORLD_SIZE"
        raise BadInput("BAD_OPTION", message, key=missing[0], hint=hint)
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _heard():
        backend, timeout = "nccl" if device.type == "cuda" else "gloo", timedelta(seconds=runtime.timeout_s)
        distributed.init_process_group(backend, timeout=timeout)
    try:
        yield Processes(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _heard() -> Iterator[None]:
    """Turn the backend's failure into an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        hint = "see what the other processes say; run the same command again to go on from the last epoch"
        message = "another process of this training died or does not answer"
        raise ProcessLost("PROCESS_LOST", message, got=str(error).splitlines()[0][:200], hint=hint) from error
