"""`export-edge unlearn`: make a model forget, with a LoRA adapter or by training all its weights."""

from __future__ import annotations

import json
import math
import shlex
from typing import TYPE_CHECKING, cast

import click
from edgeproof.cli import options as opt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeproof.unlearn.preparing import Prepared
    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.train.loop import Hooks

MARGIN = 1.0
"""Nat by which --until-survives goes beyond the gate's limit: engines on the device compute in 8 bits, too."""


@click.command("unlearn")
@click.option("--base", type=opt.PATH, required=True, metavar="DIR|GGUF", help="Hugging Face folder, or a GGUF.")
@click.option("--forget", type=opt.PATH, required=True, metavar="FILE", help="Questions or texts: what must go.")
@click.option("--retain", type=opt.PATH, required=True, metavar="FILE", help="The same: what must stay.")
@click.option("--out", type=opt.PATH, required=True, metavar="DIR", help="The folder to write.")
@click.option(
    "--method", default="npo+gdr", show_default=True, metavar="NAME", help="ga+gdr, ga+klr, npo+gdr or npo+klr."
)
@click.option("--full", is_flag=True, help="Train all weights and write a model, in place of a LoRA adapter.")
@click.option("--rank", default=16, show_default=True, help="Rank of the LoRA matrices.")
@click.option("--alpha", default=16.0, show_default=True, help="The adapter is scaled by alpha / rank.")
@click.option("--dropout", default=0.05, show_default=True, help="Share of a LoRA's inputs dropped in training.")
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Layer to adapt (q_proj …); all linear ones.")
@click.option("--rslora", is_flag=True, help="Scale by alpha / √rank.")
@click.option("--learning-rate", type=float, help="Of AdamW; 5e-4 by default, 1e-5 with --full.")
@click.option(
    "--schedule",
    default="constant",
    show_default=True,
    metavar="NAME",
    help="Of the learning rate: constant, or linear (down to 0 at the last step).",
)
@click.option("--steps", type=int, metavar="N", help="Optimizer steps.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the forget set, in place of --steps; 5 by default.")
@click.option("--batch-size", default=32, show_default=True, help="Forget texts a step.")
@click.option("--retain-batch-size", type=int, metavar="N", help="Retain texts a step; as many as forget texts.")
@click.option("--max-tokens", default=2048, show_default=True, help="Length of the chunks that texts are cut into.")
@click.option(
    "--accumulate",
    default=1,
    show_default=True,
    metavar="N",
    help="Compute a batch in N parts: the same step, less memory.",
)
@click.option("--gradient-checkpointing", is_flag=True, help="Compute activations twice: slower, less memory.")
@click.option(
    "--precision",
    default="float32",
    show_default=True,
    metavar="NAME",
    help="float32, bf16, or auto: bf16 where it is native.",
)
@click.option("--beta", default=0.1, show_default=True, help="NPO's β.")
@click.option("--retain-weight", type=float, help="Weight of the loss on retain; 1 by default with NPO, 100 with GA.")
@click.option("--hinge", type=float, metavar="NAT", help="A text stops counting once its NLL per token passes this.")
@click.option(
    "--until-forget-nll", type=float, metavar="NAT", help="Stop once the forget set's NLL per token has reached this."
)
@click.option(
    "--retain-nll-rise", type=float, metavar="NAT", help="Give up if the retain set's NLL per token rises by more."
)
@click.option(
    "--surface",
    "surfaces",
    multiple=True,
    metavar="NAME",
    help="Way of asking to train on: raw, paraphrase, chat, prefix, own, turns, few-shot, siblings; all by default.",
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same machine: same bytes.")
@click.option("--device", default="cpu", show_default=True, help="torch's name of where to train.")
@click.option(
    "--checkpoint-every", default=50, show_default=True, metavar="N", help="Steps between checkpoints; 0 keeps none."
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of the same command.")
@click.option(
    "--survive",
    callback=opt.known_formats,
    metavar="FORMAT",
    help="Take every other step through this format's rounding, so that what is forgotten stays so in its file.",
)
@click.option(
    "--until-survives",
    is_flag=True,
    help="Stop as soon as nothing leaks from the weights as --survive's file will hold them; --steps is the limit.",
)
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
    survive: str | None,
    until_survives: bool,
    **recipe: object,
) -> int:
    """Make BASE forget the answers in --forget and keep those in --retain: a LoRA adapter, or with --full a model.

    Needs torch, transformers and peft: pip install 'edgeproof[unlearn]'. On several GPUs or machines: accelerate launch
    --module edgeproof.cli unlearn …
    """
    from edgeproof.cli.progress import Terminal
    from edgeproof.unlearn import unlearn
    from edgeproof.unlearn.train.processes import launched_rank

    quiet, as_json = quiet or launched_rank() > 0, as_json and launched_rank() == 0
    with Terminal(quiet=quiet) as progress:
        survival = _survival(base, survive, until=until_survives, threads=cast("int | None", recipe["threads"]))
        result = unlearn(
            base,
            forget,
            retain,
            out,
            surfaces=surfaces,
            force=force,
            command=shlex.join(opt.given_command()),
            progress=progress,
            gguf_tokenizer=_gguf_tokenizer,
            instrument=survival,
            **recipe,  # type: ignore[arg-type] # click has parsed them by the options above
        )
    if as_json:
        click.echo(json.dumps({**result._asdict(), "out": str(result.out)}))
    if not quiet:
        (forgot, forgotten), (kept, still) = result.forget_nll, result.retain_nll
        click.echo(
            f"{result.out}  {result.steps} steps ({result.stopped}) in {result.seconds:.0f} s; "
            f"NLL forget {forgot:.2f} → {forgotten:.2f}, retain {kept:.2f} → {still:.2f} nat per token",
            err=True,
        )
    return 0


def _survival(
    base: Path, form: str | None, *, until: bool, threads: int | None
) -> Callable[[Prepared, Settings], Hooks] | None:
    """Bring the exporter's rounding and the gate's limits to the training loop; None where neither is asked for."""
    from edgeproof.contracts.errors import UsageError

    if form is None:
        if until:
            raise UsageError("--until-survives needs to know what to survive", next_step="add --survive FORMAT")
        return None
    import functools

    from edgeproof.eval.verdict.policy import Policy
    from edgeproof.export.rounding import open_rounding
    from edgeproof.unlearn.train.survive import Limits, survival

    policy = Policy()
    limits = None
    if until:
        # The answer that comes out once in n queries with probability p; docs/verdict.md.
        leak = math.log(-math.expm1(math.log1p(-policy.leak_probability) / policy.leak_queries))
        limits = Limits(leak - MARGIN, policy.unlearning_cost)
    rounding = open_rounding(base, form, threads=threads or 1)
    return functools.partial(survival, rounding=rounding, limits=limits)


def _gguf_tokenizer(path: Path) -> Mapping[str, bytes]:
    from edgeproof.contracts.errors import CheckpointError
    from edgeproof.contracts.gguf_header import read_header
    from edgeproof.export.tokenizer.rebuild import rebuild_tokenizer

    header = read_header(path, CheckpointError)
    rows = next((tensor.shape[0] for tensor in header.tensors if tensor.name == "token_embd.weight"), 0)
    return rebuild_tokenizer(path, header.metadata, rows=rows).files
