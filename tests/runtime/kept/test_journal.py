"""What must hold of kept answers: the same bits again, private, and none that somebody else wrote."""

from __future__ import annotations

import base64
import itertools
import os
import stat

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.contracts.errors import OutputError
from edgeproof.runtime import open_backend
from edgeproof.runtime.kept.journal import HeldError, Journal
from edgeproof_tests.runtime import tiny_gguf

ORIGIN, SECRET = "ab" * 32, b"s" * 32
SCORES = [ScoreRequest((5, 6, 7, index % 50), (8, index % 60, 9)) for index in range(300)]
GENERATIONS = [
    GenerateRequest((5, 6, index), 12, stop, temperature, index, special=True)
    for index, stop, temperature in itertools.product(range(20), ((), ("e", "\n")), (0.0, 1.0))
]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return tiny_gguf.write(tmp_path_factory.mktemp("kept") / "tiny.gguf")


def opened(path, origin=ORIGIN, secret=SECRET):
    journal = Journal(path, origin, secret)
    try:
        return journal.taken_up, journal.ignored
    finally:
        journal.close()


def filled(path, count=5):
    journal = Journal(path, ORIGIN, SECRET)
    for index in range(count):
        journal.keep(b"request %d" % index, b"answer%d" % index)
    journal.close()
    return path


def same(one, other):
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(one, other, strict=True))


def test_answers_taken_up_are_those_of_an_uninterrupted_run_bit_for_bit(artifact, tmp_path):
    with open_backend("llama.cpp", artifact, threads=1) as backend:
        scores, generations = list(backend.score(SCORES)), list(backend.generate(GENERATIONS))
    assert {one.finish for one in generations} >= {"stop", "length"}
    path = tmp_path / "journal"
    with open_backend("llama.cpp", artifact, threads=1) as backend:
        assert backend.keep(path, ORIGIN, SECRET) == (0, "")
        given = backend.score(SCORES)
        list(itertools.islice(given, 130))
        given.close()
        list(backend.generate(GENERATIONS[::3]))
    with open_backend("llama.cpp", artifact, threads=1) as backend:
        kept = backend.keep(path, ORIGIN, SECRET)
        assert 128 + len(GENERATIONS[::3]) <= kept.answers < len(SCORES) + len(GENERATIONS)
        assert all(map(same, backend.score(SCORES), scores))
        assert list(backend.generate(GENERATIONS)) == generations
    with open_backend("llama.cpp", artifact, threads=1) as backend:
        assert backend.keep(path, ORIGIN, SECRET).answers == len(set(SCORES)) + len(set(GENERATIONS))
        assert all(map(same, backend.score(SCORES), scores))
        assert list(backend.generate(GENERATIONS)) == generations


def test_the_file_is_private_and_names_neither_prompt_nor_text(artifact, tmp_path):
    path = tmp_path / "journal"
    with open_backend("llama.cpp", artifact, threads=1) as backend:
        backend.keep(path, ORIGIN, SECRET)
        texts = [one.text for one in backend.generate(GENERATIONS)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_text()
    assert not any(text in content for text in texts if len(text) > 3)
    assert {len(line.split(" ")[0]) for line in content.splitlines()[1:]} == {64}


@pytest.mark.parametrize("cut", [1, 20, 70, 130])
def test_a_torn_last_line_is_dropped_and_the_rest_taken_up(tmp_path, cut):
    path = filled(tmp_path / "journal")
    path.write_bytes(path.read_bytes()[:-cut])
    assert opened(path) == (4, "")
    assert opened(path) == (4, "")


@pytest.mark.parametrize("line", range(1, 6))
def test_a_changed_answer_drops_them_all(tmp_path, line):
    path = filled(tmp_path / "journal")
    lines = path.read_text().splitlines(keepends=True)
    key, answer, mac = lines[line].split(" ")
    other = "A" if answer[0] != "A" else "B"
    lines[line] = f"{key} {other}{answer[1:]} {mac}"
    path.write_text("".join(lines))
    assert opened(path) == (0, f"line {line + 1} of 6 was not written by such a run")
    assert opened(path) == (0, "")


def test_no_answer_stands_in_the_file_nor_is_one_stream_used_twice(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path, ORIGIN, SECRET)
    for index in range(3):
        journal.keep(b"request %d" % index, b"the very same answer")
    journal.close()
    answers = {base64.b64decode(line.split(" ")[1]) for line in path.read_text().splitlines()[1:]}
    assert len(answers) == 3
    assert all(b"same" not in answer and len(answer) == 20 for answer in answers)
    journal = Journal(path, ORIGIN, SECRET)
    assert [journal.find(b"request %d" % index) for index in range(3)] == [b"the very same answer"] * 3
    journal.close()


def test_an_answer_moved_to_another_request_drops_them_all(tmp_path):
    path = filled(tmp_path / "journal")
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = lines[2].split(" ", 1)[0] + " " + lines[1].split(" ", 1)[1]
    path.write_text("".join(lines))
    assert opened(path)[1]


@pytest.mark.parametrize(("origin", "secret"), [("cd" * 32, SECRET), (ORIGIN, b"t" * 32)])
def test_answers_of_another_model_or_pack_are_dropped(tmp_path, origin, secret):
    count, ignored = opened(filled(tmp_path / "journal"), origin, secret)
    assert count == 0
    assert ignored


def test_bytes_that_are_no_journal_are_dropped(tmp_path):
    path = tmp_path / "journal"
    path.touch(0o600)
    path.write_bytes(os.urandom(5000) + b"\n")
    assert opened(path) == (0, "they are of another run")


def test_a_file_that_others_may_read_or_a_link_is_refused(tmp_path):
    path = filled(tmp_path / "journal")
    path.chmod(0o640)
    with pytest.raises(OutputError, match="not this user's private file"):
        opened(path)
    (tmp_path / "link").symlink_to(filled(tmp_path / "other"))
    with pytest.raises(OutputError, match="cannot be opened"):
        opened(tmp_path / "link")


def test_two_runs_at_once_do_not_share_a_file(tmp_path, artifact):
    first = Journal(tmp_path / "journal", ORIGIN, SECRET)
    with pytest.raises(HeldError):
        opened(tmp_path / "journal")
    with open_backend("llama.cpp", artifact, threads=1) as backend:
        assert "another run" in backend.keep(tmp_path / "journal", ORIGIN, SECRET).ignored
        list(backend.score(SCORES[:3]))
    first.close()
    assert opened(tmp_path / "journal") == (0, "")


def test_a_full_disk_ends_the_run(artifact):
    with open_backend("llama.cpp", artifact, threads=1) as backend, pytest.raises(OutputError, match="/dev/full"):
        backend.keep("/dev/full", ORIGIN, SECRET)
