"""One process or several: under `accelerate launch` Hugging Face accelerate does the talking, else nothing is started.

```
a step's texts ──▶ every size-th to each process ──▶ parts (--accumulate) ──▶ gradients summed by accelerate
```
Each process divides its losses by the numbers of the whole batch, so that several give the step that one would.
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
    """Who takes part.

    Attributes:
        rank: of this process, from 0; 0 writes.
        size: how many there are.
        device: torch's name of where this process trains.
        accelerator: accelerate's `Accelerator`; None where this process is alone.

    """

    rank: int
    size: int
    device: str
    accelerator: object | None

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def prepare(self, model: Module, optimizer: Optimizer) -> tuple[Module, Optimizer]:
        """Wrap both for training together; the model's own modules stay as they are."""
        if self.accelerator is None:
            return model, optimizer
        prepared: tuple[Module, Optimizer] = self.accelerator.prepare(model, optimizer)  # type: ignore[attr-defined]
        return prepared

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process' part of a batch."""
        return items[self.rank :: self.size]

    def unsynchronised(self, model: Module) -> AbstractContextManager[None]:
        """Let a backward pass add to this process' gradients only: all but the last one of a step."""
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
        """Let no process go on before all are here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()  # type: ignore[attr-defined]


def alone(device: str) -> Processes:
    """Return the one process that trains on `device`."""
    return Processes(0, 1, device, None)


def joined(device: str) -> Processes:
    """Join the others that `accelerate launch` started; without one nothing is initialised.

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
            f"accelerate is set up for {accelerator.distributed_type}; unlearning knows data parallelism only",
            next_step="accelerate launch --multi_gpu --num_processes N …, no FSDP and no DeepSpeed",
        )
    return Processes(accelerator.process_index, accelerator.num_processes, str(accelerator.device), accelerator)


def launched_count() -> int:
    """Return how many processes a launcher (torch's or MPI's, which accelerate uses) says there are; 1 without one."""
    return _first(("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"), 1)


def launched_rank() -> int:
    """Return this process' rank as the launcher says it; 0 without one."""
    return _first(("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"), 0)


def _first(names: Sequence[str], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name)), otherwise)


def refuse_small_batch(batch_size: int, processes: Processes) -> None:
    """Raise `UsageError` if some process would have no text."""
    if batch_size < processes.size:
        raise UsageError(
            f"a batch of {batch_size} texts cannot be shared by {processes.size} processes",
            next_step=f"--batch-size {processes.size} or more, or fewer processes",
        )
