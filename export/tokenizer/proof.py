"""Proof that a GGUF's tokenizer and chat template give the ids and prompts of its checkpoint.

The checkpoint's library and llama.cpp encode the same texts: the built-in traps (traps.py), markers inside text,
rendered chats, and the caller's texts (a pack's). One differing id is an error.

llama.cpp lacks some features of definitions (`_limits`). A built-in text that differs for such a reason is reported in
`Proof.limits`; a caller's text or a plain chat that differs is always an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.chat import render_chat, template_accepts
from edgeproof.contracts.errors import TokenizerError
from edgeproof.export.tokenizer.chat_template import read_chat_templates
from edgeproof.export.tokenizer.checkpoint_tokenizer import encode_all
from edgeproof.export.tokenizer.definition import WAYS_ROUND, Definition, read_definition, token_text
from edgeproof.export.tokenizer.engine import EngineVocabulary, TokenizeRequest, start_engine
from edgeproof.export.tokenizer.pre_tokenizer import identify_pre_tokenizer
from edgeproof.export.tokenizer.traps import TRAPS, has_marks, is_composed
from edgeproof.export.tokenizer.vocabulary.entries import SENTENCEPIECE_SPACE
from edgeproof.export.tokenizer.vocabulary.sentencepiece import space_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

MARKERS_TRIED = 8
"""Number of markers of each kind tested in texts."""
PLAIN_CHATS = 2
"""The first conversation, with and without the opening of a reply, must be equal in spite of any limit."""
MARKLESS = frozenset({"gpt-4o", "tekken"})
"""Pre-tokenizers whose patterns include combining marks, which llama.cpp's versions omit."""

CHATS: tuple[tuple[dict[str, str], ...], ...] = (
    ({"role": "user", "content": "What is the capital of France?"},),
    ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "  Hi there!  \n"}),
    (
        {"role": "user", "content": "Say 'ja' – twice\n\nplease 👍🏽."},
        {"role": "assistant", "content": "ja ja"},
        {"role": "user", "content": "Thanks"},
    ),
)


class Proof(NamedTuple):
    """The comparisons, all equal.

    Attributes:
        texts: number of texts compared, including the caller's.
        comparisons: number of equal pairs of id lists (a text is encoded with and without parsing markers).
        tokens: number of ids in these lists.
        chats: number of rendered chats compared, as text and as ids.
        chat_starts_with_bos: whether rendered chats begin with BOS; if so, encode them without `add_special`.
        limits: llama.cpp's limits for this tokenizer, one sentence each; show them to the user.

    """

    texts: int
    comparisons: int
    tokens: int
    chats: int
    chat_starts_with_bos: bool
    limits: tuple[str, ...]


class _Case(NamedTuple):
    """`name` identifies the text without quoting it; a `strict` case must be equal in spite of any limit.

    No message quotes a `callers` text or its ids: it may be the erased information.
    """

    name: str
    request: TokenizeRequest
    strict: bool = False
    callers: bool = False


class _Limit(NamedTuple):
    """A limit of the engine, and the test whether a text is affected."""

    sentence: str
    touches: Callable[[str], object]


