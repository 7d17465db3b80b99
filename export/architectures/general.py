"""GGUF's `general.*` keys, read from the model card and the generation settings by the official gguf package.

The official converter also reads the folder's name, so a moved checkpoint gives another file; here the bytes do not
depend on the path. The name is the caller's, else the model card's, else the one that `config.json` was saved under,
else the kind of model. The official converter takes basename, version and size from the folder's name; here basename
and version come from the model card or are left out, and the size is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeproof.contracts.errors import CheckpointError
from edgeproof.contracts.parsing import parse_json
from edgeproof.contracts.tensors import MetadataEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEXTS = frozenset({"license", "tags", "pipeline_tag", "language", "languages"})
"""Keys of model cards that hold a string or a list of strings."""

WHOLE = frozenset({"top_k", "penalty_last_n", "mirostat"})
"""Sampling settings that are integers."""


def general_metadata(
    folder: Path, config: Mapping[str, object], *, name: str | None, architecture: str, parameters: int
) -> tuple[list[MetadataEntry], list[str]]:
    """Return the entries from `general.type` to `general.languages`, and warnings.

    `parameters`: the number of weights in the file, for `general.size_label`.

    Raises:
        CheckpointError: `generation_config.json` is not JSON, or a sampling setting in it is not a number.

    """
    import gguf

    warnings: list[str] = []
    card = _model_card(folder, warnings)
    saved_under = config.get("_name_or_path")
    settings = {"_name_or_path": saved_under} if isinstance(saved_under, str) else {}
    metadata = gguf.Metadata.apply_metadata_heuristic(gguf.Metadata(), card, settings, None, parameters)
    _add_sampling(metadata, folder)
    metadata.name = name or metadata.name or str(config.get("model_type") or architecture)
    if metadata.size_label is None:
        metadata.size_label = gguf.size_label(parameters, parameters, 0, 0)
    writer = gguf.GGUFWriter(path=None, arch=architecture)
    writer.add_type(gguf.GGUFType.MODEL)
    metadata.set_gguf_meta_model(writer)
    entries = [
        MetadataEntry(key, value.value, value.type.name, _item_kind(gguf, value))
        for key, value in writer.kv_data[0].items()
        if key != gguf.Keys.General.ARCHITECTURE
    ]
    return [entry for entry in entries if _is_writable(entry, warnings)], warnings


def _model_card(folder: Path, warnings: list[str]) -> dict[str, Any]:
    import gguf

    try:
        card: dict[str, Any] = gguf.Metadata.load_model_card(folder)
    except (gguf.metadata.yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        warnings.append(f"{folder / 'README.md'}: its front matter cannot be read ({line}); authorship is left out")
        return {}
    return {key: value for key, value in card.items() if key not in TEXTS or _is_text(key, value, warnings)}


def _is_text(key: str, value: object, warnings: list[str]) -> bool:
    """Whether the value is text, with a warning if not: YAML, for example, reads the language `no` as false."""
    values = value if isinstance(value, list) else [value]
    if value is None or all(isinstance(one, str) for one in values):
        return True
    warnings.append(f"README.md: {key} is {value!r}, which is not text; it is left out")
    return False


def _add_sampling(metadata: Any, folder: Path) -> None:
    """Copy the recommended sampling settings of `generation_config.json`."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return
    try:
        settings = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}", next_step="fix or remove it") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path} holds no object", next_step="fix or remove it")
    # Hugging Face's key and the attribute of gguf.Metadata; the first of two keys with one meaning wins.
    for key, attribute in (
        ("top_k", "sampling_top_k"),
        ("top_p", "sampling_top_p"),
        ("min_p", "sampling_min_p"),
        ("xtc_probability", "sampling_xtc_probability"),
        ("xtc_threshold", "sampling_xtc_threshold"),
        ("temperature", "sampling_temp"),
        ("penalty_last_n", "sampling_penalty_last_n"),
        ("repetition_penalty", "sampling_penalty_repeat"),
        ("penalty_repeat", "sampling_penalty_repeat"),
        ("mirostat", "sampling_mirostat"),
        ("mirostat_tau", "sampling_mirostat_tau"),
        ("mirostat_eta", "sampling_mirostat_eta"),
    ):
        value = settings.get(key)
        if value is None:
            continue
        kind = int if key in WHOLE else (int, float)
        if not isinstance(value, kind) or isinstance(value, bool) or not abs(value) < 2**31:
            wanted = "a whole number" if key in WHOLE else "a number"
            raise CheckpointError(f"{path}: {key} is {value!r}, not {wanted}", next_step="fix or remove it")
        setattr(metadata, attribute, value)
    sequence = settings.get("sequence")
    if isinstance(sequence, str):
        metadata.sampling_sequence = sequence


def _item_kind(gguf: Any, value: Any) -> str | None:
    if value.type.name != "ARRAY":
        return None
    item = value.sub_type or gguf.GGUFValueType.get_type(value.value[0])
    return str(item.name)


def _is_writable(entry: MetadataEntry, warnings: list[str]) -> bool:
    return entry.kind != "STRING" or _is_text(entry.key, entry.value, warnings)
