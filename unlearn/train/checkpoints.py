"""Checkpoints of training: a killed run resumes and ends with the same weights, bit for bit.

```
.NAME.checkpoint/step-000050/tensors.safetensors    trained weights, AdamW's moments, all random states
                             state.json             the run's identity, the data order, the log
```
The folder is beside --out and is removed when training ends. Reading it executes no code.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.atomic import to_disk
from edgeproof.contracts.errors import InputError, OutputError
from edgeproof.unlearn.data.order import OrderState
from edgeproof.unlearn.output.folder import writing_weights
from edgeproof.unlearn.train.step_log import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.data.order import Order
    from edgeproof.unlearn.train.processes import Processes
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

_TENSORS, _STATE = "tensors.safetensors", "state.json"


def checkpoint_folder(out: Path) -> Path:
    """Return the folder of the checkpoints of `out`."""
    return out.with_name(f".{out.name}.checkpoint")


def refuse_forgotten(out: Path, *, resume: bool, force: bool) -> None:
    """Raise `OutputError` if a run was interrupted here, and neither `resume` nor `force` is given."""
    found = _latest(checkpoint_folder(out))
    if found is not None and not (resume or force):
        raise OutputError(
            f"a run for {out} was interrupted after {_step(found)}: {checkpoint_folder(out)}",
            next_step="continue with --resume, or restart with --force",
        )


@contextlib.contextmanager
def told_how_to_go_on(out: Path) -> Iterator[None]:
    """Let whoever interrupts the block learn what is kept of the run for `out`, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        found = _latest(checkpoint_folder(out))
        stop.add_note(
            "Nothing of this run is kept, it had no checkpoint yet: the same command begins anew."
            if found is None
            else f"Its checkpoint of {_step(found)} is kept: the same command with --resume goes on from it."
        )
        raise


def say_where_it_goes_on(out: Path, progress: Progress) -> None:
    """Say which checkpoint of `out` training will go on from, before the base is loaded, which takes long."""
    found = _latest(checkpoint_folder(out))
    if found is not None:
        progress.say(f"{out}: goes on after {_step(found)}, once the base is loaded")


def _step(checkpoint: Path) -> str:
    return f"step {int(checkpoint.name.removeprefix('step-'))}"


def discard(out: Path) -> None:
    """Remove the checkpoints of `out`."""
    shutil.rmtree(checkpoint_folder(out), ignore_errors=True)


