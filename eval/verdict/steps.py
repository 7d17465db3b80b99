"""Next steps for a file that failed, by its format: each names the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.advice import COMMANDS, SURVIVABLE, WIDER, command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

NAMED = 5
"""Most probes that a step names."""
COSTS = frozenset({"unlearning-cost", "accuracy"})
"""Criteria that gentler unlearning, more weight on retain data and more of them help."""


def came_back_steps(format_name: str) -> list[str]:
    """Return what keeps rounding to this format from undoing the unlearning."""
    steps = []
    if format_name in SURVIVABLE:
        survive = command("survive", format=format_name)
        steps.append(f"Unlearn again so that it survives this format's rounding: {survive}")
    steps += wider_steps(format_name, "Or export to a format that rounds less, and gate that")
    if format_name in COMMANDS["unmerged"].formats:
        unmerged = command("unmerged", format=format_name)
        steps.append(f"Or ship the adapter beside the quantized base, unrounded, and gate both: {unmerged}")
    return steps


def longer_step(*, keeping: bool = False) -> str:
    """Return what makes a model forget that had not, where nothing else is known of it.

    `keeping`: unlearning costs too much, too, so that more training alone would cost more.
    """
    if keeping:
        return (
            "Unlearning forgot too little and costs too much: unlearn longer, with a larger retain weight and more "
            f"retain data of the kinds that were lost: {command('unlearn-longer-keeping')}"
        )
    return f"Unlearn again, longer: {command('unlearn-longer')}"


def reasoned_steps(guessable: Sequence[str], format_name: str, *, ended: bool, keeping: bool = False) -> list[str]:
    """Return what helps in place of longer training.

    Args:
        guessable: ids of leaking forget probes, and of holdout probes, whose answers can be guessed.
        format_name: the artifact's format.
        ended: whether training ended on its forget target.
        keeping: as for `longer_step`.

    """
    steps = []
    check = command("size-pack", format=format_name)
    if guessable:
        more = f" and {len(guessable) - NAMED} more" if len(guessable) > NAMED else ""
        steps.append(
            f"Leave questions with guessable answers out of the pack ({', '.join(guessable[:NAMED])}{more}): the base "
            f"gives these answers without having been told, and no training takes that away. `pack check` names all: "
            f"{check}"
        )
    if not ended:
        then = "Then" if keeping else "Then, if others leak"
        return [*steps, f"{then}: {longer_step(keeping=keeping)}"]
    asked = f"Ask as the pack asks, if training did not: {command('unlearn-as-asked')}"
    if keeping:
        asked = (
            "Unlearn with a larger retain weight and more retain data of the kinds that were lost, asked as the pack "
            f"asks: {command('unlearn-as-asked-keeping')}"
        )
    steps.append(f"Training ended on its target: more --epochs or --steps change nothing. {asked}")
    return steps if guessable else [*steps, f"Or leave questions with guessable answers out of the pack: {check}"]


def utility_steps(format_name: str, missed: AbstractSet[str]) -> list[str]:
    """Return what lowers the costs that miss their limit: of quantizing, and of unlearning."""
    steps = []
    if "quantizing-cost" in missed:
        steps += wider_steps(format_name, "Quantizing costs too much: export with more bits")
        if format_name in COMMANDS["imatrix"].formats:
            imatrix = command("imatrix", format=format_name)
            steps.append(f"Or weight the rounding by an importance matrix of llama.cpp: {imatrix}")
    if missed & COSTS:
        gently = command("unlearn-gently")
        steps.append(f"Unlearning costs too much: unlearn more gently, or with more retain data: {gently}")
    return steps


def wider_steps(format_name: str, why: str) -> list[str]:
    """Return the exports to formats with more bits."""
    return [f"{why}: {command('export', format=name)}" for name in WIDER.get(format_name, ())]
