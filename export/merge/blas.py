"""Keeps numpy's BLAS to one thread a caller: the stream already runs one worker a core, and more would only wait."""

from __future__ import annotations

from functools import cache


@cache
def one_blas_thread() -> None:
    """Limit OpenBLAS, for this process and from now on. Its results are then the same for any number of cores."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
