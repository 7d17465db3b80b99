"""Next steps for a file that failed, by its format: each names the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.advice import COMMANDS, SURVIVABLE, WIDER, command

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


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


def utility_steps(format_name: str, missed: AbstractSet[str]) -> list[str]:
    """Return what lowers the costs that miss their limit: of quantizing, and of unlearning."""
    steps = []
    if "quantizing-cost" in missed:
        steps += wider_steps(format_name, "Quantizing costs too much: export with more bits")
        if format_name in COMMANDS["imatrix"].formats:
            imatrix = command("imatrix", format=format_name)
            steps.append(f"Or weight the rounding by an importance matrix of llama.cpp: {imatrix}")
    if missed & {"unlearning-cost", "accuracy"}:
        gently = command("unlearn-gently")
        steps.append(f"Unlearning costs too much: unlearn more gently, or with more retain data: {gently}")
    return steps


def wider_steps(format_name: str, why: str) -> list[str]:
    """Return the exports to formats with more bits."""
    return [f"{why}: {command('export', format=name)}" for name in WIDER.get(format_name, ())]
