"""Sets of a pack: one `[[set]]` of pack.toml, and the probes of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeproof.eval.matching.words import words
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs import fields
from edgeproof.eval.packs.formats import FORMATS, LINE_KEYS, ProbeFormat, RawProbe, TextSplit
from edgeproof.eval.packs.probes import Match, Probe, seeded_sample
from edgeproof.eval.packs.templates import check_template, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeproof.eval.packs.files import PackFile, PackFiles

MAX_PROBES = 100_000
_SET_KEYS = (
    "name",
    "role",
    "file",
    "format",
    "trained",
    "cluster",
    "match",
    "template",
    "message",
    "answer_type",
    "delimiter",
    "few_shot",
    "shots",
    "carriers",
    "limit",
    "seed",
    "prompt_words",
    "answer_words",
)


@dataclass(frozen=True)
class ProbeSet:
    """A validated `[[set]]` of pack.toml."""

    where: str
    name: str
    role: Role
    file: PackFile
    format: ProbeFormat
    trained: bool
    cluster: str
    match: Match
    template: str
    message: str
    answer_type: str
    delimiter: str
    few_shot: PackFile | None
    shots: int
    limit: int | None
    seed: int
    split: TextSplit
    carriers: tuple[str, ...]


def read_set(files: PackFiles, entry: Mapping[str, object], where: str) -> ProbeSet:
    """Validate one `[[set]]`; `where` names it in errors."""
    fields.check_keys(entry, _SET_KEYS, where)
    role = Role(fields.choice_of(entry.get("role"), where, "role", [r.value for r in Role]))
    file = fields.file_inside(files, entry.get("file"), where, "file")
    form = FORMATS[fields.choice_of(entry.get("format", "jsonl"), where, "format", list(FORMATS))]
    trained = fields.flag_of(entry.get("trained", False), where, "trained")
    if trained and role != Role.RETAIN:
        raise fields.fail(where, f"`trained` is for retain probes; this set's role is {role}")
    match = Match(fields.choice_of(entry.get("match", form.match), where, "match", [m.value for m in Match]))
    template = fields.text_of(entry.get("template", form.template), where, "template")
    check_template(template, ("question",), where)
    default_message = form.message or "{prompt}"
    message = fields.text_of(entry.get("message", default_message), where, "message")
    check_template(message, ("question", "prompt"), where)
    for key in ("prompt_words", "answer_words"):
        if key in entry and form is not FORMATS["muse-privleak"]:
            raise fields.fail(where, f"`{key}` splits bare texts; only muse-privleak has them")
    if "shots" in entry and "few_shot" not in entry:
        raise fields.fail(where, "`shots` counts the examples of `few_shot`, which is missing")
    return ProbeSet(
        where=where,
        name=fields.name_of(entry.get("name", file.stem), where, "name"),
        role=role,
        file=file,
        format=form,
        trained=trained,
        cluster=_cluster_rule(entry.get("cluster", form.cluster), where),
        match=match,
        template=template,
        message=message,
        answer_type=fields.any_text_of(entry.get("answer_type", ""), where, "answer_type"),
        delimiter=fields.any_text_of(entry.get("delimiter", " "), where, "delimiter"),
        few_shot=fields.file_inside(files, entry["few_shot"], where, "few_shot") if "few_shot" in entry else None,
        shots=fields.count_of(entry.get("shots", 10), where, "shots", least=1),
        limit=fields.count_of(entry["limit"], where, "limit", least=1) if "limit" in entry else None,
        seed=fields.count_of(entry.get("seed", 0), where, "seed", least=0),
        split=TextSplit(
            fields.count_of(entry.get("prompt_words", 100), where, "prompt_words", least=1),
            fields.count_of(entry.get("answer_words", 100), where, "answer_words", least=1),
        ),
        carriers=_carriers(entry.get("carriers", []), where),
    )


def _carriers(value: object, where: str) -> tuple[str, ...]:
    carriers = fields.texts_of(value, where, "carriers")
    for text in carriers:
        check_template(text, ("question", "prompt"), where, required=())
    return tuple(carriers)


def _cluster_rule(value: object, where: str) -> str:
    rule = fields.text_of(value, where, "cluster")
    if rule.startswith("block:"):
        size = rule.removeprefix("block:")
        if not (size.isascii() and size.isdigit() and 0 < len(size) < 7 and int(size) > 0):
            raise fields.fail(where, f"`cluster` = {rule!r}: after block: comes the number of probes in a row")
    return rule


def read_probes(chosen: ProbeSet) -> Iterator[Probe]:
    """Yield the set's probes with all its defaults filled in, sampled if it has a `limit`."""
    few_shot, shown = _few_shot(chosen)
    found: dict[str, Probe] = {}
    for index, raw in enumerate(chosen.format.read(chosen.file, chosen.split)):
        probe = _probe(chosen, raw, index, few_shot)
        if probe.id in found:
            raise fields.fail(raw.where, f"a second probe has the id {probe.id!r}", "give every probe its own id")
        if probe.question in shown:
            raise fields.fail(raw.where, "this question is also solved in the few-shot examples", "drop one of them")
        if len(found) == MAX_PROBES and chosen.limit is None:
            raise fields.fail(chosen.file.name, f"more than {MAX_PROBES} probes", "set a `limit` in pack.toml")
        found[probe.id] = probe
    if not found:
        raise fields.fail(chosen.file.name, "there is no probe in it")
    if chosen.limit is not None:
        yield from (found[key] for key in seeded_sample(str(chosen.seed), found, chosen.limit))
    else:
        yield from found.values()


