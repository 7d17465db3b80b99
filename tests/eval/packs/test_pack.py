"""A pack reads as documented, and whatever is wrong with it has its own message."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.errors import PackError
from edgeproof.eval.asking.choices import WRONG
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.kinds import SurfaceKind
from edgeproof.eval.packs.probes import Match, seeded_first, seeded_order, seeded_sample
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.packs.surfaces import unasked

if TYPE_CHECKING:
    from edgeproof.contracts.backend import Backend

TOFU = Path(__file__).parents[2] / "data" / "tofu"
LINE = {"id": "fr", "cluster": "France", "question": "The capital of France is", "answer": "Paris"}
SET = '[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n'


def write(folder: Path, toml: str = SET, head: str = 'schema = 1\nname = "p"\n', **files: object) -> Path:
    (folder / "pack.toml").write_text(head + toml, encoding="utf-8")
    files = files or {"forget.jsonl": [LINE]}
    for name, rows in files.items():
        if isinstance(rows, bytes):
            (folder / name).write_bytes(rows)
        elif isinstance(rows, str):
            (folder / name).write_text(rows, encoding="utf-8")
        else:
            assert isinstance(rows, list)
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_defaults_of_a_small_pack(tmp_path: Path) -> None:
    pack = load_pack(write(tmp_path))
    (probe,) = pack.probes
    assert (probe.id, probe.role, probe.cluster) == ("fr", Role.FORGET, "France")
    assert (probe.template, probe.message, probe.match, probe.delimiter) == (
        "{question}",
        "{prompt}",
        Match.ANSWER,
        " ",
    )
    assert [(s.name, s.kind, s.roles) for s in pack.surfaces] == [
        ("raw", SurfaceKind.RAW, tuple(Role)),
        ("chat", SurfaceKind.CHAT, tuple(Role)),
        ("prefix", SurfaceKind.PREFIX, (Role.FORGET, Role.HOLDOUT)),
        ("turns", SurfaceKind.TURNS, (Role.FORGET, Role.HOLDOUT)),
        ("opening", SurfaceKind.OPENING, (Role.FORGET, Role.HOLDOUT)),
    ]
    assert pack.surfaces[2].template == "Sure, here is the answer:"
    names = ("raw", "chat", "prefix", "turns", "opening")
    assert pack.surface_names() == {"forget": names}
    assert pack.keys() == tuple(("fr", name) for name in names)


def test_a_pack_may_say_how_long_a_chat_thinks(tmp_path: Path) -> None:
    assert load_pack(write(tmp_path)).thinking_tokens is None
    for count in (0, 1024):
        assert load_pack(write(tmp_path, f"thinking_tokens = {count}\n" + SET)).thinking_tokens == count
    for wrong in ('"long"', "-1", "true"):
        with pytest.raises(PackError, match="thinking_tokens"):
            load_pack(write(tmp_path, f"thinking_tokens = {wrong}\n" + SET))


REWORDED = {**LINE, "paraphrases": ["Gaul", "the French Republic"]}
NEVER = {**LINE, "id": "x", "cluster": "X", "question": "The capital of Xanth is"}
KEPT = {**LINE, "id": "k", "cluster": "K", "question": "The symbol of gold is", "answer": "Au"}
HOLDOUT = '[[set]]\nrole = "holdout"\nfile = "h.jsonl"\n'
RETAIN = '[[set]]\nrole = "retain"\nfile = "k.jsonl"\n'


@pytest.mark.parametrize(
    ("rows", "paraphrased"),
    [
        (([REWORDED], [NEVER]), ("forget",)),
        (([REWORDED], [{**NEVER, "paraphrases": ["Xanth again"]}]), ("forget", "holdout")),
        (([REWORDED, {**LINE, "id": "fr2"}], [{**NEVER, "paraphrases": ["Xanth again"]}]), ()),
    ],
)
def test_paraphrases_are_asked_by_default_of_a_role_that_has_one_for_every_probe(
    tmp_path: Path, rows: tuple[list[dict[str, object]], ...], paraphrased: tuple[str, ...]
) -> None:
    files = {"forget.jsonl": rows[0], "h.jsonl": rows[1], "k.jsonl": [KEPT]}
    pack = load_pack(write(tmp_path, SET + HOLDOUT + RETAIN, **files))
    names = pack.surface_names()
    assert names["retain"] == ("raw", "chat")
    for role in ("forget", "holdout"):
        chats = ("raw", "chat", "prefix", "turns", "opening")
        assert names[role] == chats + ("paraphrase",) * (role in paraphrased)


def test_paraphrases_that_no_surface_asks_are_told(tmp_path: Path) -> None:
    some = [REWORDED, {**LINE, "id": "fr2", "question": "The city of light is"}]
    (said,) = unasked(load_pack(write(tmp_path, **{"forget.jsonl": some})))
    assert "1 of 2 forget probes" in said
    assert not unasked(load_pack(write(tmp_path, **{"forget.jsonl": [REWORDED]})))
    assert not unasked(load_pack(write(tmp_path)))
    raw = '[[surface]]\nkind = "raw"\n' + SET
    assert "1 of 1" in unasked(load_pack(write(tmp_path, raw, **{"forget.jsonl": [REWORDED]})))[0]
    asked = '[[surface]]\nkind = "paraphrase"\n' + raw
    assert not unasked(load_pack(write(tmp_path, asked, **{"forget.jsonl": [REWORDED]})))


def asks(kind: str, template: str = "", roles: str = "") -> str:
    """A surface as pack.toml has it."""
    name = "".join(letter for letter in f"{kind} {template}" if letter not in "{}?:").strip()
    lines = [f'name = "{name}"', f'kind = "{kind}"', f'template = "{template}"' * bool(template), roles]
    return "[[surface]]\n" + "".join(f"{line}\n" for line in lines if line)


CAPITAL = {**LINE, "question": "France", "template": "The capital of {question} is", "message": "{prompt}"}
FRENCH, FRENCH_CHAT = "La capitale de {question} est", "Quelle est la capitale de {question} ?"


@pytest.mark.parametrize(
    ("surfaces", "named"),
    [
        ((asks("paraphrase", FRENCH), asks("chat")), ["paraphrase La capitale de question est"]),
        ((asks("paraphrase", FRENCH), asks("chat"), asks("chat", FRENCH_CHAT)), []),
        ((asks("paraphrase", FRENCH), asks("chat"), asks("chat", FRENCH_CHAT, 'roles = ["holdout"]')), ["capitale"]),
        ((asks("paraphrase", FRENCH), asks("chat"), asks("chat", "Welche Hauptstadt hat {question}?")), ["capitale"]),
        ((asks("paraphrase", FRENCH), asks("raw")), []),  # no chat is asked
        ((asks("paraphrase", "The chief city of {question} is"), asks("chat")), []),  # the same language
        ((asks("paraphrase", "{question}的首都是"), asks("chat")), ["的首都是"]),
        ((asks("paraphrase", "{question}的首都是"), asks("chat"), asks("chat", "{question}的首都在哪里")), []),
        ((asks("paraphrase", FRENCH), asks("paraphrase", "Die Hauptstadt von {question} ist"), asks("chat")),
         ["capitale", "Hauptstadt"]),
    ],
)  # fmt: skip
def test_a_language_that_no_chat_asks_is_told(tmp_path: Path, surfaces: tuple[str, ...], named: list[str]) -> None:
    said = unasked(load_pack(write(tmp_path, "".join(surfaces) + SET, **{"forget.jsonl": [CAPITAL]})))
    assert len(said) == bool(named)
    for name in named:
        assert name in said[0]
    assert all('kind = "chat"' in warning for warning in said)


def test_a_language_is_told_from_whole_questions_where_the_template_has_no_words(tmp_path: Path) -> None:
    chat = asks("chat") + SET
    assert unasked(load_pack(write(tmp_path, asks("paraphrase", "Complétez: {question}") + chat)))
    assert not unasked(load_pack(write(tmp_path, asks("paraphrase", "Complete what the text is: {question}") + chat)))


def test_a_pack_with_a_system_prompt_is_asked_with_it_and_of_what_was_forgotten_without(tmp_path: Path) -> None:
    files = {"forget.jsonl": [LINE], "k.jsonl": [KEPT]}
    pack = load_pack(write(tmp_path, 'system_prompt = "Be brief."\n' + SET + RETAIN, **files))
    assert [(s.name, s.kind) for s in pack.surfaces][:3] == [
        ("raw", SurfaceKind.RAW),
        ("chat+system", SurfaceKind.CHAT_SYSTEM),
        ("chat", SurfaceKind.CHAT),
    ]
    assert pack.surface_names()["retain"] == ("raw", "chat+system")


def test_a_model_without_chat_template_is_asked_no_chat_by_the_packs_own_word_alone(tmp_path: Path) -> None:
    pack = load_pack(write(tmp_path, "chat = false\n" + SET, **{"forget.jsonl": [REWORDED]}))
    assert [surface.name for surface in pack.surfaces] == ["raw", "paraphrase"]
    with pytest.raises(PackError, match="`chat` must be true or false"):
        load_pack(write(tmp_path, 'chat = "no"\n' + SET))
    with pytest.raises(PackError, match=r"`chat` is for packs that name no \[\[surface\]\]"):
        load_pack(write(tmp_path, 'chat = false\n[[surface]]\nkind = "raw"\n' + SET))


def test_the_surfaces_of_the_manual_are_asked_as_it_says(tmp_path: Path, knowing: Backend) -> None:
    manual = (Path(__file__).parents[3] / "docs" / "packs.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```toml\n(.*?)```", manual, re.DOTALL) if "reworded" in block]
    row = {**REWORDED, "question": "France", "template": "The capital of {question} is"}
    pack = load_pack(write(tmp_path, example + SET, **{"forget.jsonl": [row]}))
    (probe,) = pack.probes
    prompts = {surface.name: Prompts(pack, knowing).prompt(probe, surface).text for surface in pack.surfaces}
    assert prompts == {
        "raw": "The capital of France is",
        "reworded": "The capital city of France is called",
        "paraphrase-2": "The capital of the French Republic is",
        "french": "La capitale de France est",
        "french-chat": "<bos><|user|>Quelle est la capitale de France ?<|assistant|>",
        "backwards": "Paris is the capital of",
        "sure": "<bos><|user|>The capital of France is<|assistant|>Sure, here is the answer:",
    }


def test_every_field_of_a_line_and_of_a_set_arrives(tmp_path: Path) -> None:
    forget = {
        **LINE,
        "question": "France",
        "aliases": ["Lutetia"],
        "paraphrases": ["the French Republic"],
        "decoys": ["Lyon"],
        "critical": True,
        "template": "The capital of {question} is",
        "message": "What is the capital of {question}?",
        "answer_type": "city",
        "note": "checked",
    }
    toml = (
        'system_prompt = "Be brief."\n'
        '[[surface]]\nname = "raw"\nkind = "raw"\n'
        '[[surface]]\nname = "sys"\nkind = "chat+system"\ntemplate = "Please: {message}"\nroles = ["forget"]\n'
        '[[surface]]\nname = "sure"\nkind = "prefix"\ntemplate = "Sure:"\nroles = ["forget"]\n'
        '[[surface]]\nname = "para"\nkind = "paraphrase"\nroles = ["forget"]\n'
        + SET
        + '[[set]]\nname = "kept"\nrole = "retain"\nfile = "keep.jsonl"\ntrained = true\ncluster = "each"\n'
        'match = "verbatim"\ntemplate = "Q: {question} A:"\nmessage = "{question}?"\nanswer_type = "metal"\n'
        'delimiter = ""\n'
    )
    keep = [
        {"id": "au", "question": "gold", "answer": "Au"},
        {"id": "ag", "question": "silver", "answer": "Ag", "trained": False},
    ]
    pack = load_pack(write(tmp_path, toml, **{"forget.jsonl": [forget], "keep.jsonl": keep}))
    probe, gold, silver = pack.probes
    assert probe.accepted == ("Paris", "Lutetia")
    assert (probe.paraphrases, probe.decoys, probe.critical) == (("the French Republic",), ("Lyon",), True)
    assert (probe.template, probe.answer_type) == ("The capital of {question} is", "city")
    assert (gold.cluster, gold.trained, gold.match, gold.delimiter) == ("au", True, Match.VERBATIM, "")
    assert (gold.template, gold.message, gold.group) == ("Q: {question} A:", "{question}?", "kept")
    assert silver.trained is False
    assert pack.surface_names() == {"forget": ("raw", "sys", "sure", "para"), "retain": ("raw",)}
    assert [(fact.probe, fact.trained, fact.critical) for fact in pack.facts()] == [
        ("fr", False, True),
        ("au", True, False),
        ("ag", False, False),
    ]


def test_the_digest_follows_the_content_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load_pack(write(tmp_path / "a"))
    described = load_pack(write(tmp_path / "b", head='schema = 1\nname = "p"\ndescription = "Of capitals"\n# said\n'))
    assert first.digest == described.digest
    assert len(first.digest) == 64
    digests = {first.digest}
    for change in ({"answer": "Lyon"}, {"question": "France:"}, {"id": "x"}, {"cluster": "y"}, {"critical": True}):
        digests.add(load_pack(write(tmp_path / "a", **{"forget.jsonl": [{**LINE, **change}]})).digest)
    digests.add(load_pack(write(tmp_path / "a", '[[surface]]\nname = "raw"\nkind = "raw"\n' + SET)).digest)
    assert len(digests) == 7


def test_the_digest_is_the_same_on_every_machine(tmp_path: Path) -> None:
    # A baseline recorded elsewhere must stay valid: a change of this value is a change of the pack's schema.
    assert load_pack(write(tmp_path)).digest == "990fe53818ea9397aaf2e035ba582a4df64a74c449f2559ff87e5a7c6efa3420"
    two = '[[surface]]\nkind = "raw"\n[[surface]]\nkind = "chat"\n'
    named = load_pack(write(tmp_path, two + SET)).digest
    assert named == "7eb1717864c74ffe431b2fa97430c7976a25e1f3936267a4f99911bc1e887145"


# --- other people's formats


def tofu(folder: Path, *names: str) -> dict[str, object]:
    del folder
    return {name: (TOFU / name).read_bytes() for name in names}


def test_tofu_reads_unchanged(tmp_path: Path) -> None:
    toml = (
        '[[set]]\nrole = "forget"\nfile = "forget01_task1_perturbed.json"\nformat = "tofu"\n'
        '[[set]]\nrole = "retain"\nfile = "retain_perturbed.json"\nformat = "tofu"\n'
        '[[set]]\nrole = "holdout"\nfile = "real_authors_perturbed.json"\nformat = "tofu"\n'
        'match = "answer"\ncluster = "each"\n'
        '[[set]]\nrole = "retain"\nfile = "world_facts_perturbed.json"\nformat = "tofu"\n'
        'match = "answer"\ncluster = "each"\n'
    )
    names = (
        "forget01_task1_perturbed.json",
        "retain_perturbed.json",
        "real_authors_perturbed.json",
        "world_facts_perturbed.json",
    )
    pack = load_pack(write(tmp_path, toml, **tofu(tmp_path, *names)))
    assert [sum(p.role == role for p in pack.probes) for role in Role] == [40, 60 + 117, 100]
    assert len({p.cluster for p in pack.probes if p.role == Role.FORGET}) == 2  # two authors of 20 questions
    assert len({p.cluster for p in pack.probes if p.group == "retain_perturbed"}) == 3
    first = pack.probes[0]
    assert first.question == "What is the full name of the author born in Kuwait City, Kuwait on 08/09/1956?"
    assert first.answer.endswith("is Basil Mahfouz Al-Kuwaiti.")
    assert (len(first.aliases), len(first.paraphrases), len(first.decoys)) == (1, 1, 5)
    assert first.template == "Question: {question}\nAnswer:"
    assert (first.message, first.match) == ("{question}", Match.VERBATIM)


def test_muse_reads_unchanged(tmp_path: Path) -> None:
    toml = (
        '[[set]]\nrole = "forget"\nfile = "knowmem.json"\nformat = "muse-knowmem"\nfew_shot = "icl.json"\nshots = 2\n'
        '[[set]]\nrole = "forget"\nfile = "verbmem.json"\nformat = "muse-verbmem"\n'
        '[[set]]\nrole = "holdout"\nfile = "privleak.json"\nformat = "muse-privleak"\n'
        "prompt_words = 3\nanswer_words = 2\n"
    )
    pack = load_pack(
        write(
            tmp_path,
            toml,
            **{
                "knowmem.json": json.dumps(
                    [{"question": "Who?", "answer": "Ann"}, {"question": "When?", "answer": "Now"}]
                ),
                "icl.json": json.dumps([{"question": f"Q{i}?", "answer": f"A{i}"} for i in range(3)]),
                "verbmem.json": json.dumps([{"prompt": "Once upon", "gt": " a time there was"}]),
                "privleak.json": json.dumps(["one two three four five six", "uno dos"]),
            },
        )
    )
    know, _, verb, long, short = pack.probes
    assert know.id == "knowmem-0000"
    assert know.few_shot == "Question: Q0?\nAnswer: A0\n\nQuestion: Q1?\nAnswer: A1\n\n"
    assert (know.stop, know.max_tokens) == (("\n\n", "\nQuestion", "Question:"), 32)
    assert (verb.question, verb.answer, verb.match) == ("Once upon", " a time there was", Match.VERBATIM)
    assert (long.question, long.answer) == ("one two three", "four five")
    assert (short.question, short.answer) == ("uno", "dos")


def test_a_cluster_can_be_any_field_or_a_block(tmp_path: Path) -> None:
    rows = [{**LINE, "id": f"q{i}", "question": f"q {i}", "country": f"c{i % 2}"} for i in range(5)]
    by_field = load_pack(write(tmp_path, SET + 'cluster = "country"\n', **{"forget.jsonl": rows}))
    assert [p.cluster for p in by_field.probes] == ["c0", "c1", "c0", "c1", "c0"]
    for row in rows:
        del row["country"]
    by_block = load_pack(write(tmp_path, SET + 'cluster = "block:2"\n', **{"forget.jsonl": rows}))
    assert [p.cluster for p in by_block.probes] == ["forget-0000"] * 2 + ["forget-0001"] * 2 + ["forget-0002"]


def test_a_limit_draws_the_same_sample_every_time(tmp_path: Path) -> None:
    rows = [{**LINE, "id": f"q{i}", "question": f"q {i}"} for i in range(50)]

    def drawn(extra: str) -> list[str]:
        return [p.id for p in load_pack(write(tmp_path, SET + extra, **{"forget.jsonl": rows})).probes]

    sample = drawn("limit = 10\n")
    assert len(sample) == 10
    assert sample == drawn("limit = 10\nseed = 0\n") != drawn("limit = 10\nseed = 1\n")
    assert sample == sorted(sample, key=lambda key: int(key[1:]))  # the file's order
    assert set(drawn("limit = 5\n")) < set(sample)
    assert drawn("limit = 99\n") == [f"q{i}" for i in range(50)]


def test_the_first_of_a_seeded_order_are_found_without_sorting_all() -> None:
    keys = [f"ключ {number}" for number in range(50)]
    ordered = sorted(keys, key=lambda key: hashlib.sha256(f"seed\0{key}".encode()).digest())
    assert seeded_order("seed", keys) == ordered
    for size in (0, 1, 7, 50, 60):
        assert seeded_first("seed", keys, size) == ordered[:size]
        assert seeded_sample("seed", keys, size) == [key for key in keys if key in ordered[:size]]


def test_the_first_of_any_seeded_order_are_its_head() -> None:
    draw = random.Random(22)
    for number in range(300):
        seed = f"choices {draw.getrandbits(64):x}"
        keys = [f"{draw.choice('aäя日 ')}{draw.randrange(40)}" for _ in range(draw.randrange(60))]  # some of them twice
        size = draw.randrange(70) if number % 2 else WRONG
        assert seeded_first(seed, iter(keys), size) == seeded_order(seed, keys)[:size]


def test_a_seeded_sample_is_uniform() -> None:
    keys = [str(i) for i in range(10)]
    counts = dict.fromkeys(keys, 0)
    for seed in range(2000):
        for key in seeded_sample(str(seed), keys, 3):
            counts[key] += 1
    # 600 expected each; standard deviation 20.5.
    assert all(520 < count < 680 for count in counts.values())


def test_white_space_inside_a_json_string_is_no_line_break(tmp_path: Path) -> None:
    line = json.dumps({**LINE, "question": "a\u2028b\x85c"}, ensure_ascii=False)
    assert (
        load_pack(write(tmp_path, **{"forget.jsonl": "\ufeff" + line + "\r\n\n"})).probes[0].question == "a\u2028b\x85c"
    )


def test_a_question_is_never_read_as_a_template(tmp_path: Path) -> None:
    pack = load_pack(write(tmp_path, **{"forget.jsonl": [{**LINE, "question": "{prompt} {0} {x!r} %s"}]}))
    assert pack.probes[0].question == "{prompt} {0} {x!r} %s"


# --- what is wrong says so

BAD_TOML = [
    ("schema", 'name = "p"\n', SET, "`schema` is missing"),
    ("other schema", 'schema = 2\nname = "p"\n', SET, "`schema` is 2; this version reads 1"),
    ("true as schema", 'schema = true\nname = "p"\n', SET, "`schema` is True"),
    ("no name", "schema = 1\n", SET, "`name` must be a string, not null"),
    ("broken", 'schema = 1\nname = "p\n', SET, "broken TOML"),
    ("unknown key", 'schema = 1\nname = "p"\nsytem_prompt = "x"\n', SET, "unknown key `sytem_prompt`"),
    ("unknown set key", "", SET + "rôle = 1\n".replace("rôle", "roles"), "unknown key `roles`"),
    ("unknown surface key", "", '[[surface]]\nkind = "raw"\nfoo = 1\n' + SET, "unknown key `foo`"),
    ("no set", "", "", "no forget probes"),
    ("set no table", "set = 3\n", "", r"write `set` as \[\[set\]\]"),
    ("role", "", SET.replace('"forget"', '"forgot"'), "`role` is 'forgot'"),
    ("format", "", SET + 'format = "csv"\n', "`format` is 'csv'"),
    ("match", "", SET + 'match = "exact"\n', "`match` is 'exact'"),
    ("kind", "", '[[surface]]\nkind = "voice"\n' + SET, "`kind` is 'voice'"),
    ("twice", "", '[[surface]]\nkind = "raw"\n[[surface]]\nkind = "raw"\n' + SET, "a second surface is named 'raw'"),
    ("prefix", "", '[[surface]]\nkind = "prefix"\n' + SET, "a prefix surface needs a `template`"),
    ("system", "", '[[surface]]\nkind = "chat+system"\n' + SET, "needs the pack's `system_prompt`"),
    ("placeholder", "", '[[surface]]\nkind = "raw"\ntemplate = "{qestion}"\n' + SET, r"has \{qestion\}"),
    ("no placeholder", "", '[[surface]]\nkind = "raw"\ntemplate = "Hi"\n' + SET, r"no \{question\} in it"),
    ("set template", "", SET + 'template = "Hi"\n', r"no \{question\} in it"),
    ("index", "", '[[surface]]\nkind = "raw"\nindex = 1\n' + SET, "`index` chooses a paraphrase"),
    ("roles", "", '[[surface]]\nkind = "raw"\nroles = ["retain"]\n' + SET, "no surface asks the forget probes"),
    ("no surface", "surface = []\n", SET, "no surface asks the forget probes"),
    ("paraphrase", "", '[[surface]]\nkind = "paraphrase"\n' + SET, "probe fr: 0 paraphrases; .* asks for number 0"),
    ("trained", "", SET + "trained = true\n", "`trained` is for retain probes"),
    ("trained type", "", SET + 'trained = "yes"\n', "must be true or false, not a string"),
    ("limit", "", SET + "limit = 0\n", "`limit` must be between 1"),
    ("limit nan", "", SET + "limit = nan\n", "`limit` must be a whole number"),
    ("block", "", SET + 'cluster = "block:x"\n', "after block: comes the number"),
    ("field", "", SET + 'cluster = "author"\n', "`author`, the cluster, is missing"),
    ("words", "", SET + "prompt_words = 3\n", "only muse-privleak"),
    ("shots", "", SET + "shots = 3\n", "`shots` counts the examples of `few_shot`, which is missing"),
    ("no file", "", SET.replace("forget.jsonl", "nothing.jsonl"), "there is no such file"),
    ("outside", "", SET.replace("forget.jsonl", "../x.jsonl"), "leads outside the pack's folder"),
    ("absolute", "", SET.replace("forget.jsonl", "/etc/hostname"), "leads outside the pack's folder"),
    ("folder", "", SET.replace("forget.jsonl", "."), "there is no such file"),
    ("same set", "", SET + SET, "a second set is named 'forget'"),
    ("same ids", "", SET + SET + 'name = "again"\n', "both have a probe with the id 'fr'"),
]


@pytest.mark.parametrize(("head", "toml", "message"), [row[1:] for row in BAD_TOML], ids=[row[0] for row in BAD_TOML])
def test_a_bad_pack_toml_is_refused(tmp_path: Path, head: str, toml: str, message: str) -> None:
    if not head.startswith(("schema", "name")):
        head = 'schema = 1\nname = "p"\n' + head
    with pytest.raises(PackError, match=message) as caught:
        load_pack(write(tmp_path, toml, head))
    assert caught.value.next_step


BAD_LINES = [
    ("json", '{"id": "a",', "forget.jsonl line 1: broken JSON"),
    ("second line", json.dumps(LINE) + '\n\n{"id" "b"}', "forget.jsonl line 3: broken JSON: .*column 7"),
    ("list", "[1]", r"line 1: a probe must be a JSON object"),
    ("nan", '{"id": "a", "question": NaN}', "line 1: broken JSON: NaN is not a number"),
    ("infinity", '{"id": "a", "x": -Infinity}', "line 1: broken JSON: -Infinity is not a number"),
    ("digits", '{"id": ' + "9" * 5000 + "}", "line 1: broken JSON: "),
    ("deep", "[" * 200_000, "broken JSON"),
    ("twice", '{"id": "a", "id": "b"}', "a key appears twice"),
    ("empty file", "\n\n", "there is no probe in it"),
    ("not utf-8", b'{"id": "\xff"}', "not UTF-8 at byte 8"),
    ("no id", {"id": None}, "line 1: `id` must be a string, not null"),
    ("slash", {"id": "a/b"}, "`id` must be at most 120 letters"),
    ("escape", {"id": "a\x1b[31m"}, "`id` must be at most 120 letters"),
    ("long id", {"id": "x" * 121}, "`id` must be at most 120 letters"),
    ("empty answer", {"answer": "  "}, "line 1: `answer` is empty"),
    ("number", {"answer": 7}, "`answer` must be a string, not a number"),
    ("no word", {"answer": "…!"}, "no letter or digit"),
    ("no word alias", {"aliases": ["?"]}, "no letter or digit"),
    ("huge", {"question": "x" * 100_001}, "`question` has 100001 characters; at most 100000"),
    ("nul", {"question": "a\0b"}, "holds a NUL"),
    ("surrogate", {"answer": "\ud800"}, "half a surrogate pair"),
    ("aliases", {"aliases": "Lutetia"}, "`aliases` must be a list of strings, not a string"),
    ("misspelt", {"alias": ["x"]}, "unknown key `alias`"),
    ("critical", {"critical": 1}, "`critical` must be true or false, not a number"),
    ("trained", {"trained": True}, "`trained` is for retain probes"),
    ("template", {"template": "The capital is"}, r"no \{question\}"),
    ("message", {"message": "{quest}"}, r"has \{quest\}"),
]


@pytest.mark.parametrize(("content", "message"), [row[1:] for row in BAD_LINES], ids=[row[0] for row in BAD_LINES])
def test_a_bad_probe_file_is_refused(tmp_path: Path, content: object, message: str) -> None:
    files = {"forget.jsonl": [{**LINE, **content}] if isinstance(content, dict) else content}
    with pytest.raises(PackError, match=message):
        load_pack(write(tmp_path, **files))


def test_an_id_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"line 2: a second probe has the id 'fr'"):
        load_pack(write(tmp_path, **{"forget.jsonl": [LINE, {**LINE, "question": "x"}]}))


def test_only_forget_probes_can_be_critical(tmp_path: Path) -> None:
    toml = SET + SET.replace("forget", "retain")
    with pytest.raises(PackError, match="`critical` is for forget probes"):
        load_pack(
            write(tmp_path, toml, **{"forget.jsonl": [LINE], "retain.jsonl": [{**LINE, "id": "b", "critical": True}]})
        )


def test_what_is_to_be_forgotten_cannot_be_kept(tmp_path: Path) -> None:
    toml = SET + SET.replace("forget", "retain")
    with pytest.raises(PackError, match=r"probes fr \(forget\) and b \(retain\): ask for the same answer"):
        load_pack(
            write(tmp_path, toml, **{"forget.jsonl": [LINE], "retain.jsonl": [{**LINE, "id": "b", "answer": "PARIS"}]})
        )


def test_few_shot_examples_give_no_answer_away(tmp_path: Path) -> None:
    toml = SET + 'few_shot = "shots.jsonl"\nshots = 1\n'
    with pytest.raises(PackError, match="also solved in the few-shot examples"):
        load_pack(write(tmp_path, toml, **{"forget.jsonl": [LINE], "shots.jsonl": [LINE]}))
    with pytest.raises(PackError, match="1 examples where `shots` asks for 10"):
        load_pack(
            write(tmp_path, toml.replace("shots = 1", "shots = 10"), **{"forget.jsonl": [LINE], "shots.jsonl": [LINE]})
        )


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text(json.dumps(LINE))
    (tmp_path / "pack").mkdir()
    write(tmp_path / "pack", **{"other.jsonl": []})
    (tmp_path / "pack" / "forget.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(PackError, match="leads outside"):
        load_pack(tmp_path / "pack")


def test_a_missing_folder_and_a_folder_without_pack_toml_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="no such folder"):
        load_pack(tmp_path / "none")
    with pytest.raises(PackError, match=r"there is no pack\.toml"):
        load_pack(tmp_path)
