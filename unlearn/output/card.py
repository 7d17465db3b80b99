"""Model card of a training result: description, reproduction, measurements."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.unlearn.settings import Settings


class Environment(NamedTuple):
    """What the bytes of a result depend on besides data and recipe.

    Attributes:
        versions: versions of python and the libraries, by name.
        threads: number of processor threads.
        processes: number of processes.
        precision: arithmetic precision, "float32" or "bf16".
        hooks: hooks in the loop (`loop.Hooks`); empty without any.
        asked_as: the pack whose wordings were trained on; empty without one.

    """

    versions: Mapping[str, str]
    threads: int
    processes: int
    precision: str
    hooks: str
    asked_as: str = ""

    def facts(self) -> dict[str, str]:
        """Return everything by name, for comparison with a checkpoint."""
        return {
            **self.versions,
            "threads": str(self.threads),
            "processes": str(self.processes),
            "arithmetic": self.precision,
            "hooks": self.hooks,
            "asked as": self.asked_as,
        }


class Provenance(NamedTuple):
    """Content of the card besides the settings.

    Attributes:
        base: the base's name in `adapter_config.json`.
        command: the command line; empty without one.
        data: name, number of items and sha256 of the forget and of the retain file.
        environment: where it was trained.
        steps: number of optimizer steps.
        stopped: reason for the end of training (`loop.ALL_STEPS` …).
        measured: NLL per answer token before and after, by role ("forget", "retain"), and of the base's own texts.
        level: ignorance level of the forget set; None if unknown.

    """

    base: str
    command: str
    data: Mapping[str, tuple[str, int, str]]
    environment: Environment
    steps: int
    stopped: str
    measured: Mapping[str, tuple[float, float]]
    level: float | None = None


_NAMES = {"forget": "forget", "retain": "retain", "own": "texts that the base wrote"}


def card(settings: Settings, provenance: Provenance) -> str:
    """Return the card in Markdown."""
    base = provenance.base
    if settings.full:
        library, tags = "transformers", "[unlearning]"
        title, made, with_it = f"{base}, unlearned", "The model whose weights were all trained to forget", "this model"
    else:
        library, tags = "peft", "[lora, unlearning]"
        title, made, with_it = f"An unlearning adapter for {base}", "A LoRA that makes its base forget", "this adapter"
    data = "".join(
        f"| {role} | `{name}` | {count} | `{digest}` |\n" for role, (name, count, digest) in provenance.data.items()
    )
    measured = "".join(
        f"| {_NAMES[role]} | {before:.3f} | {after:.3f} |\n" for role, (before, after) in provenance.measured.items()
    )
    command = f"\nMade by\n\n```\n{provenance.command}\n```\n" if provenance.command else ""
    return (
        f"---\nlibrary_name: {library}\nbase_model: {json.dumps(base, ensure_ascii=False)}\n"
        f"tags: {tags}\n---\n\n"
        f"# {title}\n\n"
        f"{made} the answers of one file and keep those of another. What it achieves in the "
        "file that ships is for `export-edge gate` to say, not for this card.\n"
        f"{command}\n"
        "| set | file | items | sha256 |\n|---|---|---|---|\n" + data + "\n"
        f"| mean NLL per answer token, in nat, on the training texts | base | with {with_it} |\n|---|---|---|\n"
        + measured
        + "\n| recipe | |\n|---|---|\n"
        + "".join(f"| {name} | {value} |\n" for name, value in _recipe(settings, provenance))
        + "\nThe same command on the same machine gives the same bytes; `log.jsonl` and `log.csv` have every step, "
        "`log.svg` draws them.\n"
    )


def _recipe(settings: Settings, provenance: Provenance) -> list[tuple[str, str]]:
    environment = provenance.environment
    rows = [
        ("method", settings.method),
        ("β", f"{settings.sharpness:g}" if settings.sharpness else "none"),
        ("weight of the retain loss", f"{settings.weight:g}"),
        ("hinge", _or_none(settings.hinge, "nat per token")),
        ("ignorance level of the forget set", _or_none(provenance.level, "nat per token")),
        ("stop at a forget NLL of", _or_none(settings.target, "nat per token")),
        ("no answer with a summed log-probability of", _or_none(settings.leak_logprob, "nat or more")),
        ("largest rise of the retain NLL", _or_none(settings.retain_nll_rise, "nat per token")),
    ]
    if settings.full:
        rows.append(("weights", "all of them, in float32"))
    else:
        scale = "alpha / √rank (rsLoRA)" if settings.rslora else "alpha / rank"
        rows += [
            ("rank, alpha, dropout", f"{settings.rank}, {settings.alpha:g}, {settings.dropout:g}"),
            ("scaled by", scale),
            ("layers", ", ".join(settings.targets) or "all linear layers but the output head"),
        ]
    recomputed = "; activations computed again" if settings.gradient_checkpointing else ""
    return [
        *rows,
        ("optimizer", f"AdamW, learning rate {settings.rate:g}, {settings.schedule}"),
        ("steps", f"{provenance.steps} of {_batch(settings)} forget and {settings.retain_size} retain texts"),
        ("ended by", provenance.stopped),
        *([("beside", environment.hooks)] if environment.hooks else []),
        ("parts of a batch, processes", f"{settings.accumulate}, {environment.processes}{recomputed}"),
        ("arithmetic", environment.precision),
        ("surfaces", ", ".join(settings.surfaces) or "all that base and data have"),
        *([("asked as the pack", environment.asked_as)] if environment.asked_as else []),
        ("seed", str(settings.seed)),
        ("device, threads", f"{settings.device}, {environment.threads}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in environment.versions.items())),
    ]


def _batch(settings: Settings) -> str:
    return f"at most {settings.batch_size}" if settings.whole_passes else str(settings.batch_size)


def _or_none(value: float | None, unit: str) -> str:
    return "none" if value is None or value == math.inf else f"{value:.4g} {unit}"
