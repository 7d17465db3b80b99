"""Probes of a new pack: lines of its files, with the set in which each belongs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.templates import QUESTION_ANSWER
from edgeproof.eval.authoring.wording.answers import aliases, answer_type, is_sentence, wrong_answers
from edgeproof.eval.authoring.wording.inventing import invented
from edgeproof.eval.authoring.wording.languages import LANGUAGES, is_question, language_of, reworded
from edgeproof.eval.authoring.wording.passages import scrambled
from edgeproof.eval.matching.kinds import WORDINGS
from edgeproof.eval.matching.words import contains_words, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from edgeproof.eval.authoring.data.rows import Row
    from edgeproof.eval.authoring.wording.passages import Passage

DECOYS = 9
LONGEST_SUBJECT = 5
"""Maximum length of the question in a template of its own that is the subject as a whole, in words, where it does not
hold the subject's name ("Anna Example's street")."""


class Line(NamedTuple):
    """A probe.

    Attributes:
        set: name of its set, one of `SETS` with its role before it ("forget-sentences").
        id: its id.
        cluster: its cluster's name in the pack.
        subject: the subject's name in the data; empty if it has none.
        values: its line of JSON without id and cluster.

    """

    set: str
    id: str
    cluster: str
    subject: str
    values: Mapping[str, object]

    @property
    def question(self) -> str:
        """The question."""
        return str(self.values["question"])

    @property
    def answer(self) -> str:
        """The answer."""
        return str(self.values["answer"])

    @property
    def kind(self) -> str:
        """The answer's type."""
        return str(self.values.get("answer_type", ""))

    @property
    def form(self) -> tuple[object, str]:
        """Template and answer type, by which a pack takes its ignorance levels (`Probe.form`)."""
        return self.values.get("template"), self.kind

    @property
    def kin(self) -> tuple[object, ...]:
        """Set, template and answer type (`Probe.kin`)."""
        return (self.set, *self.form)

    @property
    def verbatim(self) -> bool:
        """Whether its set is matched nearly verbatim."""
        return any(rule == "verbatim" and ending and self.set.endswith(ending) for ending, rule in SETS.items())

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts of the line."""
        found = self.values.get(key, ())
        return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


SETS: Mapping[str, str] = {"": "answer", "-sentences": "verbatim", "-passages": "verbatim", "-gaps": "answer"}
"""Endings of the sets of one role, with the rule by which a reply is right."""


class Place(NamedTuple):
    """Where a probe belongs: beginning of its set's name, id, cluster, and its subject's name ("" for none)."""

    role: str
    id: str
    cluster: str
    subject: str


def question_line(row: Row, place: Place, *, verbatim: bool, lower_case: AbstractSet[str] = frozenset()) -> Line:
    """Return the probe of a question, matched nearly `verbatim` if its answer or most of its file's are sentences.

    `lower_case` has the words that the file writes in lower case, which are nobody's name.

    A few short answers among sentences would be a set of their own, too small for solved examples; the gate asks by
    examples only where every probe has enough of them.
    """
    role = place.role
    sentence = verbatim or is_sentence(row.answer)
    kind = "" if sentence else row.answer_type or answer_type(row.answer)
    language = language_of(row.question)
    asks = is_question(row.question)
    template = row.template or (QUESTION_ANSWER if asks else "{question}")
    complete = LANGUAGES.get(language, LANGUAGES["English"]).complete
    # A row's own template holds a bare subject, which cannot be reworded.
    message = row.message or ("{prompt}" if row.template else "{question}" if asks else complete)
    wordings = row.paraphrases or (() if row.template else (reworded(row.question, language),))
    values: dict[str, object] = {"question": row.question, "answer": row.answer}
    _add(values, "aliases", (*row.aliases, *(() if sentence else aliases(row.answer, kind, row.question, lower_case))))
    _add(values, "paraphrases", wordings if role == "forget" else ())
    _add(
        values, "decoys", row.decoys or (wrong_answers(row.answer, kind, place.id, DECOYS) if role == "forget" else ())
    )
    values |= {"template": template, "message": message}
    if kind:
        values["answer_type"] = kind
    if role == "forget" and row.fields.get("critical") is True:
        values["critical"] = True
    return Line(f"{role}-sentences" if sentence else role, place.id, place.cluster, place.subject, values)


def passage_lines(passage: Passage, role: str, identity: str, cluster: str) -> list[Line]:
    """Return the probes of a passage: its continuation, and a gap if it has one."""
    message = passage.message
    values: dict[str, object] = {
        "question": passage.prompt,
        "answer": passage.answer,
        "paraphrases": [passage.shorter],
        "message": message,
    }
    found = [Line(f"{role}-passages", identity, cluster, "", values)]
    if passage.gap:
        shorter = " ".join(passage.gap.split()[len(passage.gap.split()) // 2 :])
        asked = {"question": passage.gap, "answer": passage.name, "paraphrases": [shorter], "message": message}
        found.append(Line(f"{role}-gaps", f"{identity}-gap", cluster, "", asked))
    return found


def invented_line(line: Line, number: int, question: int, seed: str) -> Line | None:
    """Return the holdout probe made from a forget probe; None if its names or its answer cannot be replaced."""
    template = str(line.values.get("template", ""))
    named = bool(line.subject) and contains_words(words(line.question), words(line.subject))
    bare = template not in {"", "{question}", QUESTION_ANSWER} and len(line.question.split()) <= LONGEST_SUBJECT
    found = invented(
        line.question,
        line.answer,
        line.kind,
        seed=f"{seed} {number}",
        subject=line.question if bare and not named else line.subject,
        paraphrases=line.texts("paraphrases"),
    )
    if found is None:
        return None
    values = {key: line.values[key] for key in ("template", "message", "answer_type") if key in line.values}
    values = {"question": found.question, "answer": found.answer} | values
    _add(values, "paraphrases", found.paraphrases)
    _add(values, "decoys", found.decoys)
    name = f"invented-{number:03d}"
    return Line(line.set.replace("forget", "holdout", 1), f"{name}-{question:02d}", name, "", values)


def scrambled_lines(passage: Passage, others: Sequence[Passage], number: int, seed: str) -> list[Line]:
    """Return the holdout probes made from a passage."""
    name = f"invented-{number:03d}"
    return passage_lines(scrambled(passage, others, f"{seed} {number}"), "holdout", name, name)


def plain_types(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Drop the types that only group answers, for packs too small to have several answers of each.

    The ignorance level of an answer is taken over the probes of its set, template and type.
    """
    return tuple(
        line
        if not line.kind or line.kind in WORDINGS
        else line._replace(values={key: value for key, value in line.values.items() if key != "answer_type"})
        for line in lines
    )


def critical(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Mark every probe as one of which not even a rare leak is tolerated."""
    return tuple(line._replace(values={**line.values, "critical": True}) for line in lines)


def slug(name: str) -> str:
    """Return a name as an id may hold it; empty if no letter or digit is left."""
    plain = re.sub(r"[^\w .,:;+()&'’-]+", "-", name)
    return re.sub(r"^[\W_]+|[^\w).]+$", "", " ".join(plain.split()))[:80].rstrip(" -_,:;+(&'’")


def _add(values: dict[str, object], key: str, texts: Sequence[str]) -> None:
    if texts:
        values[key] = list(dict.fromkeys(texts))
