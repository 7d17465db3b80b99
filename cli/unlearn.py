"""`export-edge unlearn`: make a model forget, with a LoRA adapter or by training all its weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click
from edgeproof.cli import options as opt
from edgeproof.cli.recipe import RECIPE

MISSED = 4
"""Exit code of a run that wrote what it has, but missed its target: its gate would answer FAIL."""


@click.command("unlearn")
@click.option("--base", type=opt.PATH, required=True, metavar="DIR|GGUF", help="Hugging Face folder, or a GGUF.")
@click.option("--forget", type=opt.PATH, required=True, metavar="FILE", help="Questions or texts: what must go.")
@click.option("--retain", type=opt.PATH, required=True, metavar="FILE", help="The same: what must stay.")
@click.option("--out", type=opt.PATH, required=True, metavar="DIR", help="The folder to write.")
@RECIPE
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def command(*, quiet: bool, as_json: bool, **options: Any) -> int:
    """Make BASE forget the answers in --forget and keep those in --retain: a LoRA adapter, or with --full a model.

    Needs torch, transformers and peft: pip install 'edgeproof[unlearn]'. On several GPUs or machines: accelerate launch
    --module edgeproof.cli unlearn …
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.release.unlearn import first_process, unlearn

    quiet, as_json = quiet or not first_process(), as_json and first_process()
    with Terminal(quiet=quiet) as progress:
        result = unlearn(**options, progress=progress, command=opt.given_command())
    if as_json:
        click.echo(json.dumps({**asdict(result), "out": str(result.out)}))
    if not quiet:
        (forgot, forgotten), (kept, still) = result.forget_nll, result.retain_nll
        level = "" if result.ignorance_nll is None else f" (ignorance {result.ignorance_nll:.2f})"
        click.echo(
            f"{result.out}  {result.steps} steps ({result.stopped}) in {result.seconds:.0f} s; "
            f"NLL forget {forgot:.2f} → {forgotten:.2f}{level}, retain {kept:.2f} → {still:.2f} nat per token",
            err=True,
        )
        if result.missed:
            more = f"give more --steps than {result.steps} or a higher --learning-rate"
            again = f"{'take the --method that the warning names' if result.stalled else more}, and train again"
            click.echo(f"MISSED ITS TARGET: expect FAIL, never unlearned, from a gate; {again}", err=True)
    return MISSED if result.missed else 0
