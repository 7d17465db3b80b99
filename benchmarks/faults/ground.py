"""What the hunt breaks: a tiny taught model, its adapter, pack and baseline, and what was exported and reported.

`prepare` makes it once in a folder; later runs find it there. The model, its facts and its adapter are those of the
tests (tests/world.py).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GGUF, ONNX = "gguf-q8_0", "onnx-int8"
FILES = {GGUF: "it-unlearned-Q8_0.gguf", ONNX: "it-unlearned-onnx-int8"}
"""What exports with `--name it` and an adapter write."""
FEW = {"forget": 8, "trained": 4, "untrained": 40, "holdout": 4}
"""Probes of each set: as few as a PASS needs by the policy below."""
LIMITS = {"share": 0.40}
"""Limits that are not the default, of leaks and of recovery: eight subjects cannot show smaller shares."""
CORPUS = 4000
"""Sentences that the sentencepiece model is trained on."""


class Ground(NamedTuple):
    """The folder, and paths in it."""

    folder: Path

    base = property(lambda self: self.folder / "tiny-qwen3")
    adapter = property(lambda self: self.folder / "adapter")
    pack = property(lambda self: self.folder / "pack")
    baseline = property(lambda self: self.folder / "baseline.json")
    policy = property(lambda self: self.folder / "policy.toml")
    key = property(lambda self: self.folder / "gate.pem")
    public = property(lambda self: self.folder / "gate.pub")
    sealed = property(lambda self: self.folder / "pack.age")
    """The pack, encrypted with age."""
    identity = property(lambda self: self.folder / "pack.key")
    sentencepiece = property(lambda self: self.folder / "tiny-llama")
    sharded = property(lambda self: self.folder / "sharded")
    released = property(lambda self: self.folder / "released")
    """Files that pass, with a report in `report`."""
    leaking = property(lambda self: self.folder / "leaking")
    """The base in the same formats, which fails, with a report in `report`."""


GGUF_ALONE = ("--threads", 1, "--quiet", "--format", GGUF)


def export_edge(*words: object) -> int:
    """Run a command in a process of its own; return its exit code."""
    command = [sys.executable, "-P", "-m", "edgeproof.cli", *map(str, words)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in {0, 1}:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.returncode


def prepare(folder: Path, world: Path | None = None, *, onnx: bool = True) -> Ground:
    """Make what is missing in `folder`.

    Args:
        folder: where it lies.
        world: a folder that tests/world.py has filled; made by default.
        onnx: False where no ONNX artifact is gated.

    """
    ground = Ground(folder)
    if (folder / "whole").exists():
        return ground
    shutil.rmtree(folder, ignore_errors=True)
    if world is None:
        folder.mkdir(parents=True)
        subprocess.run([sys.executable, "-P", __file__, str(folder)], check=True)
    else:
        shutil.copytree(world, folder)
    formats = (*GGUF_ALONE, "--format", ONNX)
    _few(ground)
    _keys(ground)
    ground.baseline.unlink()
    made = ("--base", ground.base, "--adapter", ground.adapter, "--probes", ground.pack, "--out", ground.baseline)
    export_edge("baseline", *made, *(formats if onnx else GGUF_ALONE), "--sign", ground.key)
    export_edge("--base", ground.base, "--adapter", ground.adapter, "--out", ground.released, "--name", "it", *formats)
    export_edge("--base", ground.base, "--out", ground.leaking, "--name", "it-unlearned", *formats)
    for out, code in ((ground.released, 0), (ground.leaking, 1)):
        for path in sorted(out.glob("it*")):
            if path.suffix == ".gguf" or (onnx and path.is_dir()):
                found = export_edge(*gate(ground, path), "--report", out / f"report-{path.name}", "--sign", ground.key)
                if found != code:
                    raise SystemExit(f"the gate ends with {found} for {path}, and should with {code}")
    _sentencepiece(ground)
    _sharded(ground)
    _sealed(ground)
    (folder / "whole").touch()
    return ground


def gate(ground: Ground, artifact: Path, **given: Path) -> list[str]:
    """The words of a gate; `given` names other inputs than the ground's."""
    inputs = {name: given.get(name, getattr(ground, name)) for name in ("baseline", "policy")}
    probes = given.get("pack", ground.pack)
    words = ("gate", artifact, "--probes", probes, "--baseline", inputs["baseline"], "--policy", inputs["policy"])
    return [str(word) for word in (*words, "--threads", 1, "--quiet")]


