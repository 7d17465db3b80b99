"""Separation of a model's reasoning from its reply."""

from __future__ import annotations

import re

_TAG = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_BEGIN = re.compile(
    rf"[<\[◁]{_TAG}[>\]▷]|<\|begin_of_(?:thought|thinking)\|>|<\|start_thinking\|>|<\|channel\|>\s*analysis"
    r"|<\|channel>\s*thought|<\|think\|>|<start_working_out>|Here is my thought process:",
    re.IGNORECASE,
)
END = re.compile(
    rf"[<\[◁]/\s*{_TAG}\s*[>\]▷]|<\|end_of_(?:thought|thinking)\|>|<\|end_thinking\|>|<\|channel\|>\s*final\b"
    r"|<channel\|>|<end_working_out>|(?:<\|message\|>)?assistantfinal|Here is my response:",
    re.IGNORECASE,
)
"""DeepSeek, Qwen and most others write <think>; Magistral [THINK]; Kimi ◁think▷; Seed-OSS <seed:think>; OpenThoughts
<|begin_of_thought|>; Command <|START_THINKING|>; Gemma 4 <|channel>thought … <channel|>; Granite two sentences; gpt-oss
the channels `analysis` and `final`, of which "assistantfinal" remains in text without special tokens."""

_GLUED = re.compile(r"^\s*(?:analysis|commentary|final)|assistant(?:analysis|commentary|final)", re.IGNORECASE)


def reply_after_thoughts(text: str) -> str:
    """Return the text after the last end of reasoning; all of `text` if none ends (there is then no reply to judge)."""
    ends = [match.end() for match in END.finditer(text)]
    return text[ends[-1] :] if ends else text


def thinks_aloud(chat_template: str | None) -> bool:
    """Whether a chat template shows that its model writes reasoning before the reply."""
    return chat_template is not None and (_BEGIN.search(chat_template) or END.search(chat_template)) is not None


def readings_of_channels(text: str) -> tuple[str, ...]:
    """Return `text`, and `text` without the remains of gpt-oss's channel markers, which adjoin words."""
    parted = _GLUED.sub(" ", text)
    return (text,) if parted == text else (text, parted)