def _few_shot(chosen: ProbeSet) -> tuple[str, frozenset[str]]:
    """Return the solved examples, joined as in MUSE, and their questions."""
    if chosen.few_shot is None:
        return "", frozenset()
    shown = list(chosen.format.read(chosen.few_shot, chosen.split))[: chosen.shots]
    if len(shown) < chosen.shots:
        raise fields.fail(chosen.few_shot.name, f"{len(shown)} examples where `shots` asks for {chosen.shots}")
    text = "".join(
        f"{fill(chosen.template, {'question': raw.question})}{chosen.delimiter}{raw.answer}\n\n" for raw in shown
    )
    return text, frozenset(raw.question for raw in shown)


def _probe(chosen: ProbeSet, raw: RawProbe, index: int, few_shot: str) -> Probe:
    identity = raw.id or f"{chosen.name}-{index:04d}"
    if raw.template is not None:
        check_template(raw.template, ("question",), raw.where)
    if raw.message is not None:
        check_template(raw.message, ("question", "prompt"), raw.where, required=())
    if raw.trained and chosen.role != Role.RETAIN:
        raise fields.fail(raw.where, f"`trained` is for retain probes; this one's role is {chosen.role}")
    if raw.critical and chosen.role != Role.FORGET:
        raise fields.fail(raw.where, f"`critical` is for forget probes; this one's role is {chosen.role}")
    for accepted in (raw.answer, *raw.aliases):
        if not words(accepted):
            raise fields.fail(raw.where, "an answer or alias has no letter or digit in it: nothing could be matched")
    return Probe(
        id=identity,
        role=chosen.role,
        cluster=_cluster(chosen, raw, index, identity),
        question=raw.question,
        answer=raw.answer,
        aliases=raw.aliases,
        paraphrases=raw.paraphrases,
        decoys=raw.decoys,
        trained=chosen.trained if raw.trained is None else raw.trained,
        critical=raw.critical,
        template=raw.template or chosen.template,
        message=raw.message or chosen.message,
        answer_type=raw.answer_type or chosen.answer_type,
        group=chosen.name,
        match=chosen.match,
        delimiter=chosen.delimiter,
        few_shot=few_shot,
        stop=chosen.format.stop,
        max_tokens=chosen.format.max_tokens,
        carriers=chosen.carriers,
    )


def _cluster(chosen: ProbeSet, raw: RawProbe, index: int, identity: str) -> str:
    if chosen.format is FORMATS["jsonl"]:
        allowed = {*LINE_KEYS, chosen.cluster}
        fields.check_keys(raw.extra or {}, allowed, raw.where)
    if chosen.cluster == "each":
        return identity
    if chosen.cluster.startswith("block:"):
        return f"{chosen.name}-{index // int(chosen.cluster.removeprefix('block:')):04d}"
    if raw.extra is None or chosen.cluster not in raw.extra:
        raise fields.fail(
            raw.where, f"`{chosen.cluster}`, the cluster, is missing", 'add it, or write cluster = "each" in the set'
        )
    return fields.name_of(raw.extra[chosen.cluster], raw.where, chosen.cluster)
