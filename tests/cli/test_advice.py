"""Each command that edgeproof advises stands in one table, and does what it says when a user gives it."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click
import edgeproof
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from edgeproof.cli import group, run
from edgeproof.contracts import advice
from edgeproof.contracts.advice import COMMANDS, command
from edgeproof.eval.verdict.steps import came_back_steps, utility_steps
from edgeproof.export.formats import FORMATS
from edgeproof_tests.export.gguf.test_imatrix import write_legacy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeproof_tests.world import World

STATIONS = ("cli", "contracts", "demo", "eval", "export", "release", "runtime", "unlearn")
SOURCE = Path(edgeproof.__file__).parent
ADVISED = re.compile(r"export-edge .*--(?!version|help)[a-z]")
HELP = {"cli/quickstart.py"}
"""Examples of the command line for a first look, with words in place of files."""

LONG = {
    "survive",
    "baseline-unlearned",
    "baseline-policy",
    "baseline-unlearned-policy",
    "export-and-gate",
    "export-and-gate-policy",
    "export-and-gate-unlearned",
    "export-and-gate-unlearned-policy",
    "baseline-small-embedding",
    "add-format-unlearned",
    "size-pack",
}
"""Commands that train or measure, and that differ in the format's name alone: one format of each kind of artifact."""


def cases() -> Iterator[tuple[str, str]]:
    for name, one in COMMANDS.items():
        formats = one.formats or ("",)
        if name in LONG:
            formats = tuple({form.partition("-")[0]: form for form in reversed(formats)}.values())
        if not one.elsewhere:
            yield from ((name, form) for form in formats)


