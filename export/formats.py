"""Registry of the export formats."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol

from edgeproof.contracts.advice import command
from edgeproof.contracts.errors import UnsupportedError
from edgeproof.contracts.tensors import ModelDescription

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import TensorRecord, Writer
    from edgeproof.export.gguf.imatrix import Imatrix
    from edgeproof.export.onnx.description import OnnxDescription


Kind = Literal["gguf", "onnx"]


class OpenWriter(Protocol):
    """Opens a writer of one format from the description of its kind.

    `imatrix` and `overrides` apply to GGUF, and are refused or ignored there as llama.cpp's tools do; `shared_scales`
    gives onnx-int4 llama.cpp's codes, `small_embedding` an untied table of an ONNX folder few bits. The finished
    artifact is left in the folder `inside`, for the caller to rename; without one it is named `target` at once.
    """

    def __call__(
        self,
        description: ModelDescription | OnnxDescription,
        target: Path,
        format: Format,  # noqa: A002 (the word that the command line uses)
        *,
        imatrix: Imatrix | None = None,
        overrides: Sequence[str] = (),
        shared_scales: bool = False,
        small_embedding: bool = False,
        inside: Path | None = None,
        force: bool = False,
    ) -> Writer:
        """Start writing `target`."""


@dataclass(frozen=True)
class Format:
    """An entry of the registry.

    Attributes:
        name: the value of `--format`.
        scheme: llama.cpp's or onnxruntime's name ("Q4_K_M").
        suffix: suffix of the file; "" for a folder.
        nominal_bits: bits per weight for shapes without fallbacks.
        description: one line for the user.
        open: opens the writer.

    """

    name: str
    scheme: str
    suffix: str
    nominal_bits: float
    description: str
    open: OpenWriter

    @property
    def kind(self) -> Kind:
        """Kind of artifact: GGUF (a file) or ONNX (a folder)."""
        return "gguf" if self.suffix else "onnx"


def _gguf(
    description: ModelDescription | OnnxDescription,
    target: Path,
    format: Format,  # noqa: A002 (the word that the command line uses)
    *,
    imatrix: Imatrix | None = None,
    overrides: Sequence[str] = (),
    shared_scales: bool = False,  # noqa: ARG001 (these scales are llama.cpp's already)
    small_embedding: bool = False,  # noqa: ARG001 (it is small already)
    inside: Path | None = None,
    force: bool = False,
) -> Writer:
    from edgeproof.export.gguf.writer import GgufWriter

    assert isinstance(description, ModelDescription)
    return GgufWriter(
        description, target, format.scheme, imatrix=imatrix, overrides=overrides, inside=inside, force=force
    )


def _onnx(
    description: ModelDescription | OnnxDescription,
    target: Path,
    format: Format,  # noqa: A002 (the word that the command line uses)
    *,
    imatrix: Imatrix | None = None,  # noqa: ARG001 (a GGUF beside it may have one)
    overrides: Sequence[str] = (),  # noqa: ARG001 (the same)
    shared_scales: bool = False,
    small_embedding: bool = False,
    inside: Path | None = None,
    force: bool = False,
) -> Writer:
    if find_spec("onnx") is None:
        raise UnsupportedError(f"{format.name} needs the package onnx", next_step="pip install 'edgeproof[onnx]'")
    from edgeproof.export.onnx.writer import OnnxWriter

    assert not isinstance(description, ModelDescription)
    return OnnxWriter(
        description,
        target,
        format.scheme,
        shared_scales=shared_scales,
        small_embedding=small_embedding,
        inside=inside,
        force=force,
    )


FORMATS: Mapping[str, Format] = {
    entry.name: entry
    for entry in (
        Format("gguf-q4", "Q4_K_M", ".gguf", 4.85, "llama.cpp Q4_K_M: 4-bit k-quants, some layers at 6 bits", _gguf),
        Format("gguf-q4_0", "Q4_0", ".gguf", 4.5, "llama.cpp Q4_0: plain 4-bit, blocks of 32, for phones", _gguf),
        Format("gguf-q4_1", "Q4_1", ".gguf", 5.0, "llama.cpp Q4_1: 4-bit with an offset, blocks of 32", _gguf),
        Format("gguf-q4_k_s", "Q4_K_S", ".gguf", 4.6, "llama.cpp Q4_K_S: 4-bit k-quants, nearly everywhere", _gguf),
        Format("gguf-iq4_nl", "IQ4_NL", ".gguf", 4.5, "llama.cpp IQ4_NL: non-linear 4-bit, blocks of 32", _gguf),
        Format("gguf-q8_0", "Q8_0", ".gguf", 8.5, "llama.cpp Q8_0: 8-bit, near float quality", _gguf),
        Format("gguf-f16", "F16", ".gguf", 16.0, "float16 GGUF, for baselines and for llama.cpp's tools", _gguf),
        Format("gguf-f32", "F32", ".gguf", 32.0, "float32 GGUF, exact", _gguf),
        Format("onnx-int4", "onnx-int4", "", 5.0, "ONNX, plain 4-bit, blocks of 32, as onnxruntime-genai's", _onnx),
        Format("onnx-int4-mixed", "onnx-int4-mixed", "", 7.0, "ONNX, 4-bit k-quants, some layers at 8 bits", _onnx),
        Format("onnx-int8", "onnx-int8", "", 9.0, "ONNX, 8-bit, near float quality", _onnx),
        Format("onnx-fp32", "onnx-fp32", "", 32.0, "float32 ONNX, exact; for baselines", _onnx),
    )
}

LORA_FORMAT = "gguf-lora"
"""What an adapter beside an unmerged base is called; it is no format that can be asked for."""

ALIASES: Mapping[str, str] = {"gguf-q4_k_m": "gguf-q4"}


def find_format(name: str) -> Format:
    """Look up a format by name or alias, ignoring case.

    Raises:
        UnsupportedError: no such format; the nearest name is suggested.

    """
    wanted = name.lower()
    wanted = ALIASES.get(wanted, wanted)
    if wanted in FORMATS:
        return FORMATS[wanted]
    near = difflib.get_close_matches(wanted, [*FORMATS, *ALIASES], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UnsupportedError(f"no format {name!r}", next_step=f"{hint}formats: {', '.join(FORMATS)}")


def effective_bits(records: Iterable[TensorRecord]) -> float:
    """Bits per weight of a finished file: tensor bytes × 8 ÷ weights, llama.cpp's BPW (no padding, no header)."""
    weights, size = 0, 0
    for record in records:
        weights += _weights(record)
        size += record.bytes
    return 8 * size / weights


