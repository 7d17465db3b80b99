"""What the report says of a probe: the engine, the processor that computed, the proof of the file, the speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.backend import RESUMED, ModelInfo
from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.runtime.prompt_digest import gguf_prompt_digest
from edgeproof.runtime.tokenizer_digest import tokenizer_digest
from edgeproof.runtime.values import count_at, list_at, nonsense, number_at, table_at, text_at

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeproof.runtime.llama.model import Model
    from edgeproof.runtime.probe.launch import Launch
    from edgeproof.runtime.probe.program import Program

DEFAULT_CONTEXT = 8192

WARM_UP = tuple(range(1, 33))
"""Tokens that are scored first: what the report says of the speed comes from them."""


def described(
    info: Mapping[str, object],
    *,
    artifact: Path,
    digest: str,
    tokenizer: Mapping[str, object],
    model: Model,
    launch: Launch,
    context_length: int | None,
    speed: str,
) -> ModelInfo:
    """Check what the probe says of itself, and put it into the report's words.

    Raises:
        ArtifactError: its file is not the one of `digest`.
        BackendError: it does not compute on the CPU alone, or makes no sense.

    """
    theirs = text_at(info.get("sha256"), "the model's sha256")
    if theirs != digest:
        raise ArtifactError(
            f"the probe has another file: sha256 {theirs[:12]}… there, {digest[:12]}… here",
            next_step="gate again: the file is pushed again",
        )
    if info.get("vocabulary") != model.vocabulary_size:
        raise nonsense("the probe's info", "names another vocabulary")
    devices = [text_at(one, "a device") for one in list_at(info.get("devices"), "the devices")]
    if devices != ["CPU"]:
        raise BackendError(f"the probe computes on {', '.join(devices) or 'nothing'}, not on the CPU alone")
    bos = model.bos if model.adds_bos else None
    variant, features = text_at(info.get("variant"), "the variant"), text_at(info.get("features"), "the features")
    return ModelInfo(
        backend="llama.cpp",  # whose numbers these compare with: the baseline's
        engine=text_at(info.get("engine"), "the engine"),
        processor=launch.processor,
        vocabulary=model.vocabulary_size,
        context_length=context_length or min(count_at(info.get("context"), "the context"), DEFAULT_CONTEXT),
        tokenizer_digest=tokenizer_digest(tokenizer, first=bos),
        chat_template=model.chat_template,
        bos=bos,
        options={
            "computed on": f"CPU, probe variant {variant}: {features.strip(' |')}",
            "threads": str(count_at(info.get("threads"), "the threads")),
            "served file, shown": "its sha256",
            RESUMED: str(count_at(info.get("resumed"), "the answers of an interrupted run")),
            "speed at the start": speed,
            "lora": "none",
            **launch.options,
        },
        eos=model.eos,
        prompt_digest=gguf_prompt_digest(artifact),
    )


def measured_speed(program: Program, vocabulary: int) -> str:
    """Score a few tokens; say how fast that went and how much memory the probe has had."""
    tokens = [min(token, vocabulary - 1) for token in WARM_UP]
    program.ask({"id": -1, "score": {"context": tokens, "continuation": tokens[:1]}})
    usage = table_at(program.ask({"usage": True}).get("usage"), "the probe's usage")
    count, seconds, peak = (number_at(usage.get(name), name) for name in ("tokens", "seconds", "peak_rss"))
    speed = f"{count / seconds:,.0f} tokens/s" if seconds else "not measured"
    return f"{speed}, peak memory {peak / 1e6:,.0f} MB"
