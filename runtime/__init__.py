"""Runs an artifact: score, generate."""

from __future__ import annotations

from edgeproof.runtime.backends import BACKENDS, open_backend

__all__ = ["BACKENDS", "open_backend"]
