"""Checks a pack against the base that it will gate: is it strong and large enough, and what would make it so?"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from edgeproof.contracts.progress import Recording
from edgeproof.release.export import DEFAULT_FORMAT
from edgeproof.release.steps.arguments import as_format, as_path, as_words, pack_identity
from edgeproof.release.steps.judging.criteria import pack_texts
from edgeproof.release.steps.judging.policies import choose_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.forecast.checked import FormatCheck, PackCheck
    from edgeproof.eval.forecast.flaws import Flaw
    from edgeproof.eval.measurement import Baseline
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.eval.verdict.policy import Policy
    from edgeproof.export.pipeline import Exported
    from edgeproof.release.steps.arguments import StrPath

REFERENCES = {"gguf": "gguf-f16", "onnx": "onnx-fp32"}
"""Float precision in which the base is asked, by kind of artifact."""
CHANGES = "changes.json", "changes.md"
"""Names of the files that `out` gets."""


class _Seen(NamedTuple):
    """What was measured for the formats of one backend; `seconds`: of a gate, by format."""

    pack: Pack
    recorded: Baseline
    seconds: Mapping[str, float]
    flaws: tuple[Flaw, ...]


@contextmanager
def _told_that_nothing_is_kept() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note("Nothing of a pack check is kept: the same command begins anew.")
        raise


@_told_that_nothing_is_kept()
def pack_check(
    pack: StrPath,
    *,
    pack_key: StrPath | None = None,
    base: StrPath,
    format: str | Sequence[str] = DEFAULT_FORMAT,  # noqa: A002 (the word of the command line)
    policy: StrPath | None = None,
    baseline: StrPath | None = None,
    out: StrPath | None = None,
    show_answers: bool = False,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> PackCheck:
    """Say whether a good file would PASS with `pack` nine times in ten, what it takes, and how long a gate will run.

    The base is asked every probe at float precision and in each format, for which its files are written into the folder
    for temporary files and removed. Then synthetic good files are judged by the gate's own code: what unlearning does
    is assumed, or taken from the merged model of `baseline`; what quantizing does is drawn from what it did to the
    base. What is found is told (`progress.say`) before the search for a size that is enough.

    Args:
        pack: the pack's folder, or a file encrypted with age.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        base: a Hugging Face folder, or a float GGUF (F16, BF16, F32).
        format: the formats that will be gated.
        policy: limits, a TOML file; by default those of docs/verdict.md.
        baseline: what `record_baseline` wrote, of this base and pack.
        out: folder for the list of changes, as JSON and in words; nothing is written by default.
        show_answers: put question and answer of the probes concerned into the list.
        threads: all cores by default.
        force: replace a list that exists.
        progress: receives progress and warnings; by default nothing is shown.

    Raises:
        EdgeproofError: base, pack or baseline cannot be read, or do not fit each other.

    """
    from edgeproof.contracts.atomic import refuse_existing
    from edgeproof.contracts.file_sets import write_all
    from edgeproof.eval.forecast.assess import assumption, check_format, guessable_found
    from edgeproof.eval.forecast.changes import changes_of
    from edgeproof.eval.forecast.checked import PackCheck
    from edgeproof.eval.forecast.flaws import flaws_of_texts
    from edgeproof.eval.forecast.terminal import markdown_changes, render_flaws, render_found
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.packs.surfaces import unasked

    listener = Recording(progress)
    formats = tuple(dict.fromkeys(map(as_format, as_words(format)))) or (DEFAULT_FORMAT,)
    limits = choose_policy(as_path(policy), Path(pack), listener)
    read = load_pack(Path(pack), pack_identity(as_path(pack_key)))
    folder = as_path(out)
    if folder is not None:
        for name in CHANGES:
            refuse_existing(folder / name, force=force)
    for warning in unasked(read):
        listener.warn(warning)
    checks: list[FormatCheck] = []
    flaws: list[Flaw] = list(flaws_of_texts(read))
    _say(render_flaws(flaws), listener)
    for seen in _measured(
        read, Path(base), formats, limits, baseline=as_path(baseline), threads=threads, progress=listener
    ):
        given = seen.pack, seen.recorded
        more = [flaw for flaw in (*seen.flaws, *guessable_found(*given, limits)) if flaw not in flaws]
        _say(render_flaws(more), listener)
        flaws += more
        checks += [
            check_format(
                *given,
                name,
                limits,
                measured=baseline is not None,
                seconds=seconds,
                progress=listener,
                on_found=lambda one: _say(render_found(Path(base).name, read.name, one), listener),
            )
            for name, seconds in seen.seconds.items()
        ]
    changes = changes_of(read, checks, flaws)
    named = {name for change in changes for name in change.probes} if show_answers else set()
    found = PackCheck(
        pack=read.name,
        pack_sha256=read.digest,
        base=Path(base).name,
        assumed=assumption(limits, "" if baseline is None else Path(baseline).name),
        formats=tuple(checks),
        changes=changes,
        texts={probe.id: (probe.question, probe.answer) for probe in read.probes if probe.id in named},
        written=() if folder is None else tuple(folder / name for name in CHANGES),
        warnings=tuple(listener.warnings),
    )
    if folder is not None:
        listed = json.dumps(found.to_json(), ensure_ascii=False, indent=1, allow_nan=False)
        contents = {CHANGES[0]: f"{listed}\n".encode(), CHANGES[1]: markdown_changes(found).encode()}
        folder.mkdir(parents=True, exist_ok=True)
        write_all(folder, contents, force=force)
    return found


def show(found: PackCheck, file: TextIO | None = None, *, tables: bool = True) -> None:
    """Print a check to `file`, stderr by default; without the tables that were told during the check, if wanted."""
    from edgeproof.eval.forecast.terminal import render_check

    render_check(found, tables=tables, file=file)


def _say(text: str, listener: Recording) -> None:
    for line in text.splitlines():
        listener.say(line.rstrip())


def _measured(
    pack: Pack,
    base: Path,
    formats: Sequence[str],
    policy: Policy,
    *,
    baseline: Path | None,
    threads: int | None,
    progress: Progress,
) -> list[_Seen]:
    """Measure the base for each backend that gates one of the formats; with a baseline, only how long it takes."""
    from edgeproof.contracts.atomic import write_failed
    from edgeproof.contracts.scratch import scratch_folder
    from edgeproof.eval.baselines.file import load_baselines
    from edgeproof.export.pipeline import export
    from edgeproof.release.steps.recording.measure_base import measure_base

    given = None if baseline is None else load_baselines(baseline)
    temporary = Path(tempfile.gettempdir())
    found = []
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(temporary))
        except OSError as error:
            raise write_failed(temporary, error) from error
        for kind, reference in REFERENCES.items():
            ours = tuple(name for name in formats if name.startswith(f"{kind}-"))
            if not ours:
                continue
            wanted = tuple(dict.fromkeys((*(() if given else (reference,)), *ours)))
            made = export(base, (), wanted, folder / kind, texts=pack_texts(pack), threads=threads, progress=progress)
            if given is None:
                seen = measure_base(pack, made, ours, policy.sampling, threads=threads, progress=progress)
                found.append(_Seen(seen.pack, seen.recorded, seen.seconds, seen.too_long))
            else:
                recorded, seconds = _recorded(given, pack, made, policy, threads=threads, progress=progress)
                found.append(_Seen(pack, recorded, seconds, ()))
    return found


def _recorded(
    given: Mapping[str, Baseline],
    pack: Pack,
    made: Sequence[Exported],
    policy: Policy,
    *,
    threads: int | None,
    progress: Progress,
) -> tuple[Baseline, dict[str, float]]:
    """Choose the baseline that fits, and ask the base in each format once more for the time that it takes."""
    from edgeproof.eval.baselines.file import choose_baseline
    from edgeproof.eval.baselines.fit import check_match
    from edgeproof.release.steps.recording.measure_base import timed
    from edgeproof.runtime import backend_for, open_backend

    seconds = {}
    for item in made:
        with open_backend(backend_for(item.path), item.path, threads=threads) as engine:
            info = engine.info
            recorded = choose_baseline(given, info.backend, format_name=item.format)
            check_match(
                recorded, pack, info.tokenizer_digest, format_name=item.format, prompt_digest=info.prompt_digest
            )
            _, seconds[item.format] = timed(
                pack,
                engine,
                item,
                label=f"base:{item.format}",
                carriers=recorded.carriers,
                sampling=policy.sampling,
                progress=progress,
            )
    return recorded, seconds
