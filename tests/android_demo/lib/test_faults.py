"""What cannot be run, and what goes wrong in a run: each has its own message, and none ends with evidence."""

from __future__ import annotations

import copy
import hashlib
import json
import resource
import signal
import subprocess
from dataclasses import replace

import pytest
from edgeproof_tests.android_demo.lib.host import host
from edgeproof_tests.android_demo.tiny_job import MARK, tiny_model

pytestmark = pytest.mark.official


def failed(library, root, job, program, reason, told, *options, **more):
    run = host(library, root, job, program, *options, **more)
    assert run.status == 3, run.said
    assert run.last["reason"] == reason, run.said
    assert told in run.last["error"]
    assert MARK not in run.said
    folder = root / "jobs" / job.content["id"]
    assert not (folder / "evidence.jsonl").exists()
    state = folder / "state.json"
    if reason not in {"JOB", "STORAGE"}:
        written = json.loads(state.read_text())
        assert (written["stage"], written["error"]) == ("failed", run.last["error"])
        assert "verdict" not in written
    return run


def changed(job, change):
    content = copy.deepcopy(job.content)
    change(content)
    return replace(job, content=content)


def set_at(*path, value):
    def change(content):
        *where, last = path
        for key in where:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(("change", "told"), [
    (lambda c: c.pop("edgeproof_job"), "this file is no job"),
    (set_at("edgeproof_job", value=2), "the job is of version 2, this app reads version 1"),
    (set_at("surprise", value=1), "job has a key that this version does not know: surprise"),
    (lambda c: c.pop("rules"), "job.rules is missing"),
    (set_at("key", value="AAAA"), "job.key is not 32 bytes in base64"),
    (set_at("artifact", "sha256", value="xyz"), "job.artifact.sha256 is not of the form"),
    (set_at("artifact", "bytes", value=-1), "job.artifact.bytes is less than 1"),
    (set_at("artifact", "bytes", value=1.5), "job.artifact.bytes is no whole number"),
    (set_at("compute", value="tpu"), "job.compute is none of [cpu, gpu, npu]"),
    (set_at("rules", "alpha", value=2), "job.rules.alpha is not in"),
    (set_at("rules", "leak_rule", value="none"), "job.rules.leak_rule is none of"),
    (set_at("requests", value=[]), "job.requests is empty"),
    (set_at("requests", 3, "id", value=7), "job.requests[3].id is not its place in the list"),
    (set_at("requests", 0, "score", "context", value=9999), "job.requests[0].score.context is 9999 of 50"),
    (set_at("requests", 0, "score", "continuation", value=[]), "job.requests[0].score.continuation is empty"),
    (set_at("requests", 0, "score", "continuation", value=[1.5]), "continuation is no list of whole numbers"),
    (set_at("requests", 2, "generate", "uniforms", value=[0.5]), "uniforms has not a number for each token"),
    (set_at("requests", 2, "unless", value=4), "job.requests[2].unless is 4 of 2"),
    (set_at("contexts", 1, value=[-4]), "job.contexts[1] holds a token below 0"),
    (set_at("splices", 0, "reply", value=0), "holds the reply of a score"),
    (set_at("asks", 0, "answer", value=2), "job.asks[0].answer names no score"),
    (set_at("asks", 0, "probe", value=50), "job.asks[0].probe is 50 of 50"),
    (set_at("asks", 0, "accepted", value=[]), "job.asks[0].accepted is empty"),
    (set_at("probes", 1, "id", value="p0"), "job.probes[1].id occurs twice"),
    (set_at("probes", 1, "role", value="other"), "job.probes[1].role is none of"),
    (set_at("end_of_reasoning", value="("), "job.end_of_reasoning is no regular expression"),
])  # fmt: skip
def test_a_job_that_does_not_fit_together_is_refused(library, program, clean, tmp_path, change, told):
    job = changed(clean, change)
    job.install(tmp_path)
    failed(library, tmp_path, job, program, "JOB", told)


@pytest.mark.parametrize(("text", "told"), [
    ("", "the text ends early"), ("{} {}", "text after the value"), ('{"a": 1, "a": 2}', "a key occurs twice"),
    ("{'a': 1}", "no key"), ('{"a": NaN}', "no JSON value"), ('{"a": 01}', "no '}'"), ("[" * 99, "more than 64 levels"),
    ('{"a": 1e999}', "a number that is too large"), ('{"a": "\n"}', "a control character"), ("[1]", "job is no object"),
    ('{"a": "\\x"}', "an escape that is none"),
])  # fmt: skip
def test_a_file_that_is_no_json_is_refused(library, program, clean, tmp_path, text, told):
    (clean.install(tmp_path) / "job.json").write_text(text)
    failed(library, tmp_path, clean, program, "JOB", told)


def test_a_job_in_another_ones_folder_is_refused(library, program, clean, tmp_path):
    other = changed(clean, set_at("id", value="0" * 32))
    folder = other.install(tmp_path)
    (folder / "job.json").write_text(json.dumps(clean.content))
    failed(library, tmp_path, other, program, "JOB", "is another one")


def test_a_model_that_is_missing_or_another_is_refused(library, program, clean, tmp_path):
    clean.install(tmp_path)
    (model,) = (tmp_path / "models").iterdir()
    whole = model.read_bytes()
    model.write_bytes(whole[:-1000])
    told = f"cut short or another one: {len(whole) - 1000} bytes of {len(whole)}"
    failed(library, tmp_path, clean, program, "MODEL", told)
    model.write_bytes(whole[:-4] + b"\0\0\1\1")
    failed(library, tmp_path, clean, program, "MODEL", "its sha256 differs")
    model.unlink()
    failed(library, tmp_path, clean, program, "MODEL", "is not here")


