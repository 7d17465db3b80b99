"""Backends that run an artifact: score, generate."""

from __future__ import annotations

from edgeproof.runtime.backends import BACKENDS, backend_for, open_backend, original_context

__all__ = ["BACKENDS", "backend_for", "open_backend", "original_context"]
