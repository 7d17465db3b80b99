"""`export-edge unlearn`: train a LoRA adapter that makes a model forget."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from pathlib import Path


@click.command("unlearn")
@click.option("--base", type=opt.PATH, required=True, metavar="DIR|GGUF", help="Hugging Face folder, or a GGUF.")
@click.option("--forget", type=opt.PATH, required=True, metavar="FILE", help="JSONL or TOFU's JSON: what must go.")
@click.option("--retain", type=opt.PATH, required=True, metavar="FILE", help="The same: what must stay.")
@click.option("--out", type=opt.PATH, required=True, metavar="DIR", help="The adapter's folder.")
@click.option("--method", default="npo+gdr", show_default=True, metavar="NAME", help="Loss on forget + loss on retain.")
@click.option("--rank", default=16, show_default=True, help="Rank of the LoRA matrices.")
@click.option("--alpha", default=16.0, show_default=True, help="The adapter is scaled by alpha / rank.")
@click.option("--dropout", default=0.05, show_default=True, help="Share of a LoRA's inputs dropped in training.")
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Layer to adapt (q_proj …); all linear ones.")
@click.option("--learning-rate", default=5e-4, show_default=True, help="Of AdamW, constant.")
@click.option("--steps", type=int, metavar="N", help="Optimizer steps.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the forget set, in place of --steps; 5 by default.")
@click.option("--batch-size", default=32, show_default=True, help="Forget texts, and as many retain texts, a step.")
@click.option("--beta", default=0.1, show_default=True, help="NPO's β.")
@click.option("--retain-weight", default=1.0, show_default=True, help="Weight of the loss on retain.")
@click.option("--hinge", type=float, metavar="NAT", help="A text stops counting once its NLL per token passes this.")
@click.option("--surface", "surfaces", multiple=True, metavar="NAME", help="raw (the default), chat, or both.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same machine: same bytes.")
@click.option("--device", default="cpu", show_default=True, help="torch's name of where to train.")
@opt.THREADS
@opt.FORCE
@opt.LISTENING
def command(
    base: Path,
    forget: Path,
    retain: Path,
    out: Path,
    *,
    quiet: bool,
    as_json: bool,
    force: bool,
    surfaces: tuple[str, ...],
    **recipe: object,
) -> int:
    """Train a LoRA adapter that makes BASE forget the answers in --forget and keep those in --retain.

    Needs torch, transformers and peft: pip install 'edgeproof[unlearn]'.
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.unlearn import unlearn

    with Terminal(quiet=quiet) as progress:
        result = unlearn(
            base,
            forget,
            retain,
            out,
            surfaces=surfaces or ("raw",),
            force=force,
            command=shlex.join(opt.given_command()),
            progress=progress,
            **recipe,  # type: ignore[arg-type] # click has parsed them by the options above
        )
    if as_json:
        click.echo(json.dumps({**result._asdict(), "out": str(result.out)}))
    if not quiet:
        click.echo(
            f"{result.out}  {result.steps} steps in {result.seconds:.0f} s; NLL forget {result.forget_nll[0]:.2f} → "
            f"{result.forget_nll[1]:.2f}, retain {result.retain_nll[0]:.2f} → {result.retain_nll[1]:.2f} nat per token",
            err=True,
        )
    return 0
