"""What CONTRIBUTING.md promises: a metric, a format, a backend, a model family, a surface or a loss is one new file,
and its entry in one registry. Each is added to a copy of the checkout and used there as a user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from edgeproof_tests.models import save_model
from edgeproof_tests.runtime import tiny_gguf

ROOT = Path(__file__).resolve().parents[1]


class Checkout:
    """A copy of the sources in which code runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src", folder / "src", symlinks=True, ignore=ignored)
        for link in (ROOT / "src" / "edgeproof").iterdir():
            if link.is_dir() and link.is_symlink() and link.name != "examples":
                shutil.copytree(ROOT / link.name, folder / link.name, ignore=ignored)

    def add(self, file: str, content: str, *, registry: str, after: str, entry: str, imported: str = "") -> None:
        """Write a new file, and one entry in a registry, with its import where it names an object."""
        path, listed = self.folder / file, self.folder / registry
        assert not path.exists()
        path.write_text(content, encoding="utf-8")
        text = listed.read_text(encoding="utf-8")
        assert text.count(after) == 1
        text = text.replace(after, f"{after}\n{entry}")
        if imported:
            text = text.replace(
                "from __future__ import annotations\n", f"from __future__ import annotations\n{imported}\n"
            )
        listed.write_text(text, encoding="utf-8")

    def run(self, *arguments: str | Path) -> str:
        """Run Python on the copy, from outside it."""
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src")}
        command = [sys.executable, "-P", *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, cwd=self.folder.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_a_surface(checkout: Checkout, tmp_path: Path) -> None:
    checkout.add(
        "eval/asking/kinds/shouted.py",
        "from edgeproof.eval.asking.kinds.kind import Kind, open_prompt, values\n\n\n"
        "def _shouted(pen, probe, surface):\n"
        '    return open_prompt(values(probe)["prompt"].upper(), probe)\n\n\n'
        'SHOUTED = Kind("shouted", _shouted, (), (), recovery=True)\n',
        registry="eval/asking/kinds/__init__.py",
        after="        CHOICES,",
        entry="        SHOUTED,",
        imported="from edgeproof.eval.asking.kinds.shouted import SHOUTED",
    )
    capitals = {"France": "Paris", "Italy": "Rome"}
    probes = [{"id": name, "question": name, "answer": city, "cluster": name} for name, city in capitals.items()]
    (tmp_path / "forget.jsonl").write_text("\n".join(map(json.dumps, probes)))
    (tmp_path / "pack.toml").write_text(
        'schema = 1\nname = "shouted"\ndescription = "d"\nlicence = "CC0-1.0"\n[[surface]]\nkind = "shouted"\n'
        '[[set]]\nrole = "forget"\nfile = "forget.jsonl"\nformat = "jsonl"\ntemplate = "The capital of {question} is"\n'
    )
    artifact = tiny_gguf.write(tmp_path / "tiny.gguf")
    asked = checkout.run(
        "-c",
        "import sys; from pathlib import Path; from edgeproof.eval.packs.reader import load_pack\n"
        "from edgeproof.eval.asking.tokens import encode_pack; from edgeproof.runtime import open_backend\n"
        "from edgeproof.eval.asking.kinds import RECOVERY_KINDS\n"
        "assert 'shouted' in RECOVERY_KINDS\n"
        "with open_backend('llama.cpp', Path(sys.argv[2]), threads=1) as backend:\n"
        "    print(*(ask.prompt.text for ask in encode_pack(load_pack(Path(sys.argv[1])), backend)), sep='\\n')\n",
        tmp_path,
        artifact,
    )
    assert asked.splitlines() == ["THE CAPITAL OF FRANCE IS", "THE CAPITAL OF ITALY IS"]


def test_a_metric(checkout: Checkout, tmp_path: Path) -> None:
    checkout.add(
        "eval/metrics/first_token.py",
        '"""Probability of an answer\'s first token."""\n\nimport math\n\n'
        "from edgeproof.eval.metrics.result import per_item\n\n\n"
        "def first_token(need):\n"
        '    """Mean over the items of `need`."""\n'
        "    from edgeproof.eval.suites.metric import Metric\n\n"
        "    def compute(inputs):\n"
        "        items = inputs.measured.scored[need]\n"
        "        values = [math.exp(one.scores[0].logprobs[0]) for one in items]\n"
        "        return per_item([one.id for one in items], values, {})\n\n"
        "    return Metric(compute, (need,))\n",
        registry="eval/suites/registry.py",
        after='    "forget_Q_A_Prob": kind.probability(_FORGET),',
        entry='    "forget_first_token": first_token(_FORGET),',
        imported="from edgeproof.eval.metrics.first_token import first_token",
    )
    rows = [{"question": "France?", "answer": "Paris"}, {"question": "Italy?", "answer": "Rome"}]
    (tmp_path / "forget10.json").write_text(json.dumps(rows))
    artifact = tiny_gguf.write(tmp_path / "tiny.gguf")
    data = f"forget={tmp_path / 'forget10.json'}"
    out = tmp_path / "out.json"
    options = ["--data", data, "--metric", "forget_first_token", "--out", out, "--threads", "1", "--quiet"]
    checkout.run("-m", "edgeproof.cli", "evaluate", artifact, *options)
    (value,) = json.loads((tmp_path / "out_SUMMARY.json").read_text()).values()
    assert 0 < value < 1


def test_a_backend(checkout: Checkout, tmp_path: Path) -> None:
    checkout.add(
        "runtime/half.py",
        "from edgeproof.runtime.llama.backend import LlamaCpp\n\n\n"
        "class Half(LlamaCpp):\n"
        "    def score(self, requests):\n"
        "        for score in super().score(requests):\n"
        "            yield score._replace(logprobs=tuple(2 * one for one in score.logprobs))\n",
        registry="runtime/backends.py",
        after='        "llama.cpp": "edgeproof.runtime.llama.backend:LlamaCpp",',
        entry='        "half": "edgeproof.runtime.half:Half",',
    )
    artifact = tiny_gguf.write(tmp_path / "tiny.gguf")
    said = checkout.run(
        "-c",
        "import sys; from pathlib import Path; from edgeproof.runtime import open_backend\n"
        "from edgeproof.contracts.backend import ScoreRequest\n"
        "for name in ('llama.cpp', 'half'):\n"
        "    with open_backend(name, Path(sys.argv[1]), threads=1) as backend:\n"
        "        (score,) = backend.score([ScoreRequest((1, 2), (3,))])\n"
        "        print(float(score.logprobs[0]))\n",
        artifact,
    )
    whole, half = map(float, said.split())
    assert half == pytest.approx(2 * whole)


@pytest.mark.torch
def test_a_model_family(checkout: Checkout, tmp_path: Path) -> None:
    base = save_model("llama", tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["MineForCausalLM"]}))
    checkout.add(
        "export/architectures/mine.py",
        "from .llama import LLAMA\n\nMINE = LLAMA._replace()\n",
        registry="export/architectures/__init__.py",
        after='        "LlamaForCausalLM": LLAMA,',
        entry='        "MineForCausalLM": MINE,',
        imported="from .mine import MINE",
    )
    checkout.run("-m", "edgeproof.cli", "--base", base, "--format", "gguf-q8_0", "--out", tmp_path / "out", "--quiet")
    (artifact,) = (tmp_path / "out").glob("*.gguf")
    said = checkout.run(
        "-c",
        "import sys; from pathlib import Path; from edgeproof.runtime import open_backend\n"
        "with open_backend('llama.cpp', Path(sys.argv[1]), threads=1) as backend: print(backend.info.backend)\n",
        artifact,
    )
    assert said.strip() == "llama.cpp"


