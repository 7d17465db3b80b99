"""Each bad input ends with its own message, its exit code, and no file under the final name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from edgeproof.cli import run
from edgeproof.export.artifact import manifest
from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeproof_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.torch]

STALE = b"what was here before"


def words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


@pytest.fixture(scope="module")
def artifact(world, tmp_path_factory) -> Path:
    """The base in 8 bits, with its manifest."""
    out = tmp_path_factory.mktemp("artifact")
    assert run(words("--base", world.base, "--format", "gguf-q8_0", "--out", out, "--threads", 1, "--quiet")) == 0
    return out / "tiny-qwen3-Q8_0.gguf"


class Bench:
    """What a broken input is made of: copies of the whole world in a folder of its own."""

    def __init__(self, world: World, artifact: Path, folder: Path) -> None:
        self.world, self.artifact, self.folder = world, artifact, folder
        self.out = folder / "out"

    def copy(self, source: Path) -> Path:
        """A copy to break: a folder, or a GGUF with its manifest."""
        target = self.folder / source.name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{source}.edge.json", f"{target}.edge.json")
        return target

    def export(self, *more: object, base: Path | None = None, adapter: Path | None = None) -> list[str]:
        where = ("--base", base or self.world.base, "--adapter", adapter or self.world.adapter, "--out", self.out)
        return words(*where, *(() if "--format" in more else ("--format", "gguf-q8_0")), "--threads", 1, *more)

    def record(self, *more: object, probes: Path | None = None) -> list[str]:
        self.out.mkdir(exist_ok=True)
        where = ("--base", self.world.base, "--adapter", self.world.adapter, "--format", "gguf-q8_0")
        rest = ("--probes", probes or self.world.pack, "--out", self.out / "baseline.json", "--threads", 1)
        return words("baseline", *where, *rest, *more)

    def gate(self, artifact: Path | None = None, *more: object, **given: Path) -> list[str]:
        probes, baseline = given.get("probes", self.world.pack), given.get("baseline", self.world.baseline)
        where = ("--probes", probes, "--baseline", baseline, "--report", self.out, "--threads", 1)
        return words("gate", artifact or self.artifact, *where, *more)


@pytest.fixture
def bench(world, artifact, tmp_path) -> Bench:
    return Bench(world, artifact, tmp_path)


class Weights(NamedTuple):
    """A safetensors file's tensors, float32, to be changed and written back."""

    path: Path
    tensors: dict[str, np.ndarray]

    def save(self) -> None:
        from safetensors.numpy import save_file

        save_file(self.tensors, self.path, metadata={"format": "pt"})


def weights(path: Path) -> Weights:
    from safetensors.numpy import load_file

    return Weights(path, load_file(path))


# --- adapters


def missing_adapter(bench: Bench) -> list[str]:
    return bench.export(adapter=bench.folder / "nowhere")


def empty_adapter(bench: Bench) -> list[str]:
    (bench.folder / "empty").mkdir()
    return bench.export(adapter=bench.folder / "empty")


def adapter_of_another_model(bench: Bench) -> list[str]:
    adapter = bench.copy(bench.world.adapter)
    file = weights(adapter / "adapter_model.safetensors")
    for name, values in list(file.tensors.items()):
        if "down_proj.lora_A" in name:
            file.tensors[name] = np.tile(values, (1, 2))
    file.save()
    return bench.export(adapter=adapter)


def zero_lora_b(bench: Bench) -> list[str]:
    adapter = bench.copy(bench.world.adapter)
    file = weights(adapter / "adapter_model.safetensors")
    for name, values in file.tensors.items():
        if "lora_B" in name:
            values[:] = 0
    file.save()
    return bench.export(adapter=adapter)


def nan_in_adapter(bench: Bench) -> list[str]:
    adapter = bench.copy(bench.world.adapter)
    file = weights(adapter / "adapter_model.safetensors")
    next(iter(file.tensors.values()))[0, 0] = np.nan
    file.save()
    return bench.export(adapter=adapter)


def pickled_adapter(bench: Bench) -> list[str]:
    adapter = bench.copy(bench.world.adapter)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    return bench.export(adapter=adapter)


