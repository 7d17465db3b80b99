"""After kill -9 the next run to the same place succeeds, and leaves nothing but what it made."""

from __future__ import annotations

import errno
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from edgeproof.contracts.atomic import atomic_write
from edgeproof.contracts.errors import OutputError
from edgeproof.contracts.file_sets import NEW
from edgeproof.contracts.scratch import scratch_folder
from edgeproof.export.artifact.publishing import publish, settle
from edgeproof_tests.faults.conftest import contents, dies_at
from edgeproof_tests.faults.test_force import prepared
from edgeproof_tests.faults.test_two_at_once import Q4, Q8, assert_whole, export

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a.gguf", "b.gguf", "c")


def killed(code: str, *arguments: object) -> None:
    """Run `code` in a process that kills itself within it."""
    begin = "import os, signal, sys\nfrom pathlib import Path\n"
    kill = "\nos.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-P", "-c", begin + code + kill, *map(str, arguments)], check=False)
    assert done.returncode == -9


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The temporary folder of this test and of the processes that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.torch
@pytest.mark.parametrize(
    "step",
    [
        "edgeproof.export.tokenizer.proof:encode_all",
        "edgeproof.export.pipeline:run_stream",
        "edgeproof.export.gguf.writer:GgufWriter.finish@2",
        "edgeproof.export.pipeline:write_manifest@2",
        "edgeproof.export.artifact.publishing:_put@2",
        "edgeproof.export.artifact.publishing:_put@4",
    ],
)
def test_the_same_export_succeeds_after_a_kill_and_nothing_else_is_left(base, start, tmp_path, temporary, step):
    out = tmp_path / "out"
    first = start([step], *export(base, out))
    assert first.reached() == step
    first.kill()
    assert contents(out) or list(temporary.iterdir()), "the kill left something to clean up"
    code, said = start([], *export(base, out)).ended()
    assert code == 0, said
    assert_whole(out, Q4, Q8)
    assert list(temporary.iterdir()) == []


@pytest.mark.torch
def test_a_forced_export_that_is_killed_gives_the_old_files_back(base, start, tmp_path):
    assert start([], *export(base, tmp_path)).ended()[0] == 0
    (tmp_path / Q4).write_bytes(b"the old one")
    before = contents(tmp_path)
    step = "edgeproof.export.artifact.publishing:_put@3"
    first = start([step], *export(base, tmp_path, "--force"))
    assert first.reached() == step
    first.kill()
    assert contents(tmp_path) != before
    code, said = start([], *export(base, tmp_path)).ended()
    assert code == 3, said
    assert "exists" in said
    assert contents(tmp_path) == before


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["rename", "replace", "link", "unlink", "fsync"])
def test_a_kill_at_any_call_leaves_all_of_the_old_or_all_of_the_new(tmp_path, call, when, force):
    """The process ends at each call of the kind in turn, before or after it; then the next export settles."""
    for number in range(1, 100):
        out, scratch = tmp_path / f"{number}", tmp_path / f"{number}" / ".edgeproof-12345678"
        prepared(out, "old") if force else out.mkdir()
        old = contents(out)
        prepared(scratch / NEW, "new")
        new = contents(scratch / NEW)
        targets = [out / name for name in NAMES]
        ended = publish_and_die(scratch, targets, call, number, when, force=force)
        settle(out, targets)
        found = {name: content for name, content in contents(out).items() if not name.startswith(".edgeproof-")}
        assert found in (old, new), (call, number)
        assert ended or found == new
        assert settled(scratch)
        if not ended:
            return
    raise AssertionError("it never came to an end")


def settled(scratch) -> bool:
    """Whether nothing but what belongs to the dead is in the folder: the next run removes it."""
    return not (scratch / "publishing.json").exists()


def publish_and_die(scratch, targets, call, number, when, *, force):
    """Publish in a process that ends at the call; False where it has ended by itself."""
    return dies_at(call, number, when, partial(publish, scratch, targets, force=force))


def test_a_whole_set_stays_when_its_process_was_killed_before_it_could_say_so(tmp_path):
    out, scratch = tmp_path, tmp_path / ".edgeproof-12345678"
    prepared(scratch / NEW, "new")
    new = contents(scratch / NEW)
    targets = [out / name for name in NAMES]
    assert publish_and_die(scratch, targets, "unlink", 3, "before", force=False), "two files, then the journal"
    assert (scratch / "publishing.json").exists()
    settle(out, targets)
    assert contents(out) == new


def test_a_set_of_which_another_export_writes_a_part_is_left_to_that_one(tmp_path):
    from edgeproof.export.artifact.claims import claimed

    out, scratch = tmp_path, tmp_path / ".edgeproof-12345678"
    prepared(scratch / NEW, "new")
    targets = [out / name for name in NAMES]
    assert publish_and_die(scratch, targets, "link", 2, "before", force=False)
    with claimed(targets[:1]):
        settle(out, targets[1:])
        assert (out / "a.gguf").exists()
    with claimed(targets[1:]):
        settle(out, targets[1:])
    assert contents(out) == {}


