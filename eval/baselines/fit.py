"""Checks of a baseline against what is to be judged by it: the same pack, tokenizer, prompts and format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.advice import SURVIVABLE, command
from edgeproof.contracts.backend import RESUMED
from edgeproof.contracts.errors import ArtifactError, BaselineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeproof.contracts.errors import EdgeproofError
    from edgeproof.eval.measurement import Baseline, Measurement, Sources
    from edgeproof.eval.packs.pack import Pack

LATER = frozenset({"embedding"})
"""What backends state that baselines and reports of older versions do not."""
_HEAD = 12


def record_command(format_name: str = "FORMAT", sources: Sources | None = None) -> str:
    """Return the command that records a baseline for `format_name`, of models like `sources`."""
    full = sources is not None and sources.unlearned is not None
    return command("baseline-unlearned" if full else "baseline", format=format_name)


def _add_command(format_name: str, sources: Sources | None) -> str:
    """Return the command that adds a format to a baseline; that records it where the format is a float one."""
    if format_name not in SURVIVABLE:
        return record_command(format_name, sources)
    full = sources is not None and sources.unlearned is not None
    return command("add-format-unlearned" if full else "add-format", format=format_name)


def check_match(
    baseline: Baseline, pack: Pack, tokenizer_digest: str, *, format_name: str, prompt_digest: str | None = None
) -> None:
    """Refuse a baseline of another pack, tokenizer or format, before anything is measured.

    `prompt_digest` is that of the artifact; None if already compared (`verify`).

    Raises:
        BaselineError: names what differs, with the first digits of both digests, and the command to record it again.

    """
    check_pack(baseline, pack, format_name=format_name)
    _refuse_other(
        "tokenizer", baseline.tokenizer_digest, tokenizer_digest, record_command(format_name, baseline.sources)
    )
    if prompt_digest is not None:
        check_prompt(prompt_digest, baseline.prompt_digest, "the artifact")


def check_pack(baseline: Baseline, pack: Pack, *, format_name: str) -> None:
    """Refuse a baseline of another pack, without this format, or of an older version: what no artifact is needed for.

    Raises:
        BaselineError: as for `check_match`.

    """
    again = record_command(format_name, baseline.sources)
    if not baseline.prompt_digest:
        raise BaselineError(
            "the baseline was recorded by an older version of edgeproof: it does not state chat template, special "
            "tokens and pre-tokenizer",
            next_step=f"record it again: {again}",
        )
    _refuse_other("pack", baseline.pack_digest, pack.digest, again)
    asked = (pack.facts(), pack.surface_names(), pack.kinds(), pack.asked_twice())
    if (baseline.probes, baseline.surfaces, baseline.kinds, baseline.asked_twice) != asked:
        raise BaselineError(
            "the baseline's probes are not the pack's, though its digest is", next_step=f"record it again: {again}"
        )
    recorded_in(baseline, format_name)


def check_embedding(baseline: Baseline, stored: str | None, *, format_name: str) -> None:
    """Refuse a baseline whose base in this format has its embedding table stored otherwise than the artifact.

    What that costs or hides would be taken for what unlearning and quantizing did. Older baselines do not state it, and
    `stored` is None for an artifact that is no ONNX folder.

    Raises:
        BaselineError: names both types, and the command that makes them one.

    """
    then = recorded_in(baseline, format_name).backend.get("embedding")
    if then is None or stored is None or then == stored:
        return
    again = command("baseline-small-embedding", format=format_name)
    usual = record_command(format_name, baseline.sources)
    raise BaselineError(
        f"the artifact's embedding table is stored as {stored}, that of the base in {format_name} in the baseline as "
        f"{then}: --small-embedding was given to one of the two",
        next_step=f"record the baseline with it: {again}"
        if then == "float"
        else f"export with it: {command('small-embedding', format=format_name)}; or record the baseline without: "
        f"{usual}",
    )


def check_prompt(found: str, recorded: str, whose: str, kind: type[EdgeproofError] = ArtifactError) -> None:
    """Refuse what is prompted or read otherwise than the baseline's models were: `prompt_digest` of `ModelInfo`.

    Raises:
        EdgeproofError: of the given kind; says of `whose`, and what can be done.

    """
    if found != recorded:
        raise kind(
            f"chat template, special tokens, token types or pre-tokenizer of {whose} are not those of the baseline "
            f"(digest {found[:12] or 'missing'}…, the baseline's {recorded[:12] or 'missing'}…): such a change can "
            "silence a file that still knows everything",
            next_step="export again with the base's own tokenizer files; where the change is meant, make it in the "
            "base and record the baseline again",
        )


def recorded_in(baseline: Baseline, format_name: str) -> Measurement:
    """Return the measurement of the base in a format.

    Raises:
        BaselineError: the baseline has none; says in which formats it has.

    """
    if format_name not in baseline.base_in_format:
        known = ", ".join(sorted(baseline.base_in_format)) or "none"
        raise BaselineError(
            f"the baseline has no scores of the base in {format_name} (it has: {known}): without that control it "
            "is unknown whether the pack can detect a leak in this format",
            next_step=f"add it: {_add_command(format_name, baseline.sources)}",
        )
    return baseline.base_in_format[format_name]


def backend_differences(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """List what differs between two backends (engine, processor, options): its name, the value then and now.

    Whether a run was interrupted makes no difference, nor does what an older version could not state.
    """
    unknown = {RESUMED, *(LATER - then.keys())}
    return tuple(
        (key, then.get(key, "not set"), now.get(key, "not set"))
        for key in sorted({*then, *now} - unknown)
        if then.get(key) != now.get(key)
    )


def _refuse_other(what: str, recorded: str, found: str, again: str) -> None:
    if recorded != found:
        raise BaselineError(
            f"the baseline was recorded with another {what}: {recorded[:_HEAD]}… there, {found[:_HEAD]}… here",
            next_step=f"use the {what} of the baseline, or record it again: {again}",
        )
