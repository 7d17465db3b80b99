"""Options of a training run."""

from __future__ import annotations

import click
from edgeproof.cli import options as opt

RECIPE = opt.stack(
    click.option(
        "--method",
        default="npo+gdr",
        show_default=True,
        metavar="NAME",
        help="ga, npo, simnpo or wga, with +gdr or +klr.",
    ),
    click.option("--full", is_flag=True, help="Train all weights and write a model, in place of a LoRA adapter."),
    click.option("--rank", default=16, show_default=True, help="Rank of the LoRA matrices."),
    click.option("--alpha", default=16.0, show_default=True, help="The adapter is scaled by alpha / rank."),
    click.option("--dropout", default=0.05, show_default=True, help="Share of a LoRA's inputs dropped in training."),
    click.option("--target", multiple=True, metavar="NAME", help="Layer to adapt (q_proj …); all linear ones."),
    click.option("--rslora", is_flag=True, help="Scale by alpha / √rank."),
    click.option("--learning-rate", type=float, help="Of AdamW; 5e-4 by default, 1e-5 with --full."),
    click.option(
        "--schedule",
        default="constant",
        show_default=True,
        metavar="NAME",
        help="Of the learning rate: constant, or linear (down to 0 at the last step).",
    ),
    click.option("--steps", type=int, metavar="N", help="Optimizer steps."),
    click.option(
        "--epochs",
        type=int,
        metavar="N",
        help="Passes over the forget set, in place of --steps; by default at most 20, or as many as make 160 steps.",
    ),
    click.option("--batch-size", default=32, show_default=True, help="Forget texts a step."),
    click.option("--retain-batch-size", type=int, metavar="N", help="Retain texts a step; as many as forget texts."),
    click.option("--max-tokens", default=128, show_default=True, help="Length of the chunks that texts are cut into."),
    click.option(
        "--accumulate",
        default=1,
        show_default=True,
        metavar="N",
        help="Compute a batch in N parts: the same step, less memory.",
    ),
    click.option("--gradient-checkpointing", is_flag=True, help="Compute activations twice: slower, less memory."),
    click.option(
        "--precision",
        default="float32",
        show_default=True,
        metavar="NAME",
        help="float32, bf16, or auto: bf16 where it is native.",
    ),
    click.option("--beta", type=float, help="β of the forget loss; NPO: 0.1 (less for texts), SimNPO: 0.5, WGA: 0.25."),
    click.option(
        "--retain-weight",
        type=float,
        help="Weight of the loss on retain; 2 by default with gdr, 15 with klr (more with NPO on texts).",
    ),
    click.option(
        "--hinge",
        type=opt.number_or("never"),
        metavar="NAT|never",
        help="A text stops counting once its NLL per token passes this; by default 2 above the ignorance level.",
    ),
    click.option(
        "--until-forget-nll",
        type=opt.number_or("ignorance", "never"),
        metavar="NAT|ignorance|never",
        help="Stop once the forget set's NLL per token has reached this; by default ignorance: what the answers cost a "
        "model that does not know them, and no answer comes out any more.",
    ),
    click.option(
        "--retain-nll-rise", type=float, metavar="NAT", help="Give up if the retain set's NLL per token rises by more."
    ),
    click.option(
        "--surface",
        multiple=True,
        metavar="NAME",
        help="Way of asking to train on: raw, paraphrase, chat, prefix, own, turns, few-shot, siblings; "
        "all by default.",
    ),
    click.option(
        "--probes", type=opt.PATH, metavar="PACK", help="The pack that will judge: ask in its wordings and surfaces."
    ),
    opt.PACK_KEY,
    click.option("--seed", default=0, show_default=True, help="Same seed, same machine: same bytes."),
    click.option(
        "--device", default="auto", show_default=True, help="cpu, cuda or mps; auto takes a GPU if there is one."
    ),
    click.option(
        "--checkpoint-every",
        default=50,
        show_default=True,
        metavar="N",
        help="Steps between checkpoints; 0 keeps none.",
    ),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoint of the same command."),
    click.option(
        "--survive",
        callback=opt.known_formats,
        metavar="FORMAT",
        help="Take every other step through this format's rounding, so that what is forgotten stays so in its file.",
    ),
    click.option(
        "--until-survives",
        is_flag=True,
        help="Stop as soon as nothing leaks from the weights as --survive's file will hold them; --steps is the limit.",
    ),
)
