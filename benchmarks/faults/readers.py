"""Mutated inputs given to the readers alone: thousands a minute, where whole commands are hundreds.

Each reader either reads the file or raises an error of ours with a next step. Blocks of mutations share a fork; a block
that ends by a signal, or takes too long, is run again one by one. What is read is judged by `mutations`, not here.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import mutate
from forked import Limits, in_a_fork
from ground import FILES, GGUF, ONNX, Ground
from mutations import preload
from outcome import LONGEST, MEBIBYTE, READ, REFUSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EACH = 2000
BLOCK = 50
MEMORY = 256 * MEBIBYTE
SECONDS = 60
"""Of a block, of processor time; the valid file takes milliseconds."""

Case = tuple[str, int, "Callable[[Path], list[tuple[int, Outcome, str]]]"]


class Reader(NamedTuple):
    """A folder (or file) to copy, the file in it that is mutated, and what reads the copy."""

    name: str
    source: Path
    file: str
    read: Callable[[Path], object]
    mutations: tuple[mutate.Mutation, ...]


def readers(ground: Ground) -> Iterator[Reader]:
    """Every reader of a file that comes from outside."""
    import onnx
    from edgeproof.contracts.errors import CheckpointError
    from edgeproof.contracts.gguf_header import read_header
    from edgeproof.eval.attestation import check_baseline_signature, read_private_key, read_signed
    from edgeproof.eval.baselines.file import load_baselines
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.verdict.policy import read_policy
    from edgeproof.export.adapter.load import load_adapter
    from edgeproof.export.architectures import describe
    from edgeproof.export.artifact.kind import identify_format, rounds_activations
    from edgeproof.export.artifact.manifest import read_provenance
    from edgeproof.export.base.checkpoint import open_checkpoint
    from edgeproof.export.base.gguf_checkpoint import open_gguf_checkpoint
    from edgeproof.export.onnx.description import describe_onnx
    from edgeproof.export.onnx.genai_config import genai_config
    from edgeproof.export.onnx.tokenizer_files import read_tokenizer_files
    from edgeproof.export.tokenizer.metadata import tokenizer_metadata
    from edgeproof.release.inspect import inspect
    from edgeproof.runtime.prompt_digest import folder_prompt_digest, gguf_prompt_digest
    from sentencepiece import sentencepiece_model_pb2 as sentencepiece

    def described(base: Path) -> None:
        checkpoint = open_checkpoint(base)
        describe(checkpoint, tokenizer_metadata(base, checkpoint.config), name="tiny")

    def described_for_onnx(base: Path) -> None:
        genai_config(describe_onnx(open_checkpoint(base), read_tokenizer_files(base)))

    def values(base: Path) -> None:
        checkpoint = open_checkpoint(base)
        for name, tensor in checkpoint.tensors.items():
            checkpoint.rows(name, 0, tensor.rows)

    def gguf(path: Path) -> None:
        identify_format(path)
        gguf_prompt_digest(path)
        read_header(path, CheckpointError)

    def float_base(path: Path) -> None:
        open_gguf_checkpoint(path, allow_requantize=True).describe_gguf()

    def folder(path: Path) -> None:
        identify_format(path)
        rounds_activations(path)
        folder_prompt_digest(path)

    def manifest(path: Path) -> None:
        artifact = path.with_name(path.name.removesuffix(".edge.json"))
        read_provenance(artifact, json.loads((ground.released / path.name).read_bytes())["artifact"]["sha256"])

    jsons = (mutate.json_value, mutate.json_value, mutate.json_value, mutate.text_token, mutate.bytewise)
    texts = (mutate.text_token, mutate.text_token, mutate.bytewise)
    tensors = (mutate.safetensors_header, mutate.safetensors_header, mutate.bytewise)
    header = (mutate.gguf_field, mutate.gguf_field, mutate.gguf_entry, mutate.gguf_weights, mutate.bytewise)
    pieces = (mutate.protobuf_field(sentencepiece.ModelProto.FromString), mutate.bytewise)
    graph = (mutate.protobuf_field(onnx.ModelProto.FromString), mutate.bytewise)
    yield Reader("chat_template.jinja for GGUF", ground.base, "chat_template.jinja", described, texts)
    yield Reader("chat_template.jinja for ONNX", ground.base, "chat_template.jinja", described_for_onnx, texts)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        yield Reader(f"{name} for GGUF", ground.base, name, described, jsons)
        yield Reader(f"{name} for ONNX", ground.base, name, described_for_onnx, jsons)
    yield Reader("model.safetensors", ground.base, "model.safetensors", values, tensors)
    yield Reader("index", ground.sharded, "model.safetensors.index.json", values, jsons)
    yield Reader("tokenizer.model", ground.sentencepiece, "tokenizer.model", described, pieces)
    yield Reader("adapter_config.json", ground.adapter, "adapter_config.json", load_adapter, jsons)
    yield Reader("adapter_model.safetensors", ground.adapter, "adapter_model.safetensors", load_adapter, tensors)
    yield Reader("GGUF artifact", ground.released, FILES[GGUF], lambda made: gguf(made / FILES[GGUF]), header)
    yield Reader("GGUF base", ground.released, FILES[GGUF], lambda made: float_base(made / FILES[GGUF]), header)
    artifact = ground.released / FILES[ONNX]
    yield Reader("ONNX graph", artifact, "model.onnx", folder, graph)
    for name in ("genai_config.json", "tokenizer.json", "tokenizer_config.json"):
        yield Reader(f"ONNX {name}", artifact, name, folder, jsons)
    yield Reader("pack.toml", ground.pack, "pack.toml", load_pack, texts)
    yield Reader("forget.jsonl", ground.pack, "forget.jsonl", load_pack, (mutate.json_line, mutate.bytewise))
    yield Reader("untrained.jsonl", ground.pack, "untrained.jsonl", load_pack, (mutate.json_line, mutate.bytewise))
    sealed = partial(load_pack, identity=ground.identity.read_text())
    yield Reader("pack in age", ground.sealed, "", sealed, (mutate.age_archive(ground.identity), mutate.bytewise))
    yield Reader("baseline", ground.baseline, "", load_baselines, jsons)
    yield Reader("policy", ground.policy, "", read_policy, texts)
    yield Reader("manifest", ground.released / f"{FILES[GGUF]}.edge.json", "", manifest, jsons)
    report = ground.released / f"report-{FILES[GGUF]}"
    yield Reader("report", report, "report.json", inspect, jsons)
    signature = "attestation.dsse.json"
    yield Reader("signature", report / signature, "", lambda made: read_signed(made, ground.public), jsons)
    beside = ground.baseline.with_name(f"{ground.baseline.name}.dsse.json")
    yield Reader("public key", ground.public, "", lambda made: check_baseline_signature(ground.baseline, made), texts)
    yield Reader("baseline signature", beside, "", partial(_beside, ground, check_baseline_signature), jsons)
    yield Reader("private key", ground.key, "", read_private_key, texts)


def _beside(ground: Ground, check: Callable[[Path, Path], object], made: Path) -> None:
    """Check a signature beside a link to the baseline."""
    baseline = made.parent / ground.baseline.name
    if not baseline.exists():
        shutil.copyfile(ground.baseline, baseline)
    check(baseline, ground.public)


def cases(ground: Ground, _work: Path, wanted: Callable[[str, int], bool]) -> Iterator[Any]:
    """EACH mutations of each reader's file, by blocks."""
    preload()
    for reader in readers(ground):
        numbers = [number for number in range(EACH) if wanted(reader.name, number)]
        for begin in range(0, len(numbers), BLOCK):
            block = numbers[begin : begin + BLOCK]
            yield reader.name, block, partial(_block, reader, block)


