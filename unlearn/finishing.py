"""Steps after training: rounding to the shipped precision, measurement, writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeproof.unlearn.base_answers import totals
from edgeproof.unlearn.base_model import vocabulary_size
from edgeproof.unlearn.data.encoding import answer_length
from edgeproof.unlearn.output.adapter_folder import adapter_tensors, load_rounded, write_adapter
from edgeproof.unlearn.output.card import Provenance, card
from edgeproof.unlearn.output.folder import CARD, LOG, LOG_CSV, LOG_PLOT, folder_for
from edgeproof.unlearn.output.full_folder import refuse_broken, write_model
from edgeproof.unlearn.output.plot import svg
from edgeproof.unlearn.train.checkpoints import discard
from edgeproof.unlearn.train.findings import Found, warnings
from edgeproof.unlearn.train.guards import refuse_destroyed, refuse_loss_of_utility, refuse_nonfinite, refuse_ruined
from edgeproof.unlearn.train.loop import TARGET, Trained
from edgeproof.unlearn.train.losses import come_out, method_of
from edgeproof.unlearn.train.scoring import mean_nll
from edgeproof.unlearn.train.step_log import as_csv, as_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgeproof.contracts.progress import Progress
    from edgeproof.unlearn.data.encoding import EncodedText
    from edgeproof.unlearn.preparing import Prepared
    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.train.processes import Processes
    from edgeproof.unlearn.train.reference import Texts
    from edgeproof.unlearn.train.step_log import Step
    from torch import Tensor


class Finished(NamedTuple):
    """The adapter's weights in float16 (empty for a full model), and what was measured.

    Attributes:
        tensors: the weights.
        measured: NLLs before and after by role or "own".
        missed: whether training ended without reaching its target.
        stalled: whether it missed the target because the forget loss's gradient had faded.

    """

    tensors: Mapping[str, Tensor]
    measured: Mapping[str, tuple[float, float]]
    missed: bool
    stalled: bool


def finish(
    prepared: Prepared, trained: Trained, settings: Settings, processes: Processes, progress: Progress
) -> Finished:
    """Check and measure the training result.

    Raises:
        TrainingError: training changed nothing, the weights or answers have NaN, the model is destroyed, or the retain
            set's NLL rose by more than the settings allow.

    """
    tensors: Mapping[str, Tensor] = {}
    if settings.full:
        refuse_broken(prepared.base.model, moved=any(step.gradient_norm > 0 for step in trained.log))
    else:
        tensors = adapter_tensors(prepared.model)
        load_rounded(prepared.model, tensors)
    sets = {"forget": prepared.forget, "retain": prepared.retain, "own": prepared.own}
    encoded = [texts.measured_texts for texts in sets.values()]
    after = totals(
        prepared.model, encoded, settings, processes, progress=progress, task="the unlearned model's answers"
    )
    measured = {
        role: (mean_nll(texts.reference[texts.measured], asked), mean_nll(since, asked))
        for (role, texts), asked, since in zip(sets.items(), encoded, after, strict=True)
    }
    before, since = measured["retain"]
    # The guards of the loop saw neither the last step's weights nor the rounding of an adapter.
    last = trained.log[-1]._replace(forget_nll=measured["forget"][1], retain_nll=since)
    refuse_nonfinite(last, settings)
    refuse_destroyed(last, before, vocabulary_size(prepared.model), settings)
    refuse_loss_of_utility(since - before, f"after all {len(trained.log)} steps", settings)
    refuse_ruined(*measured["own"], settings)
    leaking = int(come_out(after[0], settings.leak_logprob).sum())
    stopped_short = trained.stopped != TARGET
    missed = settings.target is not None and stopped_short and (measured["forget"][1] < settings.target or leaking > 0)
    least = _needed(encoded[0], settings)
    pull = _pull_left(after[0], prepared.forget, settings)
    found = Found(
        len(trained.log), len(after[0]), leaking, missed=missed, least=least, on_target=not stopped_short, pull=pull
    )
    for warning in warnings(measured, prepared.level, settings, found):
        progress.warn(warning)
    return Finished(tensors, measured, missed, found.stalled)


def _pull_left(sums: Tensor, forget: Texts, settings: Settings) -> float:
    """Return the mean weight of the forget loss's gradient, relative to that before training; 1 if it does not fade."""
    left = method_of(settings.method).forget.left
    if left is None:
        return 1.0
    return float(left(sums, forget.reference[forget.measured], settings.sharpness).mean())


def _needed(texts: Sequence[EncodedText], settings: Settings) -> float:
    """Return the mean NLL per token at which no answer comes out, in nat; short answers need more of it."""
    if settings.leak_logprob is None:
        return 0.0
    target = settings.target or 0.0
    return sum(max(target, -settings.leak_logprob / answer_length(text)) for text in texts) / len(texts)


def write(
    out: Path,
    prepared: Prepared,
    finished: Finished,
    settings: Settings,
    *,
    provenance: Provenance,
    log: Sequence[Step],
    tokenizer: Mapping[str, bytes],
    force: bool,
) -> int:
    """Write adapter or model, log and card to the folder `out`; remove the checkpoints; return the weights' bytes."""
    texts = {LOG: as_lines(log), LOG_CSV: as_csv(log), LOG_PLOT: svg(log), CARD: card(settings, provenance)}
    with folder_for(out, force=force) as folder:
        if settings.full:
            size = write_model(folder, prepared.base, tokenizer)
        else:
            size = write_adapter(folder, prepared.model, finished.tensors, prepared.base.name)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    discard(out)
    return size
