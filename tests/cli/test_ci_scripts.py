"""What pull and merge requests run: one summary of several gates, one comment, with stand-ins for GitHub and GitLab."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

CI = Path(__file__).resolve().parents[2] / "examples" / "ci"

COMMIT = "0123456789abcdef" * 2
COMMENT = f"<!-- edgeproof -->\nCommit {COMMIT}, [run 17](https://github.com/owner/app/actions/runs/17)\n\n"
"""The head of a comment."""

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

    def comment(body, there=(), number="7", forbids=None, file="combined.md", commit=COMMIT):
        state.write_text(json.dumps(list(there)))
        (tmp_path / "combined.md").write_text(body, encoding="utf-8")
        environment = os.environ | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "FAKE_GITHUB": str(state),
            "GITHUB_REPOSITORY": "owner/app",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "17",
        }
        if forbids:
            environment["FAKE_FORBIDS"] = forbids
        done = subprocess.run(
            [str(CI / "comment.sh"), file, number, commit],
            cwd=tmp_path,
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


def test_a_name_is_shown_as_it_is_and_nothing_else(tmp_path):
    """In a cell, in a heading of HTML: no second cell, no markup, nobody called."""
    name = "a|b_`c`*d*<script>@all"
    report(tmp_path, name, "## PASS: it stayed unlearned")
    done = combine(tmp_path, name, "x|y\n## z")
    assert r"| a\|b\_\`c\`\*d\*&lt;script&gt;&#64;all | **PASS** |" in done.stdout
    assert "<summary>a|b_`c`*d*&lt;script&gt;&#64;all</summary>" in done.stdout
    assert r"| x\|y ## z | **no verdict** |" in done.stdout


@pytest.mark.parametrize("mark", ["\r", "\x0b", "\x1b", "\x7f", "\x85", "\u200f", "\u2028", "\u202e", "\u2066"])
def test_a_control_character_in_a_name_begins_no_line(tmp_path, mark):
    """Markdown takes a carriage return for the end of a line."""
    name = f"x{mark}{mark}## edgeproof: 1 of 1 passed ü„“"
    report(tmp_path, name, f"## FAIL: it{mark}came back")
    done = subprocess.run([str(CI / "combine.sh"), str(tmp_path), name, f"y{mark}z"], capture_output=True, check=False)
    text = done.stdout.decode()
    table, _, details = text.partition("<details>")
    assert mark not in table + details.partition("</summary>")[0]
    assert "| x  ## edgeproof: 1 of 1 passed ü„“ | **FAIL** | it came back |" in table
    assert "| y z | **no verdict** |" in table


def git(folder, *words):
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, check=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_a_report_that_is_committed_is_not_one_of_this_run(tmp_path):
    """Neither where the gate wrote none, nor where some of its files lie over those of the repository."""
    work = tmp_path / "work"
    report(work, "edgeproof-report", "## PASS: it stayed unlearned")
    (work / "reports").symlink_to(".")
    git(tmp_path, "init", "-q", "work")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "x")
    report(work, "made", "## PASS: of this run")
    report(tmp_path, "elsewhere", "## PASS: of this run")
    for folder in (".", "reports", str(work)):
        done = subprocess.run(
            [str(CI / "combine.sh"), folder, "edgeproof-report", "made"],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout.startswith("## edgeproof: 1 of 2 passed\n")
        assert "| edgeproof-report | **no verdict** | its report is committed in the repository" in done.stdout
        assert "it stayed unlearned" not in done.stdout
    (work / "edgeproof-report" / "more.md").write_text("of this run")
    for folder, name, code in ((".", "edgeproof-report", 1), (".", "made", 0), ("..", "elsewhere", 0)):
        done = subprocess.run([str(CI / "combine.sh"), folder, name], cwd=work, capture_output=True, check=False)
        assert done.returncode == code
    no_git = tmp_path / "bin"
    no_git.mkdir()
    (no_git / "git").write_text("#!/bin/sh\nexit 127\n")
    (no_git / "git").chmod(0o755)
    done = subprocess.run(
        [str(CI / "combine.sh"), ".", "made"],
        cwd=work,
        env={**os.environ, "PATH": f"{no_git}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "git cannot list" in done.stderr


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
    assert there[0]["body"] == f"{COMMENT}## one\n"
    done, there = github("## two, „ü“\n", there)
    assert (done.returncode, len(there)) == (0, 1)
    assert there[0]["body"] == f"{COMMENT}## two, „ü“\n"
    done, there = github("", there, file="running")
    assert (done.returncode, len(there)) == (0, 1)
    assert there[0]["body"] == f"{COMMENT}## edgeproof: no verdict yet\n"


def test_a_comment_of_an_earlier_run_that_cannot_be_changed_is_an_error(github):
    _, there = github("## PASS\n")
    done, there = github("## FAIL\n", there, forbids="PATCH")
    assert done.returncode == 5
    assert f"is of an earlier run, not of commit {COMMIT}" in done.stdout


def test_a_strangers_comment_with_the_mark_is_left_alone(github):
    stranger = {"id": 1, "user": "somebody", "body": "<!-- edgeproof -->\nPASS, honestly"}
    done, there = github("## FAIL\n", [stranger])
    assert done.returncode == 0
    assert there[0] == stranger
    assert there[1]["body"] == f"{COMMENT}## FAIL\n"


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


@pytest.mark.parametrize("commit", ["", "main", "a](http://x)"])
def test_what_is_no_commit_is_refused(github, commit):
    done, there = github("## x\n", commit=commit)
    assert (done.returncode, there) == (2, [])


def test_an_empty_summary_is_refused(github):
    done, there = github("")
    assert (done.returncode, there) == (3, [])


def test_the_workflow_combines_every_artifact_of_its_matrix():
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((CI / "github-pull-request.yml").read_text())["jobs"]
    names = [f"edgeproof-report-{one['name']}" for one in jobs["gate"]["strategy"]["matrix"]["include"]]
    (run,) = [step["run"] for step in jobs["comment"]["steps"] if "run" in step]
    (down,) = [step["with"] for step in jobs["comment"]["steps"] if "download" in step.get("uses", "")]
    assert down["path"] == "${{ runner.temp }}/reports"  # a checkout may hold others
    assert 'combine.sh "$RUNNER_TEMP/reports" ' in run
    (begun,) = [step for step in jobs["begin"]["steps"] if "run" in step]
    assert "comment.sh running" in begun["run"]
    assert begun["env"] == next(step["env"] for step in jobs["comment"]["steps"] if "run" in step)
    assert re.findall(r"edgeproof-report-\w+", run) == names
    assert jobs["comment"]["permissions"]["pull-requests"] == "write"
    assert "pull_request_target" not in (CI / "github-pull-request.yml").read_text()


# GitLab, spoken to over HTTP

OWN, MARK = 42, "<!-- edgeproof -->"


def head(pipeline=31):
    """The head of a note."""
    return f"{MARK}\n<!-- pipeline {pipeline} -->\nCommit {COMMIT}, [pipeline {pipeline}](https://gitlab/p/31)\n\n"


@dataclass
class GitLab:
    """A stand-in for the API of one project: its notes, what it forbids, and what was asked of it."""

    notes: list = field(default_factory=list)
    forbids: str | None = None
    asked: list = field(default_factory=list)

    def answer(self, method, path, query, form, token):
        """Return status and JSON, as GitLab's documents have them."""
        self.asked.append((method, path))
        if token != "glpat-secret" or method == self.forbids:  # noqa: S105 (of the stand-in)
            return 403 if token else 401, {"message": "403 Forbidden"}
        if path == "/api/v4/user":
            return 200, {"id": OWN, "username": "project_5_bot"}
        root = "/api/v4/projects/5/merge_requests/7/notes"
        if method == "GET" and path == root:
            first = (int(query["page"][0]) - 1) * int(query["per_page"][0])
            return 200, self.notes[first : first + int(query["per_page"][0])]
        if method == "POST" and path == root:
            self.notes.append({"id": 1000 + len(self.notes), "author": {"id": OWN}, "body": form["body"][0]})
            return 201, self.notes[-1]
        if method == "PUT":
            (note,) = [one for one in self.notes if path == f"{root}/{one['id']}"]
            note["body"] = form["body"][0]
            return 200, note
        return 404, {"message": "404 Not found"}


