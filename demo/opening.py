"""Reads what the demo is given, and refuses at once what could not be shown later."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError, BaselineError, InputError
from edgeproof.contracts.progress import Recording, Silent
from edgeproof.demo.asking.models import ORIGINAL, DemoModel, failure
from edgeproof.demo.run import Gated
from edgeproof.demo.seal import check_seal, take_seal
from edgeproof.demo.show import prepare_show
from edgeproof.eval.baselines.fit import check_match, record_command
from edgeproof.eval.report.survival import read_survival
from edgeproof.eval.report.write import REPORT
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.artifact.manifest import read_provenance
from edgeproof.release.gate import gate_all
from edgeproof.release.steps.judging.criteria import Judging, read_criteria
from edgeproof.release.steps.judging.judge_artifact import Candidate
from edgeproof.release.verify import verify
from edgeproof.runtime import backend_for, open_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.backend import ModelInfo
    from edgeproof.contracts.progress import Progress
    from edgeproof.demo.seal import Seal
    from edgeproof.demo.show import Show
    from edgeproof.eval.measurement import Finding
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.release.steps.judging.criteria import Criteria


class Given(NamedTuple):
    """What is to be shown.

    Attributes:
        artifacts: the files that ship, one or several formats of one model.
        original: the model that knows it all; None leaves it out.
        judging: pack, baseline, policy and what else the gate goes by.
        report: where the gate's reports lie, one or a folder for each artifact; None where there are none.

    """

    artifacts: Sequence[Path]
    original: Path | None
    judging: Judging
    report: Path | None = None


def open_show(given: Given) -> Show:
    """Read pack, baseline, policy and files, and make sure that they belong together.

    A file whose format the baseline lacks is shown, and is not judged.

    Raises:
        InputError: a file is missing, damaged or given twice; the pack is that of another model; no file can be judged.
        BackendError: a file that ships cannot be run.

    """
    listener = Silent()
    criteria = read_criteria(given.judging, listener)
    _refuse_twice(given.artifacts)
    shipped = [_model(str(index), path) for index, path in enumerate(given.artifacts)]
    infos = [_info(model) for model in shipped]
    unjudged = {
        model.key: error
        for model, info in zip(shipped, infos, strict=True)
        if (error := _unjudged(model, info, criteria)) is not None
    }
    if len(unjudged) == len(shipped):
        raise next(iter(unjudged.values()))
    original = [] if given.original is None else [_model(ORIGINAL, given.original)]
    seals = {model.path: model.seal for model in shipped}
    show = prepare_show(
        [*original, *shipped],
        criteria,
        gate=partial(_gate, criteria, seals),
        recall=None if given.report is None else partial(_recall, given, given.report, seals),
        chat=all(info.chat_template is not None for info in infos),
        unjudged={key: failure(error) for key, error in unjudged.items()},
    )
    show.warnings.extend(listener.warnings)
    show.warnings.extend(
        f"{model.path.name}: {unjudged[model.key].message}" for model in shipped if model.key in unjudged
    )
    return show


def _refuse_twice(artifacts: Sequence[Path]) -> None:
    whole = [path.resolve() for path in artifacts]
    for index, path in enumerate(whole):
        if path in whole[:index]:
            raise InputError(f"{artifacts[index]} is given twice", next_step="give each ARTIFACT once")


def _model(key: str, path: Path) -> DemoModel:
    if not path.exists():
        raise ArtifactError(f"there is no {path}", next_step="check the path")
    seal = take_seal(path)
    left = read_survival(read_provenance(path, seal.sha256))
    return DemoModel(key, path, identify_format(path), seal, left)


def _info(model: DemoModel) -> ModelInfo:
    if model.format_name is None:
        raise ArtifactError(
            f"{model.path} is of none of the formats that the gate knows",
            next_step="give what `export-edge export` wrote",
        )
    with open_backend(backend_for(model.path), model.path, threads=1) as backend:
        return backend.info


def _unjudged(model: DemoModel, info: ModelInfo, criteria: Criteria) -> BaselineError | None:
    """Make sure that the pack is that of the file's model; return why the gate could not judge it all the same.

    Raises:
        InputError: pack, tokenizer or prompts are not those of the baseline.

    """
    own = criteria.baselines.get(info.backend)
    baseline = own or next(iter(criteria.baselines.values()))
    recorded = sorted({name for one in criteria.baselines.values() for name in one.base_in_format})
    known = own is not None and model.format_name in own.base_in_format
    check_match(
        baseline,
        criteria.pack,
        info.tokenizer_digest,
        format_name=str(model.format_name) if known else min(baseline.base_in_format),
        prompt_digest=None if own is None else info.prompt_digest,
    )
    if known:
        return None
    every = " --format ".join([*recorded, str(model.format_name)])
    return BaselineError(
        f"the baseline has no scores of the base in {model.format_name} (it has: {', '.join(recorded)}), so this file "
        "is not judged",
        next_step=f"record it again with every format that is shown: {record_command(every)}",
    )


def _gate(
    criteria: Criteria,
    seals: Mapping[Path, Seal],
    artifact: Path,
    *,
    progress: Progress,
    on_finding: Callable[[Finding], None],
    beat: Callable[[], None],
) -> Gated:
    """Run the gate; its reports, without texts, go through a folder that is gone at once."""
    check_seal(artifact, seals[artifact])
    with TemporaryDirectory() as folder:
        judging = replace(criteria.judging, report=Path(folder), force=True)
        (found,) = gate_all(
            [Candidate(artifact)],
            replace(criteria, judging=judging),
            Recording(progress),
            on_finding=on_finding,
            beat=beat,
        )
        check_seal(artifact, seals[artifact])
        return Gated(found.judgement, {path.name: path.read_bytes() for path in found.reports})


def _recall(given: Given, reports: Path, seals: Mapping[Path, Seal], artifact: Path) -> Judgement | None:
    """Judge the scores of an earlier report on `artifact` again; None where there is no report."""
    name = artifact.name if artifact.is_dir() else artifact.stem
    folders = (reports / name, reports)
    found = next((folder / REPORT for folder in folders if (folder / REPORT).is_file()), None)
    if found is None:
        return None
    judging = given.judging
    judgement = verify(
        found,
        artifact=artifact,
        probes=judging.probes,
        pack_key=judging.pack_key,
        baseline=judging.baseline,
        policy=judging.policy,
    ).judgement
    check_seal(artifact, seals[artifact])
    return judgement
