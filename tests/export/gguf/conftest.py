"""A small random model held in memory, and llama.cpp's own quantizer as the oracle."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.contracts.tensors import MetadataEntry, ModelDescription, OutputTensor, TensorInfo
from edgeproof.export.formats import find_format
from edgeproof.export.gguf.types import SCHEMES
from edgeproof.export.gguf.writer import GgufWriter
from edgeproof.export.stream import run_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.tensors import Float32Array, TensorRecord
    from edgeproof.export.gguf.imatrix import Imatrix


@dataclass(frozen=True)
class MemoryModel:
    """A checkpoint of arrays."""

    arrays: Mapping[str, Float32Array]
    path: Path = Path("in-memory")
    config: Mapping[str, object] = None

    @property
    def tensors(self):
        return {name: TensorInfo(name, values.shape, "F32") for name, values in self.arrays.items()}

    def rows(self, name, start, stop):
        values = self.arrays[name]
        return values.reshape(-1, values.shape[-1])[start:stop].copy()


class Tiny(NamedTuple):
    description: ModelDescription
    model: MemoryModel


def swap_halves(rows):
    """A stand-in for the rope permutation: it moves rows within groups of 16."""
    return rows.reshape(-1, 2, 8, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Tiny]:
    """Make a llama-shaped model; widths as given, `tied` without an output matrix, `experts` with a mixture."""

    def make(
        *, hidden=256, ffn=512, layers=3, heads=4, heads_kv=2, vocabulary=96, tied=True, experts=0, architecture="llama"
    ) -> Tiny:
        random = np.random.default_rng(hidden + ffn + layers + experts)
        head = hidden // heads
        a = architecture
        metadata = [
            MetadataEntry("general.architecture", a, "STRING"),
            MetadataEntry("general.type", "model", "STRING"),
            MetadataEntry("general.name", "Tiny – ü", "STRING"),
            MetadataEntry("general.tags", ["a", "b"], "ARRAY", "STRING"),
            MetadataEntry(f"{a}.block_count", layers, "UINT32"),
            MetadataEntry(f"{a}.context_length", 128, "UINT32"),
            MetadataEntry(f"{a}.embedding_length", hidden, "UINT32"),
            MetadataEntry(f"{a}.feed_forward_length", ffn, "UINT32"),
            MetadataEntry(f"{a}.attention.head_count", heads, "UINT32"),
            MetadataEntry(f"{a}.attention.head_count_kv", heads_kv, "UINT32"),
            MetadataEntry(f"{a}.rope.freq_base", 10000.0, "FLOAT32"),
            MetadataEntry(f"{a}.attention.layer_norm_rms_epsilon", 1e-5, "FLOAT32"),
            *(
                (
                    MetadataEntry(f"{a}.expert_count", experts, "UINT32"),
                    MetadataEntry(f"{a}.expert_used_count", 2, "UINT32"),
                )
                if experts
                else ()
            ),
            MetadataEntry("general.file_type", 0, "UINT32"),
            MetadataEntry(f"{a}.vocab_size", vocabulary, "UINT32"),
            MetadataEntry("general.quantization_version", 0, "UINT32"),
            MetadataEntry("tokenizer.ggml.model", "gpt2", "STRING"),
            MetadataEntry("tokenizer.ggml.tokens", [f"<{i}>" for i in range(vocabulary)], "ARRAY", "STRING"),
            MetadataEntry("tokenizer.ggml.token_type", [1] * vocabulary, "ARRAY", "INT32"),
            MetadataEntry("tokenizer.ggml.add_bos_token", value=False, kind="BOOL"),
        ]
        tensors, arrays = [], {}

        def add(name, *shape, scale=0.05, transform=None, group=1):
            source = f"model.{name}"
            arrays[source] = random.normal(0, scale, shape).astype(np.float32)
            extra = {"transform": transform, "row_group": group} if transform else {}
            tensors.append(OutputTensor(name, source, shape, **extra))

        add("token_embd.weight", vocabulary, hidden, scale=1)
        for layer in range(layers):
            b = f"blk.{layer}."
            add(b + "attn_norm.weight", hidden, scale=1)
            add(b + "ffn_down.weight" if not experts else b + "ffn_down_exps.weight", *_expert(experts), hidden, ffn)
            add(b + "ffn_gate.weight" if not experts else b + "ffn_gate_exps.weight", *_expert(experts), ffn, hidden)
            add(b + "ffn_up.weight" if not experts else b + "ffn_up_exps.weight", *_expert(experts), ffn, hidden)
            if experts:
                add(b + "ffn_gate_inp.weight", experts, hidden)
            add(b + "ffn_norm.weight", hidden, scale=1)
            add(b + "attn_k.weight", heads_kv * head, hidden, transform=swap_halves, group=16)
            add(b + "attn_output.weight", hidden, hidden)
            add(b + "attn_q.weight", hidden, hidden, transform=swap_halves, group=16)
            add(b + "attn_q.bias", hidden)
            add(b + "attn_v.weight", heads_kv * head, hidden)
        add("output_norm.weight", hidden, scale=1)
        if not tied:
            add("output.weight", vocabulary, hidden)
        factors = np.linspace(1, 8, head // 2, dtype=np.float32)
        tensors.insert(0, OutputTensor("rope_freqs.weight", "", (head // 2,), constant=factors))
        return Tiny(ModelDescription(a, tuple(metadata), tuple(tensors)), MemoryModel(arrays))

    return make


def _expert(experts):
    return (experts,) if experts else ()


@pytest.fixture(scope="session")
def export() -> Callable[..., tuple[TensorRecord, ...]]:
    """Write one file with our writer."""

    def run(tiny: Tiny, name: str, target: Path, *, threads=2, **options) -> tuple[TensorRecord, ...]:
        writer = GgufWriter(tiny.description, target, find_format(name).scheme, **options)
        return run_stream(tiny.model, [writer], tiny.description, threads=threads, progress=Silent())[0]

    return run


@pytest.fixture(scope="session")
def official_quantize() -> Callable[..., None]:
    """`llama_model_quantize`, called as llama-quantize calls it."""
    import llama_cpp

    def run(
        source: Path, target: Path, scheme: str, *, imatrix: Imatrix | None = None, overrides: Sequence[str] = ()
    ) -> None:
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype = int(SCHEMES[scheme][0])
        parameters.nthread = 2
        if overrides:
            pairs = [text.split("=") for text in overrides]
            types = {kind.name.lower(): kind for kind in _all_types()}
            rows = [(pattern.lower().encode(), types[kind.lower()]) for pattern, kind in pairs]
            table = (llama_cpp.llama_model_tensor_override * (len(rows) + 1))()
            for row, (pattern, kind) in zip(table, rows, strict=False):
                row.pattern, row.type = pattern, kind
            parameters.tt_overrides = table
        if imatrix is not None:
            values = {name: np.ascontiguousarray(weights) for name, weights in imatrix.weights.items()}
            data = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
            for entry, (name, weights) in zip(data, values.items(), strict=False):
                entry.name = name.encode()
                entry.data = weights.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
                entry.size = weights.size
            keys = [
                ("quantize.imatrix.file", imatrix.file),
                *(("quantize.imatrix.dataset", text) for text in imatrix.datasets[:1]),
                ("quantize.imatrix.entries_count", len(values)),
                *(("quantize.imatrix.chunks_count", count) for count in [imatrix.chunks] if count > 0),
            ]
            added = (llama_cpp.llama_model_kv_override * (len(keys) + 1))()
            for entry, (key, value) in zip(added, keys, strict=False):
                entry.key = key.encode()
                if isinstance(value, int):
                    entry.tag, entry.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
                else:
                    entry.tag, entry.value.val_str = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()[:127]
            parameters.imatrix, parameters.kv_overrides = data, added
        code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters))
        if code:
            raise RuntimeError(f"llama_model_quantize ended with {code}")

    return run


def _all_types():
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType
