"""Cost of each format for a small model: bits per weight, size, NLL and right answers on known facts, speed.

    python benchmarks/formats.py --base HF_FOLDER_OR_GGUF --work SCRATCH [--adapter DIR] [--out formats.json]

The probes are the retain sets of examples/capitals, asked raw: facts that SmolLM2-135M-Instruct knows. Tokens a second
are of the pack's scores (many short prompts side by side) and of one greedy continuation of 64 tokens, without loading.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import edgeproof
from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.measurement import Role
from edgeproof.eval.packs.reader import load_pack
from edgeproof.export.formats import FORMATS
from edgeproof.runtime import backend_for, open_backend
from export_gguf import machine

if TYPE_CHECKING:
    from edgeproof.eval.packs.pack import Pack

PACK = Path(__file__).resolve().parents[1] / "examples" / "capitals" / "pack"
CONTINUED = 64


def main() -> None:
    """Read the options, run, print a Markdown table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, action="append", default=[])
    parser.add_argument("--work", type=Path, required=True, help="scratch folder")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    given = parser.parse_args()
    pack = load_pack(PACK)
    rows = []
    print("| format | bits per weight | MB | NLL, nat per token | right | scores, tokens/s | one answer, tokens/s |")
    print("|---|---|---|---|---|---|---|")
    for name in given.formats:
        shutil.rmtree(given.work, ignore_errors=True)
        (item,) = edgeproof.export(
            base=given.base, adapter=given.adapter, format=name, out=given.work, threads=given.threads
        ).artifacts
        row = {"format": name, **_measured(item, pack, given.threads)}
        rows.append(row)
        print(
            f"| `{name}` | {row['bits']:.2f} | {row['mb']:.0f} | {row['nll']:.3f} | {row['right']} of {row['probes']} "
            f"| {row['score_tokens_per_s']:.0f} | {row['tokens_per_s']:.0f} |",
            flush=True,
        )
    if given.out:
        given.out.write_text(json.dumps({"machine": machine(), "results": rows}, indent=2) + "\n")


def _measured(item: edgeproof.Artifact, pack: Pack, threads: int | None) -> dict[str, float]:
    with open_backend(backend_for(item.path), item.path, threads=threads) as backend:
        asks = [ask for ask in encode_pack(pack, backend) if ask.probe.role == Role.RETAIN]
        requests = [ScoreRequest(ask.context, ask.continuation) for ask in asks]
        began = time.perf_counter()
        scores = list(backend.score(requests))
        scoring = time.perf_counter() - began
        list(backend.generate([GenerateRequest(asks[0].context, 2)]))  # the first call makes room
        began = time.perf_counter()
        (answer,) = backend.generate([GenerateRequest(asks[0].context, CONTINUED)])
        continuing = time.perf_counter() - began
    return {
        "bits": item.effective_bits,
        "mb": item.bytes / 1e6,
        "nll": statistics.fmean(-float(score.logprobs.mean()) for score in scores),
        "right": sum(bool(score.greedy.all()) for score in scores),
        "probes": len(scores),
        "score_tokens_per_s": sum(len(ask.context) + len(ask.continuation) for ask in asks) / scoring,
        "tokens_per_s": len(answer.tokens) / continuing,
    }


if __name__ == "__main__":
    main()