def of_file(job, model):
    whole = model.read_bytes()

    def change(content):
        content["artifact"] |= {"sha256": hashlib.sha256(whole).hexdigest(), "bytes": len(whole)}

    return replace(changed(job, change), model=model)


def test_a_model_that_llama_cpp_cannot_load_is_told_as_such(library, program, clean, tmp_path):
    other = tiny_model(tmp_path / "other.gguf", architecture="unheard-of")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(clean.model.read_bytes()[:200_000])
    for number, model in enumerate((other, cut)):
        job = of_file(clean, model)
        job.install(tmp_path / str(number))
        failed(library, tmp_path / str(number), job, program, "MODEL", "truncated, or of an unknown architecture")


def test_too_little_memory_is_said_before_anything_starts(library, clean, tmp_path):
    clean.install(tmp_path)
    run = failed(library, tmp_path, clean, "/no/program", "MEMORY", "the model needs 50 MB, 49 MB are free",
                 "--memory", 49_000_000)  # fmt: skip
    assert "asked" not in run.said


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


@pytest.mark.parametrize(("text", "reason", "told", "variant"), [
    ("exit 1", "ENGINE", "ended in the middle of its work with status 1", "host"),
    ("echo 'cannot map the file' >&2; exit 7", "ENGINE", "status 7; its last words: cannot map the file", "host"),
    ("kill -9 $$", "MEMORY", "killed the probe (signal 9), as a rule for want of memory", "host"),
    ("read line; echo hello; read line", "ENGINE", "a line of 5 characters that is no JSON object", "host"),
    ("""read line; echo '{"processor": {"variants": ["v8.0"]}}'""", "PROCESSOR", "runs none of the probe", "dotprod"),
    ("""read line; echo '{"error": "cannot write the journal: No space left on device"}'; exit 3""", "STORAGE",
     "the storage is full (the probe: cannot write the journal: No space left on device)", "host"),
    ("""read line; echo '{"error": "out of memory"}'; exit 3""", "MEMORY", "the probe: out of memory", "host"),
])  # fmt: skip
def test_a_program_that_fails_says_why(library, clean, tmp_path, text, reason, told, variant):
    clean.install(tmp_path)
    failed(library, tmp_path, clean, script(tmp_path / "program", text), reason, told, variant=variant)


@pytest.mark.parametrize(("lie", "told"), [
    ('/"id":0/s/"logprobs":\\[[^,]*/"logprobs":[0.5/', "answer 0 holds a log-probability above 0"),
    ('/"id":0/s/"greedy":\\[[^,]*,/"greedy":[/', "answer 0 has not 3 tokens"),
    ('/"id":1/s/"id":1/"id":7/', "answer 1 belongs to another request"),
    ('/"finish"/s/"finish":"[a-z]*"/"finish":"fish"/', "does not say why it ends"),
    ('/"logprobs"/s/.*/{"id":0}/', "answer 0.logprobs is missing"),
])  # fmt: skip
def test_answers_that_make_no_sense_end_the_run(library, program, clean, tmp_path, lie, told):
    clean.install(tmp_path)
    liar = script(tmp_path / "liar", f"'{program}' | sed -u '{lie}'")
    failed(library, tmp_path, clean, liar, "ENGINE", told)


def test_an_engine_that_fails_is_named_by_its_exception_without_the_message(library, program, clean, tmp_path):
    clean.install(tmp_path)
    told = "the app's engine failed to score: java.lang.IllegalStateException"
    run = failed(library, tmp_path, clean, program, "ENGINE", told, "--engine", "broken")
    assert "cannot score" not in run.said


def test_a_hanging_program_is_ended(library, program, clean, tmp_path):
    clean.install(tmp_path)
    hanging = script(tmp_path / "hanging", f"'{program}' | sed -u '/\"id\":9,/d'")
    failed(library, tmp_path, clean, hanging, "ENGINE", "gave no answer within 3 s", "--patience", 3000)


def small_files(size):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("size", [100, 4_000, 20_000])
def test_a_limit_of_file_sizes_is_told_as_full_storage(library, program, clean, tmp_path, size):
    """No file may be larger than `size`: neither state, nor journal, nor answers can be written."""
    clean.install(tmp_path)
    failed(library, tmp_path, clean, program, "STORAGE", "the storage is full", preexec_fn=small_files(size),
           restore_signals=False)  # fmt: skip
    run = host(library, tmp_path, clean, program)
    assert run.status == 0, run.said
    assert (run.last["resumed"] > 0) == (size > 100)


@pytest.fixture
def tight(clean, tmp_path):
    """A place with 40 kB left for the job's files."""
    folder = clean.install(tmp_path)
    content = (folder / "job.json").read_bytes()
    size = f"size={len(content) + 40_000 + 8192}"
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("a small file system needs the right to mount one")
    (folder / "job.json").write_bytes(content)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_storage_is_told_as_such_and_the_run_goes_on_when_there_is_room(library, program, clean, tight, tmp_path):
    failed(library, tmp_path, clean, program, "STORAGE", "the storage is full")
    subprocess.run(["mount", "-o", "remount,size=4m", tight], check=True)
    run = host(library, tmp_path, clean, program)
    assert run.status == 0, run.said
    assert run.last["resumed"] > 20
