"""`export-edge judge`: judge what a device answered to a job, as a gate does what it asks itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt
from edgeproof.cli.gate import show

if TYPE_CHECKING:
    from pathlib import Path


@click.command("judge")
@click.argument("evidence", type=opt.PATH)
@click.argument("artifact", type=opt.PATH)
@click.option(
    "--job", type=opt.PATH, required=True, metavar="FILE", help="The job that the device answered (`phone job`)."
)
@opt.ARTIFACT_FORMAT
@opt.CRITERIA
@opt.REPORTING
@opt.FORCE
@opt.LISTENING
def command(evidence: Path, artifact: Path, *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Judge ARTIFACT by EVIDENCE, what a device answered to a job, with the reports of a gate.

    All rules are applied to the answers here; what the device itself says of them changes nothing. docs/phone.md.

    Exit codes: 0 PASS, 1 FAIL, 4 INCONCLUSIVE; 3 where no verdict could be reached.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.phone.judge import judge

    with Terminal(quiet=quiet) as progress:
        gated = judge(evidence, artifact, **options, progress=progress, command=opt.given_command())
    return show([gated], as_json=as_json)
