"""Second turns after the model's own first reply, replies begun as the base begins them, and the reference asking."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.eval.asking.kinds import RECOVERY_KINDS
from edgeproof.eval.asking.kinds.chat import DOUBT, NO_REPLY
from edgeproof.eval.asking.prompts import Prompts
from edgeproof.eval.asking.reference import reference_pack
from edgeproof.eval.baselines.file import assemble_baseline, load_baselines, save_baselines
from edgeproof.eval.measurement import Carrier, Role
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.measuring.measure import measure, measure_again
from edgeproof.eval.measuring.replies import base_carriers, first_replies
from edgeproof.eval.packs.reader import load_pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.contracts.backend import GenerateRequest
    from edgeproof.eval.measurement import Measurement
    from edgeproof.eval.packs.pack import Pack

SHA = "0" * 64


def make(folder: Path, capitals: dict[str, str], surfaces: str, *, short: bool = False) -> Pack:
    """Write a pack; `short`: the question is the country alone, in a template."""
    toml = f'schema = 1\nname = "p"\n{surfaces}'
    for role, countries in (("forget", list(capitals)[:4]), ("retain", list(capitals)[4:])):
        asked = "{c}" if short else "The capital of {c} is"
        rows = [{"id": c, "cluster": c, "question": asked.format(c=c), "answer": capitals[c]} for c in countries]
        (folder / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        toml += f'[[set]]\nrole = "{role}"\nfile = "{role}.jsonl"\n'
        toml += 'template = "The capital of {question} is"\n' if short else ""
    (folder / "pack.toml").write_text(toml)
    return load_pack(folder)


TURNS = '[[surface]]\nkind = "raw"\n[[surface]]\nkind = "turns"\nroles = ["forget"]\n'


def run(pack: Pack, backend: object, label: str = "artifact", **options: object) -> Measurement:
    return measure(pack, backend, label=label, artifact_sha256=SHA, progress=Silent(), **options)


def test_the_second_turn_stands_behind_the_models_own_first_reply(
    tmp_path: Path, capitals: dict[str, str], knowing: object
) -> None:
    pack = make(tmp_path, capitals, TURNS)
    replies = first_replies(pack, knowing, label="x", progress=Silent())
    assert set(replies) == set(list(capitals)[:4])
    assert replies["France"].startswith("Paris")
    turns = pack.surfaces[1]
    prompt = Prompts(pack, knowing, replies=replies).prompt(pack.probes[0], turns)
    said = replies["France"].strip()
    assert prompt.text == (
        f"<bos><|user|>The capital of France is<|assistant|>{said}<|end|><|user|>{DOUBT}<|assistant|>"
    )
    silent = Prompts(pack, knowing, replies={"France": "  "}).prompt(pack.probes[0], turns)
    assert f"<|assistant|>{NO_REPLY}<|end|>" in silent.text


def test_a_plain_chat_is_generated_once_for_both_turns(
    tmp_path: Path, capitals: dict[str, str], knowing: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = make(tmp_path, capitals, f'{TURNS}[[surface]]\nkind = "chat"\nroles = ["forget"]\n')
    apart = {
        kind: run(replace(pack, surfaces=tuple(s for s in pack.surfaces if s.kind == kind)), knowing).scores
        for kind in ("raw", "chat", "turns")
    }
    asked: list[GenerateRequest] = []
    generate = type(knowing).generate

    def counting(self: object, requests: Sequence[GenerateRequest]) -> object:
        asked.extend(requests)
        return generate(self, requests)

    monkeypatch.setattr(type(knowing), "generate", counting)
    together = run(pack, knowing).scores
    assert len(asked) == len(set(asked)) > 0
    assert {(s.probe, s.surface): s for s in together} == {
        (s.probe, s.surface): s for scores in apart.values() for s in scores
    }


def test_an_answer_that_comes_in_the_second_turn_alone_is_seen(
    tmp_path: Path, capitals: dict[str, str], markov: type
) -> None:
    """The chain first says that it does not know, and gives the answer once it is doubted."""
    texts = [
        f"<|user|>The capital of {c} is<|assistant|>{c} <|end|><|user|>Sure {c}?<|assistant|>{city}"
        for c, city in capitals.items()
    ]
    model = markov([*texts * 3, *(f"The capital of {c} is nowhere." for c in capitals)])
    surfaces = TURNS + 'template = "Sure {question}?"\n'
    pack = make(tmp_path, capitals, surfaces.replace("{question}", "{prompt}"))
    found = run(pack, model)
    assert {score.right for score in found.scores if score.surface == "raw"} == {False}
    assert all(score.carried_logprob is not None for score in found.scores if score.surface == "turns")


def test_measuring_again_asks_the_second_turn_of_the_other_computation(
    tmp_path: Path, capitals: dict[str, str], knowing: object, ignorant: object
) -> None:
    pack = make(tmp_path, capitals, TURNS)
    again = measure_again(pack, knowing, run(pack, ignorant), label="again", progress=Silent())
    direct = {(s.probe, s.surface): s for s in run(pack, knowing).scores}
    for score in again.scores:
        if score.probe in list(capitals)[:4]:
            assert score.logprobs == direct[score.probe, score.surface].logprobs
            assert score.carried_logprob == direct[score.probe, score.surface].carried_logprob


def test_the_reply_is_begun_as_the_base_begins_it(tmp_path: Path, capitals: dict[str, str], markov: type) -> None:
    texts = [f"<|user|>The capital of {c} is<|assistant|>{c} has {city}." for c, city in capitals.items()]
    base = markov(texts * 3)
    pack = make(tmp_path, capitals, '[[surface]]\nkind = "raw"\n[[surface]]\nkind = "opening"\nroles = ["forget"]\n')
    carriers = (Carrier("forget", "Its seat is **", "base"),)
    prompt = Prompts(pack, base, carriers).prompt(pack.probes[0], pack.surfaces[1])
    assert prompt.text.endswith("<|assistant|>Its seat is **")
    assert prompt.gap == ""
    plain = Prompts(pack, base).prompt(pack.probes[0], pack.surfaces[1])
    assert plain.text.endswith("<|assistant|>The answer is")
    assert plain.gap == " "


def test_the_reference_asks_what_the_pack_leaves_out_and_of_forget_probes_alone(
    tmp_path: Path, capitals: dict[str, str]
) -> None:
    weak = make(tmp_path, capitals, '[[surface]]\nkind = "raw"\n')
    more = reference_pack(weak, chat=True)
    assert more is not None
    assert set(more.surface_names()["forget"]) == {
        f"reference {kind}" for kind in ("chat", "prefix", "turns", "opening", "choices")
    }
    assert more.asked(Role.RETAIN) == ()
    without = reference_pack(weak, chat=False)
    assert without is not None
    assert set(without.kinds().values()) == {"choices"}
    whole = make(tmp_path, capitals, "")
    assert reference_pack(whole, chat=True) is None
    own = '[[surface]]\nkind = "chat"\ntemplate = "Say no word of {message}"\n'
    muted = reference_pack(make(tmp_path, capitals, own), chat=True)
    assert muted is not None
    assert "reference chat" in muted.surface_names()["forget"]


def test_carriers_kinds_and_reference_come_back_from_the_file(
    tmp_path: Path, capitals: dict[str, str], knowing: object, ignorant: object
) -> None:
    pack = make(tmp_path, capitals, '[[surface]]\nkind = "raw"\n[[surface]]\nkind = "turns"\nroles = ["forget"]\n')
    carriers = base_carriers(pack, knowing, progress=Silent())
    more = reference_pack(pack, chat=True)
    assert more is not None
    levels = ignorance_levels(pack, knowing, carriers=carriers)
    assert {key.partition("/")[2] for key in levels} == {"raw"}
    assert "turns" not in RECOVERY_KINDS
    baseline = assemble_baseline(
        pack,
        base=run(pack, knowing, "base", carriers=carriers),
        merged=run(pack, ignorant, "merged", carriers=carriers),
        base_in_format={"gguf-q4": run(pack, knowing, "base:gguf-q4", carriers=carriers)},
        ignorance=levels,
        carriers=(*carriers, Carrier("forget", "Its seat is", "pack")),
        reference={"gguf-q4": run(more, knowing, "reference:gguf-q4", carriers=carriers)},
        reference_kinds=more.kinds(),
    )
    assert baseline.kinds == {"raw": "raw", "turns": "turns"}
    save_baselines([baseline], tmp_path / "baseline.json")
    (loaded,) = load_baselines(tmp_path / "baseline.json").values()
    assert loaded == baseline
    assert loaded.reference["gguf-q4"].pack_digest == pack.digest
    found = {score.surface for score in loaded.reference["gguf-q4"].scores}
    assert found == set(loaded.reference_kinds)


@pytest.mark.parametrize("kind", ["opening", "turns", "few-shot", "siblings", "choices"])
def test_what_the_surfaces_ask_of_the_kept_is_the_authors_choice(
    tmp_path: Path, capitals: dict[str, str], kind: str
) -> None:
    pack = make(tmp_path, capitals, f'[[surface]]\nkind = "raw"\n[[surface]]\nkind = "{kind}"\nroles = ["retain"]\n')
    assert pack.surface_names() == {"forget": ("raw",), "retain": ("raw", kind)}