def _block(reader: Reader, numbers: list[int], folder: Path) -> list[tuple[int, Outcome, str]]:
    """The outcomes of mutations, in one fork; one by one where that does not end well."""
    target = folder / "in" / reader.source.name
    if reader.source.is_dir():
        shutil.copytree(reader.source, target)
    else:
        target.parent.mkdir()
    ending = in_a_fork(
        partial(_read_all, reader, numbers, target, folder / "results"), folder, Limits(processor=SECONDS, memory=2**31)
    )
    bad = ending.hung or ending.code != 0 or ending.strayed or ending.grown > MEMORY
    if bad and len(numbers) == 1:
        name = "hang" if ending.hung else "too much memory" if ending.grown > MEMORY else "crash"
        name = "wrote or ran something outside" if ending.strayed else name
        said = " | ".join([*ending.strayed[:3], *ending.said.strip().splitlines()[-2:]])[-300:]
        return [(numbers[0], Outcome(name, f"{ending.code}, {ending.grown // MEBIBYTE} MiB: {said}"), "")]
    if bad:
        found = []
        for number in numbers:
            shutil.rmtree(folder)
            folder.mkdir()
            found += _block(reader, [number], folder)
        return found
    return [
        (number, Outcome(*outcome), what) for number, outcome, what in json.loads((folder / "results").read_bytes())
    ]


def _read_all(reader: Reader, numbers: list[int], target: Path, results: Path) -> int:
    file = target / reader.file if reader.file else target
    valid = (reader.source / reader.file if reader.file else reader.source).read_bytes()
    found = []
    for number in [None, *numbers]:
        file.unlink(missing_ok=True)
        data, what = (valid, "valid") if number is None else _mutated(reader, valid, number)
        file.write_bytes(data)
        outcome = _read(reader.read, target)
        if number is None:
            assert outcome.name == READ, f"the valid {reader.name} is not read: {outcome}"
        else:
            found.append((number, outcome, what))
    results.write_text(json.dumps(found))
    return 0


def _mutated(reader: Reader, valid: bytes, number: int) -> tuple[bytes, str]:
    chance = Random(f"{reader.name} {number}")
    kind = chance.choice(reader.mutations)
    data, what = kind(valid, chance)
    return data, f"{kind.__name__}: {what[:160]}"


def _read(read: Callable[[Path], object], target: Path) -> Outcome:
    import traceback

    from edgeproof.contracts.errors import EdgeproofError

    try:
        read(target)
    except EdgeproofError as error:
        if len(str(error)) > LONGEST:
            return Outcome("flood", f"{len(str(error)):,} characters: {str(error)[:200]}")
        return (
            Outcome(REFUSED, error.message[:200]) if error.next_step else Outcome("no next step", error.message[:300])
        )
    except Exception as error:  # noqa: BLE001 (that is what is looked for)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            "internal error", f"{type(error).__name__}: {str(error)[:200]} ({place.filename}:{place.lineno})"
        )
    return Outcome(READ)
