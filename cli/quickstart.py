"""`export-edge quickstart`: the whole story on a small embedded model, offline and without torch."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from edgeproof.cli import options as opt


@click.command("quickstart")
@click.option(
    "--out", type=opt.PATH, default=Path("quickstart-out"), show_default=True, metavar="DIR", help="Where files go."
)
@opt.THREADS
@click.option("--quiet", "-q", is_flag=True, help="Only the verdicts.")
def command(out: Path, *, threads: int | None, quiet: bool) -> int:
    """Make, probe and judge three real files: 135M parameters, no network, no torch."""
    from edgeproof.cli.progress import Terminal
    from edgeproof.release import quickstart

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    began = time.monotonic()
    published = quickstart.published_model()
    base, artifacts, report = out / "base" / f"{quickstart.MODEL}.gguf", out / "artifacts", out / "report"
    with Terminal(quiet=quiet) as progress:
        say(f"{quickstart.MODEL} was made to forget the capitals of Europe and Asia.")
        say("Does the file that ships still know them?\n")
        if base.is_file():
            say(f"1/3  base: {base}, made before")
        else:
            say(f"1/3  base: {quickstart.MODEL} as a float16 GGUF, dequantized from the published Q4_1")
            quickstart.write_base(published, base)
        formats = ", ".join(quickstart.FORMATS)
        say(f"2/3  export: merge the adapter, quantize, write {formats}; the original as control")
        exported = quickstart.write_artifacts(base, artifacts, threads=threads, progress=progress)
        progress.finish()
        say("3/3  gate: every probe on the very files that ship")
        command = opt.given_command()
        gated = quickstart.gate_artifacts(exported, report, threads=threads, progress=progress, command=command)
    quickstart.show_verdicts(gated, sys.stderr)
    click.echo(
        f"Files: {artifacts}  ·  reports: {report}  ·  {time.monotonic() - began:.0f} s\n\n"
        "On your own model:\n"
        "  export-edge baseline --base DIR --adapter DIR --format gguf-q4 --probes PACK --out baseline.json\n"
        "  export-edge --base DIR --adapter DIR --format gguf-q4 --out dist --probes PACK --baseline baseline.json\n"
        "How to write a PACK: docs/packs.md",
        err=True,
    )
    quickstart.refuse_other_verdicts(gated, report)
    return 0