def dora_unmerged(bench: Bench) -> list[str]:
    adapter = bench.copy(bench.world.adapter)
    file = weights(adapter / "adapter_model.safetensors")
    for name, values in list(file.tensors.items()):
        if "lora_B" in name:
            key = name.replace("lora_B", "lora_magnitude_vector").removesuffix(".weight")
            file.tensors[key] = np.ones(len(values), values.dtype)
    file.save()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    return bench.export("--unmerged", adapter=adapter)


# --- bases


def missing_base(bench: Bench) -> list[str]:
    return bench.export(base=bench.folder / "nowhere")


def nan_in_base(bench: Bench) -> list[str]:
    base = bench.copy(bench.world.base)
    file = weights(base / "model.safetensors")
    file.tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = np.nan
    file.save()
    return bench.export(base=base)


def pickled_base(bench: Bench) -> list[str]:
    base = bench.copy(bench.world.base)
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    return bench.export(base=base)


def truncated_base(bench: Bench) -> list[str]:
    base = bench.copy(bench.world.base)
    file = base / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1000)
    return bench.export(base=base)


def shard_outside(bench: Bench) -> list[str]:
    base = bench.copy(bench.world.base)
    names = weights(base / "model.safetensors").tensors
    (base / "model.safetensors").rename(bench.folder / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../elsewhere.safetensors")}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    return bench.export(base=base)


def unknown_architecture(bench: Bench) -> list[str]:
    base = bench.copy(bench.world.base)
    config = json.loads((base / "config.json").read_text())
    config |= {"architectures": ["FancyForCausalLM"], "model_type": "fancy"}
    (base / "config.json").write_text(json.dumps(config))
    return bench.export(base=base)


def quantized_base(bench: Bench) -> list[str]:
    return bench.export(base=bench.artifact)


# --- options


def unknown_format(bench: Bench) -> list[str]:
    return bench.export("--format", "gguf-q40")


def unknown_verb(_bench: Bench) -> list[str]:
    return ["gates"]


def unknown_option(bench: Bench) -> list[str]:
    return bench.export("--probe", "x")


def half_a_gate(bench: Bench) -> list[str]:
    return bench.export("--probes", bench.world.pack)


def gate_without_baseline(bench: Bench) -> list[str]:
    return words("gate", bench.artifact, "--probes", bench.world.pack, "--report", bench.out)


def baseline_without_adapter(bench: Bench) -> list[str]:
    where = ("--base", bench.world.base, "--probes", bench.world.pack, "--out", bench.out / "b.json")
    return words("baseline", *where)


def name_with_a_folder(bench: Bench) -> list[str]:
    return bench.export("--name", "a/b")


def no_checkout(bench: Bench) -> list[str]:
    return bench.export("--converter", bench.folder)


def unknown_backend(bench: Bench) -> list[str]:
    return bench.gate(None, "--backend", "llama")


def bad_tensor_type(bench: Bench) -> list[str]:
    return bench.export("--tensor-type", "attn_v=q99")


def bad_imatrix(bench: Bench) -> list[str]:
    (bench.folder / "imatrix.dat").write_bytes(b"no matrix")
    return bench.export("--imatrix", bench.folder / "imatrix.dat")


def policy_with_unknown_key(bench: Bench) -> list[str]:
    (bench.folder / "policy.toml").write_text("[leak]\nlimitt = 0.5\n")
    return bench.gate(None, "--policy", bench.folder / "policy.toml")


# --- the gate's files


def missing_artifact(bench: Bench) -> list[str]:
    return bench.gate(bench.folder / "nothing.gguf")


def truncated_artifact(bench: Bench) -> list[str]:
    file = bench.copy(bench.artifact)
    os.truncate(file, file.stat().st_size // 2)
    return bench.gate(file)


def no_gguf(bench: Bench) -> list[str]:
    (bench.folder / "model.gguf").write_bytes(b"PK\x03\x04" * 100)
    return bench.gate(bench.folder / "model.gguf")


def artifact_changed_after_the_export(bench: Bench) -> list[str]:
    file = bench.copy(bench.artifact)
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        last = opened.read(1)
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([last[0] ^ 1]))
    return bench.gate(file)


def damaged_manifest(bench: Bench) -> list[str]:
    file = bench.copy(bench.artifact)
    Path(f"{file}.edge.json").write_text("{}")
    return bench.gate(file)


def lora_as_artifact(bench: Bench) -> list[str]:
    assert run(bench.export("--unmerged", "--quiet")) == 0
    lora = bench.copy(bench.out / "tiny-qwen3-adapter-lora.gguf")
    shutil.rmtree(bench.out)
    return bench.gate(lora)


def another_vocabulary(bench: Bench) -> list[str]:
    from edgeproof_tests.models import save_tokenizer

    base = bench.copy(bench.world.base)
    save_tokenizer(base)
    content = json.loads((base / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["b"], vocabulary["c"] = vocabulary["c"], vocabulary["b"]
    (base / "tokenizer.json").write_text(json.dumps(content))
    out = bench.folder / "other"
    assert run(words("--base", base, "--format", "gguf-q8_0", "--out", out, "--threads", 1, "--quiet")) == 0
    return bench.gate(out / "tiny-qwen3-Q8_0.gguf")


def missing_lora(bench: Bench) -> list[str]:
    return bench.gate(None, "--lora", bench.folder / "nothing.gguf")


def model_as_lora(bench: Bench) -> list[str]:
    return bench.gate(None, "--lora", bench.artifact)


def artifact_is_a_folder(bench: Bench) -> list[str]:
    return bench.gate(bench.folder)


def missing_pack(bench: Bench) -> list[str]:
    return bench.gate(probes=bench.folder / "nowhere")


def pack_without_forget(bench: Bench) -> list[str]:
    pack = bench.copy(bench.world.pack)
    text = (pack / "pack.toml").read_text()
    (pack / "pack.toml").write_text(text.replace('role = "forget"', 'role = "holdout"\nname = "x"'))
    return bench.gate(probes=pack)


def long_probe(bench: Bench) -> list[str]:
    pack = bench.copy(bench.world.pack)
    lines = (pack / "forget.jsonl").read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {"question": "x y " * 400})
    (pack / "forget.jsonl").write_text("\n".join(lines) + "\n")
    return bench.record(probes=pack)


def baseline_of_another_pack(bench: Bench) -> list[str]:
    pack = bench.copy(bench.world.pack)
    lines = (pack / "forget.jsonl").read_text().splitlines()
    (pack / "forget.jsonl").write_text("\n".join(lines[1:]) + "\n")
    return bench.gate(probes=pack)


def baseline_of_another_tokenizer(bench: Bench) -> list[str]:
    content = json.loads(bench.world.baseline.read_text())
    text = json.dumps(content).replace(content["backends"]["llama.cpp"]["tokenizer_digest"], "ab" * 32)
    (bench.folder / "baseline.json").write_text(text)
    return bench.gate(baseline=bench.folder / "baseline.json")


def baseline_of_another_format(bench: Bench) -> list[str]:
    content = json.loads(bench.world.baseline.read_text())
    for table in (content["backends"]["llama.cpp"]["base_in_format"], content["backends"]["llama.cpp"]["reference"]):
        table.pop("gguf-q8_0", None)
    (bench.folder / "baseline.json").write_text(json.dumps(content))
    return bench.gate(baseline=bench.folder / "baseline.json")


def format_that_the_file_contradicts(bench: Bench) -> list[str]:
    return bench.gate(None, "--format", "gguf-q4_1")


def damaged_baseline(bench: Bench) -> list[str]:
    (bench.folder / "baseline.json").write_bytes(bench.world.baseline.read_bytes()[:-100])
    return bench.gate(baseline=bench.folder / "baseline.json")


def missing_baseline(bench: Bench) -> list[str]:
    return bench.gate(baseline=bench.folder / "nowhere.json")


# --- places


def out_is_a_file(bench: Bench) -> list[str]:
    bench.out.write_bytes(STALE)
    return bench.export()


def out_takes_no_files(bench: Bench) -> list[str]:
    bench.out = Path("/proc/self")
    return bench.export()


def baseline_takes_no_files(bench: Bench) -> list[str]:
    return bench.record("--out", "/proc/self/b.json")


def report_takes_no_files(bench: Bench) -> list[str]:
    return bench.gate(None, "--report", "/proc/self/report")


ROWS: list[tuple[Callable[[Bench], list[str]], int, str]] = [
    (missing_adapter, 3, "nowhere"),
    (empty_adapter, 3, "adapter_config.json"),
    (adapter_of_another_model, 3, "512"),
    (zero_lora_b, 3, "lora_B"),
    (nan_in_adapter, 3, "NaN"),
    (pickled_adapter, 3, "pickle"),
    (dora_unmerged, 3, "DoRA"),
    (missing_base, 3, "does not exist"),
    (nan_in_base, 3, "holds nan: row 3, column 5"),
    (pickled_base, 3, "pickle"),
    (truncated_base, 3, "not a complete safetensors file"),
    (shard_outside, 3, "outside"),
    (unknown_architecture, 3, "--converter"),
    (quantized_base, 3, "--allow-requantize"),
    (unknown_format, 2, "gguf-q4_0"),
    (unknown_verb, 2, "Did you mean 'gate'?"),
    (unknown_option, 2, "--probe"),
    (half_a_gate, 2, "--probes and --baseline go together"),
    (gate_without_baseline, 2, "the gate needs --baseline"),
    (baseline_without_adapter, 2, "neither --adapter nor --unlearned was given"),
    (name_with_a_folder, 2, "--name a/b"),
    (no_checkout, 3, "not a llama.cpp checkout"),
    (unknown_backend, 2, "no backend is named 'llama'"),
    (bad_tensor_type, 2, "q99"),
    (bad_imatrix, 3, "imatrix.dat"),
    (policy_with_unknown_key, 3, "limitt"),
    (missing_artifact, 3, "nothing.gguf does not exist"),
    (truncated_artifact, 3, "not a complete GGUF file"),
    (no_gguf, 3, "not a GGUF"),
    (artifact_changed_after_the_export, 3, "is not the file that its manifest describes"),
    (damaged_manifest, 3, "not a manifest of edgeproof: it has no 'artifact'"),
    (lora_as_artifact, 3, "is a LoRA adapter, not a model"),
    (another_vocabulary, 3, "another tokenizer"),
    (missing_lora, 3, "nothing.gguf"),
    (model_as_lora, 3, "cannot load the adapter"),
    (artifact_is_a_folder, 3, "genai_config.json: no such file"),
    (missing_pack, 3, "no such folder"),
    (pack_without_forget, 3, "no forget probes"),
    (long_probe, 3, "context"),
    (baseline_of_another_pack, 3, "another pack"),
    (baseline_of_another_tokenizer, 3, "another tokenizer"),
    (baseline_of_another_format, 3, "no scores of the base in gguf-q8_0"),
    (format_that_the_file_contradicts, 3, "says that it is gguf-q8_0"),
    (damaged_baseline, 3, "damaged"),
    (missing_baseline, 3, "cannot be read"),
    (out_is_a_file, 3, "cannot write"),
    (out_takes_no_files, 3, "cannot write"),
    (baseline_takes_no_files, 3, "cannot write"),
    (report_takes_no_files, 3, "cannot make the folder"),
]


@pytest.mark.parametrize(("make", "code", "message"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_bad_input_has_its_message_and_code_and_leaves_nothing(make, code, message, bench, capsys):
    command = make(bench)
    capsys.readouterr()
    found = run(command)
    said = capsys.readouterr()
    assert message in said.err, said.err
    assert found == code, said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not leftovers(bench)


def leftovers(bench: Bench) -> list[str]:
    """What stands in the out folder or is temporary anywhere."""
    left = [str(path) for path in bench.folder.rglob("*") if path.name.startswith((".edgeproof-", "."))]
    if bench.out.is_dir() and bench.out.is_relative_to(bench.folder):
        left += [str(path) for path in bench.out.rglob("*") if path.is_file()]
    return left


def test_an_unknown_architecture_is_told_both_ways_round(bench, capsys):
    assert run(unknown_architecture(bench)) == 3
    said = capsys.readouterr().err
    assert "GGUF" in said
    assert "--converter" in said


# --- full disks


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a given size."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no small tmpfs can be mounted here (needs root)")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


PAGE = 4096
TWO = ("--format", "gguf-q4_0", "--format", "gguf-q8_0")


@pytest.fixture(scope="module")
def sizes(world, tmp_path_factory) -> tuple[int, int]:
    """Pages that the files in 4 and in 8 bits take."""
    out = tmp_path_factory.mktemp("sizes")
    command = words("--base", world.base, *TWO, "--out", out, "--threads", 1, "--quiet")
    assert run(command) == 0
    found = {path.name: -(-path.stat().st_size // PAGE) for path in out.glob("*.gguf")}
    return found["tiny-qwen3-Q4_0.gguf"], found["tiny-qwen3-Q8_0.gguf"]


@pytest.mark.parametrize("more", [(), ("--unmerged",)])
@pytest.mark.parametrize("what", ["the first file", "the second file", "the last manifest"])
def test_export_to_a_full_disk_leaves_nothing(what, more, bench, sizes, small_disk, capsys):
    first, second = sizes
    pages = {
        "the first file": first - 4,
        "the second file": first + second - 4,
        "the last manifest": first + second + 3,
    }
    bench.out = small_disk(str(pages[what] * PAGE))
    assert run(bench.export(*TWO, *more)) == 3
    said = capsys.readouterr().err
    assert "free" in said
    assert "Traceback" not in said
    assert list(bench.out.iterdir()) == []


def test_a_baseline_to_a_full_disk(bench, small_disk, capsys):
    bench.out = small_disk("400k")
    assert run(bench.record()) == 3
    assert "bytes are free" in capsys.readouterr().err
    assert list(bench.out.iterdir()) == []


def test_a_report_to_a_full_disk(bench, small_disk, capsys):
    bench.out = small_disk("8k")
    assert run(bench.gate()) == 3
    said = capsys.readouterr().err
    assert "cannot write" in said
    assert "free some space" in said
    assert list(bench.out.iterdir()) == []


# --- what is there already


@pytest.mark.parametrize("more", [(), ("--unmerged",)])
def test_an_existing_target_is_kept_without_force(more, bench, capsys):
    bench.out.mkdir()
    name = "tiny-qwen3-adapter-lora.gguf" if more else "tiny-qwen3-unlearned-Q8_0.gguf"
    (bench.out / name).write_bytes(STALE)
    assert run(bench.export(*more)) == 3
    assert f"{name} exists" in capsys.readouterr().err
    assert [path.read_bytes() for path in bench.out.iterdir()] == [STALE]


def test_an_existing_target_is_kept_where_a_forced_export_fails(bench):
    command = nan_in_base(bench)
    bench.out.mkdir()
    (bench.out / "tiny-qwen3-unlearned-Q8_0.gguf").write_bytes(STALE)
    assert run([*command, "--force"]) == 3
    assert [path.read_bytes() for path in bench.out.iterdir()] == [STALE]


def test_an_existing_target_is_replaced_with_force(bench):
    bench.out.mkdir()
    target = bench.out / "tiny-qwen3-unlearned-Q8_0.gguf"
    target.write_bytes(STALE)
    assert run(bench.export("--force", "--quiet")) == 0
    assert target.read_bytes()[:4] == b"GGUF"


def test_an_existing_baseline_and_report_are_kept_without_force(bench, capsys, monkeypatch):
    from edgeproof.runtime.process.parent import ChildBackend

    def started(*_arguments, **_options):
        pytest.fail("work was begun before the target was looked at")

    monkeypatch.setattr(ChildBackend, "__init__", started)
    bench.out.mkdir()
    for name, command in (("baseline.json", bench.record()), ("report.json", bench.gate())):
        (bench.out / name).write_bytes(STALE)
        assert run(command) == 3
        said = capsys.readouterr().err
        assert f"{name} exists" in said
        assert "scores" not in said, "it was told only after the work was done"
        assert (bench.out / name).read_bytes() == STALE


# --- the machine's own faults


def test_a_child_killed_while_scoring_is_no_verdict(bench, capsys, monkeypatch):
    from edgeproof.runtime.process.parent import ChildBackend

    score = ChildBackend.score

    def killed(self, requests):
        os.kill(self.process_id, signal.SIGKILL)
        return score(self, requests)

    monkeypatch.setattr(ChildBackend, "score", killed)
    assert run(bench.gate()) == 3
    assert "SIGKILL" in capsys.readouterr().err
    assert not leftovers(bench)


def test_a_child_killed_while_a_baseline_is_recorded_leaves_nothing(bench, capsys, monkeypatch):
    from edgeproof.runtime.process.parent import ChildBackend

    generate = ChildBackend.generate

    def killed(self, requests):
        first, *others = requests
        yield from generate(self, [first])
        os.kill(self.process_id, signal.SIGKILL)
        yield from generate(self, others)

    monkeypatch.setattr(ChildBackend, "generate", killed)
    code = run(bench.record())
    said = capsys.readouterr().err
    assert code == 3, said
    assert "SIGKILL" in said
    assert not leftovers(bench)


def test_an_interruption_leaves_nothing(bench, monkeypatch, capsys):
    from edgeproof.export import stream
    from edgeproof.export.gguf.writer import GgufWriter

    write, work = GgufWriter.write, stream._Pass.run
    pressed, passes = threading.Event(), []

    def watched(self, threads):
        passes.append(self)
        work(self, threads)

    def slow(self, chunk):
        if not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)
        while not passes[-1]._stopped:
            time.sleep(0.002)  # the chunk in hand takes until the interruption is heard
        write(self, chunk)

    monkeypatch.setattr(stream._Pass, "run", watched)
    monkeypatch.setattr(GgufWriter, "write", slow)
    assert run(bench.export("--threads", 2)) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert not leftovers(bench)


def test_an_interruption_while_probing_is_no_verdict(bench, monkeypatch, capsys):
    from edgeproof.runtime.process.parent import ChildBackend

    def interrupted(_self, _requests):
        raise KeyboardInterrupt

    monkeypatch.setattr(ChildBackend, "score", interrupted)
    assert run(bench.gate()) == 130
    assert run(bench.record()) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert not leftovers(bench)


def test_a_cancelled_job_cleans_up(bench, tmp_path):
    """SIGTERM, as CI sends it, while the user's converter runs."""
    checkout, begun = tmp_path / "checkout", tmp_path / "begun"
    checkout.mkdir()
    script = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(3600)\n"
    (checkout / "convert_hf_to_gguf.py").write_text(script)
    command = bench.export("--converter", checkout)
    with subprocess.Popen([sys.executable, "-P", "-m", "edgeproof.cli", *command], stderr=subprocess.PIPE) as process:
        while not begun.exists() and process.poll() is None:
            time.sleep(0.05)
        assert list(bench.out.glob(".edgeproof-*/*/*/model.safetensors"))
        process.terminate()
        _, said = process.communicate()
    assert process.returncode == 130, said
    assert list(bench.out.iterdir()) == []


@pytest.mark.parametrize(
    "error", [ValueError("odd"), SystemExit(1), SystemExit(0), RecursionError(), MemoryError(), AssertionError()]
)
def test_an_unforeseen_error_is_never_a_verdict(error, bench, capsys, monkeypatch):
    def stumble(*_arguments, **_options):
        raise error

    monkeypatch.setattr("edgeproof.eval.decision.decide", stumble)
    assert run(bench.gate()) == 3
    assert "→" in capsys.readouterr().err
    assert not leftovers(bench)


def test_a_file_that_may_not_be_read_is_named(bench, capsys, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(manifest, "digest_file", refuse)
    assert run(bench.gate()) == 3
    said = capsys.readouterr().err
    assert f"{bench.artifact}: Permission denied" in said
    assert "Traceback" not in said


def test_the_command_itself_gives_the_exit_codes(bench):
    for command, code in ((missing_adapter(bench), 3), (unknown_format(bench), 2), (["--help"], 0), (["--version"], 0)):
        done = subprocess.run([sys.executable, "-P", "-m", "edgeproof.cli", *command], capture_output=True, check=False)
        assert done.returncode == code, done.stderr


def test_another_family_than_the_adapters_is_refused(bench, tmp_path, capsys):
    base = save_model("llama", tmp_path / "llama", hidden_size=64, intermediate_size=128)
    assert run(bench.export(base=base)) == 3
    assert "[" in capsys.readouterr().err
    assert not leftovers(bench)
