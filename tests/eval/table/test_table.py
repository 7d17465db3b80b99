"""Rows of reports: what they hold, what is refused of them, their signatures, and the table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re

import edgeproof
import pytest
from edgeproof.contracts import parsing
from edgeproof.contracts.errors import EvidenceError, InputError, OutputError, UsageError
from edgeproof.contracts.training import Training
from edgeproof.eval.report.write import encode as report_encode
from edgeproof.eval.report.write import write_reports
from edgeproof.eval.table import checks
from edgeproof.eval.table.checks import read_row
from edgeproof.eval.table.row import encode, file_name, row_of
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy
from edgeproof.release.steps.rows import refuse_other_row
from edgeproof_tests.eval.test_verify import save_keys
from edgeproof_tests.eval.verdict.test_unscored import replies
from edgeproof_tests.eval.worlds import BASE, CONTEXT, WORLD, World

RUN = Training("base", "OpenUnlearning", "NPO", "", "", "", 0, (("beta", 0.1),), ".hydra/config.yaml", "0" * 64)
NAMED = dataclasses.replace(CONTEXT, base=BASE, training=(RUN,), versions={"edgeproof": "0.1.0"})


def report(folder, artifact, context=NAMED, policy=None):
    write_reports(judge(artifact, WORLD.baseline(), policy or Policy(), format="gguf-q4"), context, folder)
    return folder


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """One that passes, one that fails, and one whose method no file names."""
    root = tmp_path_factory.mktemp("reports")
    return {
        "good": report(root / "good", WORLD.artifact()),
        "bad": report(root / "bad", WORLD.artifact(WORLD.back)),
        "unnamed": report(root / "unnamed", WORLD.artifact(), dataclasses.replace(NAMED, training=())),
    }


@pytest.fixture(scope="module")
def row(reports):
    (found,) = edgeproof.table(reports["good"]).rows
    return found


def content(folder):
    return json.loads((folder / "report.json").read_text())


def criterion(folder, name):
    return next(item for item in content(folder)["criteria"] if item["name"] == name)


def test_a_row_has_the_numbers_of_its_report(reports, row):
    said = content(reports["good"])
    assert (row["method"], row["method_from"]) == ("NPO", "OpenUnlearning")
    assert (row["model"], row["format"], row["verdict"]) == (BASE.name, "gguf-q4", "PASS")
    for name, key in (("leak", "leaks"), ("recovery", "recovery"), ("quantizing-cost", "quantizing_cost")):
        assert row[key] == criterion(reports["good"], name)["estimate"]
        assert row[f"{key}_upper"] == criterion(reports["good"], name)["upper"]
    assert row["utility"] == criterion(reports["good"], "accuracy")["details"]["right, artifact"]
    assert row["bytes"] == said["artifact"]["bytes"]
    assert row["report_sha256"] == said["report_sha256"]
    assert row["policy"] == "default"
    assert all(isinstance(value, str | int | float) for value in row.values())


def test_a_row_names_no_probe_and_no_cluster(reports, row):
    text = encode(row).decode()
    said = content(reports["good"])
    for probe in said["probes"]:
        assert probe["probe"] not in text
    assert not any(f'"{subject["cluster"]}"' in text for subject in said["subjects"])


def test_the_table_has_a_line_for_each_and_says_what_was_typed(reports):
    made = edgeproof.table([reports["bad"]])
    typed = edgeproof.table([reports["unnamed"]], method="a|b")
    assert "| NPO | gguf-q4 | **FAIL**: it came back |" in made.markdown
    assert "No file of the run" not in made.markdown
    assert "| a\\|b\\* |" in typed.markdown
    assert "No file of the run names the method" in typed.markdown


def test_a_method_that_only_a_folders_name_says_is_marked(tmp_path):
    named = dataclasses.replace(RUN, file="", sha256="")
    for training in ((named,), (RUN, named)):
        context = dataclasses.replace(NAMED, training=training)
        made = edgeproof.table(report(tmp_path / str(len(training)), WORLD.artifact(), context))
        assert made.rows[0]["method_from"] == "name"
        assert f"| {made.rows[0]['method']}\\* |" in made.markdown
        assert "No file of the run names the method" in made.markdown


def test_another_policy_is_marked(tmp_path):
    policy = dataclasses.replace(Policy(), recovery=0.3)
    made = edgeproof.table(report(tmp_path, WORLD.artifact(), policy=policy))
    assert made.rows[0]["policy"] == "own"
    assert "**PASS** †" in made.markdown
    assert "limits other than the defaults" in made.markdown


def test_reports_of_every_kind_make_a_row(tmp_path):
    """A judgement of each subject bounds no share; an engine of texts measures no cost."""
    each = dataclasses.replace(Policy(), leak_rule="subjects")
    (subjects,) = edgeproof.table(report(tmp_path / "each", WORLD.artifact(), policy=each)).rows
    assert "leaks_upper" not in subjects
    world = World(surfaces=("raw", "chat", "choices"), retain=200, decoys=5)
    judgement = judge(replies(world.artifact()), world.baseline(), Policy(), format="gguf-q4")
    write_reports(judgement, NAMED, tmp_path / "unscored")
    (unscored,) = edgeproof.table(tmp_path / "unscored").rows
    assert "quantizing_cost" not in unscored
    assert unscored["verdict"] == "INCONCLUSIVE"


def test_a_method_is_typed_only_where_no_file_names_it(reports):
    with pytest.raises(UsageError, match="names its method, NPO: leave --method out"):
        edgeproof.table(reports["good"], method="SimNPO")
    with pytest.raises(InputError, match="names no method"):
        edgeproof.table(reports["unnamed"])


def test_rows_that_are_written_are_read_again(reports, tmp_path):
    out = tmp_path / "rows"
    said = edgeproof.table([reports["good"], reports["bad"]], out=out).rows
    assert sorted(path.name for path in out.iterdir()) == sorted(map(file_name, said))
    again = edgeproof.table(out)
    assert sorted(map(encode, again.rows)) == sorted(map(encode, said))
    assert again.markdown == edgeproof.table([reports["bad"], reports["good"]]).markdown
    with pytest.raises(OutputError):
        edgeproof.table(reports["good"], out=out)


def test_the_same_report_twice_is_refused(reports, tmp_path):
    edgeproof.table(reports["good"], out=tmp_path)
    for twice in ([reports["good"], reports["good"]], [reports["good"], tmp_path]):
        with pytest.raises(EvidenceError, match="is there twice"):
            edgeproof.table(twice)


def written(row, folder):
    path = folder / file_name(row)
    path.write_bytes(encode(row))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"leaks": 0.5}, "leaks is 0.5; 0 of"),
        ({"leaks_upper": 0.01}, "leaks_upper is 0.01"),
        ({"leaking_clusters": 3}, "leaks is 0.0; 3 of"),
        ({"clusters": 5000}, None),  # the bound only shrinks with more clusters: the report tells
        ({"clusters": 20}, "leaks_upper is"),
        ({"leaking_clusters": 99}, "99 of 31 clusters leak"),
        ({"recovery_upper": 0.5}, "it is a PASS with recovery_upper 0.5; the limit is 0.2"),
        ({"unlearning_cost_upper": 0.31}, "it is a PASS with unlearning_cost_upper 0.31"),
        ({"recovery": 0.19, "recovery_upper": 0.1}, "recovery is 0.19, above its upper bound 0.1"),
        ({"verdict": "FAIL"}, "the verdict is FAIL, the reason 'it stayed unlearned'"),
        ({"reason": "it came back"}, "the verdict is PASS, the reason 'it came back'"),
        ({"verdict": "GOOD"}, "verdict is none that `table` writes"),
        ({"policy": "lax"}, "policy is none that `table` writes"),
        ({"policy": {}}, "policy is no name"),
        ({"verdict": []}, "verdict is no name"),
        ({"utility": 1.2}, "utility is 1.2, no share"),
        ({"utility": 0.0}, "it is a PASS that answers no kept question right; the base answers "),
        ({"utility": -0.0}, "it is a PASS that answers no kept question right; the base answers "),
        ({"utility_base": -0.5}, "utility_base is -0.5, no share"),
        ({"bytes": 0}, "bytes is 0: no file is empty"),
        (
            {"verdict": "INCONCLUSIVE", "reason": "it came back"},
            "the verdict is INCONCLUSIVE, the reason 'it came back'",
        ),
        ({"verdict": "FAIL", "reason": "too little evidence"}, "the verdict is FAIL, the reason 'too little evidence'"),
        ({"verdict": "FAIL", "reason": "over the budget"}, "the policy is the default, which has no budget"),
        (
            {"verdict": "FAIL", "reason": "utility lost", "utility": 1.0},
            "no cost is above its limit, and every kept question is answered right",
        ),
        ({"level": 1.0}, "the level is 1.0"),
        ({"level": 0.51}, "the policy is the default, the level 0.51; the default is 0.95"),
        ({"policy_sha256": "0" * 64}, "the policy is the default, its sha256 000"),
        ({"policy_sha256": "0" * 64, "edgeproof": "0.0.9"}, None),  # the defaults of another version are not known here
        ({"clusters": 0, "leaking_clusters": 0}, "it is a PASS on no clusters"),
        ({"clusters": 10**6 + 1}, "clusters is no count up to 1000000"),
        ({"clusters": 10**400}, "clusters is no number"),
        ({"bytes": 2**51}, "bytes is no count"),
        ({"schema_version": True}, "schema_version is no number"),
        ({"recovery": -0.1}, "recovery is -0.1, not within 0 … 1000"),
        ({"recovery": -1e300, "recovery_upper": -1e300}, "recovery_upper is -1e+300, not within"),
        ({"quantizing_cost": 1e4, "quantizing_cost_upper": 1e4}, "quantizing_cost is 10000.0, not within -1000"),
        ({"quantizing_cost_upper": 1e4}, "it is a PASS with quantizing_cost_upper 10000.0"),
        ({"privleak": 10**400}, "privleak is no number"),
        ({"bytes": -1}, "bytes is no count"),
        ({"bytes": True}, "bytes is no number"),
        ({"method": ""}, "method is no name"),
        ({"method": "NPO\u202e"}, "method is no name"),
        ({"pack_sha256": "ab"}, "pack_sha256 is no sha256"),
        ({"answers": "Paris"}, "answers is no number"),
        ({"<b>": 1.0}, "is no name of a metric"),
    ],
)
def test_a_doctored_row_contradicts_itself(row, tmp_path, change, words):
    path = written({**row, **change}, tmp_path)
    if words is None:
        read_row(path)
        return
    with pytest.raises(EvidenceError) as caught:
        read_row(path)
    assert words in str(caught.value)
    with pytest.raises(EvidenceError):
        edgeproof.table(path)


@pytest.mark.parametrize(
    "name",
    [
        "leaks",
        "leaks_upper",
        "recovery",
        "recovery_upper",
        "quantizing_cost",
        "unlearning_cost_upper",
        "utility",
        "utility_base",
        "bytes",
        "method",
        "report_sha256",
    ],
)
def test_a_row_without_what_it_needs_is_refused(row, tmp_path, name):
    path = tmp_path / "row.json"
    path.write_bytes(encode({key: value for key, value in row.items() if key != name}))
    with pytest.raises(EvidenceError, match=name):
        read_row(path)


@pytest.mark.parametrize("name", ["recovery", "recovery_upper", "leaks_upper", "quantizing_cost"])
def test_no_number_of_a_pass_is_nan(row, tmp_path, name):
    path = tmp_path / "row.json"
    path.write_bytes(re.sub(rf'("{name}": )[^,]+'.encode(), rb"\1NaN", encode(row)))
    with pytest.raises(EvidenceError, match=f"{name} is no number"):
        read_row(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "edgeproof/row"}', "NaN", '{"a": ' * 200])
def test_what_is_no_row_is_refused(tmp_path, text):
    path = tmp_path / "row.json"
    path.write_text(text)
    with pytest.raises(EvidenceError):
        read_row(path)


def test_a_row_that_is_encoded_otherwise_is_refused(row, tmp_path):
    path = written(row, tmp_path)
    path.write_text(json.dumps(row))
    with pytest.raises(EvidenceError, match="not encoded as"):
        read_row(path)


# Signatures


def test_a_signed_row_holds_and_a_doctored_one_is_refused(reports, tmp_path):
    save_keys(tmp_path)
    (tmp_path / "other").mkdir()
    save_keys(tmp_path / "other")
    rows = tmp_path / "rows"
    made = edgeproof.table([reports["good"], reports["bad"]], out=rows, sign=tmp_path / "gate.pem")
    assert len(made.written) == 4
    both = [tmp_path / "other" / "gate.pub", tmp_path / "gate.pub"]
    assert len(edgeproof.table(rows, key=both).rows) == 2
    with pytest.raises(EvidenceError, match="none of 1 keys signed this row"):
        edgeproof.table(rows, key=both[0])
    path = next(path for path in made.written if path.suffixes == [".json"])
    doctored = json.loads(path.read_text()) | {"utility": 0.5}
    path.write_bytes(encode(doctored))
    edgeproof.table(rows)  # by itself it holds: only the signature and the report know
    with pytest.raises(EvidenceError, match="is not a signature of the present"):
        edgeproof.table(rows, key=both[1])
    path.with_name(path.name + ".dsse.json").unlink()
    with pytest.raises(EvidenceError, match=r"there is no .*beside the row"):
        edgeproof.table(rows, key=both[1])


def test_the_gates_own_signature_is_none_of_a_row(row, tmp_path):
    save_keys(tmp_path)
    judgement = judge(WORLD.artifact(), WORLD.baseline(), Policy(), format="gguf-q4")
    from edgeproof.eval.attestation import read_private_key

    write_reports(judgement, NAMED, tmp_path / "signed", signing_key=read_private_key(tmp_path / "gate.pem"))
    path = written(row, tmp_path)
    path.with_name(path.name + ".dsse.json").write_bytes((tmp_path / "signed/attestation.dsse.json").read_bytes())
    with pytest.raises(EvidenceError, match="is not a signature of the present"):
        edgeproof.table(path, key=tmp_path / "gate.pub")


def test_a_signature_needs_a_place_to_write_to(reports, tmp_path):
    save_keys(tmp_path)
    with pytest.raises(UsageError, match="give --out DIR"):
        edgeproof.table(reports["good"], sign=tmp_path / "gate.pem")


def forged(folder, **changes):
    """Return a report that nobody signed, with its own digest right."""
    said = {**content(folder), **changes}
    del said["report_sha256"]
    return report_encode({**said, "report_sha256": hashlib.sha256(report_encode(said)).hexdigest()})


def test_with_keys_an_unsigned_report_gets_no_line(reports, tmp_path):
    """Neither among rows, by whatever name, nor by itself."""
    save_keys(tmp_path)
    rows = tmp_path / "rows"
    (made, *_) = edgeproof.table(reports["good"], out=rows, sign=tmp_path / "gate.pem").written
    fake = forged(reports["bad"], verdict="PASS", reason="it stayed unlearned")
    (tmp_path / "fake.json").write_bytes(fake)
    with pytest.raises(EvidenceError, match="is no row, and --key is for rows"):
        edgeproof.table([rows, tmp_path / "fake.json"], key=tmp_path / "gate.pub")
    path = rows / "z.json"
    path.write_bytes(fake)
    path.with_name("z.json.dsse.json").write_bytes(made.with_name(made.name + ".dsse.json").read_bytes())
    for keys in ((), tmp_path / "gate.pub"):
        with pytest.raises(EvidenceError, match=r"z\.json is no row"):
            edgeproof.table(rows, key=keys)


def test_a_report_among_rows_drops_none_of_them(reports, tmp_path):
    edgeproof.table(reports["good"], out=tmp_path)
    (tmp_path / "report.json").write_bytes((reports["bad"] / "report.json").read_bytes())
    with pytest.raises(InputError, match=r"holds report\.json and rows, such as smollm2"):
        edgeproof.table(tmp_path)


def test_a_row_that_is_made_contradicts_itself_no_more_than_one_that_is_read(reports, tmp_path):
    """A report whose verdict was rewritten, with its own digest right."""
    (tmp_path / "report.json").write_bytes(forged(reports["bad"], verdict="PASS", reason="it stayed unlearned"))
    with pytest.raises(EvidenceError, match=r"the report .* does not hold:\n  it is a PASS with"):
        edgeproof.table(tmp_path)


def test_a_row_is_read_once(reports, tmp_path, monkeypatch):
    """So that nobody can swap it between the check of its signature and the table."""
    save_keys(tmp_path)
    edgeproof.table(reports["good"], out=tmp_path / "rows", sign=tmp_path / "gate.pem")
    read = []
    monkeypatch.setattr(parsing, "read_file", lambda path: read.append(path.name) or path.read_bytes())
    monkeypatch.setattr(checks, "read_file", parsing.read_file)
    edgeproof.table(tmp_path / "rows", key=tmp_path / "gate.pub")
    assert len([name for name in read if not name.endswith((".dsse.json", ".pub"))]) == 1


# Against the report


def test_a_row_is_held_against_its_report(reports, row, tmp_path):
    path = written(row, tmp_path)
    refuse_other_row(reports["good"], path, ())
    refuse_other_row(reports["good"] / "report.json", path, ())
    with pytest.raises(EvidenceError, match=r"is not that of this report:\n  verdict: PASS; the report gives FAIL"):
        refuse_other_row(reports["bad"], path, ())
    with pytest.raises(InputError, match="names no method"):
        refuse_other_row(reports["unnamed"], path, ())
    with pytest.raises(EvidenceError, match="report_sha256"):
        refuse_other_row(reports["unnamed"], written({**row, "method_from": "given"}, tmp_path), ())


TOLD = {"leaking_clusters": "1 of 31"}


def test_any_doctored_value_is_told_by_the_report(reports, row, tmp_path):
    """Each one by itself, also where the row still agrees with itself."""
    for name, value in row.items():
        changed = value + 1 if isinstance(value, int | float) else value[:-1] + ("0" if value[-1] != "0" else "1")
        with pytest.raises(EvidenceError, match=TOLD.get(name, name.partition("_")[0])):
            refuse_other_row(reports["good"], written({**row, name: changed}, tmp_path), ())


def test_a_method_that_a_record_does_not_name_can_be_typed(tmp_path):
    """As one of somebody's own trainer."""
    own = dataclasses.replace(RUN, method="(not named)")
    folder = report(tmp_path / "report", WORLD.artifact(), dataclasses.replace(NAMED, training=(own,)))
    with pytest.raises(InputError, match=f"the report {folder}.* names no method"):
        edgeproof.table(folder)
    (made,) = edgeproof.table(folder, method="Mine").rows
    assert (made["method"], made["method_from"]) == ("Mine", "given")
    refuse_other_row(folder, written(made, tmp_path), ())


