"""Manifest of an artifact, `NAME.edge.json`: inputs, options and content.

It holds no timestamps, and no paths except those in the given command: equal inputs give equal manifests. It is named
after the artifact exists, so a manifest never describes a missing file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from edgeproof.contracts.atomic import atomic_write
from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.gguf_split import is_gguf, split_parts
from edgeproof.contracts.parsing import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.contracts.tensors import TensorRecord

SCHEMA = 1
SUFFIX = ".edge.json"
PACKAGES = ("edgeproof", "gguf", "llama-cpp-python", "numpy")
ONNX_PACKAGES = ("onnx",)
BUILDER_PACKAGES = ("onnxruntime-genai",)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""Files that may hold a checkpoint's vocabulary, chat template and special tokens."""


@dataclass(frozen=True)
class FileDigest:
    """A file's name inside its folder, its size in bytes and its sha256."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A base or an adapter: name of the folder or file, digests of the files read."""

    name: str
    files: tuple[FileDigest, ...]


@dataclass(frozen=True)
class Manifest:
    """Content of `NAME.edge.json`.

    Attributes:
        format: "gguf-q4", …; "gguf-lora" for an unmerged adapter.
        artifact: the file that ships. For a folder or a split GGUF, its name, the sum of its files' bytes, and the
            sha256 of `files` as listed by sha256sum, sorted by name.
        effective_bits: stored bits per weight, over all tensors.
        base: the base of the merge.
        adapters: the adapters in merge order.
        adapter_effect: ‖ΔW‖/‖W‖ (Frobenius) over all tensors that an adapter changed; None without adapters.
        tokenizer: the comparisons of the tokenizer's proof, and the digests of its files.
        tensors: all tensors as stored.
        options: options that changed the bytes: imatrix, tensor types, converter.
        warnings: warnings of the export.
        command: the command line as given.
        versions: versions of the packages used; "llama.cpp" is the version and commit of its kernels.
        files: files of an artifact folder.
        survival: the adapters' effect on the stored weights, on a sample of the rows that they touch: share of codes
            moved and share of the change that survives, in total and per tensor (`survival.preflight.Preflight`).
            None without adapters, or if another program wrote the artifact. `export-edge inspect` measures it on the
            file itself.
        training: how base and adapters were trained to forget, where their own files say so
            (`contracts.training.Training`).
        not_shared: with --shared-scales, the matrices that differ numerically between the ONNX folder and the Q4_0
            file.

    """

    format: str
    artifact: FileDigest
    effective_bits: float
    base: Source
    adapters: tuple[Source, ...]
    adapter_effect: float | None
    tokenizer: dict[str, object]
    tensors: tuple[TensorRecord, ...]
    options: dict[str, object]
    warnings: tuple[str, ...]
    command: tuple[str, ...]
    versions: dict[str, str]
    files: tuple[FileDigest, ...] = ()
    survival: dict[str, object] | None = None
    not_shared: tuple[str, ...] | None = None
    training: tuple[dict[str, object], ...] = ()


def digest_artifact(path: Path) -> tuple[FileDigest, tuple[FileDigest, ...]]:
    """Hash an artifact: a file, all parts of a split GGUF, or a folder.

    Returns:
        The digest of the whole, and those of a folder's files or of a split GGUF's parts.

    Raises:
        ArtifactError: the folder holds something other than regular files (a folder, a link); a part is missing or of
            another split.

    """
    entries = artifact_files(path)
    if not path.is_dir() and len(entries) == 1:
        return digest_file(path), ()
    files = tuple(map(digest_file, entries))
    listing = "".join(f"{found.sha256}  {found.file}\n" for found in files)
    whole = FileDigest(path.name, sum(found.bytes for found in files), hashlib.sha256(listing.encode()).hexdigest())
    return whole, files


def artifact_files(path: Path) -> tuple[Path, ...]:
    """List the artifact's files: a folder's, a split GGUF's, or `path` alone; errors as for `digest_artifact`."""
    if not path.is_dir():
        return split_parts(path, ArtifactError) if is_gguf(path) else (path,)
    entries = tuple(sorted(path.iterdir()))
    for entry in entries:
        if entry.is_symlink() or not entry.is_file():
            raise ArtifactError(
                f"{entry} is not a regular file; an artifact's folder holds nothing else",
                next_step="remove it, or export again",
            )
    return entries


def digest_file(path: Path) -> FileDigest:
    """Hash a file, without holding the GIL."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileDigest(path.name, path.stat().st_size, digest)


def digest_source(path: Path, files: Sequence[Path]) -> Source:
    """Hash `files`, which make up the base or adapter at `path`."""
    return Source(path.resolve().name, tuple(digest_file(file) for file in files))


def package_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of the packages that determine an artifact's bytes, and of llama.cpp's kernels."""
    from edgeproof.export.gguf.kernels import kernel_version

    return {package: version(package) for package in packages} | {"llama.cpp": kernel_version()}


def digest_tokenizer(folder: Path) -> tuple[FileDigest, ...]:
    """Hash the tokenizer files of a Hugging Face folder."""
    return tuple(digest_file(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file())


def manifest_path(artifact: Path) -> Path:
    """Return the path of an artifact's manifest, beside it."""
    return artifact.with_name(artifact.name + SUFFIX)


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write `manifest` to `path`; an existing one belongs to the replaced artifact."""
    content = {"schema": SCHEMA} | asdict(manifest)
    content["tensors"] = [record._asdict() for record in manifest.tensors]
    with atomic_write(manifest_path(path), force=True) as file:
        # Bytes of a path that are not UTF-8 are escaped as JSON does.
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")


def read_provenance(artifact: Path, sha256: str) -> dict[str, object] | None:
    """Read the manifest beside `artifact` if there is one.

    Args:
        artifact: the artifact's file or folder.
        sha256: its current digest (`digest_artifact`).

    Returns:
        The manifest's content; None if there is none (provenance unknown).

    Raises:
        ArtifactError: the manifest is damaged, or describes other bytes.

    """
    path = manifest_path(artifact)
    if not path.is_file():
        return None
    try:
        content = parse_json(path.read_bytes())
        said = content["artifact"]["sha256"]
        schema = content["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ArtifactError(
            f"{path} is damaged, or not a manifest of edgeproof: {reason}",
            next_step="export again, or remove the manifest to gate the file with provenance unknown",
        ) from error
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema!r}; this version reads {SCHEMA}", next_step="export again")
    if said != sha256:
        what = "folder" if artifact.is_dir() else "file"
        raise ArtifactError(
            f"{artifact} is not the {what} that its manifest describes: sha256 {sha256[:16]}…, the manifest says "
            f"{str(said)[:16]}…",
            next_step="it was changed or replaced after the export: export again and gate the result",
        )
    return dict(content)
