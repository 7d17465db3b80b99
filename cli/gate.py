"""`export-edge gate`: probe the file that ships, and say PASS, FAIL or INCONCLUSIVE."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt
from edgeproof.contracts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.release.verdicts import GateResult


@click.command("gate")
@click.argument("artifact", type=opt.PATH)
@click.argument("engine", required=False, metavar="[ENGINE]")
@click.option("--lora", type=opt.PATH, metavar="FILE", help="A GGUF LoRA; artifact and LoRA are gated as one.")
@opt.ARTIFACT_FORMAT
@opt.JUDGING
@opt.WAIVING
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def command(artifact: Path, *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Probe ARTIFACT, the very file that ships, and judge it.

    ENGINE computes elsewhere (docs/phone.md): with --backend http it is the URL of a server that has ARTIFACT loaded,
    with --backend adb (a phone on USB) and arm64-emulated the folder that `make phone` wrote.

    Exit codes: 0 PASS, or waived and --accept-waivers; 1 FAIL, 4 INCONCLUSIVE; 3 where no verdict could be reached.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.gate import gate

    missing = [f"--{name}" for name in ("probes", "baseline") if options[name] is None]
    if missing:
        raise UsageError(
            f"the gate needs {' and '.join(missing)}", next_step="record a baseline with `export-edge baseline`"
        )
    with Terminal(quiet=quiet) as progress:
        gated = gate(artifact, **options, progress=progress, command=opt.given_command())
    return show([gated], as_json=as_json)


def show(gated: Sequence[GateResult], *, as_json: bool, artifacts: Sequence[Mapping[str, object]] = ()) -> int:
    """Show the verdicts and return the exit code of the worst."""
    from edgeproof.release import verdicts

    verdicts.show(gated)
    worst = verdicts.worst(gated)
    if as_json:
        listed = [
            {
                "artifact": str(item.artifact),
                "verdict": str(item.verdict),
                "reason": str(item.reason),
                "summary": item.summary,
                "waived": None if item.waived is None else item.waived.words,
                "reports": [str(path) for path in item.reports],
            }
            for item in gated
        ]
        click.echo(json.dumps({"artifacts": list(artifacts), "verdict": str(worst.verdict), "verdicts": listed}))
    return worst.exit_code
