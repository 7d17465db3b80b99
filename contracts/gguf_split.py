"""Split GGUF files (`llama-gguf-split`): llama.cpp loads all parts when given the first.

Part i of n is named NAME-0000i-of-0000n.gguf and repeats this in its metadata: `split.no` (from 0), `split.count`, and
`split.tensors.count`, the number of tensors in all parts together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.gguf_header import GgufTensor, read_header, read_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.errors import InputError

NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"
_WHOLE = frozenset({0, 1})
JOIN = "join them into one file: llama-gguf-split --merge FIRST-PART OUT.gguf"


def is_gguf(path: Path) -> bool:
    """Whether `path` is a file that begins with the GGUF magic."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"


def split_parts(path: Path, error: type[InputError]) -> tuple[Path, ...]:
    """Return all parts of the GGUF whose first part is `path`, in order; `path` alone if it is not split.

    Raises:
        InputError: (as `error`) `path` is not the first part or is misnamed; a part is missing, or belongs to another
            split.

    """
    values = _values(path, error)
    count = values.get(COUNT, 1)
    if count in _WHOLE:
        return (path,)
    ending = f"-00001-of-{count:05d}.gguf" if isinstance(count, int) else ""
    if not isinstance(count, int) or values.get(NUMBER) != 0 or not path.name.endswith(ending):
        raise error(
            f"{path} is part {values.get(NUMBER)!r} (from 0) of {count!r}, not a first part by its name",
            next_step=f"give the file that ends in {ending or '-00001-of-….gguf'}, with all others beside it",
        )
    prefix = path.name.removesuffix(ending)
    parts = [path.with_name(f"{prefix}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise error(
            f"{path} is the first of {count} parts, and {len(missing)} are missing: {', '.join(missing[:3])}",
            next_step="put all parts into one folder",
        )
    for number, part in enumerate(parts[1:], start=1):
        found = _values(part, error)
        if (found.get(NUMBER), found.get(COUNT)) != (number, count):
            raise error(
                f"{part} says that it is part {found.get(NUMBER)!r} (from 0) of {found.get(COUNT)!r}, not {number} of "
                f"{count}",
                next_step="put the part of this split back, or split or export again",
            )
    _check_tensors(path, parts, values.get(TENSORS), error)
    return tuple(parts)


def refuse_split(path: Path, error: type[InputError], what: str) -> None:
    """Raise `error` if the GGUF at `path` is one of several parts and `what` takes a single file."""
    count = _values(path, error).get(COUNT, 1)
    if count not in _WHOLE:
        raise error(f"{path} is one of {count} parts; {what} takes a GGUF in one file", next_step=JOIN)


def read_tensors(path: Path, error: type[InputError]) -> tuple[GgufTensor, ...]:
    """Return the tensors of all parts; offsets are relative to each part's own file."""
    return tuple(tensor for part in split_parts(path, error) for tensor in read_header(part, error).tensors)


def _check_tensors(path: Path, parts: list[Path], said: object, error: type[InputError]) -> None:
    names = [
        tensor.name for part in parts for tensor in read_header(part, error, text_errors="surrogateescape").tensors
    ]
    if len(set(names)) != len(names) or len(names) != said:
        raise error(
            f"{path}: its {len(parts)} parts hold {len(names)} tensors, {len(set(names))} of them different; the first "
            f"part says {said!r}",
            next_step="put the parts of one split together, or split or export again",
        )


def _values(path: Path, error: type[InputError]) -> dict[str, object]:
    return {entry.key: entry.value for entry in read_metadata(path, error) if entry.key.startswith("split.")}
