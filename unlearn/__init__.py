"""Unlearning: training of adapters or models that forget."""

from edgeproof.unlearn.run import UnlearnResult, unlearn
from edgeproof.unlearn.settings import Settings

__all__ = ["Settings", "UnlearnResult", "unlearn"]
