"""Device of a training run."""

from __future__ import annotations

from edgeproof.contracts.errors import UnsupportedError, UsageError

AUTO = "auto"
"""The GPU if there is one, otherwise the processor."""


def chosen_device(name: str) -> str:
    """Return torch's name of the device `name`; for `AUTO` cuda, mps or cpu, the first that this machine has.

    Raises:
        UsageError: torch knows no such device.
        UnsupportedError: this machine lacks it.

    """
    import torch

    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"torch knows no device {name!r}", next_step="auto, cpu, cuda or mps") from error
    count = torch.cuda.device_count()
    why = ""
    if device.type == "cuda":  # without initializing it
        why = "" if (device.index or 0) < count else f"torch {torch.__version__} sees {count} GPUs"
    elif device.type == "meta":
        why = "it holds no numbers"
    else:
        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            why = str(error).splitlines()[0]
    if why:
        raise UnsupportedError(f"cannot train on the device {name}: {why}", next_step="train with --device auto")
    return name
