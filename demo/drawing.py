"""What the page draws, as JSON's own kinds: verdicts against their limits, files side by side, survival maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.eval.report.figures import interval
from edgeproof.eval.report.survival import LOST, heat_map
from edgeproof.eval.verdict.wording import bound_words, limit_words, upper_of

if TYPE_CHECKING:
    from edgeproof.contracts.survival import AdapterSurvival
    from edgeproof.eval.verdict.judgement import Criterion, Judgement

SHOWN_FIRST = ("leak", "recovery", "quantizing-cost", "unlearning-cost")
"""Criteria on the first screen: what came back, and what was kept."""


def verdict(judgement: Judgement) -> dict[str, object]:
    """Give all that the page shows of a judgement; every number is the judgement's own."""
    return {
        "verdict": str(judgement.verdict),
        "reason": str(judgement.reason),
        "summary": judgement.summary,
        "next_steps": list(judgement.next_steps),
        "notes": list(judgement.notes),
        "format": judgement.format_name,
        "sha256": judgement.artifact_sha256,
        "criteria": [_criterion(criterion) for criterion in judgement.criteria],
        "controls": [
            {
                "title": one.title,
                "status": str(one.status),
                "needed": one.needed,
                "found": one.found,
                "meaning": one.meaning,
            }
            for one in judgement.controls
        ],
        "subjects": [
            {"cluster": one.cluster, "leaks": one.leaks, "known": one.known, "probability": one.probability}
            for one in judgement.subjects
        ],
    }


def _criterion(criterion: Criterion) -> dict[str, object]:
    figure = interval(criterion)
    return {
        "name": criterion.name,
        "title": criterion.title,
        "status": str(criterion.status),
        "needed": criterion.needed,
        "first": criterion.name in SHOWN_FIRST,
        "estimate": criterion.estimate,
        "lower": criterion.lower,
        "upper": upper_of(criterion),
        "limit": criterion.limit,
        "unit": criterion.unit,
        "found": criterion.found,
        "words": f"{criterion.found}{bound_words(criterion)}{limit_words(criterion)}",
        "meaning": criterion.meaning,
        "figure": None
        if figure is None
        else {
            "start": figure.start,
            "end": figure.end,
            "estimate": figure.estimate,
            "limit": figure.limit,
            "ticks": [{"place": tick.place, "words": tick.words, "anchor": tick.anchor} for tick in figure.ticks],
        },
    }


def survival(left: AdapterSurvival | None) -> dict[str, object] | None:
    """Give the survival map, layers × kinds of tensors; None where the manifest says nothing of single tensors."""
    if left is None:
        return None
    heat = heat_map(left)
    return {
        "projection": left.projection,
        "error": left.projection_error,
        "codes_moved": left.codes_moved,
        "tensors": len(left.tensors),
        "lost": heat.lost,
        "lost_below": LOST,
        "worst": {"name": heat.worst.name, "projection": heat.worst.projection},
        "kinds": list(heat.kinds),
        "rows": [
            {"layer": layer, "cells": [None if cell is None else cell.projection for cell in cells]}
            for layer, cells in heat.rows
        ],
        "outside": [{"name": one.name, "projection": one.projection} for one in heat.outside],
    }
