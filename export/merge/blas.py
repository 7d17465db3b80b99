"""Limit on numpy's BLAS threads: the stream already runs one worker per core, so more threads would only wait."""

from __future__ import annotations

from functools import cache


@cache
def one_blas_thread() -> None:
    """Limit OpenBLAS to one thread, permanently for this process; its results then do not depend on the cores."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
