"""The file that is judged is all of the file that runs: whatever could silence or swap a part of it is no verdict."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from edgeproof.cli import run
from edgeproof_tests.cli.test_end_to_end import export, gate, words

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.torch]


@pytest.fixture(scope="module")
def original(world, tmp_path_factory) -> Path:
    """The base in 8 bits, which knows everything: it fails as it is, and must never do anything better."""
    out = tmp_path_factory.mktemp("original")
    assert export(world, out, "--format", "gguf-q8_0", "--quiet", adapters=False) == 0
    return out / "tiny-qwen3-Q8_0.gguf"


@pytest.fixture
def copy(original, tmp_path) -> Path:
    """The same without its manifest, to be changed."""
    return shutil.copyfile(original, tmp_path / "model.gguf")


def change(path: Path, find: bytes, put: bytes) -> None:
    content = path.read_bytes()
    assert len(find) == len(put)
    assert find in content
    path.write_bytes(content.replace(find, put))


def test_as_it_is_the_original_fails(world, copy):
    assert gate(world, copy, "--quiet") == 1


def test_a_foreign_chat_template_is_no_verdict(world, copy, capsys):
    change(copy, b"'<|assistant|>'", b"'<|oooooooot|>'")
    assert gate(world, copy, "--quiet") == 3
    assert "chat template" in capsys.readouterr().err


def test_pieces_marked_as_control_tokens_are_no_verdict(world, copy, capsys):
    content, key = bytearray(copy.read_bytes()), b"tokenizer.ggml.token_type"
    start = content.index(key) + len(key)
    _, _, count = struct.unpack_from("<IIQ", content, start)
    struct.pack_into(f"<{count}i", content, start + 16, *[3] * count)
    copy.write_bytes(content)
    assert gate(world, copy, "--quiet") == 3
    assert "token types" in capsys.readouterr().err


def test_a_weaker_adapter_is_not_judged_by_the_baseline_of_another(world, tmp_path, capsys):
    from safetensors.numpy import load_file, save_file

    weaker = shutil.copytree(world.adapter, tmp_path / "weaker")
    tensors = load_file(weaker / "adapter_model.safetensors")
    save_file(
        {name: values * 0.94 if "lora_B" in name else values for name, values in tensors.items()},
        weaker / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    out = tmp_path / "dist"
    command = words("--base", world.base, "--adapter", weaker, "--format", "gguf-q8_0", "--out", out, "--threads", 1)
    assert run([*command, "--quiet"]) == 0
    (artifact,) = out.glob("*.gguf")
    capsys.readouterr()
    assert gate(world, artifact, "--quiet") == 3
    assert "other adapters" in capsys.readouterr().err


def test_a_baseline_of_an_older_version_is_refused_with_what_to_do(world, original, tmp_path, capsys):
    table = json.loads(world.baseline.read_text())
    del table["sources"]
    for part in table["backends"].values():
        del part["prompt_digest"]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(table))
    assert gate(world._replace(baseline=old), original, "--quiet") == 3
    told = capsys.readouterr().err
    assert "older version" in told
    assert "export-edge baseline" in told


def test_another_format_than_the_file_says_is_no_verdict(world, original, capsys):
    assert gate(world, original, "--format", "gguf-q4_0", "--quiet") == 3
    told = capsys.readouterr().err
    assert "--format gguf-q4_0" in told
    assert "gguf-q8_0" in told
    assert gate(world, original, "--format", "gguf-q8_0", "--quiet") == 1


def test_one_nan_in_a_norm_is_no_verdict(world, copy, capsys):
    from edgeproof.contracts.errors import ArtifactError
    from edgeproof.contracts.gguf_header import read_header

    norm = next(t for t in read_header(copy, ArtifactError).tensors if t.name == "output_norm.weight")
    with copy.open("r+b") as file:
        file.seek(norm.offset + 20)
        file.write(struct.pack("<f", float("nan")))
    assert gate(world, copy, "--quiet") == 3
    assert "output_norm.weight" in capsys.readouterr().err


# Split GGUFs


def split(path: Path, folder: Path) -> list[Path]:
    """Write the GGUF in parts of eight tensors, as llama-gguf-split does."""
    import gguf

    reader = gguf.GGUFReader(path)
    folder.mkdir()
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(folder / "model.gguf", architecture, split_max_tensors=8)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == 9 else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file(folder / "model.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("model-*.gguf"))


@pytest.fixture(scope="module")
def unlearned(world, tmp_path_factory) -> Path:
    """The unlearned model in 8 bits: it passes."""
    out = tmp_path_factory.mktemp("unlearned")
    assert export(world, out, "--format", "gguf-q8_0", "--quiet") == 0
    return next(out.glob("*.gguf"))


def test_a_split_file_is_judged_and_verified_as_all_of_its_parts(world, original, unlearned, tmp_path, capsys):
    parts = split(unlearned, tmp_path / "parts")
    assert len(parts) > 2
    first, report = parts[0], tmp_path / "report"
    assert gate(world, first, "--report", report, "--quiet") == 0
    recorded = json.loads((report / "report.json").read_text())
    assert [file["name"] for file in recorded["artifact"]["files"]] == [part.name for part in parts]
    inputs = words("--probes", world.pack, "--baseline", world.baseline)
    verify = [*words("verify", report, "--artifact", first), *inputs]
    assert run(verify) == 0
    capsys.readouterr()
    assert run(words("inspect", first, "--json")) == 0
    inspected = json.loads(capsys.readouterr().out)["inspected"][0]
    assert inspected["sha256"] == recorded["artifact"]["sha256"]
    assert run(words("inspect", unlearned, "--json")) == 0
    assert inspected["weights"] == json.loads(capsys.readouterr().out)["inspected"][0]["weights"]

    # The parts behind the first are swapped for the original's, which knows everything.
    knowing = split(original, tmp_path / "knowing")
    for own, other in zip(parts[1:], knowing[1:], strict=True):
        shutil.copyfile(other, own)
    assert run(verify) == 3
    assert parts[1].name in capsys.readouterr().err
    parts[-1].unlink()
    assert run(verify) == 3
    assert gate(world, first, "--quiet") == 3
    assert parts[-1].name in capsys.readouterr().err


def test_what_a_split_file_cannot_be_used_for_says_how_to_join_it(world, unlearned, tmp_path, capsys):
    first = split(unlearned, tmp_path / "parts")[0]
    assert run(words("--base", first, "--format", "gguf-q8_0", "--out", tmp_path / "out", "--quiet")) == 3
    assert "llama-gguf-split --merge" in capsys.readouterr().err
    chosen = words("--base", world.base, "--adapter", world.adapter, "--quiet")
    assert run([*words("inspect", first), *chosen]) == 3
    assert "llama-gguf-split --merge" in capsys.readouterr().err


# Swapped while it is measured


@pytest.mark.parametrize("times", ["new", "set back"])
def test_a_file_that_changes_while_it_is_probed_is_no_verdict(world, unlearned, tmp_path, monkeypatch, capsys, times):
    """The time of a write can be set back to what it was; the time of a change, and the bytes, cannot."""
    import os

    from edgeproof.eval.measuring import measure as measuring

    artifact, real = shutil.copyfile(unlearned, tmp_path / "model.gguf"), measuring.measure

    def meanwhile(*arguments, **options):
        found = real(*arguments, **options)
        state, content = artifact.stat(), bytearray(artifact.read_bytes())
        content[-1] ^= 1
        with artifact.open("r+b") as file:
            file.write(content)
        if times == "set back":
            os.utime(artifact, ns=(state.st_atime_ns, state.st_mtime_ns))
        return found

    monkeypatch.setattr(measuring, "measure", meanwhile)
    assert gate(world, artifact, "--report", tmp_path / "report", "--quiet") == 3
    assert "changed while it was probed" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("moved", ["the folder", "a link above", "the link"])
def test_another_file_put_in_its_place_while_it_is_opened_is_not_the_one_that_is_asked(
    world, original, unlearned, tmp_path, monkeypatch, moved
):
    """What leaks is hashed; what does not is there while the engine opens it, and gone when the times are compared."""
    import edgeproof.runtime

    for name, file in (("leaking", original), ("fine", unlearned)):
        (tmp_path / name).mkdir()
        shutil.copyfile(file, tmp_path / name / "model.gguf")
    place = tmp_path / "current"
    if moved == "the folder":
        (tmp_path / "leaking").rename(place)
    elif moved == "a link above":
        place.symlink_to(tmp_path / "leaking")
    else:
        place.mkdir()
        (place / "model.gguf").symlink_to(tmp_path / "leaking" / "model.gguf")

    def exchange(name, back):
        if moved == "the folder":
            place.rename(tmp_path / back)
            (tmp_path / name).rename(place)
        else:
            at = place if moved == "a link above" else place / "model.gguf"
            at.unlink()
            at.symlink_to(tmp_path / name / ("" if at is place else "model.gguf"))

    real = edgeproof.runtime.open_backend

    def meanwhile(*arguments, **options):
        exchange("fine", "leaking")
        try:
            return real(*arguments, **options)
        finally:
            exchange("leaking", "fine")

    monkeypatch.setattr(edgeproof.runtime, "open_backend", meanwhile)
    assert gate(world, place / "model.gguf", "--report", tmp_path / "report", "--quiet") == 1
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [file["name"] for file in report["artifact"]["files"]] == ["model.gguf"]
    assert "/proc/" not in (tmp_path / "report" / "report.json").read_text()


def test_parts_behind_links_are_those_that_were_hashed(world, original, unlearned, tmp_path, monkeypatch):
    """The folder to which the parts' links lead is exchanged while the engine opens them, and put back."""
    import edgeproof.runtime

    for name, file in (("leaking", original), ("fine", unlearned)):
        split(file, tmp_path / name)
    place = tmp_path / "snapshot"
    place.mkdir()
    for part in sorted((tmp_path / "leaking").glob("model-*.gguf")):
        (place / part.name).symlink_to(tmp_path / "blobs" / part.name)
    (tmp_path / "leaking").rename(tmp_path / "blobs")
    real, asked = edgeproof.runtime.open_backend, []

    def meanwhile(*arguments, **options):
        for old, new in (("blobs", "leaking"), ("fine", "blobs")):
            (tmp_path / old).rename(tmp_path / new)
        try:
            return real(*arguments, **options)
        finally:
            for old, new in (("blobs", "fine"), ("leaking", "blobs")):
                (tmp_path / old).rename(tmp_path / new)
            asked.append(arguments)

    monkeypatch.setattr(edgeproof.runtime, "open_backend", meanwhile)
    (first, *rest) = sorted(place.iterdir())
    assert gate(world, first, "--report", tmp_path / "report", "--quiet") == 1
    assert asked
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [file["name"] for file in report["artifact"]["files"]] == [part.name for part in (first, *rest)]
    assert "/proc/" not in (tmp_path / "report" / "report.json").read_text()
    given = ("--artifact", first, "--probes", world.pack, "--baseline", world.baseline)
    assert run(words("verify", tmp_path / "report", *given)) == 0


