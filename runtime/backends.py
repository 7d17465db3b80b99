"""The backends by name, and how one is opened: in a child process of its own.

A new backend is a file with a class that fulfils `Backend` and takes (artifact, *, lora, context_length, threads,
beat), and one line here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UsageError
from edgeproof.runtime.process import DEFAULT_TIMEOUT, ChildBackend

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.contracts.backend import Backend

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "llama.cpp": "edgeproof.runtime.llama:LlamaCpp",
        "torch": "edgeproof.runtime.torch_reference:TorchReference",
    }
)


def open_backend(
    name: str,
    artifact: Path,
    *,
    lora: Path | None = None,
    context_length: int | None = None,
    threads: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> Backend:
    """Load `artifact` into the backend `name`, in a child process that ends with the context manager.

    Args:
        name: one of BACKENDS.
        artifact: what to run: a GGUF for "llama.cpp", a Hugging Face folder or a GGUF for "torch".
        lora: an adapter beside it, in the backend's own form.
        context_length: tokens that the longest request may have; default: the backend's.
        threads: default: the physical cores.
        timeout: seconds without a sign of progress after which the child is killed.

    Raises:
        UsageError: no backend of that name.
        ArtifactError: the artifact is missing, damaged, or of a kind that the backend cannot run.
        UnsupportedError: the backend needs a package that is not installed.
        BackendError: the child crashed or hung.

    """
    if name not in BACKENDS:
        raise UsageError(f"no backend is called {name!r}", next_step=f"choose one of: {', '.join(BACKENDS)}")
    return ChildBackend(
        BACKENDS[name], artifact, lora=lora, context_length=context_length, threads=threads, timeout=timeout
    )