@pytest.fixture
def gitlab():
    """The stand-in, and its address."""
    there = GitLab()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            parts = urlsplit(self.path)
            form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            found = there.answer(
                self.command, parts.path, parse_qs(parts.query), parse_qs(form), self.headers.get("PRIVATE-TOKEN")
            )
            content = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 (http.server's names)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield there, f"http://127.0.0.1:{server.server_port}/api/v4"
        server.shutdown()


def note(folder, url, body, file="combined.md", **changes):
    (folder / "combined.md").write_text(body, encoding="utf-8")
    given = {
        "CI_API_V4_URL": url,
        "CI_PROJECT_ID": "6",  # the fork's, where the pipeline runs
        "CI_MERGE_REQUEST_PROJECT_ID": "5",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_COMMIT_SHA": COMMIT,
        "CI_PIPELINE_ID": "31",
        "CI_PIPELINE_URL": "https://gitlab/p/31",
        "EDGEPROOF_GITLAB_TOKEN": "glpat-secret",
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run(
        [str(CI / "note.sh"), file],
        cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "1", **given, **changes},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
class TestNote:
    """note.sh against the stand-in."""

    def test_a_second_run_renews_the_note_of_the_first(self, gitlab, tmp_path):
        there, url = gitlab
        for body in ("## one\n", "## two & „ü“ +%\n"):
            done = note(tmp_path, url, body)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            (only,) = there.notes
            assert only["body"] == f"{head()}{body}"
        assert [method for method, _ in there.asked if method != "GET"] == ["POST", "PUT"]

    def test_no_verdict_of_an_earlier_commit_stands_while_the_gate_runs(self, gitlab, tmp_path):
        there, url = gitlab
        there.notes = [{"id": 1, "author": {"id": OWN}, "body": f"{head(30)}## edgeproof: 1 of 1 passed"}]
        assert note(tmp_path, url, "", file="running").returncode == 0
        assert there.notes[0]["body"] == f"{head()}## edgeproof: no verdict yet\n"

    def test_the_note_of_a_later_pipeline_stays(self, gitlab, tmp_path):
        there, url = gitlab
        assert note(tmp_path, url, "## FAIL\n", CI_PIPELINE_ID="100").returncode == 0
        done = note(tmp_path, url, "## PASS\n", CI_PIPELINE_ID="99")
        assert (done.returncode, "later pipeline 100" in done.stdout) == (0, True)
        assert there.notes[0]["body"] == f"{head(100)}## FAIL\n"

    @pytest.mark.parametrize("forbids", ["GET", "PUT"])
    def test_a_note_that_cannot_be_renewed_is_told_as_one_of_an_earlier_run(self, gitlab, tmp_path, forbids):
        there, url = gitlab
        note(tmp_path, url, "## PASS\n")
        there.forbids = forbids
        done = note(tmp_path, url, "## FAIL\n")
        assert done.returncode == 5
        assert f"of an earlier run, not of commit {COMMIT}" in done.stderr

    def test_a_strangers_note_with_the_mark_is_left_alone_and_ones_own_is_found_behind_many(self, gitlab, tmp_path):
        there, url = gitlab
        there.notes = [{"id": n, "author": {"id": 1}, "body": f"{MARK}\nPASS, honestly"} for n in range(230)]
        there.notes.append({"id": 500, "author": {"id": OWN}, "body": f"{MARK}\nold"})
        assert note(tmp_path, url, "## FAIL\n").returncode == 0
        assert there.notes[-1]["body"] == f"{head()}## FAIL\n"
        assert len(there.notes) == 231
        assert {one["body"] for one in there.notes[:230]} == {f"{MARK}\nPASS, honestly"}

    @pytest.mark.parametrize("forbids", ["GET", "POST"])
    def test_without_the_right_it_says_so(self, gitlab, tmp_path, forbids):
        there, url = gitlab
        there.forbids = forbids
        done = note(tmp_path, url, "## FAIL\n")
        assert done.returncode == 5
        assert done.stderr.splitlines()[-1].startswith("WARNING: no note on the merge request (")
        assert there.notes == []

    def test_a_fork_has_no_token(self, gitlab, tmp_path):
        there, url = gitlab
        done = note(tmp_path, url, "## FAIL\n", EDGEPROOF_GITLAB_TOKEN="")
        assert done.returncode == 0
        assert "EDGEPROOF_GITLAB_TOKEN is not set" in done.stdout
        assert there.asked == []

    def test_a_server_that_is_not_there_is_told(self, tmp_path):
        done = note(tmp_path, "http://127.0.0.1:9/api/v4", "## FAIL\n")
        assert done.returncode == 5
        assert "the token is not accepted" in done.stderr

    def test_the_token_is_no_argument_and_in_no_output(self, gitlab, tmp_path):
        _, url = gitlab
        real, log = shutil.which("curl"), tmp_path / "arguments"
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "curl").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{log}"\nexec "{real}" "$@"\n')
        (tmp_path / "bin" / "curl").chmod(0o755)
        done = note(tmp_path, url, "## x\n", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        assert done.returncode == 0
        assert "/notes" in log.read_text()
        assert "glpat-secret" not in log.read_text() + done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("changes", "body", "code"),
        [({"CI_MERGE_REQUEST_IID": "7;x"}, "x", 2), ({"CI_PIPELINE_ID": ""}, "x", 2), ({}, "", 3)],
    )
    def test_what_is_no_merge_request_or_no_summary_is_refused(self, gitlab, tmp_path, changes, body, code):
        there, url = gitlab
        assert note(tmp_path, url, body, **changes).returncode == code
        assert there.asked == []


def test_the_gitlab_sample_writes_a_note_of_its_gate_and_releases_nothing_from_a_merge_request():
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((CI / "gitlab.yml").read_text())
    assert jobs["note"]["script"] == ["ci/combine.sh . edgeproof-report >combined.md || true", "ci/note.sh combined.md"]
    (only,) = jobs["note"]["rules"]
    assert (only["if"], only["when"]) == ('$CI_PIPELINE_SOURCE == "merge_request_event"', "always")
    assert jobs["begin"]["script"] == ["ci/note.sh running"]
    assert jobs["stages"].index("begin") < jobs["stages"].index("gate")
    assert jobs["begin"]["allow_failure"] is only["allow_failure"] is True  # a warning: the gate decides
    assert jobs["publish"]["rules"] == [{"if": "$CI_COMMIT_TAG"}]
    assert jobs["gate"]["artifacts"]["paths"] == ["edgeproof-report/"]
    needs = jobs["publish"]["needs"]
    assert needs == ["gate"]
