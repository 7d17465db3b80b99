"""A baseline comes back as it was saved, holds no texts, and is refused when anything about it does not fit."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from edgeproof.contracts.errors import BaselineError, OutputError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.baselines.file import (
    assemble_baseline,
    choose_baseline,
    load_baselines,
    save_baselines,
)
from edgeproof.eval.baselines.fit import backend_differences, check_embedding, check_match
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.measuring.measure import measure
from edgeproof.eval.packs.reader import load_pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.eval.measurement import Baseline, Measurement
    from edgeproof.eval.packs.pack import Pack

SHA = "ab" * 32


@pytest.fixture
def pack(tmp_path: Path, capitals: dict[str, str]) -> Pack:
    folder = tmp_path / "pack"
    folder.mkdir()
    rows = [
        {"id": f"p{i}", "cluster": f"c{i}", "question": f"The capital of {country} is", "answer": city}
        for i, (country, city) in enumerate(capitals.items())
    ]
    for name, part in (("forget", rows[:4]), ("retain", rows[4:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    (folder / "pack.toml").write_text(
        'schema = 1\nname = "capitals"\n[[surface]]\nkind = "raw"\n[[surface]]\nkind = "chat"\n'
        '[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n'
        '[[set]]\nrole = "retain"\nfile = "retain.jsonl"\ntrained = true\n'
    )
    return load_pack(folder)


def measured(pack: Pack, backend: object, label: str) -> Measurement:
    return measure(pack, backend, label=label, artifact_sha256=SHA, progress=Silent())


@pytest.fixture
def baseline(pack: Pack, knowing: object, ignorant: object) -> Baseline:
    return assemble_baseline(
        pack,
        base=measured(pack, knowing, "base"),
        merged=measured(pack, ignorant, "merged"),
        base_in_format={"gguf-q4": measured(pack, knowing, "base:gguf-q4")},
        ignorance=ignorance_levels(pack, knowing),
    )


def test_what_is_saved_comes_back_equal(baseline: Baseline, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    save_baselines([baseline], path)
    loaded = load_baselines(path)
    assert loaded == {"markov": baseline}
    save_baselines(list(loaded.values()), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_the_scores_in_the_file_are_the_measured_float32(baseline: Baseline, pack: Pack, knowing: object) -> None:
    assert baseline.base == measured(pack, knowing, "base")


def test_the_file_is_canonical_json_without_texts(baseline: Baseline, tmp_path: Path, capitals: dict[str, str]) -> None:
    path = tmp_path / "baseline.json"
    save_baselines([baseline], path)
    text = path.read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    for word in (*capitals, *capitals.values(), "capital of"):
        assert word not in text


def test_an_existing_file_needs_force(baseline: Baseline, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        save_baselines([baseline], path)
    assert path.read_text() == "mine"
    save_baselines([baseline], path, force=True)
    assert load_baselines(path) == {"markov": baseline}


def of_another_backend(baseline: Baseline) -> Baseline:
    """The same scores under another backend's name, with a tokenizer digest and a format of its own."""

    def moved(measurement: Measurement) -> Measurement:
        backend = {**measurement.backend, "backend": "onnxruntime"}
        return dataclasses.replace(measurement, backend=backend, tokenizer_digest="e" * 64)

    return dataclasses.replace(
        baseline,
        tokenizer_digest="e" * 64,
        base=moved(baseline.base),
        merged=moved(baseline.merged),
        base_in_format={"onnx-int4": moved(baseline.base_in_format["gguf-q4"])},
    )


def test_one_file_holds_the_scores_of_several_backends(baseline: Baseline, tmp_path: Path) -> None:
    other = of_another_backend(baseline)
    path = tmp_path / "baseline.json"
    save_baselines([baseline, other], path)
    loaded = load_baselines(path)
    assert loaded == {"markov": baseline, "onnxruntime": other}
    assert choose_baseline(loaded, "onnxruntime", format_name="onnx-int4") == other


def test_backends_of_different_packs_are_not_saved_together(baseline: Baseline, tmp_path: Path) -> None:
    other = dataclasses.replace(of_another_backend(baseline), pack_digest="c" * 64)
    with pytest.raises(BaselineError, match="measured different packs"):
        save_baselines([baseline, other], tmp_path / "baseline.json")
    with pytest.raises(BaselineError, match="markov occurs twice"):
        save_baselines([baseline, baseline], tmp_path / "baseline.json")
    assert not any(tmp_path.glob("*.json"))


def test_a_backend_that_recorded_nothing_is_refused(baseline: Baseline) -> None:
    with pytest.raises(BaselineError, match=r"with the backend markov \(gguf-q4\); this is onnxruntime") as caught:
        choose_baseline({"markov": baseline}, "onnxruntime", format_name="onnx-int4")
    assert "--format onnx-int4" in caught.value.next_step


