"""Every kind of input: its valid file, how a case's folder is laid out around another, and who judges a success."""

from __future__ import annotations

import json
import shutil
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import judging
import mutate
from ground import FILES, GGUF, ONNX, Ground, gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    from forked import Ending
    from outcome import Outcome

QUIET = ("--threads", "1", "--quiet")


class Laid(NamedTuple):
    """A command whose input lies in the case's folder, and where its mutated file goes."""

    file: Path
    command: list[str]


class Input(NamedTuple):
    """A kind of file: its valid content, how it is laid out and changed, and the judge of a command that succeeds."""

    name: str
    valid: Path
    lay: Callable[[Path], Laid]
    mutations: tuple[mutate.Mutation, ...]
    judge: Callable[[Path, Laid, Ending], Outcome]


# --- laying out


def _copied(source: Path, target: Path, name: str) -> Path:
    """Copy a folder but for the file `name`; return where that goes."""
    shutil.copytree(source, target)
    (target / name).unlink()
    return target / name


def from_base(ground: Ground, base: Path, name: str, form: str, folder: Path) -> Laid:
    file = _copied(base, folder / "in" / base.name, name)
    adapters = ("--adapter", str(ground.adapter)) if base == ground.base else ()
    return Laid(file, ["--base", str(file.parent), *adapters, *_exported(folder, form)])


def from_adapter(ground: Ground, name: str, folder: Path) -> Laid:
    file = _copied(ground.adapter, folder / "in", name)
    return Laid(file, ["--base", str(ground.base), "--adapter", str(file.parent), *_exported(folder, GGUF)])


def _exported(folder: Path, form: str) -> tuple[str, ...]:
    return ("--format", form, "--out", str(folder / "out"), "--name", "it", *QUIET)


def artifact_of(ground: Ground, released: Path, name: str, folder: Path) -> Laid:
    """A GGUF, or a file of the ONNX folder, without its manifest: a file from elsewhere."""
    if name.endswith(".gguf"):
        file = artifact = folder / "it.gguf"
    else:
        artifact = folder / "it-onnx"
        file = _copied(released / FILES[ONNX], artifact, name)
    return Laid(file, [*gate(ground, artifact), "--report", str(folder / "out")])


def criterion(ground: Ground, out: Path, which: str, more: tuple[str, ...], folder: Path) -> Laid:
    """A file that the gate judges by."""
    artifact = out / FILES[GGUF]
    given = {}
    if which == "manifest":
        artifact = folder / "it.gguf"
        shutil.copyfile(out / FILES[GGUF], artifact)
        file = folder / "it.gguf.edge.json"
    elif which in {"baseline", "policy"}:
        given[which] = file = folder / f"{which}{getattr(ground, which).suffix}"
    else:
        file = _copied(ground.pack, folder / "in", which)
        given["pack"] = file.parent
    return Laid(file, [*gate(ground, artifact, **given), *more, "--report", str(folder / "out")])


def _sealed_pack(ground: Ground, out: Path, folder: Path) -> Laid:
    """The pack as an encrypted file."""
    file = folder / ground.sealed.name
    words = gate(ground, out / FILES[GGUF], pack=file)
    return Laid(file, [*words, "--pack-key", str(ground.identity), "--report", str(folder / "out")])


def _evidence(ground: Ground, out: Path, name: str, signed: bool, folder: Path) -> Laid:  # noqa: FBT001
    """A report, its signature, or the key."""
    file = folder / name
    if name == ground.public.name:
        key, report = file, out / f"report-{FILES[GGUF]}"
    else:
        key, file = ground.public, _copied(out / f"report-{FILES[GGUF]}", folder / "in", name)
        report = file.parent
    where = ("--artifact", out / FILES[GGUF], "--probes", ground.pack, "--baseline", ground.baseline)
    more = ("--key", key) if signed else ()
    words = ("verify", report, *where, "--policy", ground.policy, *more, "--require-pass")
    return Laid(file, [str(word) for word in words])


def _resealed(data: bytes, chance: Random) -> tuple[bytes, str]:
    """A report with one value changed and its own digest made to fit, as a forger would."""
    import hashlib

    from edgeproof.eval.report.write import encode

    report = json.loads(data)
    said = mutate.change(report, chance)
    try:
        report.pop("report_sha256", None)
        report["report_sha256"] = hashlib.sha256(encode(report)).hexdigest()
        return encode(report), f"resealed, {said}"
    except (ValueError, TypeError):
        return json.dumps(report).encode("utf-8", "surrogatepass"), f"not canonical, {said}"