def test_a_typed_method_is_taken_as_typed(reports, tmp_path):
    (made,) = edgeproof.table(reports["unnamed"], method="RMU").rows
    refuse_other_row(reports["unnamed"], written(made, tmp_path), ())
    (named,) = edgeproof.table(reports["good"]).rows
    with pytest.raises(EvidenceError, match="method"):
        refuse_other_row(reports["good"], written({**named, "method": "RMU", "method_from": "given"}, tmp_path), ())


# Evaluations


def evaluation(path, sha256, **metrics):
    entries = {name: {"agg_value": value} for name, value in metrics.items()}
    path.write_text(json.dumps({**entries, "edgeproof": {"artifact": {"model.gguf": sha256}}}))
    return path


def test_metrics_of_the_same_file_join_its_row(reports, row, tmp_path):
    found = {"forget_quality": 0.42, "model_utility": 0.6, "privleak": None}
    measured = evaluation(tmp_path / "eval.json", row["artifact_sha256"], **found)
    made = edgeproof.table(reports["good"], evaluation=measured)
    assert (made.rows[0]["forget_quality"], made.rows[0]["model_utility"]) == (0.42, 0.6)
    assert "| forget_quality ‡ | model_utility ‡ |" in made.markdown
    assert "nothing proves this number" in made.markdown
    assert "‡" not in edgeproof.table(reports["good"]).markdown
    path = written(made.rows[0], tmp_path)
    refuse_other_row(reports["good"], path, [measured])
    with pytest.raises(EvidenceError, match=r"forget_quality: 0\.42; the report gives None"):
        refuse_other_row(reports["good"], path, ())