# --- damaged files


@pytest.fixture
def table(baseline: Baseline, tmp_path: Path) -> dict[str, Any]:
    save_baselines([baseline], tmp_path / "good.json")
    return json.loads((tmp_path / "good.json").read_text())


Change = "Callable[[dict[str, Any]], object]"


def markov(table: dict[str, Any]) -> dict[str, Any]:
    """What the one backend recorded."""
    return table["backends"]["markov"]


def base(table: dict[str, Any]) -> dict[str, Any]:
    """The measurement of the base."""
    return table["backends"]["markov"]["base"]


BAD: list[tuple[str, Change, str]] = [
    ("schema", lambda t: t.update(schema=99), "its schema is 99; this version reads 4"),
    ("no schema", lambda t: t.pop("schema"), "its schema is missing"),
    ("other matching rules", lambda t: t.update(matching=0), "right or wrong by rules 0; this version has"),
    ("matching rules of no number", lambda t: t.update(matching=True), "by rules True"),
    ("missing part", lambda t: markov(t).pop("merged"), "markov: merged missing"),
    ("unknown key", lambda t: t.update(extra=1), "unknown key extra"),
    ("digest", lambda t: t.update(pack_digest="xyz"), "pack_digest: it is not a sha256"),
    ("no backend", lambda t: t["backends"].clear(), "it holds no backend's scores"),
    (
        "other backend",
        lambda t: base(t)["backend"].update(backend="torch"),
        "markov, base: it was measured with the backend torch",
    ),
    ("no probes", lambda t: t["probes"].clear(), "probes: there are none"),
    ("probe twice", lambda t: t["probes"][1].update(id="p0"), "an id occurs twice"),
    ("role", lambda t: t["probes"][0].update(role="forgot"), "unknown role 'forgot'"),
    ("flag", lambda t: t["probes"][0].update(trained=0), "trained: it is neither true nor false"),
    (
        "roles",
        lambda t: t["surfaces"].pop("retain"),
        r"roles are \['forget'\], those of the probes \['forget', 'retain'\]",
    ),
    ("no surface", lambda t: t["surfaces"]["forget"].clear(), "there is none for forget"),
    (
        "missing score",
        lambda t: base(t)["scores"]["logprobs"].pop(),
        "base: 11 values of logprobs for 12 probes and surfaces: scores are missing",
    ),
    ("missing column", lambda t: markov(t)["merged"]["scores"].pop("right"), "merged, scores: right missing"),
    (
        "empty logprobs",
        lambda t: base(t)["scores"]["logprobs"][3].clear(),
        "probe p1 on chat: it has no log-prob",
    ),
    ("positive", lambda t: base(t)["scores"]["logprobs"].__setitem__(0, [0.1]), r"a log-probability of 0\.1"),
    (
        "-1e300",
        lambda t: base(t)["scores"]["logprobs"].__setitem__(0, [-1e300]),
        r"a log-probability of -1e\+300",
    ),
    ("text", lambda t: base(t)["scores"]["logprobs"].__setitem__(0, ["-1"]), "it is not a number"),
    ("huge", lambda t: base(t)["scores"]["logprobs"].__setitem__(0, [-(10**400)]), "the number is too large"),
    ("right", lambda t: base(t)["scores"]["right"].__setitem__(0, 1), "right: it is neither true nor false"),
    ("share", lambda t: base(t)["scores"]["rouge_l"].__setitem__(0, 1.5), "1.5 is not between 0 and 1"),
    ("null", lambda t: base(t)["scores"]["rouge_l"].__setitem__(0, None), "rouge_l: it is not a number"),
    ("rank", lambda t: base(t)["scores"]["decoy_rank"].__setitem__(0, 9), "decoy_rank 9 among 3 decoys"),
    (
        "no rank",
        lambda t: base(t)["scores"]["decoy_rank"].__setitem__(0, None),
        "decoy_rank None among 3 decoys",
    ),
    ("ignorance", lambda t: markov(t)["ignorance"].pop("p0/raw"), "ignorance: p0/raw missing"),
    ("surplus ignorance", lambda t: markov(t)["ignorance"].update({"p9/raw": 1.0}), "ignorance: unknown key p9/raw"),
    (
        "negative ignorance",
        lambda t: markov(t)["ignorance"].update({"p0/raw": -1}),
        "is at least 0 nat",
    ),
    ("backend", lambda t: base(t)["backend"].update(threads=1), "backend threads: it is not a string"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_damaged_baseline_is_refused(
    table: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(table)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(table))
    with pytest.raises(BaselineError, match=message) as caught:
        load_baselines(path)
    assert "bad.json" in caught.value.message
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b'{"schema": NaN}', "is damaged: NaN is not a number"),
        (b"[" * 200_000, "is damaged"),
        (b"[]", "it is not a JSON object"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(BaselineError, match=message):
        load_baselines(path)


def test_every_truncation_is_refused(table: dict[str, Any], tmp_path: Path) -> None:
    del table
    content = (tmp_path / "good.json").read_bytes().rstrip()
    for length in range(0, len(content), 97):
        (tmp_path / "bad.json").write_bytes(content[:length])
        with pytest.raises(BaselineError):
            load_baselines(tmp_path / "bad.json")


def test_a_missing_file_says_how_to_record_one(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="No such file") as caught:
        load_baselines(tmp_path / "none.json")
    assert "export-edge baseline --base" in caught.value.next_step


# --- a baseline that does not belong to what is judged


def check(baseline: Baseline, pack: Pack, format_name: str = "gguf-q4", tokenizer: str | None = None) -> None:
    check_match(baseline, pack, tokenizer or baseline.tokenizer_digest, format_name=format_name)


def test_a_fitting_baseline_passes(baseline: Baseline, pack: Pack) -> None:
    check(baseline, pack)


def test_what_differs_between_two_backends_is_named() -> None:
    then = {"backend": "llama.cpp", "engine": "1"}
    assert backend_differences(then, then) == ()
    assert backend_differences(then, {**then, "engine": "2", "flash": "on"}) == (
        ("engine", "1", "2"),
        ("flash", "not set", "on"),
    )


def test_what_an_older_version_could_not_state_is_no_difference() -> None:
    then = {"backend": "onnxruntime", "engine": "1"}
    now = {**then, "embedding": "int8"}
    assert backend_differences(then, now) == ()
    assert backend_differences(now, then) == (("embedding", "int8", "not set"),)
    assert backend_differences({**then, "embedding": "float"}, now) == (("embedding", "float", "int8"),)


def test_an_embedding_that_is_stored_otherwise_is_refused(baseline: Baseline) -> None:
    name, recorded = next(iter(baseline.base_in_format.items()))
    check_embedding(baseline, "int8", format_name=name)
    stated = dataclasses.replace(recorded, backend={**recorded.backend, "embedding": "float"})
    with pytest.raises(BaselineError, match=r"stored as int8, that of the base in .* as float"):
        check_embedding(dataclasses.replace(baseline, base_in_format={name: stated}), "int8", format_name=name)


def test_another_pack_is_refused(baseline: Baseline, pack: Pack) -> None:
    other = dataclasses.replace(pack, system_prompt="x")
    with pytest.raises(BaselineError, match="with another pack") as caught:
        check(baseline, other)
    assert pack.digest[:12] in caught.value.message
    assert other.digest[:12] in caught.value.message
    assert "export-edge baseline --base BASE --adapter ADAPTER --format gguf-q4" in caught.value.next_step


def test_another_tokenizer_is_refused(baseline: Baseline, pack: Pack) -> None:
    expected = f"with another tokenizer: {baseline.tokenizer_digest[:12]}… there, f{{12}}"
    with pytest.raises(BaselineError, match=expected):
        check(baseline, pack, tokenizer="f" * 64)


def test_another_format_is_refused(baseline: Baseline, pack: Pack) -> None:
    with pytest.raises(BaselineError, match=r"no scores of the base in gguf-q4_0 \(it has: gguf-q4\)") as caught:
        check(baseline, pack, "gguf-q4_0")
    assert "--add-format gguf-q4_0" in caught.value.next_step


def test_what_could_not_be_loaded_is_not_assembled(pack: Pack, knowing: object, ignorant: object) -> None:
    base, merged = measured(pack, knowing, "base"), measured(pack, ignorant, "merged")
    parts = {"base": base, "merged": merged, "base_in_format": {"gguf-q4": base}}
    levels = ignorance_levels(pack, knowing)
    with pytest.raises(BaselineError, match="ignorance: p0/raw missing"):
        assemble_baseline(pack, **parts, ignorance={k: v for k, v in levels.items() if k != "p0/raw"})
    with pytest.raises(BaselineError, match="it is nan"):
        assemble_baseline(pack, **parts, ignorance={**levels, "p0/raw": math.nan})
    other = {**parts, "merged": dataclasses.replace(merged, tokenizer_digest="f" * 64)}
    with pytest.raises(BaselineError, match="'merged': its tokenizer_digest is ffff"):
        assemble_baseline(pack, **other, ignorance=levels)
    short = {**parts, "base": dataclasses.replace(base, scores=base.scores[1:])}
    with pytest.raises(BaselineError, match="its 11 scores are not the pack's"):
        assemble_baseline(pack, **short, ignorance=levels)
