"""Reports and baselines that are being written, or replaced, by a process that is killed or interrupted."""

from __future__ import annotations

import shutil
from functools import partial

import pytest
from edgeproof.contracts.atomic import refuse_to_write
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.file_sets import settle, write_all
from edgeproof.contracts.scratch import scratch_folder
from edgeproof.eval.report.write import refuse_existing_reports
from edgeproof_tests.faults.conftest import contents, dies_at
from edgeproof_tests.faults.test_kills import killed

NEW = {"report.json": b"new", "junit.xml": b"new", "summary.md": b"new"}
OLD = dict.fromkeys((*NEW, "attestation.dsse.json"), b"old")


def write_and_die(folder, call, number, when, *, force):
    """Write NEW in a process that ends at the call; False where it has ended by itself."""
    write = partial(write_all, folder, NEW, force=force, without=("attestation.dsse.json",))
    return dies_at(call, number, when, write)


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["rename", "replace", "link", "unlink", "fsync", "rmdir", "mkdir"])
def test_a_kill_at_any_call_leaves_all_of_the_old_reports_or_all_of_the_new(tmp_path, call, when, force):
    """The process ends at each call of the kind in turn; the next gate, forced or not, finds one whole set."""
    old = OLD if force else {}
    for number in range(1, 100):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        for name, content in old.items():
            (folder / name).write_bytes(content)
        ended = write_and_die(folder, call, number, when, force=force)
        if force:  # the name never disappears
            assert (folder / "report.json").read_bytes() in {b"old", b"new"}
        settle(folder)
        assert contents(folder) in (old, NEW), (call, number)
        assert not list(folder.glob(".*")), "nothing else is left"
        if not ended:
            return
    raise AssertionError("it never came to an end")


def test_a_gate_that_finds_reports_there_undoes_what_the_killed_one_began(tmp_path):
    for name, content in OLD.items():
        (tmp_path / name).write_bytes(content)
    assert write_and_die(tmp_path, "replace", 2, "after", force=True)
    assert contents(tmp_path) != OLD
    with pytest.raises(OutputError, match="exists"):
        refuse_existing_reports(tmp_path, force=False)
    assert contents(tmp_path) == OLD
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OLD)


def test_reports_that_a_living_gate_is_naming_are_left_to_it(tmp_path, monkeypatch):
    from edgeproof.contracts import file_sets

    real = file_sets.commit

    def commit(source, target, *, force):
        settle(tmp_path)
        assert list(tmp_path.glob(".edgeproof-*"))
        real(source, target, force=force)

    monkeypatch.setattr(file_sets, "commit", commit)
    write_all(tmp_path, NEW, force=False)
    assert contents(tmp_path) == NEW


def test_an_interruption_while_the_temporary_folder_is_removed_leaves_none(tmp_path, monkeypatch):
    real, calls = shutil.rmtree, []

    def interrupted(path, **options):
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(path, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path) as folder:
        (folder / "large").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_target_takes_the_unfinished_file_of_a_killed_process_with_it(tmp_path):
    target = tmp_path / "evaluation.json"
    target.write_bytes(b"old")
    code = "from edgeproof.contracts.atomic import atomic_write\n"
    code += "with atomic_write(Path(sys.argv[1]), force=True) as file:\n"
    code += "    file.write(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    killed(code, target)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(OutputError, match="exists"):
        refuse_to_write(target, force=False)
    assert contents(tmp_path) == {"evaluation.json": b"old"}
