"""`export-edge phone`: the job of a device, and the app on a phone over adb."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.group("phone")
def command() -> None:
    """Gate on a phone: by the app, or by another app's own engine. docs/phone.md."""


@command.command("job")
@click.argument("artifact", type=opt.PATH)
@opt.CRITERIA
@opt.ARTIFACT_FORMAT
@click.option(
    "--compute",
    type=click.Choice(["cpu", "gpu", "npu"]),
    default="cpu",
    show_default=True,
    help="What is to compute on the device; the verdict is INCONCLUSIVE where something else did.",
)
@click.option("--out", type=opt.PATH, required=True, metavar="FILE", help="The job: as secret as the pack.")
@opt.FORCE
@opt.LISTENING
def job(artifact: Path, *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Write down all that a gate asks of ARTIFACT, for a device that answers it by itself.

    `export-edge judge EVIDENCE --job FILE ARTIFACT …` judges what the device answered.

    Exit codes: 0 written; 3 could not do it.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.phone.job import phone_job

    with Terminal(quiet=quiet) as progress:
        made = phone_job(artifact, **options, progress=progress)
        progress.finish()
    if not quiet:
        size = made.path.stat().st_size / 1e6
        click.echo(
            f"{made.path}: job {made.id}, {made.requests:,} requests, {size:.1f} MB; it needs at most "
            f"{made.memory / 1e6:,.0f} MB of memory. It holds the pack's questions and answers.",
            err=True,
        )
    if as_json:
        click.echo(json.dumps({"job": str(made.path), "id": made.id, "requests": made.requests, "memory": made.memory}))
    return 0


@command.command("build")
@click.argument("checkout", type=opt.PATH, default=".")
def build(checkout: Path) -> int:
    """Build the programs for phones and the app, in a CHECKOUT of edgeproof (by default this folder).

    Exit codes: 0 built; 3 could not do it.
    """
    from edgeproof.release.phone.build import phone_build

    click.echo(f"Built: {phone_build(checkout)}", err=True)
    return 0


@command.command("push")
@click.argument("job", type=opt.PATH)
@click.argument("artifact", type=opt.PATH)
@click.option("--app", type=opt.PATH, metavar="APK", help="Install this build of the app; by default it is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def push(job: Path, artifact: Path, *, as_json: bool, **options: Any) -> int:
    """Put JOB, its ARTIFACT and the app onto the phone on USB.

    Exit codes: 0 all is there; 3 could not do it.
    """
    from edgeproof.release.phone.push import phone_push

    pushed = phone_push(job, artifact, **options)
    click.echo(f"Copied: {', '.join(pushed.copied) or 'nothing, all is there'}", err=True)
    if as_json:
        click.echo(json.dumps({"job": pushed.job, "copied": list(pushed.copied)}))
    return 0


@command.command("run")
@click.argument("job", type=opt.PATH)
@click.argument("artifact", type=opt.PATH)
@click.option("--evidence", type=opt.PATH, required=True, metavar="FILE", help="Where the device's answers go, sealed.")
@opt.ARTIFACT_FORMAT
@opt.CRITERIA
@opt.REPORTING
@opt.FORCE
@opt.LISTENING
def run(job: Path, artifact: Path, *, quiet: bool, as_json: bool, **options: Any) -> int:
    """Run JOB in the app on the phone on USB, and judge ARTIFACT by what it answers.

    Exit codes: 0 PASS, 1 FAIL, 4 INCONCLUSIVE; 3 where no verdict could be reached.
    """
    from edgeproof.cli.gate import show
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.phone.run import phone_run

    with Terminal(quiet=quiet) as progress:
        gated = phone_run(job, artifact, **options, progress=progress, command=opt.given_command())
    return show([gated], as_json=as_json)
