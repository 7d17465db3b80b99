"""Records a baseline: scores of base and merged model, so that the gate needs only the artifact and this file."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import UsageError
from edgeproof.contracts.progress import Recording
from edgeproof.release.export import DEFAULT_FORMAT
from edgeproof.release.steps.arguments import (
    as_format,
    as_path,
    as_paths,
    as_words,
    equivalent_command,
    export_options,
    pack_identity,
)
from edgeproof.release.steps.asking.course import Course
from edgeproof.release.steps.asking.kept import Keeping
from edgeproof.release.steps.judging.criteria import pack_texts
from edgeproof.release.steps.judging.policies import choose_policy
from edgeproof.release.steps.recording.add_format import Models, add_formats
from edgeproof.release.steps.recording.measure_baseline import Asking, measure_baseline, models_asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.measurement import Baseline
    from edgeproof.release.steps.arguments import StrPath

FLOATS = ("gguf-f16", "gguf-f32")
"""Precisions of base and merged model in a GGUF; ONNX folders are compared with onnx-fp32."""


@dataclass(frozen=True)
class BaselineResult:
    """The recorded baseline.

    Attributes:
        baseline: the file.
        pack_digest: digest of the probes.
        probes: number of probes.
        tokenizer_digests: by backend.
        formats: formats in which the base was measured.
        warnings: warnings of export and measurement.
        resumed: number of answers that an interrupted run had given.

    """

    baseline: Path
    pack_digest: str
    probes: int
    tokenizer_digests: Mapping[str, str]
    formats: tuple[str, ...]
    warnings: tuple[str, ...]
    resumed: int = 0


def record_baseline(
    *,
    base: StrPath,
    adapter: StrPath | Sequence[StrPath] = (),
    unlearned: StrPath | None = None,
    format: str | Sequence[str] = DEFAULT_FORMAT,  # noqa: A002 (the word of the command line)
    add_format: str | Sequence[str] = (),
    probes: StrPath,
    pack_key: StrPath | None = None,
    out: StrPath,
    float: str = FLOATS[0],  # noqa: A002 (the same)
    policy: StrPath | None = None,
    sign: StrPath | None = None,
    imatrix: StrPath | None = None,
    tensor_type: str | Sequence[str] = (),
    converter: StrPath | None = None,
    allow_requantize: bool = False,
    shared_scales: bool = False,
    small_embedding: bool = False,
    onnx_builder: bool = False,
    name: str = "",
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> BaselineResult:
    """Record what base and merged model answer at float precision, and the base in each format.

    The files that this needs are written beside `out` and removed again: room for the float model twice, and for the
    base in each format.

    Args:
        base: a Hugging Face folder, or a float GGUF (F16, BF16, F32).
        adapter: PEFT folders, merged in the order given.
        unlearned: in place of adapters, the model that was unlearned in all its weights: a folder or a float GGUF.
        format: the formats that will be gated.
        add_format: in place of `format`: add these to the baseline `out`, which was recorded of the same models; only
            the base in them is asked.
        probes: the pack's folder, or a file encrypted with age.
        pack_key: the age identity for an encrypted pack; by default what EDGEPROOF_PACK_KEY holds.
        out: the file to write: scores and carrier sentences, no probes.
        float: precision of base and merged model: gguf-f16, or gguf-f32 where a weight is too large for float16.
        policy: sample as this policy says; as the default one does where None.
        sign: a PEM file with an ed25519 key that signs the baseline.
        imatrix: this and all up to `name` are those of `export`.
        tensor_type: as for `export`.
        converter: as for `export`.
        allow_requantize: as for `export`.
        shared_scales: as for `export`.
        small_embedding: as for `export`.
        onnx_builder: as for `export`.
        name: as for `export`.
        threads: all cores by default.
        force: replace what exists.
        progress: receives progress and warnings; by default nothing is shown.
        command: as for `export`.

    Raises:
        EdgeproofError: nothing is left under the final name.

    """
    from edgeproof.contracts.atomic import refuse_existing
    from edgeproof.contracts.file_sets import settle
    from edgeproof.eval.attestation import read_private_key
    from edgeproof.eval.baselines.file import save_baselines
    from edgeproof.eval.packs.reader import load_pack
    from edgeproof.eval.packs.surfaces import unasked
    from edgeproof.export.pipeline import export, refuse_unfit

    given = dict(locals())
    words = equivalent_command(record_baseline, "baseline", given) if command is None else tuple(command)
    listener = Recording(progress)
    base, out, adapters = Path(base), Path(out), as_paths(adapter)
    merged_from = base if unlearned is None else Path(unlearned)
    formats = tuple(map(as_format, as_words(format))) or (DEFAULT_FORMAT,)
    if float not in FLOATS:
        raise UsageError(f"no such precision of a baseline: {float}", next_step=f"one of: {', '.join(FLOATS)}")
    signing_key = None if sign is None else read_private_key(Path(sign))
    if bool(adapters) == (unlearned is not None):
        found = (
            "both --adapter and --unlearned were given" if adapters else "neither --adapter nor --unlearned was given"
        )
        raise UsageError(
            f"a baseline holds what the unlearned model answers, and {found}",
            next_step="give --adapter DIR, or --unlearned DIR where all weights were trained",
        )
    identity = pack_identity(as_path(pack_key))
    sampling = choose_policy(as_path(policy), Path(probes), listener).sampling
    pack = load_pack(Path(probes), identity)
    for warning in unasked(pack):
        listener.warn(warning)
    more = tuple(dict.fromkeys(map(as_format, as_words(add_format))))
    if more and formats != (DEFAULT_FORMAT,):
        raise UsageError("--add-format adds to a baseline, --format records one", next_step="leave one of them out")
    settle(out.resolve().parent)
    refuse_existing(out, force=force or bool(more))
    write = functools.partial(
        export,
        options=export_options(given),
        texts=pack_texts(pack),
        threads=threads,
        command=words,
        progress=listener,
    )
    # A backend's numbers are compared with its own: each kind of artifact has its float reference.
    references = {"gguf": float, "onnx": "onnx-fp32"}
    baselines: list[Baseline] = []
    kept = Keeping(pack, sampling, {}, listener)
    asking = Asking(pack, sampling, threads, kept, Course(listener))
    by_kind = {kind: [name for name in formats if name.startswith(f"{kind}-")] for kind in references}
    kinds = list(dict.fromkeys(name.partition("-")[0] for name in formats))
    with kept.told_how_to_go_on(), _scratch_beside(out) as folder:
        check = folder / "check"
        check.mkdir()
        wanted = [references[kind] for kind in kinds] + list(formats)
        refuse_unfit(merged_from, adapters, more or wanted, check, export_options(given), texts=pack_texts(pack))
        if more:
            models = Models(base, adapters, None if unlearned is None else Path(unlearned), allow_requantize)
            baselines = add_formats(
                out, more, models, asking, lambda names: write(base, (), names, folder), signed=sign is not None
            )
            kinds = []
        for number, kind in enumerate(kinds, start=1):
            ours = by_kind[kind]
            plain = write(base, (), (references[kind], *ours), folder / kind / "base")
            (merged,) = write(merged_from, adapters, (references[kind],), folder / kind / "merged")
            full = unlearned is not None
            later = [one for more in kinds[number:] for one in models_asked(references[more], by_kind[more])]
            baselines.append(measure_baseline(asking, plain, merged, ours, full=full, later=later))
    save_baselines(baselines, out, force=force or bool(more), signing_key=signing_key)
    kept.done()
    return BaselineResult(
        baseline=out,
        pack_digest=baselines[0].pack_digest,
        probes=len(baselines[0].probes),
        tokenizer_digests={baseline.backend: baseline.tokenizer_digest for baseline in baselines},
        formats=tuple(name for baseline in baselines for name in sorted(baseline.base_in_format)),
        warnings=tuple(listener.warnings),
        resumed=kept.taken_up,
    )


@contextlib.contextmanager
def _scratch_beside(out: Path) -> Iterator[Path]:
    """Make a folder beside `out` that is removed when the block ends."""
    from edgeproof.contracts.atomic import write_failed
    from edgeproof.contracts.scratch import scratch_folder

    with contextlib.ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(scratch_folder(out.resolve().parent))
        except OSError as error:
            raise write_failed(out, error) from error
        yield folder