def test_an_evaluation_of_another_file_or_none_is_refused(reports, row, tmp_path):
    with pytest.raises(InputError, match="measured on none of these artifacts"):
        edgeproof.table(reports["good"], evaluation=evaluation(tmp_path / "a.json", "0" * 64, forget_quality=1))
    (tmp_path / "b.json").write_text('{"forget_quality": 0.5}')
    with pytest.raises(InputError, match="does not say which file it measured"):
        edgeproof.table(reports["good"], evaluation=tmp_path / "b.json")
    twice = [evaluation(tmp_path / f"{n}.json", row["artifact_sha256"], forget_quality=n) for n in (0, 1)]
    with pytest.raises(EvidenceError, match="two evaluations"):
        edgeproof.table(reports["good"], evaluation=twice)


def test_a_metric_does_not_stand_in_for_a_number_of_the_gate(reports, row, tmp_path):
    measured = evaluation(tmp_path / "eval.json", row["artifact_sha256"], recovery_upper=0.0)
    with pytest.raises(EvidenceError, match="recovery_upper"):
        edgeproof.table(reports["good"], evaluation=measured)


def test_nor_for_one_that_was_not_measured(row, reports):
    """Also what is None in the report is a name of the gate: a report without accuracy takes none from elsewhere."""
    said = content(reports["good"])
    for item in said["criteria"]:
        if item["name"] in {"accuracy", "recovery"}:
            item.update(estimate=None, upper=None, details={})
    about = {"edgeproof": {"artifact": {"model": row["artifact_sha256"]}}}
    assert "recovery" not in row_of(said, [about])
    for name in ("recovery", "recovery_upper", "utility", "utility_base"):
        with pytest.raises(EvidenceError, match=f"an evaluation has {name}, a name of the gate"):
            row_of(said, [{**about, name: {"agg_value": 0.0}}])


