"""Interface of a kind of surface: its prompt, and the properties of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.eval.asking.choices import Order
    from edgeproof.eval.asking.examples import Examples
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.probes import Probe, Surface

ASKED = ("question", "prompt")
SAID = ("question", "prompt", "message")


class Prompt(NamedTuple):
    """A rendered prompt.

    Attributes:
        text: the prompt's text, with trailing whitespace moved to `gap`.
        gap: text between prompt and answer.
        chat: whether markers like <|im_start|> in it are parsed as tokens.

    """

    text: str
    gap: str
    chat: bool


class Pen(Protocol):
    """Sources of a prompt: the pack's other probes, and the artifact's chat template (`Prompts`)."""

    @property
    def examples(self) -> Examples:
        """Source of solved examples."""

    @property
    def carriers(self) -> Sequence[Carrier]:
        """Beginnings of the base's replies."""

    @property
    def replies(self) -> Mapping[str, str]:
        """The artifact's first replies by probe id."""

    @property
    def system_prompt(self) -> str | None:
        """The pack's system prompt."""

    def orders(self, probe: Probe, surface: Surface) -> tuple[Order, ...]:
        """Return every order of the options of a multiple choice."""

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Render a chat up to the beginning of the reply."""

    def delimiter(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the white space between the chat's generation prompt and a reply ("[/INST] Paris")."""


class WritePrompt(Protocol):
    """Writes the prompt of a probe on a surface of this kind."""

    def __call__(self, pen: Pen, probe: Probe, surface: Surface) -> Prompt:
        """Write the prompt.

        Raises:
            PackError: the artifact or the pack lacks what the kind needs.

        """


class Target(Protocol):
    """Returns the text to score after the prompt."""

    def __call__(self, pen: Pen, probe: Probe, surface: Surface) -> str:
        """Return the text."""


def answer(pen: Pen, probe: Probe, surface: Surface) -> str:  # noqa: ARG001 (a `Target`)
    """Return the probe's answer, the target of most kinds."""
    return probe.answer


@dataclass(frozen=True)
class Kind:
    """A kind of surface.

    Attributes:
        name: value of `kind` in pack.toml.
        prompt: writes the prompt.
        placeholders: placeholders allowed in the template.
        required: placeholders required in the template; "" stands for any one of them.
        needs_template: description of the template, for kinds without a default; "" for the others.
        target: returns the text to score after the prompt.
        chat: whether it needs the artifact's chat template.
        plain: whether it is a bare message, as most users type. Answers are sampled there.
        carried: whether the answer may come inside a sentence; its probability is summed over carrier sentences.
        same_prompt: whether every model gets the same prompt, so that NLLs are comparable.
        recovery: whether an answer's NLL measures recovery and has an ignorance level.
        answered: whether the model gives an answer, so that the leak rule applies. A choice among options reveals
            nothing by itself.
        examples: whether solved examples precede the question.
        aliases: whether the probe's other answers count as right.

    """

    name: str
    prompt: WritePrompt
    placeholders: tuple[str, ...]
    required: tuple[str, ...] = ("",)
    needs_template: str = ""
    target: Target = answer
    chat: bool = False
    plain: bool = False
    carried: bool = False
    same_prompt: bool = True
    recovery: bool = False
    answered: bool = True
    examples: bool = False
    aliases: bool = True


def values(probe: Probe) -> dict[str, str]:
    """Return the values of a template's placeholders: the question, its raw prompt, and the user's message."""
    prompt = fill(probe.template, {"question": probe.question})
    message = fill(probe.message, {"question": probe.question, "prompt": prompt})
    return {"question": probe.question, "prompt": prompt, "message": message}


def open_prompt(text: str, probe: Probe, *, chat: bool = False) -> Prompt:
    """Move trailing whitespace of `text` to the continuation; without any, use the probe's delimiter there."""
    bare = text.rstrip()
    return Prompt(bare, text[len(bare) :] or probe.delimiter, chat)
