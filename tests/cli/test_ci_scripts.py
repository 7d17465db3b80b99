"""What the pull-request workflow runs: one summary of several gates, one comment, with a stand-in for GitHub's `gh`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / "examples" / "ci"

GH = """#!{python} -P
import json, os, pathlib, sys
state = pathlib.Path(os.environ["FAKE_GITHUB"])
comments, words = json.loads(state.read_text()), sys.argv[1:]
with open(state.with_suffix(".calls"), "a") as calls:
    print(*words, file=calls)
if os.environ.get("FAKE_FORBIDS") in words:
    sys.exit("gh: Resource not accessible by integration (HTTP 403)")
method = words[words.index("--method") + 1] if "--method" in words else "GET"
if method == "GET":
    assert "github-actions[bot]" in words[words.index("--jq") + 1]
    own = [c for c in comments if c["user"] == "github-actions[bot]" and c["body"].startswith("<!-- edgeproof -->")]
    print(*(c["id"] for c in own), sep="\\n")
else:
    given = words[words.index("-F") + 1]
    assert given.startswith("body=@")
    body = pathlib.Path(given.removeprefix("body=@")).read_text(encoding="utf-8")
    if method == "PATCH":
        (found,) = [c for c in comments if words[words.index("PATCH") + 1].endswith("/comments/" + str(c["id"]))]
        found["body"] = body
    else:
        comments.append({{"id": 100 + len(comments), "user": "github-actions[bot]", "body": body}})
    state.write_text(json.dumps(comments))
"""


@pytest.fixture
def github(tmp_path):
    """Run comment.sh against comments in a file; return its process and what is there afterwards."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(GH.format(python=sys.executable))
    (tmp_path / "bin" / "gh").chmod(0o755)
    state = tmp_path / "comments.json"

    def comment(body, there=(), number="7", forbids=None):
        state.write_text(json.dumps(list(there)))
        (tmp_path / "combined.md").write_text(body, encoding="utf-8")
        environment = os.environ | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "FAKE_GITHUB": str(state),
            "GITHUB_REPOSITORY": "owner/app",
        }
        if forbids:
            environment["FAKE_FORBIDS"] = forbids
        done = subprocess.run(
            [str(CI / "comment.sh"), str(tmp_path / "combined.md"), number],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, json.loads(state.read_text())

    return comment


def report(folder, name, first):
    (folder / name).mkdir(parents=True)
    (folder / name / "summary.md").write_text(f"{first}\n\n`{name}.gguf`\n", encoding="utf-8")


def combine(folder, *names):
    return subprocess.run([str(CI / "combine.sh"), str(folder), *names], capture_output=True, text=True, check=False)


def test_one_summary_has_every_artifact_and_a_missing_report_is_no_verdict(tmp_path):
    report(tmp_path, "q4", "## PASS: it stayed unlearned")
    report(tmp_path, "onnx", "## FAIL, waived: it came back; utility lost")
    done = combine(tmp_path, "q4", "onnx", "q8")
    assert done.returncode == 1
    assert done.stdout.startswith("## edgeproof: 1 of 3 passed\n")
    for row in (
        "| q4 | **PASS** | it stayed unlearned |",
        "| onnx | **FAIL, waived** | it came back; utility lost |",
        "| q8 | **no verdict** | the log of its job says why |",
    ):
        assert row in done.stdout
    assert done.stdout.count("<details>") == 2
    assert combine(tmp_path, "q4").returncode == 0


def test_no_other_first_line_counts_as_passed(tmp_path):
    for name, first in (
        ("a", "PASS: x"),
        ("b", "## PASSED: x"),
        ("c", ""),
        ("d", "## No verdict"),
        ("e", "## PASS, x"),
    ):
        report(tmp_path, name, first)
        assert combine(tmp_path, name).returncode == 1
    assert combine(tmp_path).returncode == 2


def test_a_second_run_renews_the_comment_of_the_first(github):
    done, there = github("## one\n")
    assert (done.returncode, len(there)) == (0, 1)
    assert there[0]["body"] == "<!-- edgeproof -->\n## one\n"
    done, there = github("## two, „ü“\n", there)
    assert (done.returncode, len(there)) == (0, 1)
    assert there[0]["body"] == "<!-- edgeproof -->\n## two, „ü“\n"


def test_a_strangers_comment_with_the_mark_is_left_alone(github):
    stranger = {"id": 1, "user": "somebody", "body": "<!-- edgeproof -->\nPASS, honestly"}
    done, there = github("## FAIL\n", [stranger])
    assert done.returncode == 0
    assert there[0] == stranger
    assert there[1]["body"] == "<!-- edgeproof -->\n## FAIL\n"


@pytest.mark.parametrize("forbids", ["--paginate", "POST"])
def test_a_fork_without_the_right_is_told_and_goes_on(github, forbids):
    done, there = github("## FAIL\n", forbids=forbids)
    assert done.returncode == 0
    assert done.stdout.startswith("::notice title=edgeproof::No comment on the pull request")
    assert there == []


def test_a_long_summary_is_cut_between_lines(github):
    done, there = github("".join(f"| {n:05} ü | x |\n" for n in range(9000)))
    assert done.returncode == 0
    body = there[0]["body"]
    assert len(body.encode()) < 65_536
    assert body.endswith("|\n\nCut here; the rest is in the reports.\n")


@pytest.mark.parametrize("number", ["", "7; rm -rf .", "x"])
def test_what_is_no_number_of_a_pull_request_is_refused(github, number):
    done, there = github("## x\n", number=number)
    assert (done.returncode, there) == (2, [])


def test_an_empty_summary_is_refused(github):
    done, there = github("")
    assert (done.returncode, there) == (3, [])


def test_the_workflow_combines_every_artifact_of_its_matrix():
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((CI / "github-pull-request.yml").read_text())["jobs"]
    names = [f"edgeproof-report-{one['name']}" for one in jobs["gate"]["strategy"]["matrix"]["include"]]
    (run,) = [step["run"] for step in jobs["comment"]["steps"] if "run" in step]
    assert re.findall(r"edgeproof-report-\w+", run) == names
    assert jobs["comment"]["permissions"]["pull-requests"] == "write"
    assert "pull_request_target" not in (CI / "github-pull-request.yml").read_text()