@pytest.mark.parametrize("value", ["NaN", "1e999", '"nan"', "1" + "0" * 400, "true", "[1]", '"0.5"'])
def test_a_metric_is_a_finite_number(reports, row, tmp_path, value):
    measured = evaluation(tmp_path / "eval.json", row["artifact_sha256"], forget_quality=0.123)
    measured.write_text(measured.read_text().replace("0.123", value))
    with pytest.raises(EvidenceError, match="forget_quality' without a finite number"):
        edgeproof.table(reports["good"], evaluation=measured)


@pytest.mark.parametrize("sha256", [[1], {}, None, 7])
def test_an_evaluation_names_its_file_by_a_text(reports, tmp_path, sha256):
    with pytest.raises(InputError, match="does not say which file it measured"):
        edgeproof.table(reports["good"], evaluation=evaluation(tmp_path / "eval.json", sha256, forget_quality=0.1))


@pytest.mark.parametrize("name", ["nowhere", "empty", "damaged.json", "number.json"])
def test_what_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "number.json").write_text("7")
    with pytest.raises(InputError, match=name):
        edgeproof.table(tmp_path / name)


def test_a_report_that_was_changed_makes_no_row(reports, tmp_path):
    changed = (reports["good"] / "report.json").read_text().replace('"recovery"', '"recovery" ')
    (tmp_path / "report.json").write_text(changed)
    with pytest.raises(EvidenceError):
        edgeproof.table(tmp_path)


def test_rows_alone_take_no_method(row, tmp_path):
    with pytest.raises(UsageError, match="leave --method out"):
        edgeproof.table(written(row, tmp_path), method="NPO")
