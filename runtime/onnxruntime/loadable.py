"""Check that onnxruntime-genai would load the values of a genai_config.json.

The ranges of numbers are those that onnxruntime-genai 0.18 loads (src/config.cpp).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NOT_LESS: Mapping[str, int | None] = {
    "model.vocab_size": 1, "model.context_length": 1, "model.bos_token_id": None, "model.pad_token_id": None,
    "model.sep_token_id": None, "model.decoder_start_token_id": None,
    "model.decoder.hidden_size": 1, "model.decoder.head_size": 1, "model.decoder.num_attention_heads": 1,
    "model.decoder.num_key_value_heads": 1, "model.decoder.num_hidden_layers": 1,
    "search.max_length": 0, "search.min_length": 0, "search.num_beams": 1, "search.num_return_sequences": 1,
    "search.batch_size": 1, "search.top_k": 0, "search.no_repeat_ngram_size": 0,
}  # fmt: skip
"""32-bit integers, with their minimum values."""
_NUMBERS = frozenset(
    f"search.{name}" for name in ("temperature", "top_p", "repetition_penalty", "length_penalty", "diversity_penalty")
)
_FLAGS = frozenset(f"search.{name}" for name in ("do_sample", "early_stopping", "past_present_share_buffer"))
_TEXTS = frozenset({"model.decoder.session_options.log_id"})
TYPES = frozenset({
    "chatglm", "ernie4_5", "gemma", "gemma2", "gemma3_text", "gemma3_vl_text", "gemma4_text", "gpt2", "gptoss",
    "granite", "granitemoehybrid", "hunyuandensev1", "internlm2", "lfm2", "lfm2_audio_text", "lfm2_moe",
    "lfm2_vl_text", "llama", "mistral", "mistral3_text", "nemotron", "olmo", "phi", "phi3", "phi3small", "phimoe",
    "qwen2", "qwen2_5_vl_text", "qwen3", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_vl_text", "smollm3",
})  # fmt: skip
"""Values of `model.type` that onnxruntime-genai 0.18 loads as a text decoder; it refuses all others."""
_TABLES = frozenset({"search", "model.decoder.session_options"})
_LISTS_OF_TABLES = frozenset({"model.decoder.session_options.provider_options"})
_LARGEST = 2**31 - 1


def check_values(path: Path, values: Mapping[str, object]) -> None:
    """Check the values of genai_config.json for which onnxruntime-genai refuses folders.

    Raises:
        ArtifactError: a value is null, of another type, or out of range; `model.type` is missing or unknown.

    """
    model = values.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    if not isinstance(kind, str) or kind not in TYPES:
        raise ArtifactError(
            f"{path}: model.type is {repr(kind)[:80]}: onnxruntime-genai loads no text decoder of that type",
            next_step=f"export the folder again, or give the type of its architecture: {', '.join(sorted(TYPES))}",
        )
    for key, value in _nodes(values, ""):
        if (wanted := _wanted(key, value)) is not None:
            raise ArtifactError(
                f"{path}: {key} is {repr(value)[:80]}, not {wanted}: onnxruntime-genai does not load it",
                next_step="export the folder again, or restore the genai_config.json of its graph",
            )


def _wanted(key: str, value: object) -> str | None:
    """Return the required value, in words, instead of `value`; None if `value` is valid."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _NOT_LESS:
        least = _NOT_LESS[key]
        least = -_LARGEST if least is None else least
        whole = number and isinstance(value, int) and least <= value <= _LARGEST
        return None if whole else f"a whole number from {least:,} to {_LARGEST:,}"
    if key in _NUMBERS:
        return None if number else "a number"
    if key in _FLAGS:
        return None if isinstance(value, bool) else "true or false"
    if key in _TEXTS:
        return None if isinstance(value, str) else "a text"
    if key in _TABLES:
        return None if isinstance(value, dict) else "a table"
    if key in _LISTS_OF_TABLES:
        listed = isinstance(value, list) and all(isinstance(one, dict) for one in value)
        return None if listed else "a list of tables"
    return None


def _nodes(values: Mapping[str, object], place: str) -> Iterator[tuple[str, object]]:
    """Yield all values, including tables, by their path in the file."""
    for key, value in values.items():
        where = f"{place}.{key}" if place else str(key)
        yield where, value
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield from _nodes(part, where)