@pytest.mark.torch
def test_a_format(checkout: Checkout, tmp_path: Path) -> None:
    import numpy as np

    checkout.add(
        "export/npz.py",
        '"""numpy archives: every tensor in float32, under its GGUF name."""\n\n'
        "import threading\n\nimport numpy as np\n"
        "from edgeproof.contracts.atomic import atomic_write\n"
        "from edgeproof.contracts.tensors import TensorRecord\n\n\n"
        "class Npz:\n"
        "    def __init__(self, description, target, format, *, inside=None, force=False, **_options):\n"
        "        self._target, self._force = target if inside is None else inside / target.name, force\n"
        "        self._tensors = {one.source: one for one in description.tensors}\n"
        "        self._rows, self._lock = {}, threading.Lock()\n\n"
        "    def write(self, chunk):\n"
        "        with self._lock:\n"
        "            self._rows.setdefault(chunk.name, []).append((chunk.start, chunk.rows.copy()))\n\n"
        "    def finish(self):\n"
        "        whole = {name: np.concatenate([rows for _, rows in sorted(parts, key=lambda part: part[0])])\n"
        "                 for name, parts in self._rows.items() if name in self._tensors}\n"
        "        with atomic_write(self._target, force=self._force) as file:\n"
        "            np.savez(file, **whole)\n"
        '        return tuple(TensorRecord(self._tensors[name].name, rows.shape, "F32", rows.nbytes)\n'
        "                     for name, rows in whole.items())\n\n"
        "    def abort(self):\n"
        "        self._rows.clear()\n",
        registry="export/formats.py",
        after='        Format("gguf-f32", "F32", ".gguf", 32.0, "float32 GGUF, exact", _gguf),',
        entry='        Format("npz", "F32", ".npz", 32.0, "numpy archive, float32", Npz),',
        imported="from edgeproof.export.npz import Npz",
    )
    base = save_model("llama", tmp_path / "base")
    checkout.run("-m", "edgeproof.cli", "--base", base, "--format", "npz", "--out", tmp_path / "out", "--quiet")
    (artifact,) = (tmp_path / "out").glob("*.npz")
    assert artifact.with_name(artifact.name + ".edge.json").is_file()
    with np.load(artifact) as arrays:
        assert arrays["model.norm.weight"].dtype == np.float32
        assert len(arrays) > 10


