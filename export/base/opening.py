"""Opens a base for the requested formats, and describes the content of each kind of artifact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import write_failed
from edgeproof.contracts.errors import CheckpointError
from edgeproof.contracts.own_names import refuse_unwritable_name
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

    from edgeproof.contracts.tensors import Checkpoint, ModelDescription
    from edgeproof.export.formats import Kind
    from edgeproof.export.merge.merged import MergedModel
    from edgeproof.export.merge.names import MergeTarget
    from edgeproof.export.onnx.description import OnnxDescription
    from edgeproof.export.tokenizer.proof import Proof

Base = FolderCheckpoint | GgufBase | GgufCheckpoint


@dataclass(frozen=True)
class Described:
    """Descriptions made before any weight is read.

    Attributes:
        gguf: description for GGUF formats; None if none is requested.
        onnx: description for ONNX formats; None if none is requested.
        tokenizer: the manifest's entry.
        warnings: warnings for the user.

    """

    gguf: ModelDescription | None = None
    onnx: OnnxDescription | None = None
    tokenizer: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def groups(self) -> dict[str, int]:
        """Return the source tensors that the artifacts need, each with its row group size (see `run_stream`)."""
        plain = dict.fromkeys(self.onnx.sources.values(), 1) if self.onnx else {}
        return plain | (row_groups(self.gguf) if self.gguf else {})


def open_base(
    base: Path, kinds: Collection[Kind], *, texts: Sequence[str] = (), allow_requantize: bool = False
) -> Base:
    """Open a Hugging Face folder, or a GGUF file; for ONNX formats the latter as a Hugging Face checkpoint.

    Raises:
        CheckpointError: the base does not exist, or cannot be opened (see the opening functions).
        UnsupportedError: the base is quantized, or a GGUF of an unsupported family.
        InputError: its name is not UTF-8.

    """
    refuse_unwritable_name(base)
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
        UnsupportedError: a graph does not support the architecture or an option.
        CheckpointError: a tensor is missing, of another shape, or has no place.
        TokenizerError: the tokenizer cannot be proved equal, or lacks the files that an ONNX folder ships.

    """
    onnx = describe_graph(opened, model) if "onnx" in kinds else None
    gguf = describe_gguf(opened, model, name=name) if "gguf" in kinds else None
    warnings = gguf.warnings if gguf else ()
    if isinstance(opened, GgufBase):
        return Described(gguf, onnx, {"proof": "the base's GGUF, unchanged"}, warnings)
    if isinstance(opened, GgufCheckpoint):
        proved = {"proof": opened.proof._asdict(), "files": []}
        return Described(gguf, onnx, proved, (*opened.proof.limits, *warnings))
    files = digest_tokenizer(opened.path)
    if gguf is None:
        return Described(None, onnx, {"proof": "the base's own files, copied", "files": files})
    proof = _prove_tokenizer(gguf, opened.path, scratch, texts)
    return Described(gguf, onnx, {"proof": proof._asdict(), "files": files}, (*proof.limits, *warnings))


def merge_names(opened: Base) -> Mapping[str, MergeTarget] | None:
    """Return where Hugging Face tensors stand in a base, by their names; None where it uses these names itself.

    Raises:
        UnsupportedError: it is not known how the rows of a GGUF's architecture are ordered.

    """
    return opened.targets() if isinstance(opened, GgufBase) else None


def describe_gguf(opened: Base, model: Checkpoint, *, name: str = "model") -> ModelDescription:
    """Describe the GGUF of `model`, a merge over `opened`; its tokenizer is not proved.

    Raises:
        UnsupportedError: an architecture that is not described.
        CheckpointError: a tensor is missing or of another shape.
        TokenizerError: the base's tokenizer cannot be read.

    """
    if isinstance(opened, GgufBase):
        return opened.describe(model.tensors)
    if isinstance(opened, GgufCheckpoint):
        return opened.describe_gguf(model.tensors)
    return describe(model, tokenizer_metadata(opened.path, model.config), name=name)


def describe_graph(opened: Base, model: Checkpoint) -> OnnxDescription:
    """Describe the ONNX graph of `model`, a merge over `opened`, which was opened for ONNX. Raises as the other."""
    assert not isinstance(opened, GgufBase)
    files = (
        tokenizer_files(opened.path, opened.tokenizer_files)
        if isinstance(opened, GgufCheckpoint)
        else read_tokenizer_files(opened.path)
    )
    return describe_onnx(model, files)


def _prove_tokenizer(description: ModelDescription, base: Path, scratch: Path, texts: Sequence[str]) -> Proof:
    """Prove the tokenizer of a GGUF before any weight is read."""
    vocabulary = scratch / "vocabulary.gguf"
    try:
        write_vocab_gguf(description.metadata, description.architecture, vocabulary)
    except OSError as error:
        raise write_failed(vocabulary, error) from error
    proof = prove_tokenizer(base, vocabulary, texts)
    vocabulary.unlink()
    return proof
