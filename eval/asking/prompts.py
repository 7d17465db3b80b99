"""Prompt writer for a pack and an artifact: from probe and surface to the model's input text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError, PackError
from edgeproof.eval.asking.choices import LETTERS, Choices
from edgeproof.eval.asking.examples import Examples
from edgeproof.eval.asking.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.backend import Backend
    from edgeproof.eval.asking.choices import Order
    from edgeproof.eval.asking.kinds.kind import Prompt
    from edgeproof.eval.measurement import Carrier
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe, Surface


class Prompts:
    """Writes the prompts of a pack for an artifact.

    Args:
        pack: the probes and surfaces.
        backend: renders chats by the artifact's template.
        carriers: beginnings of the base's replies; an opening surface uses the first of a set.
        replies: the artifact's first replies by probe id, for surfaces of two turns.

    """

    def __init__(
        self,
        pack: Pack,
        backend: Backend,
        carriers: Sequence[Carrier] = (),
        replies: Mapping[str, str] | None = None,
    ) -> None:
        self._backend = backend
        self.carriers, self.replies, self.system_prompt = carriers, replies or {}, pack.system_prompt
        self.examples, self._choices = Examples(pack.probes), Choices(pack.probes)
        self._delimiters: dict[tuple[str, ...], str] = {}

    def prompt(self, probe: Probe, surface: Surface) -> Prompt:
        """Write the prompt of `probe` on `surface`; for a choices surface, that of the first order.

        Raises:
            PackError: a chat surface without a chat template; too few probes for the examples or options.

        """
        kind = KINDS[surface.kind]
        if kind.chat and self._backend.info.chat_template is None:
            raise PackError(
                f"surface {surface.name!r} ({surface.kind}) needs a chat template and the artifact has none",
                next_step="write `chat = false` in pack.toml, or list the pack's surfaces without it: "
                '[[surface]] name = "raw", kind = "raw"',
            )
        return kind.prompt(self, probe, surface)

    def target(self, probe: Probe, surface: Surface) -> str:
        """Return the text to score after the prompt: the answer, on some kinds the question or a letter."""
        return KINDS[surface.kind].target(self, probe, surface)

    def orders(self, probe: Probe, surface: Surface) -> tuple[Order, ...]:
        """Return every order of the options of `probe`.

        Raises:
            PackError: the pack has too few similar answers.

        """
        if not self._choices.serve(probe):
            raise PackError(
                f"surface {surface.name!r} shows the answer of probe {probe.id} among {len(LETTERS)} options, but the "
                f"pack has {len(self._choices.options(probe)) - 1} wrong ones for it",
                next_step="give the probe `decoys`, or leave the surface out",
            )
        return self._choices.orders(probe, surface)

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Render a chat up to the beginning of the reply."""
        return self._backend.render_chat(messages, add_generation_prompt=True)

    def delimiter(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the whitespace between the chat template's generation prompt and a reply ("[/INST] Paris").

        It is determined once per order of roles.
        """
        roles = tuple(message["role"] for message in messages)
        if roles not in self._delimiters:
            question = [*messages[:-1], {"role": messages[-1]["role"], "content": "question"}]
            self._delimiters[roles] = self._find_delimiter(question)
        return self._delimiters[roles]

    def _find_delimiter(self, messages: Sequence[Mapping[str, str]]) -> str:
        opening_text = self.render(messages)
        reply = {"role": "assistant", "content": "answer"}
        try:
            closed = self._backend.render_chat([*messages, reply], add_generation_prompt=False)
        except InputError:
            return ""  # a template that accepts user messages only
        if not closed.startswith(opening_text):
            return ""
        gap = closed[len(opening_text) :].partition("answer")[0]
        return gap if gap.isspace() else ""
