"""Training processes: Hugging Face accelerate under `accelerate launch`, otherwise a single process.

```
a step's texts ──▶ every size-th to each process ──▶ parts (--accumulate) ──▶ gradients summed by accelerate
```
Each process divides its losses by the counts of the whole batch, so that several processes make the same step as one.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from edgeproof.contracts.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

    Item = TypeVar("Item")


class Processes(NamedTuple):
    """The training processes.

    Attributes:
        rank: rank of this process, from 0; 0 writes.
        size: number of processes.
        device: torch's device name of this process.
        accelerator: accelerate's `Accelerator`; None for a single process.

    """

    rank: int
    size: int
    device: str
    accelerator: object | None

    @property
    def writes(self) -> bool:
        """Whether this process writes and reports progress."""
        return self.rank == 0

    def prepare(self, model: Module, optimizer: Optimizer) -> tuple[Module, Optimizer]:
        """Wrap both for distributed training; the model's own modules do not change."""
        if self.accelerator is None:
            return model, optimizer
        prepared: tuple[Module, Optimizer] = self.accelerator.prepare(model, optimizer)  # type: ignore[attr-defined]
        return prepared

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process' part of a batch."""
        return items[self.rank :: self.size]

    def unsynchronised(self, model: Module) -> AbstractContextManager[None]:
        """Return a context without gradient synchronization, for all backward passes of a step except the last."""
        if self.accelerator is None:
            return contextlib.nullcontext()
        manager: AbstractContextManager[None] = self.accelerator.no_sync(model)  # type: ignore[attr-defined]
        return manager

    def total(self, values: Tensor) -> Tensor:
        """Sum `values` over the processes; all get the same."""
        if self.accelerator is None:
            return values
        summed: Tensor = self.accelerator.reduce(values.to(self.device), "sum").cpu()  # type: ignore[attr-defined]
        return summed

    def gather(self, item: Item) -> list[Item]:
        """Return every process' item, by rank."""
        if self.accelerator is None:
            return [item]
        from accelerate.utils import gather_object

        return list(gather_object([item]))

    def wait(self) -> None:
        """Wait for all processes."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()  # type: ignore[attr-defined]


def alone(device: str) -> Processes:
    """Return a single process on `device`."""
    return Processes(0, 1, device, None)


def joined(device: str) -> Processes:
    """Join the processes of `accelerate launch`; without it nothing is initialized.

    Raises:
        UnsupportedError: accelerate is set up for sharding (FSDP, DeepSpeed, …), or is not installed.

    """
    if launched_count() == 1:
        return alone(device)
    from accelerate import Accelerator
    from accelerate.utils import DistributedType

    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    if accelerator.distributed_type not in {DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}:
        raise UnsupportedError(
            f"accelerate is set up for {accelerator.distributed_type}; unlearning supports data parallelism only",
            next_step="accelerate launch --multi_gpu --num_processes N …, no FSDP and no DeepSpeed",
        )
    return Processes(accelerator.process_index, accelerator.num_processes, str(accelerator.device), accelerator)


def launched_count() -> int:
    """Return the number of processes from the launcher (torch's or MPI's, used by accelerate); 1 without one."""
    return _first(("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"), 1)


def launched_rank() -> int:
    """Return this process's rank from the launcher; 0 without one."""
    return _first(("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"), 0)


def _first(names: Sequence[str], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name)), otherwise)


def refuse_small_batch(batch_size: int, processes: Processes) -> None:
    """Raise `UsageError` if a process would have no text."""
    if batch_size < processes.size:
        raise UsageError(
            f"a batch of {batch_size} texts cannot be shared by {processes.size} processes",
            next_step=f"--batch-size {processes.size} or more, or fewer processes",
        )
