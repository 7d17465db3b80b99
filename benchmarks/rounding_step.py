"""Processor time of rounding all matrices of a model, compared with the matrix products of one training step.

    python -P benchmarks/rounding_step.py MODEL.gguf [--format gguf-q4_0 …]

On one thread. The step is forward and backward (to activations and to weights) over 1,024 tokens, a batch of 32 short
texts. `unlearn --survive` rounds every other step.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from edgeproof.export.base.gguf_file import open_gguf_base
from edgeproof.export.merge.blas import one_blas_thread
from edgeproof.export.rounding import open_rounding

TOKENS = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--format", action="append", dest="formats", metavar="NAME")
    given = parser.parse_args()
    one_blas_thread()
    base = open_gguf_base(given.model, allow_requantize=True)
    names = {target.name: name for name, target in base.targets().items() if name.startswith("model.")}
    weights = {
        names[stored]: base.rows(stored, 0, info.rows)
        for stored, info in base.tensors.items()
        if stored in names and info.rows > 1
    }
    began = time.process_time()
    for values in weights.values():
        activations = np.ones((TOKENS, values.shape[1]), np.float32)
        for _ in range(3):
            activations @ values.T
    print(f"{sum(values.size for values in weights.values()):,} weights; a step: {time.process_time() - began:.2f} s")
    for form in given.formats or ["gguf-q4_0", "gguf-q4_1", "gguf-q8_0"]:
        rounding = open_rounding(given.model, form)
        began = time.process_time()
        for name, values in weights.items():
            rounding(name, values)
        print(f"{form}: {time.process_time() - began:.2f} s")


if __name__ == "__main__":
    main()