@pytest.mark.parametrize("prefix", [".edgeproof-", "edgeproof-tokenizer-"])
def test_folders_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path, prefix):
    code = "from edgeproof.contracts.scratch import scratch_folder\n"
    code += "with scratch_folder(Path(sys.argv[1]), sys.argv[2]) as folder:\n"
    code += "    (folder / 'large').write_bytes(b'x')\n    os.kill(os.getpid(), signal.SIGKILL)"
    strangers = [f"{prefix}notes.txt", f"{prefix}not-ours", f"x{prefix}12345678", f"{prefix}a_file__"]
    for name in strangers[:3]:
        (tmp_path / name).mkdir()
    (tmp_path / strangers[3]).write_bytes(b"")
    with scratch_folder(tmp_path, prefix) as alive:
        killed(code, tmp_path, prefix)
        assert len(list(tmp_path.iterdir())) == len(strangers) + 2
        with scratch_folder(tmp_path, prefix) as second:
            assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, second.name, *strangers])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(strangers)


def test_an_unfinished_file_of_the_dead_is_removed_and_one_of_the_living_is_not(tmp_path):
    code = "from edgeproof.contracts.atomic import atomic_write\n"
    code += "with atomic_write(Path(sys.argv[1]), force=True) as file:\n"
    code += "    file.write(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    target = tmp_path / "out.json"
    with atomic_write(target, force=True) as alive:
        killed(code, target)
        assert len(list(tmp_path.iterdir())) == 2
        with atomic_write(target, force=True) as file:
            file.write(b"second")
        assert len(list(tmp_path.iterdir())) == 2, "the living one's and the second's result"
        alive.write(b"first")
    assert contents(tmp_path) == {"out.json": b"first"}


@pytest.mark.torch
def test_an_export_that_finds_its_artifact_there_removes_what_the_interrupted_one_left(base, start, tmp_path):
    step = "edgeproof.contracts.scratch:shutil.rmtree"  # after the artifact has its final name
    first = start([step], *export(base, tmp_path))
    met = first.reached()
    while met and not (tmp_path / Q8).exists():
        first.go_on()
        met = first.reached()
    assert met == step
    first.kill()
    assert list(tmp_path.glob(".edgeproof-*"))
    code, said = start([], *export(base, tmp_path)).ended()
    assert code == 3
    assert "exists" in said
    assert_whole(tmp_path, Q4, Q8)


@pytest.mark.torch
def test_a_closed_terminal_ends_an_export_as_an_interruption_does(base, start, tmp_path):
    import signal

    step = "edgeproof.export.pipeline:run_stream"
    first = start([step], *export(base, tmp_path))
    assert first.reached() == step
    first.process.send_signal(signal.SIGHUP)
    code, said = first.ended()
    assert code == 130, said
    assert list(tmp_path.iterdir()) == []


def test_an_unlearned_model_that_was_being_replaced_comes_back_and_nothing_else_is_left(tmp_path):
    from edgeproof.unlearn.output.folder import check_place, folder_for

    out = tmp_path / "adapter"
    out.mkdir()
    (out / "adapter_config.json").write_bytes(b"old")
    code = "from edgeproof.unlearn.output import folder as output_folder\n"
    code += "real, calls = Path.rename, []\n"
    code += "def second(path, target):\n    calls.append(path)\n"
    code += "    return real(path, target) if len(calls) == 1 else os.kill(os.getpid(), signal.SIGKILL)\n"
    code += "Path.rename = second\n"
    code += "with output_folder.folder_for(Path(sys.argv[1]), force=True) as folder:\n"
    code += "    (folder / 'adapter_config.json').write_bytes(b'new')\n"
    killed(code, out)
    assert not out.exists()
    check_place(out, force=True)
    assert contents(tmp_path) == {"adapter/adapter_config.json": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    with folder_for(out, force=True) as folder:
        (folder / "adapter_config.json").write_bytes(b"newer")
    assert contents(tmp_path) == {"adapter/adapter_config.json": b"newer"}
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("old", [{}, {"adapter/adapter_config.json": b"old"}])
def test_an_unlearned_model_whose_name_cannot_be_written_to_disk_leaves_what_was_there(old, tmp_path, monkeypatch):
    from edgeproof.unlearn.output import folder as output_folder

    def full(path: Path) -> None:
        if path == tmp_path:
            raise OSError(errno.ENOSPC, "No space left on device")
        to_disk(path)

    to_disk = output_folder.to_disk
    out = tmp_path / "adapter"
    for name, content in old.items():
        out.mkdir()
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(output_folder, "to_disk", full)
    with pytest.raises(OutputError, match="No space left"), output_folder.folder_for(out, force=True) as folder:
        (folder / "adapter_config.json").write_bytes(b"new")
    assert contents(tmp_path) == old
    assert [path.name for path in tmp_path.iterdir()] == (["adapter"] if old else [])