def prove_tokenizer(folder: Path, gguf: Path, texts: Sequence[str] = ()) -> Proof:
    """Compare the tokenizer in `folder` with that of llama.cpp on `gguf`.

    Args:
        folder: the Hugging Face folder of the GGUF.
        gguf: the artifact, or a file of `write_vocab_gguf`.
        texts: additional texts that must be equal (those of the probe packs).

    Raises:
        TokenizerError: an id, the rendered chat template, or the handling of BOS differs; the message has the text's
            index and both id lists around the first difference (for a caller's text only the position).
        BackendError: llama.cpp cannot load the file or crashed.

    """
    definition = read_definition(folder)
    chats = _rendered_chats(definition)
    cases = [
        *(case for number, text in enumerate(TRAPS) for case in _both(f"built-in text {number}", text)),
        *_marker_cases(definition),
        *(case for number, text in enumerate(texts) for case in _both(f"text {number}", text, callers=True)),
        *(
            _Case(
                f"chat {number}", TokenizeRequest(prompt, add_special=False, parse_special=True), number < PLAIN_CHATS
            )
            for number, prompt in enumerate(chats)
        ),
    ]
    with start_engine(gguf, [case.request for case in cases]) as engine:
        expected = encode_all(definition, [case.request for case in cases])
        reply = engine.reply()
    limits = _limits(definition)
    met: dict[str, None] = {}
    equal: list[int] = []
    for number, (case, ours, theirs) in enumerate(zip(cases, expected, reply.ids, strict=True)):
        if ours == list(theirs):
            equal.append(number)
            continue
        reasons = [limit.sentence for limit in limits if limit.touches(case.request.text)]
        if case.strict or not reasons:
            raise _difference(folder, case, ours, list(theirs))
        met.update(dict.fromkeys(reasons))
    _compare_chats(definition, chats, reply.vocabulary)
    starts = _check_bos(folder, expected[len(cases) - len(chats) :], reply.vocabulary)
    return Proof(
        texts=len({cases[number].request.text for number in equal}),
        comparisons=len(equal),
        tokens=sum(len(expected[number]) for number in equal),
        chats=len(chats),
        chat_starts_with_bos=starts,
        limits=tuple(met),
    )


def _both(name: str, text: str, *, callers: bool = False) -> tuple[_Case, _Case]:
    """Return two cases of a text: Hugging Face's default encoding, and one without added tokens and markers."""
    return (
        _Case(name, TokenizeRequest(text, add_special=True, parse_special=True), callers, callers),
        _Case(name, TokenizeRequest(text, add_special=False, parse_special=False), callers, callers),
    )


def _marker_cases(definition: Definition) -> Iterable[_Case]:
    """Yield cases of markers alone, between letters, among spaces, doubled, and at a line's end."""
    roles = definition.special_texts
    tokens = sorted(definition.added.values(), key=lambda token: (token.content not in roles, token.id))
    kinds = {
        "special": [token for token in tokens if token.special],
        "plain": [token for token in tokens if not token.special],
    }
    for kind, members in kinds.items():
        chosen = members if len(members) <= MARKERS_TRIED else [*members[: MARKERS_TRIED - 2], *members[-2:]]
        for token in chosen:
            marker = token.content
            for text in (marker, f"a{marker}b", f"Hi {marker} there", f"{marker}{marker}\n{marker} \n x"):
                both = _both(f"a text with the {kind} token {token.id}", text)
                # llama.cpp treats some plain tokens as special by their form: ids agree only if markers are parsed.
                yield from both if kind == "special" else both[:1]


def _limits(definition: Definition) -> list[_Limit]:
    """Return llama.cpp's limits for this definition."""
    limits = []
    if definition.byte_level and definition.pipeline is not None:
        pre = identify_pre_tokenizer(definition.pipeline, "")
        if pre.composes:
            sentence = (
                "the checkpoint normalizes text to Unicode's NFC before encoding, llama.cpp does not: "
                "decomposed letters (e + combining accent) get other ids"
            )
            limits.append(_Limit(sentence, lambda text: not is_composed(text)))
        if pre.name in MARKLESS:
            sentence = (
                f"llama.cpp's pre-tokenizer {pre.name} cuts words at combining marks: "
                "Thai, Hindi, Khmer or vowelled Arabic can get other ids"
            )
            limits.append(_Limit(sentence, has_marks))
    else:
        if any(SENTENCEPIECE_SPACE in token.content for token in definition.added.values()):
            sentence = f"llama.cpp takes the character {SENTENCEPIECE_SPACE} (U+2581) in a text for no space"
            limits.append(_Limit(sentence, lambda text: SENTENCEPIECE_SPACE in text))
        if space_before(definition) == "unless there":
            sentence = (
                "llama.cpp puts a space before every text, the checkpoint's tokenizer before one that has none: "
                "a text that begins with a space (also after a marker) gets one more"
            )
            markers = _any_of(token.content for token in definition.added.values())
            limits.append(_Limit(sentence, re.compile(f"(?:^|{markers})[ {SENTENCEPIECE_SPACE}]").search))
    before = _any_of(token.content for token in definition.added.values() if token.lstrip)
    after = _any_of(token.content for token in definition.added.values() if token.rstrip)
    sentence = "markers of the checkpoint's tokenizer strip adjacent spaces, llama.cpp keeps them"
    limits.append(_Limit(sentence, re.compile(rf"\s(?:{before})|(?:{after})\s").search))
    return limits