def shape_warning(form: Format, records: Sequence[TensorRecord]) -> str | None:
    """Return a warning, with cause and alternative, if a 4-bit format takes over one bit per weight above its nominal.

    Narrow models do: k-quants need rows that are a multiple of 256, and a tied embedding table is stored in 6 or 8
    bits, a large share where the layers are small.
    """
    if form.nominal_bits > (16 if form.kind == "onnx" else 6):
        return None
    bits = effective_bits(records)
    if bits <= form.nominal_bits + 1:
        return None
    said = f"{form.name} takes {bits:.2f} bits per weight for this shape, not {form.nominal_bits:g}: "
    largest = max(records, key=lambda record: record.bytes)
    share = largest.bytes / sum(record.bytes for record in records)
    if form.kind == "onnx":
        return (
            f"{said}{largest.name} alone is {share:.0%} of the folder, in {largest.type}; an untied "
            "embedding table stays in float32, as in onnxruntime-genai's builder, unless it is stored with few bits: "
            f"{command('small-embedding', format=form.name)}"
        )
    fallbacks = [record for record in records if _fell_back(record)]
    as_q4_0 = effective_bits(
        record._replace(bytes=_weights(record) * 9 // 16) if _is_quantized_in_a_layer(record) else record
        for record in records
    )
    if as_q4_0 <= bits - 0.25:
        return (
            f"{said}{len(fallbacks)} tensors have rows that are not a multiple of 256 and fall back to wider types. "
            f"That costs size, not knowledge; gguf-q4_0 takes {as_q4_0:.2f} and loses more of what the model knows"
        )
    return (
        f"{said}{largest.name} alone is {share:.0%} of the file, in {largest.type}; "
        "no 4-bit format changes that; storing it in 4 bits does: "
        f"{command('tensor-type', format=form.name, tensor=largest.name.removesuffix('.weight'))}"
    )


def _fell_back(record: TensorRecord) -> bool:
    """Whether a k-quant became a wider type because rows are not a multiple of 256, except embedding and output."""
    wider = record.type in {"Q5_0", "Q5_1", "Q8_0"}
    return wider and record.shape[-1] % 256 != 0 and _is_quantized_in_a_layer(record)


def _is_quantized_in_a_layer(record: TensorRecord) -> bool:
    return record.type not in {"F32", "F16"} and record.name not in {"token_embd.weight", "output.weight"}


def _weights(record: TensorRecord) -> int:
    return math.prod(record.shape)
