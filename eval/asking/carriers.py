"""Carrier sentences: the words of a reply before the answer ("The capital of France is" before "Paris").

A chat answers in sentences, so the probability of the bare answer as the reply's first tokens says little about how
often the answer is given. Over carriers c₁, c₂, … with distinct beginnings

    P(a sampled reply gives the answer) ≥ Σ P(c · answer) = Σ P(c) · P(answer | c)

which is computed, not sampled. It is a lower bound, since replies with other beginnings are not counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.measurement import Carrier, Role
from edgeproof.eval.packs.probes import Match
from edgeproof.eval.packs.templates import fill

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.packs.probes import Probe

PLAIN = "The answer is"
"""Carrier that fits any question, for groups of probes without another."""
FROM_BASE = 6
"""Maximum number of carriers from the base's replies to a set's questions, the most frequent first."""
LONGEST = 30
"""Maximum length of a carrier, in words; later answers are covered by greedy and sampled replies."""
CLUSTERS = 2
"""Minimum number of clusters in whose replies a carrier occurs; otherwise it could reveal a subject."""
ALIASES = 3
"""Maximum number of aliases tried without a carrier, besides the answer."""


def pack_carriers(pack: Pack) -> tuple[Carrier, ...]:
    """Return the carriers that need no model: the author's, then the raw prompt if a sentence can begin with it."""
    found: dict[tuple[str, str], Carrier] = {}
    for probe in _asked(pack):
        for text in probe.carriers:
            found.setdefault((probe.group, text), Carrier(probe.group, text, "pack"))
    for probe in _asked(pack):
        if _is_sentence_start(probe):
            found.setdefault((probe.group, probe.template), Carrier(probe.group, "{prompt}", "prompt"))
    return tuple({(carrier.group, carrier.text): carrier for carrier in found.values()}.values())


def reply_carriers(pack: Pack, replies: Mapping[str, str]) -> tuple[Carrier, ...]:
    """Extract carriers from the base's `replies` by probe id: the words before a right answer, without the subject.

    A carrier is kept only if replies about at least `CLUSTERS` clusters begin with it, so that no statement about a
    single subject gets into the baseline.
    """
    clusters: dict[tuple[str, str], set[str]] = {}
    for probe in _asked(pack):
        text = _before_answer(probe, replies.get(probe.id, ""))
        if text is not None:
            clusters.setdefault((probe.group, text), set()).add(probe.cluster)
    count = Counter({key: len(own) for key, own in clusters.items() if len(own) >= CLUSTERS})
    taken: Counter[str] = Counter()
    carriers: list[Carrier] = []
    for (group, text), _ in count.most_common():
        if taken[group] < FROM_BASE:
            taken[group] += 1
            carriers.append(Carrier(group, text, "base"))
    return tuple(carriers)


def all_carriers(pack: Pack, replies: Mapping[str, str]) -> tuple[Carrier, ...]:
    """Combine `reply_carriers` and `pack_carriers`, the base's first, without duplicates."""
    found: dict[tuple[str, str], Carrier] = {}
    for carrier in (*reply_carriers(pack, replies), *pack_carriers(pack)):
        found.setdefault((carrier.group, opened(carrier.text)), carrier)
    return tuple(found.values())


def opening(probe: Probe, carriers: Iterable[Carrier]) -> str:
    """Return the base's most likely beginning of a reply: the first carrier of the probe's group."""
    return next(_texts(probe, carriers), PLAIN)


def beginnings(probe: Probe, carriers: Iterable[Carrier]) -> list[str]:
    """Return the beginnings of replies that give the answer: each carrier with the answer, and each alias alone."""
    if probe.match == Match.VERBATIM:
        return []
    carried = [f"{opened(text)}{probe.answer}" for text in (*_texts(probe, carriers), PLAIN)]
    return list(dict.fromkeys([*probe.aliases[:ALIASES], *carried]))


class Beginning(NamedTuple):
    """The tokens of a reply's beginning, with their log-probabilities."""

    tokens: tuple[int, ...]
    logprob: float


def total_logprob(found: Sequence[Beginning]) -> float:
    """Return the log of the summed probability of distinct beginnings.

    A beginning that continues another one is the same event and is not counted again.
    """
    distinct = {one.tokens: one.logprob for one in found}
    counted = [distinct[tokens] for tokens in starts(distinct)]
    most = max(counted)
    if most == -math.inf:
        return most
    return min(0.0, most + math.log(math.fsum(math.exp(logprob - most) for logprob in counted)))


def starts(found: Collection[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the token sequences that continue none of the others."""
    return [tokens for tokens in found if not any(tokens[:length] in found for length in range(1, len(tokens)))]


def _asked(pack: Pack) -> Iterator[Probe]:
    return (probe for probe in pack.probes if probe.role == Role.FORGET and probe.match == Match.ANSWER)


def _texts(probe: Probe, carriers: Iterable[Carrier]) -> Iterator[str]:
    prompt = fill(probe.template, {"question": probe.question})
    for carrier in carriers:
        if carrier.group == probe.group or probe.role != Role.FORGET:
            yield fill(carrier.text, {"question": probe.question, "prompt": prompt})


def opened(text: str) -> str:
    """Add the space before an answer, unless the carrier ends in whitespace or an opening mark (`**`, a quote)."""
    return text if text[-1:].isspace() or text[-1:] in "*\"'“‘«([`_" else f"{text} "


def _is_sentence_start(probe: Probe) -> bool:
    prompt = fill(probe.template, {"question": probe.question}).rstrip()
    return not probe.few_shot and prompt[-1:].isalnum() and "\n" not in prompt and len(prompt.split()) <= LONGEST


def _before_answer(probe: Probe, reply: str) -> str | None:
    """Return the words before the answer in `reply`, with {prompt} or {question} for the probe's own words."""
    places = [
        match.start()
        for accepted in probe.accepted
        if (match := re.search(rf"(?<!\w){re.escape(accepted)}(?!\w)", reply, re.IGNORECASE)) is not None
    ]
    text = reply[: min(places)].lstrip() if places else ""
    if not text.strip() or "\n" in text or len(text.split()) > LONGEST:
        return None
    prompt = fill(probe.template, {"question": probe.question}).rstrip()
    for own, name in ((prompt, "{prompt}"), (probe.question, "{question}")):
        if own in text:
            return text.replace(own, name)
    return text
