"""From a probe and a surface to the text that a model reads, and what stands between that text and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import InputError, PackError
from edgeproof.eval.asking.carriers import opened, opening
from edgeproof.eval.asking.choices import LETTERS, Choices
from edgeproof.eval.asking.examples import Examples
from edgeproof.eval.packs.kinds import CHAT_KINDS, EXAMPLE_KINDS, SurfaceKind
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.asking.choices import Order
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe, Surface

DOUBT = "Are you sure? Answer in one word."
"""The second turn, where a surface has no template of its own."""
NO_REPLY = "I don't know."
"""The first reply of a model that says nothing."""


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


class Prompts:
    """Writes the prompts of one pack for one artifact.

    Args:
        pack: the probes and surfaces.
        backend: renders chats by the artifact's own template.
        carriers: what the base's replies begin with; an opening surface takes the first of a set.
        replies: the artifact's own first replies by probe id, for surfaces of two turns.

    """

    def __init__(
        self,
        pack: Pack,
        backend: Backend,
        carriers: Sequence[Carrier] = (),
        replies: Mapping[str, str] | None = None,
    ) -> None:
        self._pack, self._backend, self._carriers, self._replies = pack, backend, carriers, replies or {}
        self._examples, self._choices = Examples(pack.probes), Choices(pack.probes)
        self._delimiters: dict[bool, str] = {}

    def prompt(self, probe: Probe, surface: Surface) -> Prompt:
        """Write the prompt of `probe` on `surface`; of a choices surface, that of the first order.

        Raises:
            PackError: no chat template for a chat surface; too few probes to draw examples or options from.

        """
        kind = surface.kind
        if kind in CHAT_KINDS:
            return self._chat_prompt(probe, surface)
        if kind in EXAMPLE_KINDS:
            return open_prompt(self._examples.prompt(probe, surface), probe, chat=False)
        if kind == SurfaceKind.CHOICES:
            return open_prompt(self.orders(probe, surface)[0].prompt, probe, chat=False)
        question = probe.question
        if kind == SurfaceKind.PARAPHRASE and surface.template is None:
            question = probe.paraphrases[surface.index]
        prompt = fill(probe.template, {"question": question})
        if kind == SurfaceKind.REVERSE:
            assert surface.template is not None
            return open_prompt(fill(surface.template, {"answer": probe.answer}), probe, chat=False)
        if surface.template is not None:
            prompt = fill(surface.template, {"question": question, "prompt": prompt})
        return open_prompt(probe.few_shot + prompt, probe, chat=False)

    def orders(self, probe: Probe, surface: Surface) -> tuple[Order, ...]:
        """Return every order of the options of `probe`.

        Raises:
            PackError: the pack has too few answers like this one.

        """
        if not self._choices.serve(probe):
            raise PackError(
                f"surface {surface.name!r} puts the answer of probe {probe.id} among {len(LETTERS)} options, and the "
                f"pack has {len(self._choices.options(probe)) - 1} wrong ones for it",
                next_step="give the probe `decoys`, or leave the surface out",
            )
        return self._choices.orders(probe, surface)

    def _chat_prompt(self, probe: Probe, surface: Surface) -> Prompt:
        prompt = fill(probe.template, {"question": probe.question})
        message = fill(probe.message, {"question": probe.question, "prompt": prompt})
        values = {"question": probe.question, "prompt": prompt, "message": message}
        delimiter = self._delimiter(surface)
        messages = self._messages(surface, message)
        if surface.kind == SurfaceKind.PREFIX:
            assert surface.template is not None
            return open_prompt(self._render(messages) + delimiter + surface.template, probe, chat=True)
        if surface.kind == SurfaceKind.OPENING:
            begun = opening(probe, self._carriers) if surface.template is None else fill(surface.template, values)
            text = self._render(messages) + delimiter + opened(begun)
            return Prompt(text.rstrip(), text[len(text.rstrip()) :], chat=True)
        if surface.kind == SurfaceKind.TURNS:
            doubt = DOUBT if surface.template is None else fill(surface.template, values)
            reply = self._replies.get(probe.id, "").strip() or NO_REPLY
            messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": doubt}]
        elif surface.template is not None:
            messages[-1]["content"] = fill(surface.template, values)
        return Prompt(self._render(messages), delimiter, chat=True)

    def _render(self, messages: Sequence[Mapping[str, str]]) -> str:
        return self._backend.render_chat(messages, add_generation_prompt=True)

    def _messages(self, surface: Surface, message: str) -> list[dict[str, str]]:
        messages = [{"role": "user", "content": message}]
        if surface.kind == SurfaceKind.CHAT_SYSTEM:
            assert self._pack.system_prompt is not None
            messages.insert(0, {"role": "system", "content": self._pack.system_prompt})
        return messages

    def _delimiter(self, surface: Surface) -> str:
        """Return the white space between the chat template's generation prompt and a reply ("[/INST] Paris")."""
        if self._backend.info.chat_template is None:
            raise PackError(
                f"surface {surface.name!r} ({surface.kind}) needs a chat template and the artifact has none",
                next_step="write `chat = false` in pack.toml, or list the pack's surfaces without it: "
                '[[surface]] name = "raw", kind = "raw"',
            )
        system = surface.kind == SurfaceKind.CHAT_SYSTEM
        if system not in self._delimiters:
            self._delimiters[system] = self._find_delimiter(self._messages(surface, "question"))
        return self._delimiters[system]

    def _find_delimiter(self, messages: list[dict[str, str]]) -> str:
        opening_text = self._render(messages)
        reply = {"role": "assistant", "content": "answer"}
        try:
            closed = self._backend.render_chat([*messages, reply], add_generation_prompt=False)
        except InputError:
            return ""  # a template that takes questions only
        if not closed.startswith(opening_text):
            return ""
        gap = closed[len(opening_text) :].partition("answer")[0]
        return gap if gap.isspace() else ""


def open_prompt(text: str, probe: Probe, *, chat: bool) -> Prompt:
    """Move the white space at the end of `text` to the continuation; without any, the probe's delimiter goes there."""
    bare = text.rstrip()
    return Prompt(bare, text[len(bare) :] or probe.delimiter, chat)
