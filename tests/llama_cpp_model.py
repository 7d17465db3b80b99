"""Model class of llama-cpp-python, the oracle for the llama.cpp backend."""

from __future__ import annotations

from unittest.mock import patch

import llama_cpp
import llama_cpp.llama_cpp as api
from edgeproof.runtime.llama.model import may_repack


def library_model(path, **options) -> llama_cpp.Llama:
    """Load `path` with llama-cpp-python's own class; its options do not reach what crashes where llama.cpp has AMX."""
    parameters = api.llama_model_default_params()
    parameters.use_extra_bufts = may_repack()
    with patch.object(api, "llama_model_default_params", lambda: parameters):
        return llama_cpp.Llama(str(path), verbose=False, **options)
