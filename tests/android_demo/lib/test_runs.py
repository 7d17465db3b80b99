"""The Java library runs whole jobs on this machine, through the probe program built for it."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
from edgeproof_tests.android_demo.lib.host import host, unsealed
from edgeproof_tests.android_demo.tiny_job import MARK, expected

pytestmark = pytest.mark.official

STAGES = ("opening", "running", "done")


@pytest.mark.parametrize(("leaking", "critical", "word"), [
    (0, False, "NOTHING AGAINST IT"), (2, False, "CANNOT PASS"), (12, False, "FAIL"), (1, True, "FAIL"),
])  # fmt: skip
def test_the_verdict_is_what_the_gates_own_functions_make_of_the_answers(
    library, program, clean, tmp_path, leaking, critical, word
):
    job = clean.leaking(leaking, critical=critical)
    folder = job.install(tmp_path)
    run = host(library, tmp_path, job, program)
    assert run.status == 0, run.said
    wanted = expected(job)
    assert run.last["verdict"] == wanted["verdict"] == word
    for name in ("leaking", "critical_leaking"):
        assert run.last["counts"][name] == wanted[name]
    assert math.isclose(run.last["upper"], wanted["upper"], rel_tol=1e-12)
    assert math.isclose(run.last["p"], wanted["p"], rel_tol=1e-12)
    _, _, end = unsealed(folder)
    assert end["verdict"] == word


def test_the_evidence_holds_the_programs_own_answers_sealed(library, program, clean, tmp_path):
    folder = clean.install(tmp_path)
    run = host(library, tmp_path, clean, program)
    assert run.status == 0, run.said
    header, answers, end = unsealed(folder)
    asked = [
        request["id"]
        for request in clean.content["requests"]
        if request.get("unless") is None or not clean.greedy[request["unless"]]
    ]
    assert [answer["id"] for answer in answers] == asked
    for answer in answers:
        if "logprobs" in answer:
            found = [min(0.0, one) for one in answer["logprobs"]]
            assert found == pytest.approx(clean.scores[answer["id"]], abs=1e-6)
    assert answers[-1]["context"] == clean.spliced
    assert header["artifact_sha256"] == clean.content["artifact"]["sha256"]
    assert header["engine"]["computed"] == header["engine"]["asked"] == "cpu"
    assert header["engine"]["variant"] == "host"
    assert header["usage"]["peak_rss"] > 0
    assert all(isinstance(value, str) for value in header["device"].values())
    state = json.loads((folder / "state.json").read_text())
    count = len(clean.content["requests"])
    assert (state["stage"], state["done"], state["total"]) == ("done", count, count)
    assert state["verdict"] == end["verdict"]
    assert sorted(path.name for path in folder.iterdir()) == ["evidence.jsonl", "job.json", "lock", "state.json"]


def test_a_run_tells_where_it_stands_and_of_each_ask(library, program, clean, tmp_path):
    job = clean.leaking(12)
    job.install(tmp_path)
    run = host(library, tmp_path, job, program)
    told = [line["progress"] for line in run.lines if "progress" in line]
    assert [one["stage"] for one in told] == sorted((one["stage"] for one in told), key=STAGES.index)
    assert {one["stage"] for one in told} == {"opening", "running", "done"}
    assert [one["done"] for one in told] == sorted(one["done"] for one in told)
    assert all("verdict" not in one for one in told[:-1])
    assert (told[-1]["verdict"], told[-1]["so_far"], told[-1]["leaking"]) == ("FAIL", "FAIL", 12)
    asked = [line["asked"] for line in run.lines if "asked" in line]
    assert {one["ask"] for one in asked} == {ask["probe"] for ask in job.content["asks"]}
    last = {one["ask"]: one for one in asked}
    assert [number for number, one in last.items() if one["leaks"]] == list(range(12))
    assert all(one["replied"] for number, one in last.items() if not one["leaks"] and number >= 12)


def test_no_text_of_a_marked_pack_stands_outside_sealed_parts(library, program, clean, tmp_path):
    folder = clean.install(tmp_path)
    before = {path.name for path in folder.iterdir()}
    run = host(library, tmp_path, clean, program)
    seen = run.said + "".join(path.read_text() for path in folder.iterdir() if path.name not in before)
    replies = [text for text in clean.texts.values() if len(text.strip()) > 4]
    assert replies
    for text in (MARK, *replies):
        assert text not in seen
        assert json.dumps(text)[1:-1] not in seen
    tokens = ",".join(map(str, MARK.encode()))
    assert tokens not in seen.replace(" ", "")


def started(library, root, job, program, *options, before=()):
    command = library.command("Host", "--pause", 20, *options, root, job.content["id"], f"host={program}")
    return subprocess.Popen([*command, *(("--", *before) if before else ())], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip


def wait_for_answers(process, count):
    lines = []
    while sum("asked" in line for line in lines) < count:
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return lines


def test_a_cancelled_run_goes_on_with_the_same_verdict_and_evidence(library, program, clean, tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    clean.install(whole)
    folder = clean.install(again)
    expected_run = host(library, whole, clean, program)
    process = started(library, again, clean, program)
    wait_for_answers(process, 60)
    out, _ = process.communicate("cancel\n")
    assert process.returncode == 130
    assert '"reason":"CANCELLED"' in out
    assert json.loads((folder / "state.json").read_text())["stage"] == "cancelled"
    assert not (folder / "evidence.jsonl").exists()
    run = host(library, again, clean, program)
    assert run.status == 0, run.said
    assert run.last["resumed"] >= 20
    assert run.last | {"resumed": 0} == expected_run.last
    header, *answers = unsealed(folder)
    assert header["engine"]["resumed"] == run.last["resumed"]
    assert answers == list(unsealed(whole / "jobs" / clean.content["id"])[1:])


def test_an_app_killed_in_mid_run_goes_on_where_it_stopped(library, program, clean, tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    clean.install(whole)
    folder = clean.install(again)
    host(library, whole, clean, program)
    process = started(library, again, clean, program)
    wait_for_answers(process, 60)
    process.kill()
    process.communicate()
    run = host(library, again, clean, program)
    assert run.status == 0, run.said
    assert run.last["resumed"] >= 20
    assert unsealed(folder)[1:] == unsealed(whole / "jobs" / clean.content["id"])[1:]


def test_a_probe_that_the_system_kills_is_told_as_want_of_memory(library, program, clean, tmp_path):
    clean.install(tmp_path)
    process = started(library, tmp_path, clean, program)
    wait_for_answers(process, 60)
    (child,) = [
        int(pid)
        for pid in subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
    ]
    subprocess.run(["kill", "-9", str(child)], check=True)
    out, _ = process.communicate()
    assert process.returncode == 3
    failed = json.loads(out.splitlines()[-1])["failed"]
    assert failed["reason"] == "MEMORY"
    assert "killed the probe (signal 9), as a rule for want of memory" in failed["error"]
    run = host(library, tmp_path, clean, program)
    assert run.status == 0
    assert run.last["resumed"] >= 20


def test_a_second_run_of_the_same_job_is_refused_and_does_not_disturb_the_first(library, program, clean, tmp_path):
    folder = clean.install(tmp_path)
    process = started(library, tmp_path, clean, program)
    wait_for_answers(process, 20)
    second = host(library, tmp_path, clean, program)
    assert second.status == 3
    assert second.last["error"] == "another run of this job is under way"
    assert json.loads((folder / "state.json").read_text())["stage"] == "running"
    process.communicate("cancel\n")
    assert process.returncode == 130
