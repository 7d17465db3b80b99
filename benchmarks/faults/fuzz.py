"""Coverage-guided fuzzing of our own parsers by atheris (`pip install atheris`), from the corpus in tests/faults.

    python benchmarks/faults/fuzz.py --work DIR --minutes 60 [--parser gguf …]

Divides the time between the parsers, and prints for each the inputs tried, the branches reached and the defects, which
are left in DIR/NAME/defects; exits with 1 where there is one. `--keep` adds what reached new branches to the corpus.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[2] / "tests" / "faults" / "corpus"
LONGEST = 8192
"""Bytes of an input."""
KEPT = 24
"""Inputs of a parser in the corpus."""


def fuzz(name: str, words: list[str]) -> None:
    """Run libFuzzer on one parser in this process, which it ends."""
    import atheris

    with atheris.instrument_imports(include=["edgeproof", "parsers"]):
        from edgeproof.contracts.errors import EdgeproofError
        from parsers import PARSERS

    with tempfile.TemporaryDirectory() as folder:

        def once(data: bytes) -> None:
            try:
                PARSERS[name](Path(folder), data)
            except EdgeproofError:
                return

        atheris.Setup([sys.argv[0], *words], once)
        atheris.Fuzz()


def run(name: str, work: Path, seconds: float, *, keep: bool) -> bool:
    """Fuzz one parser in a process of its own; return whether no defect was found."""
    found, defects = work / name / "found", work / name / "defects"
    for folder in (found, defects, CORPUS / name):
        folder.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=3000"]
    words = [*limits, f"-artifact_prefix={defects}/", "-print_final_stats=1", str(found), str(CORPUS / name)]
    here = [sys.executable, __file__, "--work", str(work), "--inside", name, "--"]
    done = subprocess.run([*here, *words], capture_output=True, text=True, check=False)
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    branches = re.findall(r"cov: (\d+)", done.stderr)
    left = sorted(path.name for path in defects.iterdir())
    print(f"{name:12} {tried[1] if tried else '?':>10} inputs  {branches[-1] if branches else '?':>6} branches  {left}")
    if done.returncode:
        print(done.stderr[-3000:])
    if keep:
        smallest = sorted(found.iterdir(), key=lambda path: path.stat().st_size)
        step = max(len(smallest) / KEPT, 1)
        for path in (smallest[int(at * step)] for at in range(min(KEPT, len(smallest)))):
            shutil.copyfile(path, CORPUS / name / path.name[:16])
    return done.returncode == 0 and not left


def main() -> int:
    """Fuzz all parsers, or those named."""
    if "--" in sys.argv:
        fuzz(sys.argv[sys.argv.index("--inside") + 1], sys.argv[sys.argv.index("--") + 1 :])
    from parsers import PARSERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--parser", action="append", choices=sorted(PARSERS))
    parser.add_argument("--keep", action="store_true", help="add to the corpus")
    given = parser.parse_args()
    names = given.parser or list(PARSERS)
    seconds = given.minutes * 60 / len(names)
    clean = [run(name, given.work, seconds, keep=given.keep) for name in names]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
