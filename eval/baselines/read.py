"""Reads the baseline's JSON strictly: every value is checked on the way in, so that nothing behind it needs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.eval.asking.kinds import KINDS, RECOVERY_KINDS
from edgeproof.eval.baselines import values
from edgeproof.eval.baselines.format import SCHEMA, score_keys
from edgeproof.eval.baselines.read_scores import World, read_measurement
from edgeproof.eval.matching import RULES
from edgeproof.eval.measurement import Baseline, Carrier, Measurement, ModelSource, ProbeFacts, Role, Sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EARLIER = (1, 2, 3)
_KEYS = ("schema", "matching", "pack", "pack_digest", "probes", "surfaces", "kinds", "asked_twice", "backends")
_BACKEND_KEYS = (
    "tokenizer_digest",
    "base",
    "merged",
    "base_in_format",
    "ignorance",
    "carriers",
    "reference",
    "reference_kinds",
)
_CARRIER_KEYS = ("group", "text", "source")
_SOURCE_KEYS = ("name", "sha256")
_PROBE_KEYS = ("id", "role", "cluster", "trained", "critical")
_NO_PAIRS = "it is not a list of surfaces and kinds"


def baselines_from_json(table: object, where: str) -> dict[str, Baseline]:
    """Validate `table` and return its baselines by backend; `where` names the file in errors.

    Raises:
        BaselineError: the first defect.

    """
    if not isinstance(table, dict):
        raise values.bad(where, "it is not a JSON object")
    schema = table.get("schema")
    if schema in _EARLIER and not isinstance(schema, bool):
        raise values.bad(where, f"its schema is {schema}: it was recorded before answers in sentences were measured")
    if schema != SCHEMA or isinstance(schema, bool):
        raise values.bad(
            where, f"its schema is {str(table.get('schema', 'missing'))[:40]}; this version reads {SCHEMA}"
        )
    values.exact_keys(table, _KEYS, where, later={"sources"})
    if table["matching"] != RULES or isinstance(table["matching"], bool):
        raise values.bad(
            where,
            f"its answers were judged right or wrong by rules {str(table['matching'])[:40]}; this version has {RULES}",
        )
    pack = _pack(table, where)
    backends = values.table_of(table["backends"], f"{where}, backends")
    if not backends:
        raise values.bad(where, "it holds no backend's scores")
    return {name: _baseline(value, name, pack, f"{where}, {name}") for name, value in backends.items()}


class _Pack(NamedTuple):
    """What the baselines of all backends share."""

    name: str
    digest: str
    probes: tuple[ProbeFacts, ...]
    surfaces: dict[str, tuple[str, ...]]
    sources: Sources | None
    kinds: dict[str, str]
    asked_twice: dict[str, str]


def _pack(table: Mapping[str, object], where: str) -> _Pack:
    name = values.text_of(table["pack"], f"{where}, pack")
    digest = values.digest_of(table["pack_digest"], f"{where}, pack_digest")
    probes = _probes(table["probes"], f"{where}, probes")
    surfaces = _surfaces(table["surfaces"], probes, f"{where}, surfaces")
    sources = _sources(table["sources"], f"{where}, sources") if "sources" in table else None
    kinds = _kinds(table["kinds"], {name for own in surfaces.values() for name in own}, f"{where}, kinds")
    twice = values.table_of(table["asked_twice"], f"{where}, asked_twice")
    asked_twice = {key: values.text_of(other, f"{where}, asked_twice {key}") for key, other in twice.items()}
    return _Pack(name, digest, probes, surfaces, sources, kinds, asked_twice)


def _baseline(value: object, backend: str, pack: _Pack, at: str) -> Baseline:
    """Read what one backend recorded."""
    part = values.table_of(value, at)
    values.exact_keys(part, _BACKEND_KEYS, at, later={"prompt_digest"})
    tokenizer_digest = values.digest_of(part["tokenizer_digest"], f"{at}, tokenizer_digest")
    prompt_digest = values.digest_of(part["prompt_digest"], f"{at}, prompt_digest") if "prompt_digest" in part else ""
    reference_kinds = _reference_kinds(part["reference_kinds"], f"{at}, reference_kinds")
    forget = [probe for probe in pack.probes if probe.role == Role.FORGET]
    keys = score_keys(pack.probes, pack.surfaces)
    reference_keys = score_keys(forget, {Role.FORGET.value: tuple(reference_kinds)})
    world = World(pack.digest, tokenizer_digest, prompt_digest)

    def measured(value: object, place: str, keys: Sequence[tuple[str, str]] = keys) -> Measurement:
        measurement = read_measurement(value, keys, world, place)
        if measurement.backend.get("backend") != backend:
            raise values.bad(place, f"it was measured with the backend {measurement.backend.get('backend')}")
        return measurement

    formats = values.table_of(part["base_in_format"], f"{at}, base_in_format")
    reference = values.table_of(part["reference"], f"{at}, reference")
    values.exact_keys(reference, tuple(formats) if reference_kinds else (), f"{at}, reference")
    return Baseline(
        pack_name=pack.name,
        pack_digest=pack.digest,
        tokenizer_digest=tokenizer_digest,
        probes=pack.probes,
        surfaces=pack.surfaces,
        base=measured(part["base"], f"{at}, base"),
        merged=measured(part["merged"], f"{at}, merged"),
        base_in_format={key: measured(item, f"{at}, base in {key}") for key, item in formats.items()},
        ignorance=_ignorance(part["ignorance"], forget, pack.surfaces, pack.kinds, f"{at}, ignorance"),
        kinds=pack.kinds,
        carriers=_carriers(part["carriers"], f"{at}, carriers"),
        reference={key: measured(item, f"{at}, reference in {key}", reference_keys) for key, item in reference.items()},
        reference_kinds=reference_kinds,
        asked_twice=pack.asked_twice,
        prompt_digest=prompt_digest,
        sources=pack.sources,
    )


def _sources(value: object, where: str) -> Sources:
    table = values.table_of(value, where)
    values.exact_keys(table, ("base", "adapters"), where, later={"unlearned"})
    adapters = values.list_of(table["adapters"], where, "the adapters are no list", least=0)
    unlearned = table.get("unlearned")
    if bool(adapters) == (unlearned is not None):
        raise values.bad(where, "it must name adapters or an unlearned model, one of the two")
    return Sources(
        _source(table["base"], f"{where}, base"),
        tuple(_source(one, f"{where}, adapters") for one in adapters),
        None if unlearned is None else _source(unlearned, f"{where}, unlearned"),
    )


def _source(value: object, where: str) -> ModelSource:
    table = values.table_of(value, where)
    values.exact_keys(table, _SOURCE_KEYS, where)
    return ModelSource(
        values.text_of(table["name"], f"{where}, name"), values.digest_of(table["sha256"], f"{where}, sha256")
    )


def _probes(value: object, where: str) -> tuple[ProbeFacts, ...]:
    probes: list[ProbeFacts] = []
    for index, item in enumerate(values.list_of(value, where, "there are none")):
        at = f"{where}[{index}]"
        table = values.table_of(item, at)
        values.exact_keys(table, _PROBE_KEYS, at)
        role = values.text_of(table["role"], f"{at}, role")
        if role not in {known.value for known in Role}:
            raise values.bad(at, f"unknown role {role[:40]!r}")
        probes.append(
            ProbeFacts(
                values.text_of(table["id"], f"{at}, id"),
                Role(role),
                values.text_of(table["cluster"], f"{at}, cluster"),
                trained=values.flag_of(table["trained"], f"{at}, trained"),
                critical=values.flag_of(table["critical"], f"{at}, critical"),
            )
        )
    if len({probe.probe for probe in probes}) != len(probes):
        raise values.bad(where, "an id occurs twice")
    return tuple(probes)


def _surfaces(value: object, probes: Sequence[ProbeFacts], where: str) -> dict[str, tuple[str, ...]]:
    table = values.table_of(value, where)
    roles = {probe.role.value for probe in probes}
    if set(table) != roles:
        raise values.bad(where, f"its roles are {sorted(table)}, those of the probes {sorted(roles)}")
    surfaces: dict[str, tuple[str, ...]] = {}
    for role, names in table.items():
        listed = values.list_of(names, where, f"there is none for {role}")
        surfaces[role] = tuple(values.text_of(name, f"{where}, {role}") for name in listed)
        if len(set(surfaces[role])) != len(listed):
            raise values.bad(where, f"one appears twice for {role}")
    return {role.value: surfaces[role.value] for role in Role if role.value in surfaces}


def _reference_kinds(value: object, where: str) -> dict[str, str]:
    """Read pairs of a surface and its kind, in the order of the columns."""
    pairs = [values.list_of(pair, where, _NO_PAIRS) for pair in values.list_of(value, where, _NO_PAIRS, least=0)]
    if any(len(pair) != 2 for pair in pairs):
        raise values.bad(where, _NO_PAIRS)
    names = [values.text_of(name, where) for name, _ in pairs]
    if len(set(names)) != len(names):
        raise values.bad(where, "a surface appears twice")
    return _kinds(dict(zip(names, (kind for _, kind in pairs), strict=True)), set(names), where)


def _kinds(value: object, names: set[str], where: str) -> dict[str, str]:
    """Read the kinds of the surfaces `names`."""
    table = values.table_of(value, where)
    values.exact_keys(table, sorted(names), where)
    known = list(KINDS)
    for name, kind in table.items():
        if kind not in known:
            raise values.bad(where, f"{name[:40]!r} is of the unknown kind {str(kind)[:40]!r}")
    return {name: str(kind) for name, kind in table.items()}


def _carriers(value: object, where: str) -> tuple[Carrier, ...]:
    carriers: list[Carrier] = []
    for index, item in enumerate(values.list_of(value, where, "it is not a list", least=0)):
        at = f"{where}[{index}]"
        table = values.table_of(item, at)
        values.exact_keys(table, _CARRIER_KEYS, at)
        carriers.append(Carrier(*(values.text_of(table[key], f"{at}, {key}") for key in _CARRIER_KEYS)))
    return tuple(carriers)


def _ignorance(
    value: object,
    forget: Sequence[ProbeFacts],
    surfaces: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    where: str,
) -> dict[str, float]:
    table = values.table_of(value, where)
    comparable = {role: [name for name in names if kinds[name] in RECOVERY_KINDS] for role, names in surfaces.items()}
    needed = [f"{probe}/{surface}" for probe, surface in score_keys(forget, comparable)]
    values.exact_keys(table, needed, where)
    levels: dict[str, float] = {}
    for key in needed:
        level = values.number_of(table[key], f"{where}, {key}")
        if level < 0:
            raise values.bad(where, f"{key} is {level}; an ignorance level is at least 0 nat")
        levels[key] = level
    return levels
