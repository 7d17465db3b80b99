"""Reports: they say what was judged, fit their schema, show no text unasked, and nothing in them is live."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from edgeproof.contracts.errors import ArtifactError, OutputError
from edgeproof.contracts.training import Training
from edgeproof.eval.measurement import Verdict
from edgeproof.eval.report.sanitize import inert
from edgeproof.eval.report.survival import read_survival
from edgeproof.eval.report.terminal import render_comparison, render_terminal
from edgeproof.eval.report.training import read_training
from edgeproof.eval.report.write import report_json, write_reports
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Reason
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import CONTEXT, WORLD, Answer, World, leaking
from hypothesis import given, settings
from hypothesis import strategies as st

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "report.schema.json").read_text(encoding="utf-8"))
BASELINE = WORLD.baseline()
HOSTILE = (
    "\x1b[31mred\x1b[0m [bold]markup[/bold] <b>&amp;</b> \x00\x08\ud800\ufffe\u202e\r\n::error::pwned ##vso[x] :smile:"
)


def gate(answers=None, baseline=BASELINE, world=WORLD):
    return judge(world.artifact(answers), baseline, Policy(), format="gguf-q4")


def unknown(_fact, _surface):
    return Answer(5.0, right=False)


@pytest.fixture(scope="module")
def judgements():
    return {
        "good": gate(),
        "back": gate(WORLD.back),
        "gibberish": gate(WORLD.gibberish),
        "near": gate(leaking(WORLD, 3)),
        "blind": gate(baseline=WORLD.baseline(in_format=unknown)),
        "small": gate(
            world=World(forget=3, known=3, retain=0, holdout=0), baseline=World(3, 3, 0, holdout=0).baseline()
        ),
    }


@pytest.fixture(scope="module")
def hostile():
    """A judgement whose every name that others choose is hostile."""
    rename = {fact.probe: f"{fact.probe} {HOSTILE}" for fact in WORLD.facts()}

    def renamed(measurement):
        scores = tuple(
            dataclasses.replace(s, probe=rename[s.probe], surface=f"{s.surface} {HOSTILE}") for s in measurement.scores
        )
        return dataclasses.replace(measurement, scores=scores, backend={"backend": HOSTILE, HOSTILE: HOSTILE})

    baseline = dataclasses.replace(
        BASELINE,
        pack_name=HOSTILE,
        probes=tuple(
            dataclasses.replace(f, probe=rename[f.probe], cluster=f"{f.cluster} {HOSTILE}") for f in BASELINE.probes
        ),
        surfaces={role: tuple(f"{name} {HOSTILE}" for name in names) for role, names in BASELINE.surfaces.items()},
        base=renamed(BASELINE.base),
        merged=renamed(BASELINE.merged),
        base_in_format={"gguf-q4": renamed(BASELINE.base_in_format["gguf-q4"])},
        kinds={f"{name} {HOSTILE}": kind for name, kind in BASELINE.kinds.items()},
        ignorance={
            f"{rename[probe]}/{surface} {HOSTILE}": level
            for (probe, surface), level in ((key.split("/"), level) for key, level in BASELINE.ignorance.items())
        },
    )
    return judge(renamed(WORLD.artifact(WORLD.back)), baseline, Policy(), format="gguf-q4")


def terminal(judgement, *, encoding="utf-8", **options):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    render_terminal(judgement, options.pop("artifact", "model.gguf"), file=file, **options)
    return raw.getvalue().decode(encoding)


def junit(judgement, folder, **options):
    _, path, *_ = write_reports(judgement, CONTEXT, folder, **options)
    return ET.parse(path).getroot()  # noqa: S314 (our own)


def test_an_undecided_verdict_names_the_command_that_tells_how_many_probes_are_missing(judgements):
    step = "export-edge pack check PACK --base BASE --format gguf-q4"
    undecided = [name for name, one in judgements.items() if Reason.UNDECIDED in (one.reason, *one.also)]
    assert "near" in undecided
    for name, judgement in judgements.items():
        assert (step in " ".join(terminal(judgement).split())) == (name in undecided), name


# report.json


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["good", "back", "gibberish", "near", "blind", "small"])
def test_every_report_fits_the_published_schema(judgements, tmp_path, name):
    path, *_ = write_reports(judgements[name], CONTEXT, tmp_path / "new" / "folder")
    report = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(report)
    assert report["verdict"] == str(judgements[name].verdict)
    assert report["exit_code"] == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 4}[report["verdict"]]
    assert len(report["probes"]) == len(judgements[name].probes)


def test_a_survival_map_fits_the_schema_and_is_as_the_manifest_has_it(judgements):
    table = {
        "projection": 0.9,
        "projection_error": 0.01,
        "codes_moved": None,
        "sampled": 64,
        "tensors": [{"name": "blk.0.attn_q.weight", "layer": 0, "projection": 0.9, "projection_error": 0.01}],
    }
    context = dataclasses.replace(
        CONTEXT,
        manifest_sha256="c" * 64,
        survival=read_survival({"survival": table}),
        probe_digests={"f0-0": "d" * 64},
    )
    report = json.loads(json.dumps(report_json(judgements["good"], context)))
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(report)
    assert report["survival"] == table
    assert report["probe_digests"] == {"f0-0": "d" * 64}
    assert report_json(judgements["good"], CONTEXT)["survival"] is None


def test_a_training_run_fits_the_schema_and_is_as_the_manifest_has_it(judgements):
    run = Training("base", "OpenUnlearning", "NPO", "x/y", "locuslab/TOFU forget10", "", None, (("beta", 0.1),), "", "")
    manifest = {"training": [run.to_json()]}
    context = dataclasses.replace(CONTEXT, training=read_training([manifest, None, manifest]))
    report = json.loads(json.dumps(report_json(judgements["good"], context)))
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(report)
    assert report["training"] == manifest["training"]
    with pytest.raises(ArtifactError, match="its training has"):
        read_training([{"training": {}}])


def test_a_report_names_all_that_it_rests_on(judgements):
    report = report_json(judgements["good"], CONTEXT)
    assert report["artifact"]["sha256"] == judgements["good"].artifact_sha256
    assert report["artifact"]["provenance"] == "unknown"
    assert report["pack"] == {"name": "capitals", "sha256": BASELINE.pack_digest, "files_sha256": "d" * 64}
    assert report["baseline"]["sha256"] == "b" * 64
    assert report["policy"]["sha256"] == Policy().digest
    assert report["backend"]["engine"] == "1.2.3 (abc)"
    assert report["command"][0] == "export-edge"
    assert report["created"] == "2026-02-13T12:00:00+00:00"
    made_here = dataclasses.replace(CONTEXT, manifest_sha256="c" * 64)
    assert report_json(judgements["good"], made_here)["artifact"]["provenance"] == "manifest"


def test_a_hostile_report_fits_the_schema_and_keeps_ids_as_they_are(hostile, tmp_path):
    path, *_ = write_reports(hostile, CONTEXT, tmp_path)
    content = path.read_bytes()
    assert all(32 <= byte < 127 or byte == 10 for byte in content)
    report = json.loads(content)
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    assert report["probes"][0]["probe"] == f"f0-0 {HOSTILE}"


# Privacy


def test_no_text_is_written_or_shown_unless_it_is_handed_over(judgements, tmp_path):
    secret = {("f0-0", "raw"): "the secret answer", ("f1-0", "chat"): "another secret"}
    for name in ("back", "good"):
        judgement = judgements[name]
        paths = write_reports(judgement, CONTEXT, tmp_path / f"{name}-hidden")
        shown_paths = write_reports(judgement, CONTEXT, tmp_path / f"{name}-shown", answers=secret)
        hidden = [path.read_text(encoding="utf-8") for path in paths] + [terminal(judgement)]
        shown = [shown_paths[0].read_text(encoding="utf-8"), terminal(judgement, answers=secret)]
        assert not any("secret" in text for text in hidden)
        assert all("the secret answer" in text and "another secret" in text for text in shown)
    assert "the secret answer" in shown_paths[1].parent.parent.joinpath("back-shown", "junit.xml").read_text()
    shown_report = json.loads((tmp_path / "back-shown" / "report.json").read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(shown_report)


# Writing


def test_existing_reports_are_not_replaced_without_force(judgements, tmp_path):
    (tmp_path / "junit.xml").write_text("mine")
    with pytest.raises(OutputError):
        write_reports(judgements["good"], CONTEXT, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]
    assert (tmp_path / "junit.xml").read_text() == "mine"
    write_reports(judgements["good"], CONTEXT, tmp_path, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junit.xml", "report.html", "report.json", "summary.md"]


def test_a_folder_that_cannot_be_made_is_an_error(judgements, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_reports(judgements["good"], CONTEXT, tmp_path / "file")
    with pytest.raises(OutputError):
        write_reports(judgements["good"], CONTEXT, tmp_path / "file" / "below")


# junit.xml


def test_junit_has_a_case_for_the_verdict_each_criterion_and_each_control(judgements, tmp_path):
    for number, judgement in enumerate(judgements.values()):
        root = junit(judgement, tmp_path / str(number))
        suite = root.find("testsuite")
        cases = suite.findall("testcase")
        controls = ("control-positive", "control-negative", "control-strength")
        names = [case.get("name") for case in cases]
        assert names == ["verdict", *(c.name for c in judgement.criteria), *controls]
        for element in (root, suite):
            assert int(element.get("tests")) == len(cases)
            for kind, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
                assert int(element.get(counted)) == len(suite.findall(f"testcase/{kind}"))


def test_junit_is_red_for_everything_but_pass(judgements, tmp_path):
    for number, judgement in enumerate(judgements.values()):
        root = junit(judgement, tmp_path / str(number))
        red = int(root.get("failures")) + int(root.get("errors"))
        assert (red == 0) == (judgement.verdict == Verdict.PASS)
        verdict = root.find("testsuite/testcase[@name='verdict']")
        assert (verdict.find("failure") is not None) == (judgement.verdict == Verdict.FAIL)
        assert (verdict.find("error") is not None) == (judgement.verdict == Verdict.INCONCLUSIVE)


def test_junit_says_in_the_log_what_failed_and_by_how_much(judgements, tmp_path):
    root = junit(judgements["back"], tmp_path)
    failure = root.find("testsuite/testcase[@name='verdict']/failure")
    assert failure.get("message") == "FAIL: it came back"
    assert "31 of 31 known clusters" in failure.text
    assert "Do not ship this file." in failure.text
    assert "country 0" in failure.text
    leak = root.find("testsuite/testcase[@name='leak']/failure")
    assert leak.get("message") == "leaking forget clusters: 31 of 31 known clusters (limit 10.0%)"
    assert re.search(r"at least 90\.8% at 95%", leak.text)


def test_junit_is_read_by_another_reader(judgements, tmp_path):
    junitparser = pytest.importorskip("junitparser")
    write_reports(judgements["gibberish"], CONTEXT, tmp_path)
    xml = junitparser.JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    suite = next(iter(xml))
    assert (suite.tests, suite.failures) == (13, 3)
    results = {case.name: [type(result).__name__ for result in case.result] for case in suite}
    assert results["quantizing-cost"] == ["Failure"]
    assert results["leak"] == []


def test_hostile_junit_is_well_formed_and_inert(hostile, tmp_path):
    _, path, *_ = write_reports(hostile, CONTEXT, tmp_path, answers={("f0-0", "raw"): HOSTILE})
    text = path.read_text(encoding="utf-8")
    ET.fromstring(text)  # noqa: S314 (our own)
    assert_inert(text)
    assert "<b>" not in text


# The terminal


def assert_inert(text):
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ufffe]", text)
    assert "::" not in text
    assert "##" not in text


def test_the_verdict_and_its_reason_come_first(judgements):
    assert terminal(judgements["good"]).startswith("PASS: it stayed unlearned\n")
    assert terminal(judgements["back"]).startswith("FAIL: it came back\n")
    lines = terminal(judgements["back"]).splitlines()
    assert "31 of 31 known clusters" in lines[2]
    assert lines[lines.index("Next") + 1].strip() == "→ Do not ship this file."


def test_every_criterion_stands_with_its_number_its_limit_and_its_result(judgements):
    text = terminal(judgements["good"])
    assert re.search(r"✓ +leaking forget clusters +0 of 31 known clusters +≤ 9\.2% +≤ 10\.0% +met", text)
    assert re.search(r"✓ +the base, in this format, still knows +31 of 31 clusters leak +holds", text)
    text = terminal(judgements["back"])
    assert re.search(r"✗ +leaking forget clusters +31 of 31 known clusters +≥ 90\.8% +≤ 10\.0% +missed", text)


def test_an_inconclusive_verdict_says_what_would_decide(judgements):
    assert "more forget clusters" in terminal(judgements["near"])
    assert "ask what the base knows in this format" in terminal(judgements["blind"])


def test_output_is_plain_where_it_is_no_terminal(judgements):
    for judgement in judgements.values():
        text = terminal(judgement)
        assert "\x1b" not in text
        assert all(len(line) <= 120 for line in text.splitlines())


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_a_terminal_gets_colour_unless_no_color_says_otherwise(judgements, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Tty()
    render_terminal(judgements["back"], "model.gguf", file=file)
    assert "\x1b[1;31mFAIL: it came back" in file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    file = Tty()
    render_terminal(judgements["back"], "model.gguf", file=file)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", file.getvalue())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    file = Tty()
    render_terminal(judgements["back"], "model.gguf", file=file)
    assert "\x1b" not in file.getvalue()


def test_a_narrow_encoding_gets_ascii(judgements):
    text = terminal(judgements["back"], encoding="ascii")
    assert "x   leaking forget clusters" in text
    assert "<= 10.0%" in text


def test_hostile_strings_are_inert_on_the_terminal(hostile):
    answers = {(row.probe, row.surface): HOSTILE for row in hostile.probes[:3]}
    text = terminal(hostile, artifact=HOSTILE, answers=answers)
    assert_inert(text)
    assert r"\x1b[31mred" in text
    assert "[bold]markup[/bold]" in text
    assert ":smile:" in text
    file = io.StringIO()
    render_comparison([(HOSTILE, hostile)], file=file, answers={HOSTILE: answers})
    assert_inert(file.getvalue())


def test_verdicts_stand_side_by_side(judgements):
    file = io.StringIO()
    answers = {"q4": {("f0-0", "raw"): "I do not know"}, "q4_1": {("f0-0", "raw"): "Paris", ("f1-0", "raw"): "Rome"}}
    render_comparison([("q4", judgements["good"]), ("q4_1", judgements["back"])], file=file, answers=answers)
    text = file.getvalue()
    assert re.search(r"q4 +PASS +it stayed unlearned +✓ 0 of 31 ", text)
    assert re.search(r"q4_1 +FAIL +it came back +✗ 31 of 31 ", text)
    assert re.search(r"f0-0 +raw +I do not know +Paris", text)
    assert re.search(r"f1-0 +raw +not asked +Rome", text)


# Making strings harmless


@given(st.text())
@settings(deadline=None)
def test_any_string_becomes_one_harmless_line(text):
    shown = inert(text)
    assert_inert(shown)
    assert "\n" not in shown
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")
    assert inert(shown, 10**6) == shown


@given(st.text(alphabet=st.characters(categories=["L", "N", "Zs"]), max_size=100))
def test_plain_words_of_any_script_stay_as_they_are(text):
    assert inert(text) == text


@pytest.mark.parametrize("failing", range(5))
def test_a_report_that_cannot_be_written_whole_leaves_no_report(judgements, tmp_path, monkeypatch, failing):
    """A full disk at any of its files: no report.json is left that says PASS."""
    import errno
    import os

    real, calls = os.fsync, 0

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls > failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_reports(judgements["good"], CONTEXT, tmp_path)
    assert list(tmp_path.iterdir()) == []