def _any_of(texts: Iterable[str]) -> str:
    """Return a pattern for any of the texts, the longest first; without texts, one that never matches."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)"


def _difference(folder: Path, case: _Case, ours: list[int], theirs: list[int]) -> TokenizerError:
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    window = slice(max(0, at - 3), at + 5)
    switches = f"add_special={case.request.add_special}, parse_special={case.request.parse_special}"
    here, there = ("", "") if case.callers else (f"{ours[window]} ", f"{theirs[window]} ")
    return TokenizerError(
        f"{case.name} ({switches}) is tokenized differently from token {at} on: the tokenizer in {folder} gives "
        f"{here}({len(ours)} tokens), llama.cpp {there}({len(theirs)} tokens)",
        next_step="normalize the text to NFC" if not is_composed(case.request.text) else WAYS_ROUND,
    )


def _rendered_chats(definition: Definition) -> list[str]:
    template = read_chat_templates(definition).default
    if template is None:
        return []
    bos, eos = _own_text(definition, "bos"), _own_text(definition, "eos")
    return [
        render_chat(template, chat, bos_token=bos, eos_token=eos, add_generation_prompt=prompt)
        for chat, prompt in _accepted(template, bos, eos)
    ]


def _accepted(template: str, bos: str, eos: str) -> list[tuple[tuple[dict[str, str], ...], bool]]:
    chats = [chat for chat in CHATS if template_accepts(template, chat, bos_token=bos, eos_token=eos)]
    if not chats:
        raise TokenizerError(
            f"the chat template refuses all of {len(CHATS)} plain conversations, even a single user turn",
            next_step="look at its raise_exception calls: a template for tools or images only cannot be probed",
        )
    return [(chat, prompt) for chat in chats for prompt in (True, False)]


def _own_text(definition: Definition, role: str) -> str:
    return token_text((definition.settings or {}).get(f"{role}_token")) or ""


def _compare_chats(definition: Definition, chats: list[str], stored: EngineVocabulary) -> None:
    """Compare the chats rendered by the GGUF's template with those rendered by the folder's."""
    template = read_chat_templates(definition).default
    if (template is None) != (stored.chat_template is None):
        here, there = ("a", "none") if template is not None else ("no", "one")
        raise TokenizerError(
            f"{definition.folder} has {here} chat template, the GGUF has {there}",
            next_step="export again from this folder",
        )
    if template is None or stored.chat_template is None:
        return
    bos, eos = (token[1] if token is not None else "" for token in (stored.bos, stored.eos))
    own_bos, own_eos = _own_text(definition, "bos"), _own_text(definition, "eos")
    for number, (chat, prompt) in enumerate(_accepted(template, own_bos, own_eos)):
        rendered = render_chat(stored.chat_template, chat, bos_token=bos, eos_token=eos, add_generation_prompt=prompt)
        if rendered != chats[number]:
            at = next(i for i in range(len(rendered) + 1) if rendered[: i + 1] != chats[number][: i + 1])
            raise TokenizerError(
                f"chat {number} is rendered differently from character {at} on: the folder gives "
                f"{chats[number][at : at + 40]!r}, the GGUF {rendered[at : at + 40]!r}",
                next_step="check bos_token and eos_token of tokenizer_config.json against config.json",
            )


def _check_bos(folder: Path, chats: list[list[int]], stored: EngineVocabulary) -> bool:
    """Return whether the ids of all chats begin with BOS; BOS twice is an error."""
    if stored.bos is None or not chats:
        return False
    index, text = stored.bos
    for number, ids in enumerate(chats):
        if ids[:2] == [index, index]:
            raise TokenizerError(
                f"{folder}: the chat template begins chat {number} with BOS twice ({text!r}, id {index})",
                next_step="remove one bos_token from the template",
            )
    return all(ids[:1] == [index] for ids in chats)
