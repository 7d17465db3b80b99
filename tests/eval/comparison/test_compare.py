"""Two reports compared: planted regressions are found, equal files raise no alarm, and what differs is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re

import pytest
from edgeproof.contracts.errors import EvidenceError, InputError
from edgeproof.eval.comparison.changes import Found
from edgeproof.eval.comparison.compare import compare
from edgeproof.eval.comparison.markdown import markdown_comparison
from edgeproof.eval.comparison.recorded import read_recorded
from edgeproof.eval.comparison.terminal import render_comparison
from edgeproof.eval.report.read import has_its_digest
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.comparison.reports import BASELINE, HOSTILE, WORLD, change, retrained, write
from edgeproof_tests.eval.worlds import BASE, World
from scipy.stats import binomtest


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return write(tmp_path_factory.mktemp("releases") / "v1", retrained(1))


@pytest.fixture
def against(old, tmp_path):
    """Compare a made-up NEW with the good OLD."""

    def made(answers=None, **options):
        path = write(tmp_path / "v2", answers, days=7, **options)
        return compare(read_recorded(old), read_recorded(path))

    return made


def measures(changes):
    return {change.measure for change in changes}


# What is found


def test_equal_files_raise_no_alarm(against):
    found = against(retrained(2))
    assert (found.newly_leaking, found.healed) == ((), ())
    assert {change.found for change in found.changes} == {Found.SAME}
    assert [(change.measure, change.surface) for change in found.changes] == [
        ("leak", ""),
        *(
            (cost, surface)
            for cost in ("quantizing-cost", "unlearning-cost", "accuracy")
            for surface in ("raw", "chat")
        ),
    ]
    assert found.notes == ()


def test_clusters_that_newly_leak_are_named_however_few(against):
    found = against(retrained(1, leaks=2))
    assert found.newly_leaking == ("country 0", "country 1")
    assert found.healed == ()
    assert found.changes[0].found == Found.SAME
    leak = found.changes[0]
    assert (leak.old, leak.new, leak.change) == (0.0, 2 / 31, 2 / 31)
    assert leak.lower < 0 < leak.change < leak.upper


def test_a_share_has_an_interval_where_all_clusters_changed(against):
    leak = against(WORLD.back).changes[0]
    assert (leak.change, leak.upper) == (1.0, 1.0)
    assert 0.75 < leak.lower < 1


@pytest.mark.parametrize("leaks", [4, 5, 6, 20])
def test_leaks_are_worse_from_where_an_exact_test_says_so(against, leaks):
    found = against(retrained(1, leaks=leaks))
    p = binomtest(leaks, leaks, alternative="greater").pvalue
    assert found.changes[0].found == (Found.WORSE if p <= 0.05 else Found.SAME)
    assert len(found.newly_leaking) == leaks


def test_a_planted_cost_is_found_with_its_size(against):
    found = against(retrained(2, cost=0.05))
    assert measures(found.worse) == {"quantizing-cost", "unlearning-cost"}
    for one in found.worse:
        assert one.lower < one.change < one.upper
        assert one.lower < 0.05 < one.upper
        assert one.clusters == 60


def test_lost_answers_are_found(against):
    found = against(retrained(2, wrong=15))
    assert measures(found.worse) == {"accuracy"}
    (raw, _) = found.worse
    assert (raw.old, raw.new, raw.change) == (0.0, 0.25, 0.25)


def test_what_got_worse_is_better_the_other_way_round(against):
    found = against(retrained(2, cost=0.05, wrong=15, leaks=8))
    back = compare(dataclasses.replace(found.new, created=found.old.created), found.old)
    assert measures(found.worse) == measures(back.better) == {"leak", "quantizing-cost", "unlearning-cost", "accuracy"}
    assert back.worse == found.better == ()
    assert back.healed == found.newly_leaking
    assert back.newly_leaking == found.healed == ()


def test_one_dear_cluster_is_no_worse_population(against):
    """A change in one cluster of sixty moves the mean, and shows nothing of others like them."""

    def answers(fact, surface):
        answer = retrained(2)(fact, surface)
        return dataclasses.replace(answer, nll=answer.nll + 2) if fact.probe == "r0" else answer

    found = against(answers)
    assert found.worse == ()
    assert max(one.change for one in found.changes) > 0.02


def test_too_few_kept_clusters_are_not_tested_and_said(tmp_path):
    world = World(forget=31, known=31, retain=39, trained=0, holdout=0)
    baseline = world.baseline()
    one, two = (
        read_recorded(write(tmp_path / str(seed), retrained(seed), world=world, baseline=baseline, days=seed))
        for seed in (1, 2)
    )
    found = compare(one, two)
    costs = [change for change in found.changes if change.unit == "nat"]
    assert {change.found for change in costs} == {Found.UNTESTED}
    assert {change.lower for change in costs} == {None}
    assert "too few clusters to test" in shown(found)


def test_the_rule_for_subjects_counts_those_that_leak_by_the_stricter_rule(tmp_path):
    policy = Policy(leak_rule="subjects")
    path = write(tmp_path / "v1", retrained(1, leaks=2), policy=policy)
    strict = read_recorded(path)
    table = json.loads(path.read_bytes())["subjects"]
    assert strict.leaking == {subject["cluster"]: not subject["clean"] for subject in table}


def test_without_log_probabilities_leaks_and_answers_are_compared_and_that_is_said(old, tmp_path):
    def unscored(report):
        for row in report["probes"]:
            row["nll"] = None

    new = change(write(tmp_path / "v3", retrained(2, leaks=8), days=3), unscored)
    found = compare(read_recorded(old), read_recorded(new))
    assert measures(found.changes) == {"leak", "accuracy"}
    assert any("costs in nat are not compared" in note for note in found.notes)
    assert measures(found.worse) == {"leak"}


# What is said beside it


def test_size_and_time_are_compared_and_time_only_on_one_machine(against, old, tmp_path):
    text = shown(against(retrained(2), artifact_bytes=100_870_000, seconds=33.0))
    assert re.search(r"size +91.7 MB +100.9 MB +\+10.0%", text)
    assert re.search(r"time of asking +41.2 s +33.0 s +-20.0%", text)
    new = change(write(tmp_path / "v3", retrained(2), days=3), lambda r: r["backend"].update(processor="another"))
    found = compare(read_recorded(old), read_recorded(new))
    assert re.search(r"time of asking +41.2 s +41.2 s +does not compare", shown(found))
    assert "processor: x86-64 avx2 in OLD, another in NEW." in found.notes


def test_the_same_file_gated_twice_the_wrong_order_and_another_format_are_said(tmp_path):
    one = read_recorded(write(tmp_path / "v1", retrained(1), days=2, sha256="a" * 64))
    two = read_recorded(write(tmp_path / "v2", retrained(1), days=1, sha256="a" * 64))
    assert any("of the same file" in note for note in compare(two, one).notes)
    assert any("check the order" in note for note in compare(one, two).notes)
    other = WORLD.baseline("gguf-q4_0")
    three = read_recorded(write(tmp_path / "v3", retrained(1), days=3, baseline=other))
    assert "The formats differ: gguf-q4 and gguf-q4_0." in compare(one, three).notes


def test_an_attestation_beside_one_report_alone_is_said(old, tmp_path):
    (tmp_path / "v3").mkdir()
    path = write(tmp_path / "v3", retrained(2), days=3)
    path.with_name("attestation.dsse.json").write_text("{}")
    found = compare(read_recorded(old), read_recorded(path))
    assert any(note.startswith("NEW has an attestation, OLD has none") for note in found.notes)


# What is refused


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda r: r["pack"].update(sha256="e" * 64, name="others"), r"packs differ: capitals \(.*\) and others \(eee"),
        (lambda r: r["baseline"].update(base={"name": "Qwen", "sha256": "e" * 64}), "bases differ: SmolLM2 .* Qwen"),
        (lambda r: r["baseline"].update(base=None), "its baseline names none"),
        (lambda r: r["baseline"].update(tokenizer_sha256="e" * 64), "tokenizers differ"),
    ],
)
def test_other_packs_bases_and_tokenizers_are_not_comparable(old, tmp_path, edit, words):
    new = change(write(tmp_path / "v2", retrained(2), days=1), edit)
    with pytest.raises(InputError, match=words) as caught:
        compare(read_recorded(old), read_recorded(new))
    assert "are not comparable" in caught.value.message
    assert caught.value.exit_code == 3
    with pytest.raises(InputError, match="are not comparable"):
        compare(read_recorded(new), read_recorded(old))


def test_another_policy_is_not_comparable_and_its_limit_is_named(old, tmp_path):
    new = write(tmp_path / "v2", retrained(2), days=1, policy=Policy(leak_share=0.2))
    with pytest.raises(InputError, match=r"policies differ: leak_share 0.1 and 0.2"):
        compare(read_recorded(old), read_recorded(new))


def test_the_same_report_twice_is_refused(old, tmp_path):
    copy = tmp_path / "report.json"
    copy.write_bytes(old.read_bytes())
    with pytest.raises(InputError, match="are the same report"):
        compare(read_recorded(old), read_recorded(copy))


def test_a_report_cut_short_anywhere_is_refused(old, tmp_path):
    content, path = old.read_bytes(), tmp_path / "report.json"
    for length in [*range(0, len(content), len(content) // 40), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(EvidenceError, match=r"damaged|cut short"):
            read_recorded(path)


def test_a_changed_report_is_refused_until_it_has_its_digest(old, tmp_path):
    path = tmp_path / "report.json"
    changed = old.read_bytes().replace(b"country 0", b"country X")
    assert changed != old.read_bytes()
    path.write_bytes(changed)
    with pytest.raises(EvidenceError, match="own digest"):
        read_recorded(path)
    assert has_its_digest(old.read_bytes())
    assert not has_its_digest(old.read_bytes() + b"\n")


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r.pop("probes"),
        lambda r: r.update(subjects=[]),
        lambda r: r.update(subjects=None),
        lambda r: r.update(created="today"),
        lambda r: r.update(created="2026-02-13T12:00:00"),
        lambda r: r.update(verdict="FINE"),
        lambda r: r["subjects"][0].update(leaks="no"),
        lambda r: r["artifact"].update(bytes="many"),
        lambda r: r["criteria"][0].update(estimate=True),
        lambda r: r["policy"]["values"].update(confidence="high"),
    ],
)
def test_a_report_of_other_types_is_refused(tmp_path, edit):
    path = write(tmp_path / "v1", retrained(1))
    change(path, edit)
    with pytest.raises(EvidenceError, match="is damaged"):
        read_recorded(path)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, number):
    path = write(tmp_path / "v1", retrained(1))
    head, _, _ = path.read_bytes().rpartition(b',\n "report_sha256"')
    head = re.sub(rb'"nll": [\d.]+', b'"nll": ' + number, head)
    digest = hashlib.sha256(head + b"\n}\n").hexdigest().encode()
    path.write_bytes(head + b',\n "report_sha256": "' + digest + b'"\n}\n')
    assert has_its_digest(path.read_bytes())
    with pytest.raises(EvidenceError, match="is damaged"):
        read_recorded(path)


def test_another_schema_version_and_what_is_no_report_are_refused(tmp_path):
    path = change(write(tmp_path / "v1", retrained(1)), lambda r: r.update(schema_version=4))
    with pytest.raises(EvidenceError, match="schema version 4; this version reads 5"):
        read_recorded(path)
    for content in ("[]", "{}", "", "nothing"):
        path.write_text(content)
        with pytest.raises(EvidenceError):
            read_recorded(path)
    with pytest.raises(EvidenceError, match="cannot read"):
        read_recorded(tmp_path / "nowhere")


def test_other_probes_of_the_same_pack_are_refused(old, tmp_path):
    for number, edit in enumerate((lambda r: r["subjects"].pop(), lambda r: r["probes"].pop(70 * 2))):
        path = write(tmp_path / f"v{number}", retrained(2), days=1)
        kept = json.loads(path.read_bytes())["probes"][140]
        assert kept["role"] == "retain"
        change(path, edit)
        with pytest.raises(EvidenceError, match="other probes"):
            compare(read_recorded(old), read_recorded(path))


# How it is shown


def shown(found):
    file = io.StringIO()
    render_comparison(found, file=file)
    return file.getvalue()


def test_terminal_markdown_and_json_say_the_same(against):
    found = against(retrained(2, cost=0.05, leaks=2))
    text, markdown, table = shown(found), markdown_comparison(found), found.to_json()
    head = "INCONCLUSIVE, was PASS. 2 forget clusters newly leaking, 0 healed. Worse: kept knowledge lost to quantizing"
    assert text.startswith(head)
    assert markdown.startswith(f"## {head}")
    assert "Newly leaking: country 0, country 1\n" in text
    assert "Newly leaking: `country 0`, `country 1`." in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == 3 + 1 + len(found.changes) + 2
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert table["newly_leaking"] == ["country 0", "country 1"]
    assert table["worse"] == ["quantizing-cost", "unlearning-cost"]
    assert table["old"]["verdict"] == "PASS"
    assert {one["found"] for one in table["changes"]} == {"worse", "no change shown"}


def test_leaks_have_the_gates_word_where_the_policy_judges_subjects(tmp_path):
    policy = Policy(leak_rule="subjects")
    old = write(tmp_path / "old", policy=policy)
    new = write(tmp_path / "new", retrained(2, leaks=1), days=1, policy=policy)
    title = next(one["title"] for one in json.loads(new.read_bytes())["criteria"] if one["name"] == "leak")
    assert title == "leaking subjects"
    found = compare(read_recorded(old), read_recorded(new))
    for text in (shown(found), markdown_comparison(found)):
        assert " 1 subject newly leaking, 0 healed." in text
        assert title in text
        assert "cluster" not in text
    assert found.changes[0].title == title


def test_names_of_others_are_inert(tmp_path):
    def hostile(report):
        for subject in report["subjects"]:
            subject["cluster"] += HOSTILE
        for row in report["probes"]:
            row["surface"] += HOSTILE
        report["artifact"].update(name=HOSTILE, format=HOSTILE)
        report["reason"] = HOSTILE
        report["backend"][HOSTILE] = HOSTILE + report["created"]

    one = change(write(tmp_path / "v1", retrained(1)), hostile)
    two = change(write(tmp_path / "v2", retrained(2, leaks=3), days=1), hostile)
    found = compare(read_recorded(one), read_recorded(two))
    for text in (shown(found), markdown_comparison(found)):
        for live in ("\x1b", "\x00", "\u202e", "::error::", "##vso["):
            assert live not in text
    outside = re.sub(r"`[^`\n]*`", "", markdown_comparison(found).replace("\\`", ""))
    assert "<script" not in outside
    assert re.search(r"(?<!\\)[!@$`]", outside) is None
    assert HOSTILE in found.to_json()["newly_leaking"][0]

    other = change(write(tmp_path / "v3", days=2), lambda r: r["pack"].update(name=HOSTILE, sha256=HOSTILE))
    with pytest.raises(InputError, match="packs differ") as caught:
        compare(read_recorded(one), read_recorded(other))
    assert "\x1b" not in caught.value.message


def test_the_base_of_the_reports_is_the_one_that_the_baseline_names(old):
    assert read_recorded(old).base == BASE
    assert read_recorded(old.parent).pack.sha256 == BASELINE.pack_digest
