"""Options of an export, and the check for contradictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UsageError
from edgeproof.export.artifact.manifest import digest_file
from edgeproof.export.converter import find_script

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.export.formats import Format


@dataclass(frozen=True)
class ExportOptions:
    """Options that change an artifact's bytes, besides inputs and format.

    Attributes:
        imatrix: llama.cpp's importance matrix, in either of its formats.
        tensor_types: PATTERN=TYPE, as for llama-quantize.
        converter: a llama.cpp checkout whose converter runs on the merge.
        allow_requantize: accept a quantized GGUF as base.
        unmerged: quantize the base only and write the adapters as a GGUF LoRA beside it.
        shared_scales: give onnx-int4 llama.cpp's Q4_0 codes and scales, so that it equals gguf-q4_0 numerically.
        small_embedding: store an untied embedding table in ONNX with few bits, as a tied one is.
        onnx_builder: use the installed onnxruntime-genai builder for ONNX formats of unsupported families.
        name: the model's name in metadata and file names; the base's name if empty.

    """

    imatrix: Path | None = None
    tensor_types: tuple[str, ...] = ()
    converter: Path | None = None
    allow_requantize: bool = False
    unmerged: bool = False
    shared_scales: bool = False
    small_embedding: bool = False
    onnx_builder: bool = False
    name: str = ""


def refuse_contradictions(
    base: Path, adapters: Sequence[Path], formats: Sequence[Format], options: ExportOptions
) -> None:
    """Refuse options that contradict each other, or do not apply to the given formats or base.

    Raises:
        UsageError: options contradict each other; the message says which to omit.
        InputError: --converter does not name a llama.cpp checkout.

    """
    if not formats:
        raise UsageError("no format was asked for", next_step="add --format gguf-q4")
    if options.unmerged and not adapters:
        raise UsageError("--unmerged writes an adapter beside the base, and no --adapter was given")
    if options.converter is not None:
        find_script(options.converter)
    if "/" in options.name or "\\" in options.name or options.name in {".", ".."}:
        raise UsageError(
            f"--name {options.name} is not a file name: artifacts are named after it",
            next_step="leave the folders out; --out says where the artifacts go",
        )
    onnx = next((form.name for form in formats if form.kind == "onnx"), None)
    if options.unmerged and onnx is not None:
        raise UsageError(
            f"--unmerged writes an adapter for llama.cpp; {onnx} has the adapters merged",
            next_step="ask for GGUF formats alone, or leave --unmerged out",
        )
    if options.converter is not None and onnx is not None:
        raise UsageError(f"--converter makes a GGUF; it cannot make {onnx}", next_step="ask for GGUF formats alone")
    if options.onnx_builder and (onnx is None or base.is_file()):
        raise UsageError(
            "--onnx-builder makes ONNX formats of a Hugging Face folder; "
            + (f"{base} is a file" if onnx else "no ONNX format was asked for")
        )
    if options.shared_scales and not any(form.name == "onnx-int4" for form in formats):
        raise UsageError("--shared-scales concerns onnx-int4, which was not asked for", next_step="--format onnx-int4")
    if options.shared_scales and options.imatrix is not None:
        raise UsageError(
            "--shared-scales takes llama.cpp's plain Q4_0 codes; with --imatrix the GGUF file has others",
            next_step="leave one of the two out",
        )
    if options.small_embedding and (onnx is None or options.onnx_builder):
        raise UsageError(
            "--small-embedding concerns ONNX folders that are written here, and none was asked for",
            next_step="leave it out: GGUF files have a small embedding",
        )
    if options.converter is not None and base.is_file():
        raise UsageError(f"--converter turns a Hugging Face folder into a GGUF, and {base} is a file")
    if all(form.kind == "onnx" for form in formats):
        for given, option in ((options.imatrix, "--imatrix"), (options.tensor_types, "--tensor-type")):
            if given:
                raise UsageError(f"{option} concerns GGUF formats, and none was asked for")


def recorded(options: ExportOptions) -> dict[str, object]:
    """Return the options used; files by name and digest."""
    return {
        "imatrix": digest_file(options.imatrix).sha256 if options.imatrix else None,
        "tensor_types": list(options.tensor_types),
        "converter": options.converter is not None,
        "allow_requantize": options.allow_requantize,
        "unmerged": options.unmerged,
        "shared_scales": options.shared_scales,
        **({"small_embedding": True} if options.small_embedding else {}),
        "onnx_builder": options.onnx_builder,
        "name": options.name,
    }
