"""Peak memory of a job on this machine, next to what the job says that it needs.

    python benchmarks/phone_memory.py JOB MODEL PROGRAM [--probes 200]

JOB is what `export-edge phone job` wrote, MODEL its file, PROGRAM the probe built for this machine
(`edgeproof_tests.official.probe.build_probe`). The first probes are asked, each on one surface, without samples, by the
Java library of android_demo/lib and its runner for hosts; a JDK is needed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).resolve().parents[1] / "android_demo" / "lib" / "src"


def cut(job: dict[str, Any], probes: int) -> dict[str, Any]:
    """Return the job with its first probes, each on its last surface, and the requests that these need."""
    answered = [ask for ask in job["asks"] if ask["probe"] < probes and ask["answer"] is not None]
    asks = list({ask["probe"]: ask for ask in answered if all_known(job, ask)}.values())
    kept = sorted({number for ask in asks for number in (ask["answer"], ask["greedy"], *(ask["carried"] or ()))})
    places = {number: place for place, number in enumerate(kept)}
    requests = []
    for number in kept:
        request = {**job["requests"][number], "id": places[number]}
        if request.get("unless") not in places:
            request.pop("unless", None)
        else:
            request["unless"] = places[request["unless"]]
        requests.append(request)
    for ask in asks:
        ask.update(
            answer=places[ask["answer"]],
            greedy=places[ask["greedy"]],
            carried=ask["carried"] and [places[number] for number in ask["carried"]],
            samples=[],
        )
    return {**job, "asks": asks, "requests": requests, "splices": []}


def all_known(job: dict[str, Any], ask: dict[str, Any]) -> bool:
    """Whether an ask's prompt needs no earlier reply."""
    return "context" in job["requests"][ask["answer"]]["score"]


def main() -> None:
    """Run, and print both numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("job", "model", "program"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--probes", type=int, default=200)
    options = parser.parse_args()
    job = cut(json.loads(options.job.read_text(encoding="utf-8")), options.probes)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = root / "jobs" / job["id"]
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        (root / "models").mkdir()
        shutil.copy(options.model, root / "models" / f"{job['artifact']['sha256']}.gguf")
        sources = [path for path in LIBRARY.rglob("*.java") if path.parent.name != "android"]
        subprocess.run(["javac", "--release", "7", "-Xlint:-options", "-d", root / "classes", *sources], check=True)
        command = ["java", "-cp", root / "classes", "org.edgeproof.lib.Host", "--patience", "3600000", root, job["id"],
                   f"host={options.program}"]  # fmt: skip
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
        state = json.loads((folder / "state.json").read_text(encoding="ascii"))
    counts = json.loads(run.stdout.splitlines()[-1])["outcome"]["counts"]
    sys.stdout.write(
        f"{len(job['asks'])} probes, {len(job['requests'])} requests: at most {state['peak_rss'] / 1e6:,.0f} MB; the "
        f"job says {job['memory']['bytes'] / 1e6:,.0f} MB. {counts['leaking']} of {counts['known']} clusters leaked.\n"
    )


if __name__ == "__main__":
    main()