def inputs(ground: Ground) -> Iterator[Input]:
    """All kinds of input that can be made from the ground."""
    import onnx
    from sentencepiece import sentencepiece_model_pb2 as sentencepiece

    onnx_there = (ground.released / f"report-{FILES[ONNX]}").exists()
    source = partial(judging.source, ground)
    jsons = (mutate.json_value, mutate.json_value, mutate.json_value, mutate.text_token, mutate.bytewise)
    texts = (mutate.text_token, mutate.text_token, mutate.bytewise)
    weights = (mutate.safetensors_header, mutate.safetensors_header, mutate.bytewise)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        for form in (GGUF, ONNX) if onnx_there else (GGUF,):
            lay = partial(from_base, ground, ground.base, name, form)
            yield Input(f"{name} → {form}", ground.base / name, lay, jsons, source)
    for name, kinds in (("model.safetensors", weights), ("chat_template.jinja", texts)):
        if (ground.base / name).exists():
            lay = partial(from_base, ground, ground.base, name, GGUF)
            yield Input(name, ground.base / name, lay, kinds, source)
    for name, kinds in (("adapter_config.json", jsons), ("adapter_model.safetensors", weights)):
        yield Input(name, ground.adapter / name, partial(from_adapter, ground, name), kinds, source)
    if onnx_there:
        pieces = mutate.protobuf_field(sentencepiece.ModelProto.FromString)
        lay = partial(from_base, ground, ground.sentencepiece, "tokenizer.model", GGUF)
        yield Input("tokenizer.model", ground.sentencepiece / "tokenizer.model", lay, (pieces, mutate.bytewise), source)
        index = "model.safetensors.index.json"
        lay = partial(from_base, ground, ground.sharded, index, GGUF)
        yield Input(index, ground.sharded / index, lay, jsons, source)
    header = (mutate.gguf_field, mutate.gguf_field, mutate.gguf_entry, mutate.gguf_weights, mutate.bytewise)
    graph = (mutate.protobuf_field(onnx.ModelProto.FromString), mutate.bytewise)
    files: list[tuple[str, tuple[mutate.Mutation, ...]]] = [(FILES[GGUF], header)]
    if onnx_there:
        files += [("model.onnx", graph), ("model.onnx.data", (mutate.bytewise,)), ("genai_config.json", jsons)]
        files += [("tokenizer.json", jsons), ("tokenizer_config.json", jsons)]
    for name, kinds in files:
        for out in (ground.leaking, ground.released):
            what = "GGUF" if name.endswith(".gguf") else f"ONNX {name}"
            path = out / name if what == "GGUF" else out / FILES[ONNX] / name
            if not path.exists():
                continue
            whole = name if what == "GGUF" else FILES[ONNX]
            judge = partial(judging.released, ground, whole) if out == ground.released else judging.leaking
            yield Input(f"{what}, {out.name}", path, partial(artifact_of, ground, out, name), kinds, judge)
    sha256 = _policy_sha256(ground)
    criteria: list[tuple[str, Path, tuple[mutate.Mutation, ...], tuple[str, ...]]] = [
        ("pack.toml", ground.pack / "pack.toml", texts, ()),
        ("forget.jsonl", ground.pack / "forget.jsonl", (mutate.json_line, mutate.json_line, mutate.bytewise), ()),
        ("baseline", ground.baseline, jsons, ()),
        ("policy", ground.policy, texts, ("--policy-sha256", sha256)),
    ]
    for which, path, kinds, more in criteria:
        for out in (ground.leaking, ground.released):
            judge = partial(judging.by_criteria, out == ground.leaking)
            yield Input(f"{which}, {out.name}", path, partial(criterion, ground, out, which, more), kinds, judge)
    for out in (ground.leaking, ground.released):
        judge = partial(judging.by_criteria, out == ground.leaking)
        lay = partial(_sealed_pack, ground, out)
        kinds = (mutate.age_archive(ground.identity), mutate.bytewise)
        yield Input(f"pack in age, {out.name}", ground.sealed, lay, kinds, judge)
        lay = partial(criterion, ground, out, "manifest", ())
        yield Input(f"manifest, {out.name}", out / f"{FILES[GGUF]}.edge.json", lay, jsons, judge)
    evidence = [
        ("report.json", jsons, True),
        ("attestation.dsse.json", jsons, True),
        ("report.json", (_resealed,), False),
    ]
    for name, kinds, signed in evidence:
        for out in (ground.leaking, ground.released):
            path = out / f"report-{FILES[GGUF]}" / name
            judge = partial(judging.evidence, path.read_bytes() if out == ground.released else None)
            if not signed:
                judge = judging.resealed if out == ground.released else judging.leaking
            title = f"{name}{'' if signed else ' resealed'}, {out.name}"
            yield Input(title, path, partial(_evidence, ground, out, name, signed), kinds, judge)
    judge, signed = partial(judging.evidence, ground.public.read_bytes()), True
    lay = partial(_evidence, ground, ground.released, ground.public.name, signed)
    yield Input("public key", ground.public, lay, texts, judge)


def _policy_sha256(ground: Ground) -> str:
    from edgeproof.eval.verdict.policy import read_policy

    return read_policy(ground.policy).digest