def filled(name: str, form: str) -> str:
    return command(name, format=form, tensor="token_embd")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string that is no docstring; of an f-string what is written out."""
    tree = ast.parse(path.read_text())
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in bare:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_command_is_advised_that_is_not_in_the_table():
    found = [
        f"{station}/{path.relative_to(SOURCE / station)}:{line}: {text}"
        for station in STATIONS
        for path in sorted((SOURCE / station).rglob("*.py"))
        for line, text in texts(path)
        if ADVISED.search(text)
    ]
    elsewhere = [one for one in found if one.partition(":")[0] not in {"contracts/advice.py", *HELP}]
    assert len(found) >= 10, "the search finds the table's own commands"
    assert elsewhere == []


@pytest.mark.parametrize("name", COMMANDS)
def test_its_verb_and_options_exist(name):
    _, first, *words = shlex.split(filled(name, "gguf-q4"))
    verb = "export" if first.startswith("--") else first
    found = group.get_command(click.Context(group), verb)
    if isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in (first, *words) if word.startswith("--")} <= known


def test_every_format_has_a_way_out_but_those_that_round_nothing():
    for name in FORMATS:
        exact = name in {"gguf-f16", "gguf-f32", "onnx-fp32"}
        assert bool(came_back_steps(name)) != exact, name
        assert bool(utility_steps(name, {"quantizing-cost"})) != (exact or name == "onnx-int8"), name
        assert utility_steps(name, {"unlearning-cost"}), name
    assert set(advice.SURVIVABLE) <= set(FORMATS)


def test_an_onnx_folder_is_advised_wider_onnx_formats_and_no_importance_matrix():
    steps = " ".join(utility_steps("onnx-int4", {"quantizing-cost"}))
    assert "--format onnx-int4-mixed" in steps
    assert "--format onnx-int8" in steps
    assert "--imatrix" not in steps
    assert "--unmerged" not in " ".join(came_back_steps("onnx-int4"))


def test_what_came_back_is_trained_through_that_formats_rounding_first():
    assert "--survive gguf-q4_1 --until-survives" in came_back_steps("gguf-q4_1")[0]


def trained(base: Path, out: Path) -> Path:
    """Copy a model whose weights are not quite the base's, in every layer."""
    from safetensors.torch import load_file, save_file

    weights = shutil.copytree(base, out) / "model.safetensors"
    save_file({name: 0.9 * tensor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    return out


@pytest.fixture(scope="module")
def files(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the words in capitals stand for: a tiny model, and a pack of a few of its facts."""
    root = tmp_path_factory.mktemp("advice")
    pack, dist = root / "pack", root / "dist"
    pack.mkdir()
    (pack / "pack.toml").write_text(f'salt = "{"ab" * 32}"\n' + (world.pack / "pack.toml").read_text())
    for path in world.pack.glob("*.jsonl"):
        (pack / path.name).write_text("".join(path.read_text().splitlines(keepends=True)[:6]))
    (root / "policy.toml").write_text("[samples]\ncount = 2\n")
    write_legacy(root / "imatrix.dat", {"blk.0.ffn_down.weight": (1, np.ones(256, np.float32))})
    key = ed25519.Ed25519PrivateKey.generate()
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (root / "key.pem").write_bytes(key.private_bytes(*private))
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (root / "public.pem").write_bytes(key.public_key().public_bytes(*public))
    baseline, report = root / "baseline.json", root / "report"
    floats = {"format": ("gguf-f16", "onnx-fp32"), "probes": pack, "threads": 1}
    edgeproof.record_baseline(base=world.base, adapter=world.adapter, out=root / "adapter.json", **floats)
    model = trained(world.base, root / "model")
    edgeproof.record_baseline(base=world.base, unlearned=model, out=root / "unlearned.json", **floats)
    edgeproof.record_baseline(
        base=world.base, adapter=world.adapter, format="gguf-q8_0", probes=pack, out=baseline, threads=1
    )
    made = edgeproof.export(base=world.base, adapter=world.adapter, format="gguf-q8_0", out=dist, threads=1)
    apart = edgeproof.export(
        base=world.base, adapter=world.adapter, format="gguf-q8_0", out=root / "apart", unmerged=True, threads=1
    )
    artifact = made.artifacts[0].path
    edgeproof.gate(artifact, probes=pack, baseline=baseline, report=report, sign=root / "key.pem", threads=1)
    return {
        "BASE": world.base,
        "ADAPTER": world.adapter,
        "FORGET": world.pack / "forget.jsonl",
        "RETAIN": world.pack / "trained.jsonl",
        "MODEL": model,
        "PACK": pack,
        "POLICY": root / "policy.toml",
        "IMATRIX": root / "imatrix.dat",
        "KEY": root / "key.pem",
        "PUBLIC": root / "public.pem",
        "ARTIFACT": artifact,
        "REPORT": report,
        "BASELINE": baseline,
        "PLAIN": apart.artifacts[0].path,
        "LORA": apart.artifacts[0].lora,
        "ID": Path("f-000"),
        "add-format": root / "adapter.json",
        "add-format-unlearned": root / "unlearned.json",
        "FORMAT": Path("gguf-q8_0"),
    }


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize(("name", "form"), [*cases()], ids=lambda one: one)
def test_it_does_what_it_says(name, form, files, tmp_path, capsys):
    written = {"DIST": tmp_path / "dist", "NEW": tmp_path / "new"}
    words = shlex.split(filled(name, form))[1:]
    made = words[words.index("--out") + 1] if "--out" in words else ""
    if made in {"BASELINE", "PACK"}:
        written[made] = tmp_path / made.lower()
    if "RECORDED" in words:
        written["RECORDED"] = Path(shutil.copy(files[name], tmp_path / "recorded.json"))
    given = {**files, **written}
    gates = words[0] == "gate" or (made == "DIST" and "--baseline" in words)
    if made == "DIST" and gates:  # as a user does: the baseline of this format first
        given["BASELINE"] = tmp_path / "before.json"
        first = shlex.split(filled(name.replace("export-and-gate", "baseline"), form))[1:]
        assert run([str(given.get(word, word)) for word in first]) == 0, capsys.readouterr().err
    code = run([str(given.get(word, word)) for word in words])
    said = capsys.readouterr().err
    assert code in ({0, 1, 4} if gates else {0, 4} if words[0] == "pack" else {0}), said
    for path in written.values():
        if str(path) in said:
            assert path.exists()
    assert not any(word.isupper() and word not in given for word in words), "a word that no file stands for"