def test_an_engine_that_is_not_the_baselines_is_told(world, unlearned, tmp_path, capsys):
    """Another version may have changed its numbers: whoever reads the verdict learns of both."""
    table, planted = json.loads(world.baseline.read_text()), "llama.cpp 0000000 (llama-cpp-python 0.3.1)"
    for recorded in table["backends"]["llama.cpp"]["base_in_format"].values():
        recorded["backend"]["engine"] = planted
    (tmp_path / "baseline.json").write_text(json.dumps(table))
    judged = ("--probes", world.pack, "--baseline", tmp_path / "baseline.json", "--threads", 1)
    assert run(words("gate", unlearned, *judged)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"the baseline was recorded elsewhere: engine: {planted} when the baseline was recorded, llama.cpp" in said


# Pinned policy, signed baseline, the verdict that may be published


def test_a_policy_is_pinned_by_its_digest_for_gate_and_verify(world, unlearned, tmp_path, capsys):
    from edgeproof.eval.digests import digest_bytes

    policy, report = tmp_path / "policy.toml", tmp_path / "report"
    policy.write_text("[leak]\nshare = 0.11\n")
    pinned = ("--policy", policy, "--policy-sha256", digest_bytes(policy))
    assert gate(world, unlearned, *pinned, "--report", report, "--quiet") == 0
    inputs = words("--artifact", unlearned, "--probes", world.pack, "--baseline", world.baseline, *pinned)
    assert run([*words("verify", report), *inputs]) == 0
    policy.write_text("[leak]\nshare = 0.9\n")
    capsys.readouterr()
    assert gate(world, unlearned, *pinned, "--quiet") == 3
    assert run([*words("verify", report), *inputs]) == 3
    assert capsys.readouterr().err.count("--policy-sha256 pins") == 2


def test_only_a_pass_may_be_published(world, original, unlearned, tmp_path, capsys):
    inputs = words("--probes", world.pack, "--baseline", world.baseline)
    for artifact, code in ((unlearned, 0), (original, 1)):
        report = tmp_path / str(code)
        assert gate(world, artifact, "--report", report, "--quiet") == code
        verify = [*words("verify", report, "--artifact", artifact), *inputs]
        assert run(verify) == 0
        assert run([*verify, "--require-pass"]) == (0 if code == 0 else 3)
    assert "its verdict is FAIL" in capsys.readouterr().err


def test_a_gate_takes_only_the_baseline_that_was_signed(world, unlearned, tmp_path, capsys):
    from edgeproof_tests.eval.test_verify import save_keys

    save_keys(tmp_path)
    baseline = tmp_path / "baseline.json"
    where = ("--base", world.base, "--adapter", world.adapter, "--format", "gguf-q8_0", "--probes", world.pack)
    command = words("baseline", *where, "--out", baseline, "--sign", tmp_path / "gate.pem", "--threads", 1, "--quiet")
    assert run(command) == 0
    mine, key = world._replace(baseline=baseline), ("--baseline-key", tmp_path / "gate.pub", "--quiet")
    assert gate(mine, unlearned, *key) == 0
    capsys.readouterr()
    assert gate(world, unlearned, *key) == 3
    baseline.write_bytes(baseline.read_bytes().replace(b'"trained":true', b'"trained":fals'))
    assert gate(mine, unlearned, *key) == 3
    told = capsys.readouterr().err
    assert "beside the baseline" in told
    assert "is not a signature of" in told
