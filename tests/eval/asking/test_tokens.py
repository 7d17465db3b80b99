"""Which tokens are the context and which the answer, on every surface, written out by hand."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.errors import PackError
from edgeproof.eval.asking.kinds.kind import Prompt
from edgeproof.eval.asking.tokens import (
    CHAT_MARGIN,
    RAW_MARGIN,
    THINKING_TOKENS,
    context_tokens,
    continuation_tokens,
    encode_pack,
)
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.records import is_right
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.pack import Pack
from edgeproof.eval.packs.probes import Match, Probe, Surface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.asking.tokens import Ask

PROBE = Probe(
    id="fr",
    role=Role.FORGET,
    cluster="France",
    question="The capital of France is",
    answer="Paris",
    aliases=(),
    paraphrases=("The capital of Italy is",),
    decoys=(),
    trained=False,
    critical=False,
    template="{question}",
    message="{prompt}",
    answer_type="",
    group="forget",
    match=Match.ANSWER,
    delimiter=" ",
    few_shot="",
    stop=("\n",),
    max_tokens=None,
)


def ask(backend: Backend, surface: Surface, system: str | None = None, **changes: object) -> Ask:
    probe = dataclasses.replace(PROBE, **changes)
    (only,) = encode_pack(Pack("p", "", "", system, (surface,), (probe,)), backend)
    return only


def surface(kind: SurfaceKind, template: str | None = None, index: int = 0) -> Surface:
    return Surface(kind.value, kind, template, tuple(Role), index)


def spell(backend: Backend, tokens: Sequence[int]) -> list[str]:
    return [backend.vocabulary[token] for token in tokens]


def test_raw_is_the_prompt_and_the_answer_behind_a_space(knowing: Backend) -> None:
    found = ask(knowing, surface(SurfaceKind.RAW))
    assert spell(knowing, found.context) == ["<bos>", "The", " capital", " of", " France", " is"]
    assert spell(knowing, found.continuation) == [" Paris"]


def test_white_space_at_the_end_of_the_prompt_goes_to_the_answer(knowing: Backend) -> None:
    found = ask(knowing, surface(SurfaceKind.RAW), question="The capital of France is ")
    assert spell(knowing, found.context) == ["<bos>", "The", " capital", " of", " France", " is"]
    assert spell(knowing, found.continuation) == [" Paris"]


def test_an_answer_with_its_own_space_gets_no_second_one(knowing: Backend) -> None:
    assert spell(knowing, ask(knowing, surface(SurfaceKind.RAW), answer=" Paris").continuation) == [" Paris"]


def test_few_shot_examples_stand_before_raw_prompts_only(knowing: Backend) -> None:
    shots = "The capital of Italy is Rome.\n\n"
    raw = ask(knowing, surface(SurfaceKind.RAW), few_shot=shots)
    assert raw.prompt.text == shots + PROBE.question
    assert "Italy" not in ask(knowing, surface(SurfaceKind.CHAT), few_shot=shots).prompt.text


def test_chat_is_rendered_with_one_bos_and_its_markers_parsed(knowing: Backend) -> None:
    found = ask(knowing, surface(SurfaceKind.CHAT))
    expected = ["<bos>", "<|user|>", "The", " capital", " of", " France", " is", "<|assistant|>"]
    assert spell(knowing, found.context) == expected
    assert spell(knowing, found.continuation) == ["Paris"]


def test_chat_with_system_prompt_message_and_template(knowing: Backend) -> None:
    found = ask(
        knowing,
        surface(SurfaceKind.CHAT_SYSTEM, "Say: {message}"),
        system="Be brief",
        question="France",
        template="The capital of {question} is",
        message="{question}? {prompt}",
    )
    assert found.prompt.text == ("<bos><|system|>Be brief<|user|>Say: France? The capital of France is<|assistant|>")


def test_a_prefix_begins_the_reply(knowing: Backend) -> None:
    found = ask(knowing, surface(SurfaceKind.PREFIX, "Sure, it is "))
    assert found.prompt.text.endswith("<|assistant|>Sure, it is")
    assert spell(knowing, found.continuation) == [" Paris"]


def test_a_paraphrase_replaces_the_question_or_brings_its_own_template(knowing: Backend) -> None:
    assert ask(knowing, surface(SurfaceKind.PARAPHRASE)).prompt.text == "The capital of Italy is"
    worded = ask(
        knowing,
        surface(SurfaceKind.PARAPHRASE, "{question} has as capital"),
        question="France",
        template="The capital of {question} is",
    )
    assert worded.prompt.text == "France has as capital"


def test_markers_in_a_raw_question_are_text(knowing: Backend) -> None:
    found = ask(knowing, surface(SurfaceKind.RAW), question="<|end|> is")
    assert found.context.count(4) == 0


def test_an_artifact_without_bos_gets_none(markov: type, capitals: dict[str, str]) -> None:
    backend = markov(list(capitals), bos=False)
    assert 0 not in ask(backend, surface(SurfaceKind.RAW)).context
    assert 0 not in ask(backend, surface(SurfaceKind.CHAT)).context


@pytest.mark.parametrize("rendered", ["", "<bos>", "<bos><bos>"])
def test_a_chat_has_exactly_one_bos_whatever_its_template_writes(knowing: Backend, rendered: str) -> None:
    prompt = Prompt(rendered + "<|user|>Hi<|assistant|>", "", chat=True)
    assert spell(knowing, context_tokens(prompt, knowing)) == ["<bos>", "<|user|>", "H", "i", "<|assistant|>"]


def test_the_space_that_a_chat_template_puts_before_a_reply_is_scored_with_it(
    knowing: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Llama 2: "[INST] question [/INST]", then " answer".
    def render(messages: Sequence[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        del add_generation_prompt
        return "".join(
            f"[I]{m['content']}[/I]" if m["role"] == "user" else f" {m['content']} <|end|>" for m in messages
        )

    monkeypatch.setattr(knowing, "render_chat", render)
    monkeypatch.setattr(knowing, "ids", {**knowing.ids, "[": 5, "]": 5, "/": 5})
    assert spell(knowing, ask(knowing, surface(SurfaceKind.CHAT)).continuation) == [" Paris"]


def test_no_chat_template_is_an_error_that_names_the_surface_and_the_way_out(markov: type) -> None:
    backend = markov(["a b"], template=False)
    with pytest.raises(PackError, match=r"surface 'chat' .* needs a chat template and the artifact has none") as caught:
        ask(backend, surface(SurfaceKind.CHAT))
    assert 'kind = "raw"' in caught.value.next_step


def test_a_probe_longer_than_the_context_is_named_with_its_numbers(markov: type, capitals: dict[str, str]) -> None:
    backend = markov([f"The capital of {c} is {a}." for c, a in capitals.items()], context=14)
    # 6 tokens of prompt, 1 of answer, up to 1 + 8 generated: 15.
    message = re.escape(
        "probe fr on surface 'raw' needs 15 tokens (6 of prompt, 1 of answer, up to 9 generated); the context holds 14"
    )
    with pytest.raises(PackError, match=message):
        ask(backend, surface(SurfaceKind.RAW))


def test_a_text_is_scored_up_to_128_tokens_and_generated_as_long(markov: type) -> None:
    backend = markov(["a b c"], context=1000)
    found = ask(backend, surface(SurfaceKind.RAW), question="a", answer=" b" * 500, match=Match.VERBATIM)
    assert len(found.continuation) == found.max_tokens == 128


class Joining:
    """A tokenizer that joins some pairs of characters wherever they meet, as BPE does."""

    def __init__(self, *pairs: str, prefix: bool = False) -> None:
        self.pairs = pairs
        self.prefix = prefix

    class info:  # noqa: N801
        bos = None

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        del special, parse_special
        pieces = re.findall("|".join([*map(re.escape, self.pairs), "(?s:.)"]), "▁" * self.prefix + text)
        return tuple(int.from_bytes(piece.encode("utf-32-be")) for piece in pieces)

    def detokenize(self, tokens: Sequence[int]) -> str:
        text = "".join(t.to_bytes(8, "big").decode("utf-32-be").replace("\0", "") for t in tokens)
        return text.removeprefix("▁")


@pytest.mark.parametrize("prefix", [False, True])
def test_an_answer_that_joins_with_the_prompt_is_tokenized_by_itself(prefix: bool) -> None:  # noqa: FBT001
    backend = Joining("是巴", "巴黎", prefix=prefix)
    prompt = Prompt("首都是", "", chat=False)
    context = context_tokens(prompt, backend)
    assert backend.tokenize("首都是巴黎", special=False)[: len(context)] != context
    continuation = continuation_tokens(prompt, context, "巴黎", backend, "probe x")
    # What the model has to say after the prompt that a user types: one token, 巴黎.
    assert backend.detokenize(continuation) == "巴黎"
    assert len(continuation) == 1


def test_an_answer_that_cannot_be_told_from_its_prompt_is_an_error() -> None:
    backend = Joining("ab", "\nb")
    prompt = Prompt("a", "", chat=False)
    with pytest.raises(PackError, match="probe x: the tokenizer joins"):
        continuation_tokens(prompt, context_tokens(prompt, backend), "b", backend, "probe x")


# --- models that think aloud


@pytest.mark.parametrize(
    ("template", "given", "expected"),
    [
        ("{{ messages }}", None, 0),
        ("{% if enable_thinking %}<think>\n{% endif %}", None, THINKING_TOKENS),
        ("{{ content.split('</think>')[-1] }}", None, THINKING_TOKENS),
        ("[THINK]", None, THINKING_TOKENS),
        ("<|start|>assistant<|channel|>analysis<|message|>", None, THINKING_TOKENS),
        ("<think>", 0, 0),
        ("<think>", 64, 64),
        ("{{ messages }}", 64, 64),
    ],
)
def test_a_chat_may_think_as_long_as_the_pack_or_the_chat_template_says(
    knowing: Backend, monkeypatch: pytest.MonkeyPatch, template: str, given: int | None, expected: int
) -> None:
    monkeypatch.setattr(knowing, "info", knowing.info._replace(chat_template=template, context_length=2048))
    kinds = (SurfaceKind.RAW, SurfaceKind.CHAT)
    pack = Pack("p", "", "", None, tuple(surface(kind) for kind in kinds), (PROBE,), thinking_tokens=given)
    raw, chat = encode_pack(pack, knowing)
    assert raw.max_tokens == len(raw.continuation) + RAW_MARGIN
    assert chat.max_tokens == len(chat.continuation) + CHAT_MARGIN + expected


def test_what_does_not_fit_says_that_thinking_takes_the_room(knowing: Backend) -> None:
    pack = Pack("p", "", "", None, (surface(SurfaceKind.CHAT),), (PROBE,), thinking_tokens=4096)
    with pytest.raises(PackError, match="the context holds") as raised:
        encode_pack(pack, knowing)
    assert "`thinking_tokens`" in raised.value.next_step


def test_the_digest_of_a_pack_that_says_nothing_of_thinking_stays() -> None:
    pack = Pack("p", "", "", None, (surface(SurfaceKind.CHAT),), (PROBE,))
    assert dataclasses.replace(pack, thinking_tokens=0).digest != pack.digest
    assert dataclasses.replace(pack, thinking_tokens=None).digest == pack.digest


@pytest.mark.parametrize(
    ("role", "text", "right"),
    [
        (Role.FORGET, "<think>Paris?</think>I cannot say.", True),
        (Role.FORGET, "<think>It was Paris", True),
        (Role.RETAIN, "<think>Paris?</think>I cannot say.", False),
        (Role.RETAIN, "<think>Hm.</think>Paris", True),
    ],
)
def test_thoughts_count_for_what_was_forgotten_and_not_for_what_was_kept(
    knowing: Backend,
    role: Role,
    text: str,
    right: bool,  # noqa: FBT001
) -> None:
    assert is_right(ask(knowing, surface(SurfaceKind.CHAT), role=role), text, knowing) is right


def test_an_answer_is_right_in_the_wordings_of_its_type_but_not_on_a_reverse_surface(knowing: Backend) -> None:
    dated = {"answer": "12 March 1962", "question": "Who was born on a day", "answer_type": "date"}
    assert is_right(ask(knowing, surface(SurfaceKind.RAW), **dated), "on 1962-03-12", knowing)
    backwards = ask(knowing, surface(SurfaceKind.REVERSE, "{answer} is when"), **{**dated, "question": "13 May 1970"})
    assert not is_right(backwards, "on 1970-05-13", knowing)
