"""Log-probabilities of ARM64's kernels next to this machine's, per token, on the prompts of a real job.

    python benchmarks/phone_agreement.py JOB MODEL PROGRAMS [--requests 20] [--processor cortex-a76]…

JOB is what `export-edge phone job` wrote, MODEL its file, PROGRAMS what `make phone` wrote. So many of the job's
answers, evenly spread over it, are scored by llama.cpp here and by the probe under qemu, as each processor.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from edgeproof.contracts.backend import ScoreRequest
from edgeproof.runtime import open_backend

PROCESSORS = ("cortex-a53", "cortex-a76", "max")


def spread(job: Path, count: int) -> list[ScoreRequest]:
    """Return score requests of a job whose contexts are known beforehand."""
    content = json.loads(job.read_text(encoding="utf-8"))
    asked = [item["score"] for item in content["requests"] if "context" in item.get("score", {})]
    chosen = [asked[round(place)] for place in np.linspace(0, len(asked) - 1, min(count, len(asked)))]
    return [ScoreRequest(tuple(content["contexts"][one["context"]]), tuple(one["continuation"])) for one in chosen]


def main() -> None:
    """Print mean and largest difference for each processor, and the time that it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("job", "model", "programs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--processor", action="append", choices=PROCESSORS)
    options = parser.parse_args()
    requests = spread(options.job, options.requests)
    tokens = sum(len(request.continuation) for request in requests)
    with open_backend("llama.cpp", options.model, threads=1) as engine:
        here = np.concatenate([score.logprobs for score in engine.score(requests)])
    for processor in options.processor or PROCESSORS:
        os.environ["QEMU_CPU"] = processor
        began = time.monotonic()
        with open_backend("arm64-emulated", options.model, engine=str(options.programs), threads=1) as engine:
            variant = engine.info.options["computed on"].partition(":")[0]
            there = np.concatenate([score.logprobs for score in engine.score(requests)])
        apart = np.abs(here - there)
        sys.stdout.write(
            f"{processor}: {variant}; {len(requests)} requests, {tokens} tokens of answers; apart {apart.mean():.4f} "
            f"nat a token on average, {apart.max():.3f} at most; {time.monotonic() - began:.0f} s\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
