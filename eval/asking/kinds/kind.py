"""What a kind of surface is: how it writes a prompt, and what holds of its answers."""

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
        text: all of it; white space at its end has moved to `gap`.
        gap: what stands between it and the answer.
        chat: whether markers like <|im_start|> in it are read as tokens.

    """

    text: str
    gap: str
    chat: bool


class Pen(Protocol):
    """What a prompt is written with: the pack's other probes, and the artifact's chat template (`Prompts`)."""

    @property
    def examples(self) -> Examples:
        """Draws solved examples."""

    @property
    def carriers(self) -> Sequence[Carrier]:
        """What the base's replies begin with."""

    @property
    def replies(self) -> Mapping[str, str]:
        """The artifact's own first replies by probe id."""

    @property
    def system_prompt(self) -> str | None:
        """The pack's."""

    def orders(self, probe: Probe, surface: Surface) -> tuple[Order, ...]:
        """Return every order of the options of a multiple choice."""

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Render a chat up to where the reply begins."""

    def delimiter(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the white space between the chat's generation prompt and a reply ("[/INST] Paris")."""


class WritePrompt(Protocol):
    """Writes the prompt of a probe on a surface of this kind."""

    def __call__(self, pen: Pen, probe: Probe, surface: Surface) -> Prompt:
        """Write it.

        Raises:
            PackError: the artifact or the pack lacks what the kind needs.

        """


class Target(Protocol):
    """Gives what is to come after the prompt."""

    def __call__(self, pen: Pen, probe: Probe, surface: Surface) -> str:
        """Return the text."""


def answer(pen: Pen, probe: Probe, surface: Surface) -> str:  # noqa: ARG001 (a `Target`)
    """The answer is to come, as on most kinds."""
    return probe.answer


@dataclass(frozen=True)
class Kind:
    """A kind of surface.

    Attributes:
        name: what `kind` is in pack.toml.
        prompt: writes its prompt.
        placeholders: what its template may name.
        required: of these, what its template must name; "" stands for any one of them.
        needs_template: what the template is, for kinds that have no default; "" for the others.
        target: what is to come after the prompt.
        chat: needs the artifact's chat template.
        plain: a message and nothing else, what most people type. Answers are sampled there.
        carried: the answer may come inside a sentence; its probability is summed over carrier sentences.
        same_prompt: every model reads the same prompt, so that NLLs compare.
        recovery: an answer's NLL there shows what came back, and has an ignorance level.
        answered: an answer is said, so that the leak rule applies. A choice among options gives nothing away by itself.
        examples: solved examples stand before the question.
        aliases: the probe's other answers count as right.

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
    """What a template's placeholders stand for: the question, its raw prompt, and the user's message."""
    prompt = fill(probe.template, {"question": probe.question})
    message = fill(probe.message, {"question": probe.question, "prompt": prompt})
    return {"question": probe.question, "prompt": prompt, "message": message}


def open_prompt(text: str, probe: Probe, *, chat: bool = False) -> Prompt:
    """Move the white space at the end of `text` to the continuation; without any, the probe's delimiter goes there."""
    bare = text.rstrip()
    return Prompt(bare, text[len(bare) :] or probe.delimiter, chat)
