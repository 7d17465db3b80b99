"""The checkpoint's own tokenizer: what it gives, and what it leaves in a process that exports again and again."""

from __future__ import annotations

import ctypes
import gc
import sys

import pytest
from edgeproof.export.tokenizer.checkpoint_tokenizer import encode_all, load_encode
from edgeproof.export.tokenizer.definition import read_definition
from edgeproof.export.tokenizer.engine import TokenizeRequest
from edgeproof_tests.models import save_model

pytestmark = pytest.mark.torch

REQUESTS = [
    TokenizeRequest(f"What is {number * 7919} times {number}? The {number}th answer of many.", add, parse)
    for number in range(100)
    for add, parse in ((True, True), (False, False))
]


@pytest.fixture(scope="module")
def definition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "tiny"
    return read_definition(save_model("qwen3", folder, hidden_size=64, intermediate_size=128, num_hidden_layers=1))


def test_all_are_encoded_in_their_order(definition):
    encode = load_encode(definition)
    expected = [encode(text, add_special=add, parse_special=parse) for text, add, parse in REQUESTS]
    assert encode_all(definition, REQUESTS) == expected
    assert len({tuple(ids) for ids in expected}) > 50


class Allocated(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
            *("uordblks", "fordblks", "keepcost"),
        )
    )


@pytest.mark.skipif(sys.platform != "linux", reason="mallinfo2 is glibc's")
def test_a_tokenizer_that_is_gone_leaves_no_memory_taken(definition):
    """tokenizers 0.23 keeps a cache for each tokenizer and thread: 130 kB an export."""
    info = ctypes.CDLL(None).mallinfo2
    info.restype = Allocated

    def taken() -> int:
        gc.collect()
        return info().uordblks

    for _ in range(10):
        encode_all(definition, REQUESTS)
    before = taken()
    rounds = 30
    for _ in range(rounds):
        encode_all(definition, REQUESTS)
    assert (taken() - before) / rounds < 8192
