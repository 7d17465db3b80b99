"""Opens a base for the formats asked for, and describes what each kind of artifact is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.errors import CheckpointError
from edgeproof.export.architectures import describe
from edgeproof.export.artifact.manifest import digest_tokenizer
from edgeproof.export.base.checkpoint import FolderCheckpoint, open_checkpoint
from edgeproof.export.base.gguf_checkpoint import GgufCheckpoint, open_gguf_checkpoint
from edgeproof.export.base.gguf_file import GgufBase, open_gguf_base
from edgeproof.export.onnx.description import describe_onnx
from edgeproof.export.onnx.tokenizer_files import read_tokenizer_files, tokenizer_files
from edgeproof.export.stream import row_groups
from edgeproof.export.tokenizer.metadata import tokenizer_metadata
from edgeproof.export.tokenizer.proof import prove_tokenizer
from edgeproof.export.tokenizer.vocabulary_file import write_vocab_gguf

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import ModelDescription
    from edgeproof.export.formats import Kind
    from edgeproof.export.merge.merged import MergedModel
    from edgeproof.export.onnx.description import OnnxDescription
    from edgeproof.export.tokenizer.proof import Proof

Base = FolderCheckpoint | GgufBase | GgufCheckpoint


@dataclass(frozen=True)
class Described:
    """What was found out before any weight is read.

    Attributes:
        gguf: for GGUF formats; None where none was asked for.
        onnx: the same for ONNX formats.
        tokenizer: for the manifest.
        warnings: for people.

    """

    gguf: ModelDescription | None = None
    onnx: OnnxDescription | None = None
    tokenizer: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def groups(self) -> dict[str, int]:
        """Return the source tensors that the artifacts need, with what their chunks' rows must be a multiple of."""
        plain = dict.fromkeys(self.onnx.sources.values(), 1) if self.onnx else {}
        return plain | (row_groups(self.gguf) if self.gguf else {})


def open_base(
    base: Path, kinds: Collection[Kind], *, texts: Sequence[str] = (), allow_requantize: bool = False
) -> Base:
    """Open a Hugging Face folder, or a GGUF file; for ONNX that is presented as a Hugging Face checkpoint.

    Raises:
        CheckpointError: it does not exist, or as the opening functions say.
        UnsupportedError: it is quantized, or a GGUF of a family that is not known well enough.

    """
    if base.is_dir():
        return open_checkpoint(base)
    if not base.exists():
        raise CheckpointError(
            f"the base {base} does not exist", next_step="give a Hugging Face folder or a float GGUF file"
        )
    if "onnx" in kinds:
        return open_gguf_checkpoint(base, texts=texts, allow_requantize=allow_requantize)
    return open_gguf_base(base, allow_requantize=allow_requantize)


def describe_base(
    opened: Base,
    model: MergedModel,
    kinds: Collection[Kind],
    *,
    name: str,
    scratch: Path,
    texts: Sequence[str] = (),
) -> Described:
    """Describe `model`, a merge over `opened`, for every kind of artifact in `kinds`.

    Raises:
        UnsupportedError: an architecture or option that a graph does not have.
        CheckpointError: a tensor is missing, of another shape, or has no place.
        TokenizerError: the tokenizer cannot be proved equal, or has not the files that an ONNX folder ships.

    """
    if isinstance(opened, GgufBase):
        gguf = opened.describe(model.tensors)
        return Described(gguf, None, {"proof": "the base's GGUF, unchanged"}, gguf.warnings)
    if isinstance(opened, GgufCheckpoint):
        onnx = describe_onnx(model, tokenizer_files(opened.path, opened.tokenizer_files))
        stored = opened.describe_gguf(model.tensors) if "gguf" in kinds else None
        tokenizer: dict[str, object] = {"proof": opened.proof._asdict(), "files": []}
        return Described(stored, onnx, tokenizer, (*opened.proof.limits, *(stored.warnings if stored else ())))
    onnx_description = describe_onnx(model, read_tokenizer_files(opened.path)) if "onnx" in kinds else None
    files = digest_tokenizer(opened.path)
    if "gguf" not in kinds:
        return Described(None, onnx_description, {"proof": "the base's own files, copied", "files": files})
    description, proof = _describe_gguf(model, opened.path, name, scratch, texts)
    proved: dict[str, object] = {"proof": proof._asdict(), "files": files}
    return Described(description, onnx_description, proved, (*proof.limits, *description.warnings))


def _describe_gguf(
    model: MergedModel, base: Path, name: str, scratch: Path, texts: Sequence[str]
) -> tuple[ModelDescription, Proof]:
    """Describe the GGUF and prove its tokenizer before any weight is read."""
    description = describe(model, tokenizer_metadata(base, model.config), name=name)
    vocabulary = scratch / "vocabulary.gguf"
    try:
        write_vocab_gguf(description.metadata, description.architecture, vocabulary)
    except OSError as error:
        raise write_failed(vocabulary, error) from error
    proof = prove_tokenizer(base, vocabulary, texts)
    vocabulary.unlink()
    return description, proof
