"""Fixtures of the runtime's tests."""

from __future__ import annotations

from edgeproof_tests.smollm2 import smollm2_file, smollm2_gguf

__all__ = ["smollm2_file", "smollm2_gguf"]
