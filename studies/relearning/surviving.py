"""Unlearning through the rounding of the format that ships, to the depth at which all cells stop, on those weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.export.rounding import open_rounding
from edgeproof.unlearn.train.rounded import RoundedModel
from edgeproof.unlearn.train.scoring import mean_nll, total_logprobs
from edgeproof.unlearn.train.survive import EVERY, survival

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.unlearn import Settings
    from edgeproof.unlearn.preparing import Prepared
    from edgeproof.unlearn.train.loop import Hooks


LAYERS = ("down_proj",)
"""Where the LoRA is: a large change of few weights survives at less cost than a small one of all (docs/survive.md)."""


def through_rounding(base: Path, form: str, target: float) -> Callable[[Prepared, Settings], Hooks]:
    """Return what `unlearn(…, instrument=…)` takes: `--survive`'s hooks, ended at `target`.

    Args:
        base: the model that is unlearned.
        form: the format.
        target: the forget set's mean NLL per token under the weights rounded to `form`, in nat, that ends training.

    """

    def instrument(prepared: Prepared, settings: Settings) -> Hooks:
        rounding = open_rounding(base, form)
        rounded, texts = RoundedModel(prepared.model, rounding), prepared.forget.encoded

        def after(step: int) -> bool:
            if step % EVERY:
                return False
            with rounded.as_shipped():
                totals = total_logprobs(
                    prepared.model, texts, batch_size=settings.part_size, device="cpu", advance=lambda _: None
                )
            return mean_nll(totals, texts) >= target

        hooks = survival(prepared, settings, rounding=rounding)
        return hooks._replace(after=after, settings=f"{hooks.settings}, until {target} nat there")

    return instrument
