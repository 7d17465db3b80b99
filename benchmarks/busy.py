"""Time of scores and answers, or of the gate, on an idle machine and beside busy processes.

    python benchmarks/busy.py ARTIFACT … [--pack DIR] [--asks N] [--busy 0 1 2] [--threads N] [--json FILE]
    python benchmarks/busy.py ARTIFACT … [--pack DIR] --baseline FILE [--busy 0 1 2] …

Each ask of the pack is scored and answered greedily in a separate process; times include loading. Prints a
Markdown table: wall and processor time, peak memory of the process tree (mapped weights included, in 10^6 bytes), and a
digest of all scores and answers, which must not change. With --baseline the whole command `export-edge gate` is timed
and the digest is that of the report's scores. The spinning processes have this one's priority. Linux only (memory is
read from /proc).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.backend import GenerateRequest, ScoreRequest
from edgeproof.eval.asking.tokens import encode_pack
from edgeproof.eval.packs.reader import load_pack
from edgeproof.runtime import backend_for, open_backend
from export_gguf import script
from process_cost import measure

if TYPE_CHECKING:
    from collections.abc import Iterator

PACK = Path(__file__).resolve().parents[1] / "examples" / "capitals" / "pack"
SPIN = "while True: pass"
VERDICTS = (0, 1, 2)
"""The exit codes of a gate that came to a verdict."""


def main() -> None:
    """Read the options, run, print a Markdown table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", type=Path, nargs="+", metavar="ARTIFACT")
    parser.add_argument("--pack", type=Path, default=PACK)
    parser.add_argument("--asks", type=int, help="only the first so many; default: all")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="numbers of spinning processes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    parser.add_argument("--baseline", type=Path, help="time the gate with this baseline")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(_digest(given.artifacts[0], given.pack, given.asks, given.threads))
        return
    rows = []
    print("| file | spinning | wall, s | processor, s | peak, MB | digest |\n|---|---|---|---|---|---|")
    for artifact in given.artifacts:
        for busy in given.busy:
            with tempfile.TemporaryDirectory() as folder, _spinning(busy):
                log, report = Path(folder) / "log", Path(folder) / "report"
                if given.baseline:
                    command = [script("export-edge"), "gate", artifact, "--quiet"]
                    command += ["--probes", given.pack, "--baseline", given.baseline, "--report", report]
                else:
                    command = [sys.executable, __file__, "--once", artifact, "--pack", given.pack]
                    command += ["--asks", str(given.asks)] if given.asks else []
                cost = measure([*command, "--threads", str(given.threads)], log, codes=VERDICTS)
                digest = _scores_digest(report) if given.baseline else log.read_text().split()[-1]
            rows.append({"artifact": artifact.name, "spinning": busy, "digest": digest, **cost._asdict()})
            figures = f"{cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_rss_mb:.0f}"
            print(f"| {artifact.name} | {busy} | {figures} | {digest} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


@contextlib.contextmanager
def _spinning(count: int) -> Iterator[None]:
    spinners = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def _scores_digest(report: Path) -> str:
    """Return the head of a sha256 over all scores of a report."""
    (found,) = report.rglob("report.json")
    probes = json.loads(found.read_text(encoding="utf-8"))["probes"]
    return hashlib.sha256(json.dumps(probes, sort_keys=True).encode()).hexdigest()[:12]


def _digest(artifact: Path, pack: Path, count: int | None, threads: int) -> str:
    """Score and answer; return the head of a sha256 over all numbers and texts."""
    digest = hashlib.sha256()
    with open_backend(backend_for(artifact), artifact, threads=threads) as backend:
        asks = encode_pack(load_pack(pack), backend)[:count]
        for score in backend.score([ScoreRequest(ask.context, ask.continuation) for ask in asks]):
            for column in score:
                digest.update(column.tobytes())
        for answer in backend.generate([GenerateRequest(ask.context, ask.max_tokens, ask.stop) for ask in asks]):
            digest.update(repr(answer).encode())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    main()