class Checkpoints(NamedTuple):
    """Location, interval and identity of a run's checkpoints.

    Attributes:
        out: the run's output; the folder is beside it.
        every: optimizer steps between checkpoints; 0 for none.
        resume: whether to continue from an existing checkpoint.
        identity: everything that a run's result depends on, by name: settings, data, base, versions. Compared before
            resuming.
        processes: the training processes.
        progress: receives a warning if there is no checkpoint.

    """

    out: Path
    every: int
    resume: bool
    identity: Mapping[str, str]
    processes: Processes
    progress: Progress

    def go_on(self, model: Module, optimizer: Optimizer, orders: Sequence[Order]) -> list[Step]:
        """Restore the last checkpoint and return its log; empty if training begins.

        Raises:
            InputError: the checkpoint is damaged, or of other settings, data or base (the message lists them).

        """
        folder = _latest(checkpoint_folder(self.out))
        if not self.resume:
            if self.processes.writes:
                discard(self.out)
            return []
        if folder is None:
            self.progress.warn(f"there is no checkpoint of {self.out}: training begins with step 1")
            return []
        try:
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            self._refuse_other(state["identity"], folder)
            return self._restore(folder, state, model, optimizer, orders)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(
                f"the checkpoint {folder} is damaged: {type(error).__name__}: {error}",
                next_step="remove it, or restart with --force",
            ) from error

    def keep(
        self, number: int, model: Module, optimizer: Optimizer, orders: Sequence[Order], log: Sequence[Step]
    ) -> None:
        """Save a checkpoint after step `number`, if due, and remove the previous one.

        Raises:
            OutputError: the disk is full; the previous checkpoint is kept.

        """
        if self.every == 0 or number % self.every:
            return
        states = self.processes.gather(_random_states(self.processes.device))
        if self.processes.writes:
            try:
                self._write(number, model, optimizer, orders, log=log, states=states)
            except OSError as error:
                raise OutputError(
                    f"cannot save a checkpoint in {checkpoint_folder(self.out)}: {error.strerror or error}",
                    next_step="free some space and continue with --resume, or train with --checkpoint-every 0",
                ) from error
        self.processes.wait()

    def _write(
        self,
        number: int,
        model: Module,
        optimizer: Optimizer,
        orders: Sequence[Order],
        *,
        log: Sequence[Step],
        states: Sequence[Mapping[str, Tensor]],
    ) -> None:
        from safetensors.torch import save_file

        tensors, positions = _trained(model), [order.state() for order in orders]
        counted: dict[str, float] = {}
        for index, moments in optimizer.state_dict()["state"].items():
            counted[str(index)] = float(moments["step"])
            tensors |= {f"{name}.{index}": moments[name] for name in ("exp_avg", "exp_avg_sq")}
        tensors |= {f"order.{index}": position.generator for index, position in enumerate(positions)}
        tensors |= {f"{name}.{rank}": state for rank, some in enumerate(states) for name, state in some.items()}
        home = checkpoint_folder(self.out)
        unfinished, finished = home / f"step-{number:06d}.part", home / f"step-{number:06d}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        with writing_weights():
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, unfinished / _TENSORS
            )
        state = {
            "identity": dict(self.identity),
            "optimizer_steps": counted,
            "waiting": [position.waiting for position in positions],
            "log": log,
        }
        (unfinished / _STATE).write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        for path in (unfinished / _TENSORS, unfinished / _STATE, unfinished):
            to_disk(path)
        unfinished.rename(finished)
        to_disk(home)
        for older in home.iterdir():
            if older != finished:
                shutil.rmtree(older)

    def _restore(
        self,
        folder: Path,
        state: Mapping[str, object],
        model: Module,
        optimizer: Optimizer,
        orders: Sequence[Order],
    ) -> list[Step]:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(folder / _TENSORS)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        with torch.no_grad():
            for name, weight in _trained(model).items():
                if weight.shape != tensors[name].shape:
                    raise ValueError(f"{name} is {list(tensors[name].shape)}, not {list(weight.shape)}")
                weight.copy_(tensors[name])
        counted, waiting, log = state["optimizer_steps"], state["waiting"], state["log"]
        assert isinstance(counted, dict)
        assert isinstance(waiting, list)
        assert isinstance(log, list)
        moments = {
            int(index): {
                "step": torch.tensor(float(steps)),
                **{name: tensors[f"{name}.{index}"] for name in ("exp_avg", "exp_avg_sq")},
            }
            for index, steps in counted.items()
        }
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        for index, order in enumerate(orders):
            order.go_to(OrderState(tensors[f"order.{index}"], tuple(waiting[index])))
        rank = self.processes.rank
        torch.set_rng_state(tensors[f"random.{rank}"])
        if f"random_cuda.{rank}" in tensors:
            torch.cuda.set_rng_state(tensors[f"random_cuda.{rank}"], self.processes.device)
        return [Step(*entry) for entry in log]

    def _refuse_other(self, found: Mapping[str, str], folder: Path) -> None:
        names = [name for name in {**found, **self.identity} if found.get(name) != self.identity.get(name)]
        if names:
            differ = "; ".join(f"{name}: {found.get(name)} there, {self.identity.get(name)} here" for name in names)
            raise InputError(
                f"the checkpoint {folder} is of another run: {differ}",
                next_step="resume with the command of that run, or restart with --force",
            )


def _trained(model: Module) -> dict[str, Tensor]:
    return {f"weight.{name}": weight for name, weight in model.named_parameters() if weight.requires_grad}


def _random_states(device: str) -> dict[str, Tensor]:
    import torch

    states = {"random": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        states["random_cuda"] = torch.cuda.get_rng_state(device)
    return states


def _latest(home: Path) -> Path | None:
    """Return the newest complete checkpoint: a folder is renamed when it is completely on disk."""
    found = [path for path in home.glob("step-*") if path.is_dir() and path.name.removeprefix("step-").isdigit()]
    return max(found, key=lambda path: int(path.name.removeprefix("step-")), default=None)
