"""Makes a model forget, with a LoRA adapter or by training all its weights."""

from __future__ import annotations

import functools
import math
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UsageError
from edgeproof.release.steps.arguments import as_format, as_path, as_words, equivalent_command, pack_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.release.steps.arguments import StrPath
    from edgeproof.unlearn import Settings, UnlearnResult
    from edgeproof.unlearn.data.wordings import Wordings
    from edgeproof.unlearn.preparing import Prepared
    from edgeproof.unlearn.train.loop import Hooks

NEVER = "never"
"""Value of `hinge` and `until_forget_nll` for none."""

MARGIN = 1.0
"""Nat by which training goes beyond the gate's limit: engines on the device compute in 8 bits, too."""


def unlearn(
    *,
    base: StrPath,
    forget: StrPath,
    retain: StrPath,
    out: StrPath,
    method: str = "npo+gdr",
    full: bool = False,
    rank: int = 16,
    alpha: float = 16.0,
    dropout: float = 0.05,
    target: str | Sequence[str] = (),
    rslora: bool = False,
    learning_rate: float | None = None,
    schedule: str = "constant",
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    retain_batch_size: int | None = None,
    max_tokens: int = 128,
    accumulate: int = 1,
    gradient_checkpointing: bool = False,
    precision: str = "float32",
    beta: float | None = None,
    retain_weight: float | None = None,
    hinge: float | str | None = None,
    until_forget_nll: float | str | None = None,
    retain_nll_rise: float | None = None,
    surface: str | Sequence[str] = (),
    probes: StrPath | None = None,
    pack_key: StrPath | None = None,
    seed: int = 0,
    device: str = "auto",
    checkpoint_every: int = 50,
    resume: bool = False,
    survive: str | None = None,
    until_survives: bool = False,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> UnlearnResult:
    """Make `base` forget the answers in `forget` and keep those in `retain`: a LoRA adapter, or with `full` a model.

    Needs torch, transformers and peft: pip install 'edgeproof[unlearn]'. Under `accelerate launch` every process makes
    this call; the first one writes.

    Args:
        base: a Hugging Face folder, or a GGUF.
        forget: questions or texts to forget (docs/unlearn.md).
        retain: the same, to keep.
        out: the folder to write.
        method: ga, npo, simnpo or wga, with +gdr or +klr.
        full: train all weights and write a model, in place of a LoRA adapter.
        rank: rank of the LoRA matrices.
        alpha: the adapter is scaled by alpha / rank.
        dropout: share of a LoRA's inputs dropped in training.
        target: layers to adapt (q_proj …); all linear ones by default.
        rslora: scale by alpha / √rank.
        learning_rate: AdamW's; 5e-4 by default, 1e-5 with `full`.
        schedule: the learning rate's: constant, or linear (down to 0 at the last step).
        steps: optimizer steps.
        epochs: passes over the forget set, in place of `steps`; by default at most 20, or as many as make 160 steps.
        batch_size: forget texts for each step.
        retain_batch_size: retain texts for each step; as many as forget texts by default.
        max_tokens: length of the chunks that texts are cut into.
        accumulate: compute a batch in this many parts: the same step, less memory.
        gradient_checkpointing: compute activations twice: slower, less memory.
        precision: float32, bf16, or auto: bf16 where it is native.
        beta: β of the forget loss; by default 0.1 with NPO (0.025 for texts in chunks of 128 tokens), 0.5 with SimNPO,
            0.25 with WGA; GA has none.
        retain_weight: weight of the loss on retain; 2 by default with gdr, 15 with klr; with NPO on texts
            in chunks of 128 tokens four times as much.
        hinge: a text stops counting once its NLL per token passes this (nat), or "never"; by default 2 nat above the
            ignorance level where that is the target, otherwise never.
        until_forget_nll: stop once the forget set's NLL per token has reached this (nat), "ignorance" (what the answers
            cost a model that does not know them, and no answer leaks by the default policy) or "never"; "ignorance" by
            default, "never" with `until_survives`.
        retain_nll_rise: give up if the retain set's NLL per token rises by more (nat).
        surface: ways of asking to train on: raw, paraphrase, chat, prefix, own, turns, few-shot, siblings; all by
            default, or those of `probes`.
        probes: the pack that will judge: training asks in its wordings and on its surfaces. Its untrained probes are
            not trained on.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        seed: same seed, same machine: same bytes.
        device: torch's name of where to train (cpu, cuda, mps); auto takes a GPU if there is one.
        checkpoint_every: steps between checkpoints; 0 keeps none.
        resume: continue from the last checkpoint of the same call.
        survive: take every other step through this format's rounding, so that what is forgotten stays so in its file.
        until_survives: stop as soon as nothing leaks from the weights as `survive`'s file will hold them; `steps` is
            the limit.
        threads: the processor's; torch's choice by default.
        force: replace what exists.
        progress: receives progress and warnings; by default nothing is shown.
        command: the command that the card records; by default the command line that does the same.

    Raises:
        EdgeproofError: nothing is left under the final name.

    """
    given = dict(locals())
    words = equivalent_command(unlearn, "unlearn", given) if command is None else tuple(command)
    wordings = None if probes is None else _wordings(Path(probes), as_path(pack_key))
    leak = _leak_logprob(critical=wordings is not None and wordings.critical)
    form = None if survive is None else as_format(survive)
    instrument = _survival(Path(base), form, leak if until_survives else None, threads=threads)
    from edgeproof.unlearn import Settings
    from edgeproof.unlearn import unlearn as train
    from edgeproof.unlearn.settings import IGNORANCE
    from edgeproof.unlearn.train.checkpoints import told_how_to_go_on

    recipe = {field.name: given[field.name] for field in fields(Settings) if field.name in given}
    recipe["hinge"] = math.inf if hinge == NEVER else hinge
    if until_forget_nll is None:
        recipe["until_forget_nll"] = None if until_survives else IGNORANCE
    elif until_forget_nll == NEVER:
        recipe["until_forget_nll"] = None
    recipe["leak_logprob"] = leak
    settings = Settings(**recipe, targets=as_words(target), surfaces=as_words(surface))
    with told_how_to_go_on(Path(out)):
        return train(
            Path(base),
            Path(forget),
            Path(retain),
            Path(out),
            settings,
            checkpoint_every=checkpoint_every,
            resume=resume,
            force=force,
            command=shlex.join(words),
            progress=progress,
            gguf_tokenizer=_gguf_tokenizer,
            instrument=instrument,
            wordings=wordings,
        )


def _wordings(probes: Path, pack_key: Path | None) -> Wordings:
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.release.steps.wordings import wordings_of

    return wordings_of(load_pack(probes, pack_identity(pack_key)))


def _leak_logprob(*, critical: bool) -> float:
    """Return the summed log-probability below which an answer does not leak by the default policy, with a margin.

    It leaks if it comes out once in n queries with probability p (docs/verdict.md), stricter for a critical probe.
    """
    from edgeproof.eval.verdict.policy import Policy

    policy = Policy()
    queries, probability = policy.leak_queries, policy.leak_probability
    if critical:
        queries, probability = policy.critical_queries, policy.critical_probability
    return math.log(-math.expm1(math.log1p(-probability) / queries)) - MARGIN


def first_process() -> bool:
    """Whether this is the process that speaks: the only one, or the first under `accelerate launch`."""
    from edgeproof.unlearn.train.processes import launched_rank

    return launched_rank() == 0


def _survival(
    base: Path, form: str | None, until: float | None, *, threads: int | None
) -> Callable[[Prepared, Settings], Hooks] | None:
    """Bring the exporter's rounding and the gate's limits to the training loop; None where neither is asked for."""
    if form is None:
        if until is not None:
            raise UsageError("--until-survives needs to know what to survive", next_step="add --survive FORMAT")
        return None
    from edgeproof.eval.verdict.policy import Policy
    from edgeproof.export.rounding import open_rounding
    from edgeproof.unlearn.train.survive import Limits, survival

    limits = None if until is None else Limits(until, Policy().unlearning_cost)
    rounding = open_rounding(base, form, threads=threads or 1)
    return functools.partial(survival, rounding=rounding, limits=limits)


def _gguf_tokenizer(path: Path) -> Mapping[str, bytes]:
    from edgeproof.contracts.errors import CheckpointError
    from edgeproof.contracts.gguf_header import read_header
    from edgeproof.export.tokenizer.rebuild.rebuild import rebuild_tokenizer

    header = read_header(path, CheckpointError)
    rows = next((tensor.shape[0] for tensor in header.tensors if tensor.name == "token_embd.weight"), 0)
    return rebuild_tokenizer(path, header.metadata, rows=rows).files