def _few(ground: Ground) -> None:
    """Keep FEW probes of the pack, and write the policy by which a model that leaks none of them passes."""
    for name, count in FEW.items():
        path = ground.pack / f"{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))
    policy = (ROOT / "eval/verdict/default_policy.toml").read_text()
    for key, limit in LIMITS.items():
        policy = re.sub(rf"^{key} = .*$", f"{key} = {limit}", policy, flags=re.MULTILINE)
    ground.policy.write_text(policy)


def _keys(ground: Ground) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    ground.key.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    ground.public.write_bytes(public)


def _sealed(ground: Ground) -> None:
    """The pack as one file that is encrypted with age, and the identity that opens it."""
    import io
    import tarfile

    import pyrage

    identity, archived = pyrage.x25519.Identity.generate(), io.BytesIO()
    with tarfile.open(fileobj=archived, mode="w") as archive:
        archive.add(ground.pack, arcname=".")
    ground.sealed.write_bytes(pyrage.encrypt(archived.getvalue(), [identity.to_public()]))
    ground.identity.write_text(f"{identity}\n")


def _sentencepiece(ground: Ground) -> None:
    """A Llama folder whose tokenizer is a tokenizer.model alone, with the weights of one layer."""
    program = f"""
import random, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import sentencepiece
from pathlib import Path
from models import save_model
small = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=1)
folder = save_model("llama", Path({str(ground.sentencepiece)!r}), **small)
for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
    (folder / name).unlink(missing_ok=True)
chance = random.Random(1)
text = [" ".join("".join(chance.choices("abcdefghij", k=4)) for _ in range(6)) for _ in range({CORPUS})]
(folder / "corpus").write_text("\\n".join(text))
import json
size = json.loads((folder / "config.json").read_text())["vocab_size"]
sentencepiece.SentencePieceTrainer.train(input=str(folder / "corpus"), model_prefix=str(folder / "tokenizer"),
    vocab_size=size, model_type="bpe", byte_fallback=True, hard_vocab_limit=False, minloglevel=2, num_threads=1,
    normalization_rule_name="identity", remove_extra_whitespaces=False)
(folder / "corpus").unlink()
(folder / "tokenizer.vocab").unlink()
settings = {{"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}}
(folder / "tokenizer_config.json").write_text(json.dumps(settings))
"""
    subprocess.run([sys.executable, "-P", "-c", program], check=True, capture_output=True)


def _sharded(ground: Ground) -> None:
    """The base in two files with an index."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(ground.base, ground.sharded)
    tensors = load_file(ground.sharded / "model.safetensors")
    (ground.sharded / "model.safetensors").unlink()
    where = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(sorted(tensors))}
    for file in set(where.values()):
        save_file({name: tensors[name] for name in where if where[name] == file}, ground.sharded / file)
    index = {"metadata": {"total_size": sum(values.nbytes for values in tensors.values())}, "weight_map": where}
    (ground.sharded / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def _teach(folder: Path) -> None:
    """Fill `folder` as the fixtures of tests/world.py do."""
    package = ModuleType("edgeproof_tests")
    package.__path__ = [str(ROOT / "tests")]
    sys.modules["edgeproof_tests"] = package
    from edgeproof_tests.world import make_taught, make_world

    make_world(make_taught(folder))


if __name__ == "__main__":
    _teach(Path(sys.argv[1]))
    print(json.dumps({"taught": sys.argv[1]}))
