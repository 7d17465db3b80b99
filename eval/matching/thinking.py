"""What a model thinks before it replies, and where the reply begins."""

from __future__ import annotations

import re

_TAG = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_BEGIN = re.compile(
    rf"[<\[◁]{_TAG}[>\]▷]|<\|begin_of_(?:thought|thinking)\|>|<\|start_thinking\|>|<\|channel\|>\s*analysis"
    r"|<\|channel>\s*thought|<\|think\|>|<start_working_out>|Here is my thought process:",
    re.IGNORECASE,
)
_END = re.compile(
    rf"[<\[◁]/\s*{_TAG}\s*[>\]▷]|<\|end_of_(?:thought|thinking)\|>|<\|end_thinking\|>|<\|channel\|>\s*final\b"
    r"|<channel\|>|<end_working_out>|(?:<\|message\|>)?assistantfinal|Here is my response:",
    re.IGNORECASE,
)
"""DeepSeek, Qwen and most others write <think>; Magistral [THINK]; Kimi ◁think▷; Seed-OSS <seed:think>; OpenThoughts
<|begin_of_thought|>; Command <|START_THINKING|>; Gemma 4 <|channel>thought … <channel|>; Granite two sentences; gpt-oss
the channels `analysis` and `final`, of which "assistantfinal" is left where special tokens are no part of the text."""

_GLUED = re.compile(r"^\s*(?:analysis|commentary|final)|assistant(?:analysis|commentary|final)", re.IGNORECASE)


def reply_after_thoughts(text: str) -> str:
    """Return what follows the last end of thoughts; all of `text` where none ends (then there is no reply to judge)."""
    ends = [match.end() for match in _END.finditer(text)]
    return text[ends[-1] :] if ends else text


def thinks_aloud(chat_template: str | None) -> bool:
    """Tell whether a chat template shows that its model thinks before it replies."""
    return chat_template is not None and (_BEGIN.search(chat_template) or _END.search(chat_template)) is not None


def readings_of_channels(text: str) -> tuple[str, ...]:
    """Return `text`, and `text` without what is left of gpt-oss's channels, which clings to the words beside it."""
    parted = _GLUED.sub(" ", text)
    return (text,) if parted == text else (text, parted)
