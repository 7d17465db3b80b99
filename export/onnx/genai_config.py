"""Writer for `genai_config.json`, onnxruntime-genai's entry file of a folder, equal to its builder's.

Special tokens come from config.json, generation_config.json and the tokenizer, in the builder's order of precedence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import CheckpointError
from edgeproof.export.onnx.tokenizer_files import GENERATION as GENERATION_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.export.onnx.description import OnnxDescription
    from edgeproof.export.onnx.tokenizer_files import TokenizerFiles

MODEL_FILE = "model.onnx"
TYPES: Mapping[str, str] = {
    "Gemma3ForCausalLM": "gemma3_text",
    "Gemma3ForConditionalGeneration": "gemma3_vl_text",
}
"""onnxruntime-genai's model types that are not the class name up to "For", in lower case."""

MARKS: Mapping[str, tuple[str, ...]] = {
    "bot_token_id": ("<tool_call>", "<|tool_call|>"),
    "eot_token_id": ("</tool_call>", "<|/tool_call|>"),
    "bor_token_id": ("<think>",),
    "eor_token_id": ("</think>",),
}
"""Tokens around tool calls and reasoning: the first one in the vocabulary is used."""

SEARCH: Mapping[str, object] = {
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": True,
    "length_penalty": 1.0,
    "max_length": None,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "past_present_share_buffer": True,
    "repetition_penalty": 1.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
}
"""Defaults of the search settings; config.json and `GENERATION` override them."""

FIXED = frozenset({"early_stopping", "max_length", "min_length", "past_present_share_buffer"})
GENERATION = frozenset({"do_sample", "temperature", "top_k", "top_p"})
"""Search settings that are read from generation_config.json."""

FIRST_TOKEN = 1
"""The builder's value without a BOS token: onnxruntime-genai refuses null, and never adds BOS by itself."""


def genai_config(description: OnnxDescription) -> dict[str, object]:
    """Return the content of `genai_config.json`.

    Raises:
        CheckpointError: no end-of-text token is defined.
        TokenizerError: generation_config.json is not a JSON object.

    """
    model, files = description.model, description.tokenizer
    generation = _present(files.read(GENERATION_FILE))
    text = description.config.get("text_config")
    config = {**(text if isinstance(text, dict) else {}), **_present(description.config)}
    settings = config | {key: value for key, value in generation.items() if key in GENERATION}
    tokens = _special_tokens(config | generation, files)
    decoder: dict[str, object] = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": MODEL_FILE,
        "head_size": model.head_dim,
        "hidden_size": model.hidden,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
    }
    kind = TYPES.get(model.class_name, model.class_name.partition("For")[0].lower())
    search = {key: settings.get(key, value) if key not in FIXED else value for key, value in SEARCH.items()}
    search["max_length"] = model.context_length
    marks = {
        key: files.vocabulary[token]
        for key, candidates in MARKS.items()
        for token in [next((token for token in candidates if token in files.vocabulary), None)]
        if token is not None
    }
    return {
        "model": {
            "bos_token_id": tokens["bos"],
            "context_length": model.context_length,
            "decoder": decoder,
            "eos_token_id": tokens["eos"],
            "pad_token_id": tokens["pad"],
            "type": kind,
            "vocab_size": model.vocabulary,
            **marks,
        },
        "search": search,
    }


def _special_tokens(config: Mapping[str, object], files: TokenizerFiles) -> dict[str, object]:
    """Return the ids of the BOS, EOS and padding tokens; the EOS ids include the tokenizer's."""
    bos, eos, pad = (_ids(config.get(f"{which}_token_id")) for which in ("bos", "eos", "pad"))
    named = {which: files.vocabulary.get(files.special_tokens.get(which, "")) for which in ("bos", "eos", "pad")}
    turn_end = named["eos"]
    ends = eos or ([turn_end] if turn_end is not None else [])
    if not ends:
        raise CheckpointError(
            f"neither config.json nor generation_config.json of {files.where} has an eos_token_id, and "
            "tokenizer_config.json names no eos_token: a text would never end",
            next_step="add eos_token_id to config.json",
        )
    fill = pad[0] if pad else named["pad"]
    start = bos[0] if bos else named["bos"]
    if turn_end is not None and turn_end not in ends:
        ends = [turn_end, *ends]
    return {
        "bos": FIRST_TOKEN if start is None else start,
        "eos": ends[0] if len(ends) == 1 else ends,
        "pad": (eos or ends)[0] if fill is None else fill,
    }


def _ids(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, int) and not isinstance(item, bool)]


def _present(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}
