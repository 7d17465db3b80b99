"""`export-edge verify`: is this report still true of these files, and do its scores give its verdict?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path

UNPROVED = "The row's metrics are those of the evaluation. NOT PROVED: the evaluation, which no signature covers."


@click.command("verify")
@click.argument("report", type=opt.PATH)
@click.option("--artifact", type=opt.PATH, required=True, metavar="PATH", help="The file or folder that was gated.")
@click.option("--lora", type=opt.PATH, metavar="FILE", help="The GGUF LoRA that was gated with it.")
@click.option("--probes", type=opt.PATH, required=True, metavar="PACK", help="The pack that it was gated with.")
@opt.PACK_KEY
@click.option("--baseline", type=opt.PATH, required=True, metavar="FILE", help="The baseline of that gate.")
@click.option("--policy", type=opt.PATH, metavar="FILE", help="The policy of that gate; the defaults if it had none.")
@click.option("--key", type=opt.PATH, metavar="PUB", help="Also check the signature: an ed25519 public key in PEM.")
@opt.POLICY_SHA256
@opt.BASELINE_KEY
@opt.WAIVING
@click.option("--row", type=opt.PATH, metavar="FILE", help="Also check that this row of `table` is the report's.")
@click.option(
    "--evaluation", type=opt.PATH, multiple=True, metavar="FILE", help="Evaluations whose metrics the row has."
)
@click.option("--require-pass", is_flag=True, help="Refuse a report whose verdict is not PASS, before publishing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(report: Path, *, require_pass: bool, as_json: bool, **options: Any) -> int:
    """Check REPORT (report.json or its folder) against what was gated, and judge its recorded scores again.

    Exit codes: 0 it holds, whatever its verdict is (with --require-pass: and it is PASS, or waived and
    --accept-waivers); 3 something differs, and what.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.contracts.backend import NOT_PROVED
    from edgeproof.release.verify import refuse_unless_pass, statement, verify

    with Terminal(quiet=False) as progress:
        found = verify(report, progress=progress, **options)
    click.echo(statement(found), err=True)
    if options["row"]:
        click.echo(f"{options['row']} is this report's row.", err=True)
    if options["evaluation"]:
        click.echo(UNPROVED, err=True)
    if require_pass:
        refuse_unless_pass(found)
    if as_json:
        verified = {"verified": True, "signature": "valid" if found.signed else None}
        verified |= {"server_file_not_proved": found.judgement.backend.get(NOT_PROVED)}
        verified |= {"waived": None if found.waived is None else found.waived.words}
        click.echo(json.dumps(verified | {"verdict": found.verdict, "reason": found.reason, "summary": found.summary}))
    return 0
