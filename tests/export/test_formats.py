"""The registry of formats, and what is said of a file's size."""

from __future__ import annotations

import subprocess
import sys

import pytest
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.tensors import TensorRecord
from edgeproof.export.formats import ALIASES, FORMATS, effective_bits, find_format, shape_warning


def test_every_format_of_the_command_line_is_there():
    names = "gguf-q4 gguf-q4_0 gguf-q4_1 gguf-q4_k_s gguf-iq4_nl gguf-q8_0 gguf-f16 gguf-f32"
    assert [name for name in FORMATS if name.startswith("gguf")] == names.split()
    assert all(form.name == name and form.suffix == ".gguf" for name, form in FORMATS.items() if "gguf" in name)


def test_aliases_and_case_are_understood():
    assert find_format("gguf-q4_k_m") is find_format("GGUF-Q4") is FORMATS["gguf-q4"]
    assert FORMATS["gguf-q4"].scheme == "Q4_K_M"
    assert set(ALIASES.values()) <= set(FORMATS)


@pytest.mark.parametrize(
    ("given", "near"), [("gguf-q4_2", "gguf-q4"), ("q4_0", "gguf-q4_0"), ("ggufq8_0", "gguf-q8_0")]
)
def test_an_unknown_format_is_answered_with_the_nearest(given, near):
    with pytest.raises(UnsupportedError, match=f"no format '{given}'") as caught:
        find_format(given)
    assert f"did you mean {near}" in caught.value.next_step
    with pytest.raises(UnsupportedError) as caught:
        find_format("zzz")
    assert caught.value.next_step.startswith("formats: gguf-q4, ")


def test_effective_bits_are_bytes_over_weights():
    records = [TensorRecord("a", (32, 32), "Q4_0", 32 * 18), TensorRecord("b", (32,), "F32", 128)]
    assert effective_bits(records) == pytest.approx(8 * (32 * 18 + 128) / (32 * 32 + 32))


def records_of(description, scheme):
    from edgeproof.export.gguf.layout import plan

    return [
        TensorRecord(tensor.output.name, tensor.output.shape, tensor.kind.name, tensor.bytes)
        for tensor in plan(description, scheme).tensors
    ]


def llama(hidden, ffn, layers, heads, heads_kv, vocabulary):
    from edgeproof.contracts.tensors import MetadataEntry, ModelDescription, OutputTensor

    kv = hidden // heads * heads_kv
    shapes = {"token_embd.weight": (vocabulary, hidden), "output_norm.weight": (hidden,)}
    for layer in range(layers):
        sizes = {"attn_q": (hidden, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden)}
        sizes |= {"attn_output": (hidden, hidden), "ffn_up": (ffn, hidden), "ffn_gate": (ffn, hidden)}
        sizes |= {"ffn_down": (hidden, ffn), "attn_norm": (hidden,), "ffn_norm": (hidden,)}
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in sizes.items()}
    keys = {"block_count": layers, "attention.head_count": heads, "attention.head_count_kv": heads_kv}
    metadata = tuple(MetadataEntry(f"llama.{key}", value, "UINT32") for key, value in keys.items())
    return ModelDescription("llama", metadata, tuple(OutputTensor(name, name, shape) for name, shape in shapes.items()))


def test_smollm2_is_warned_about_in_q4_k_m_and_shown_a_smaller_format():
    smollm2 = llama(576, 1536, 30, 9, 3, 49152)
    records = records_of(smollm2, "Q4_K_M")
    assert effective_bits(records) == pytest.approx(6.17, abs=0.005)
    warning = shape_warning(FORMATS["gguf-q4"], records)
    assert "6.17 bits per weight" in warning
    assert "not a multiple of 256" in warning
    exact = effective_bits(records_of(smollm2, "Q4_0"))
    assert f"gguf-q4_0 takes {exact:.2f} and loses more of what the model knows" in warning
    assert exact == pytest.approx(5.35, abs=0.005)
    assert shape_warning(FORMATS["gguf-q4_0"], records_of(smollm2, "Q4_0")) is None


def test_a_model_that_is_nearly_all_embedding_is_told_what_to_do():
    small = llama(640, 2048, 18, 4, 1, 262144)
    warning = shape_warning(FORMATS["gguf-q4_0"], records_of(small, "Q4_0"))
    assert "token_embd.weight alone is" in warning
    assert "--tensor-type token_embd=q4_0" in warning


def test_wide_models_and_wide_formats_are_not_warned_about():
    wide = llama(2048, 8192, 16, 32, 8, 128256)
    for name in ("gguf-q4", "gguf-q4_0", "gguf-q4_k_s", "gguf-q8_0", "gguf-f16"):
        assert shape_warning(FORMATS[name], records_of(wide, FORMATS[name].scheme)) is None


def test_the_registry_loads_neither_numpy_nor_gguf():
    code = "import edgeproof.export.formats, sys; sys.exit(bool({'numpy', 'gguf', 'llama_cpp'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