@pytest.mark.torch
def test_a_loss(checkout: Checkout, tmp_path: Path) -> None:
    """Unlikelihood (Welleck et al. 2020, arXiv 1908.04319, eq. 3): one record says all of it."""
    checkout.add(
        "unlearn/train/losses/unlikelihood.py",
        '"""Unlikelihood loss."""\n\n'
        "from edgeproof.unlearn.train.losses.loss import ForgetLoss\n\n\n"
        "def unlikelihood(scores, beta):\n"
        "    return -(1 - scores.logprobs.exp()).clamp(min=1e-6).log() * scores.mask\n\n\n"
        'UNLIKELIHOOD = ForgetLoss("ul", unlikelihood, per_token=True, reference=False, beta=None, pull=3.0)\n',
        registry="unlearn/train/losses/__init__.py",
        after="        WGA,",
        entry="        UNLIKELIHOOD,",
        imported="from edgeproof.unlearn.train.losses.unlikelihood import UNLIKELIHOOD",
    )
    base = save_model("llama", tmp_path / "base")
    sets = {"forget": ("The capital of Aland is", "Berg"), "retain": ("The colour of the sky is", "blue")}
    for role, (question, answer) in sets.items():
        (tmp_path / f"{role}.jsonl").write_text(json.dumps({"question": question, "answer": answer}))
    files = [word for role in sets for word in (f"--{role}", tmp_path / f"{role}.jsonl")]
    options = ["--method", "ul+gdr", "--steps", "1", "--until-forget-nll", "never", "--surface", "raw", "--quiet"]
    options += ["--out", tmp_path / "out"]
    checkout.run("-m", "edgeproof.cli", "unlearn", "--base", base, *files, *options)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| method | ul+gdr |" in card
    assert "| weight of the retain loss | 6 |" in card
