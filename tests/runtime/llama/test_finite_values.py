"""A GGUF with a number that is none is no verdict, in whatever type it is stored and however an engine treats it."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_header import read_header
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof.runtime.llama.finite_values import refuse_non_finite
from edgeproof_tests.runtime import tiny_gguf


def spoil(path, name, put, at=0):
    """Put bytes into the data of a tensor."""
    tensor = next(one for one in read_header(path, ArtifactError).tensors if one.name == name)
    with path.open("r+b") as file:
        file.seek(tensor.offset + at)
        file.write(put)
    return tensor


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_one_nan_in_a_norm_is_refused(tmp_path, number):
    path = tiny_gguf.write_as(tmp_path / "m.gguf", "Q4_0")
    spoil(path, "output_norm.weight", np.float32(number).tobytes(), 40)
    with pytest.raises(ArtifactError, match=r"output_norm\.weight \(F32\) holds NaN") as caught:
        LlamaCpp(path, threads=1)
    assert caught.value.next_step


@pytest.mark.parametrize("scheme", ["Q4_0", "Q4_1", "Q8_0", "Q4_K_M"])
def test_a_scale_that_is_no_number_is_refused(tmp_path, scheme):
    path = tiny_gguf.write_as(tmp_path / "m.gguf", scheme)
    refuse_non_finite(path, lambda: None)
    spoil(path, "blk.1.ffn_up.weight", np.float16(np.nan).tobytes())
    with pytest.raises(ArtifactError, match=r"blk\.1\.ffn_up\.weight"):
        refuse_non_finite(path, lambda: None)


def test_a_lora_is_looked_through_too(tmp_path):
    path = tiny_gguf.write(tmp_path / "m.gguf")
    factors = {"blk.0.attn_q.weight": (np.ones((4, 256), np.float32), np.full((256, 4), np.nan, np.float32))}
    lora = tiny_gguf.write_lora(tmp_path / "lora.gguf", factors, 4.0)
    with pytest.raises(ArtifactError, match=r"attn_q\.weight\.lora_b"):
        LlamaCpp(path, lora=lora, threads=1)


def test_a_lora_that_is_applied_after_certain_tokens_only_is_refused(tmp_path):
    """On the device it would be off where it is on here."""
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "lora.gguf", "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    writer.add_array("adapter.alora.invocation_tokens", [5, 6])
    for name, shape in (("lora_a", (4, 256)), ("lora_b", (256, 4))):
        writer.add_tensor(f"blk.0.attn_q.weight.{name}", np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArtifactError, match="activated LoRA"):
        LlamaCpp(tiny_gguf.write(tmp_path / "m.gguf"), lora=tmp_path / "lora.gguf", threads=1)
