"""Reads what the demo is given, and refuses at once what could not be shown later."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import ArtifactError
from edgeproof.contracts.progress import Recording, Silent
from edgeproof.demo.models import DemoModel
from edgeproof.demo.run import Gated
from edgeproof.demo.seal import check_seal, take_seal
from edgeproof.demo.show import prepare_show
from edgeproof.eval.baselines.file import choose_baseline
from edgeproof.eval.baselines.fit import check_match
from edgeproof.eval.report.survival import read_survival
from edgeproof.eval.report.write import REPORT
from edgeproof.export.artifact.kind import identify_format
from edgeproof.export.artifact.manifest import read_provenance
from edgeproof.release.gate import gate_all
from edgeproof.release.steps.criteria import Judging, read_criteria
from edgeproof.release.steps.judge_artifact import Candidate
from edgeproof.release.verify import verify
from edgeproof.runtime import backend_for, open_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.demo.seal import Seal
    from edgeproof.demo.show import Show
    from edgeproof.eval.measurement import Finding
    from edgeproof.eval.verdict.judgement import Judgement
    from edgeproof.release.steps.criteria import Criteria


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

    Raises:
        InputError: a file is missing or damaged, or the pack is that of another model.
        BackendError: a file that ships cannot be run.

    """
    listener = Silent()
    criteria = read_criteria(given.judging, listener)
    shipped = [_model(str(index), path) for index, path in enumerate(given.artifacts)]
    chats = [_has_chat(model, criteria) for model in shipped]
    original = [] if given.original is None else [_model("original", given.original)]
    seals = {model.path: model.seal for model in shipped}
    show = prepare_show(
        [*original, *shipped],
        criteria,
        gate=partial(_gate, criteria, seals),
        recall=partial(_recall, given, seals),
        chat=all(chats),
    )
    show.warnings.extend(listener.warnings)
    return show


def _model(key: str, path: Path) -> DemoModel:
    if not path.exists():
        raise ArtifactError(f"there is no {path}", next_step="check the path")
    seal = take_seal(path)
    left = read_survival(read_provenance(path, seal.sha256))
    return DemoModel(key, path, identify_format(path), seal, left)


def _has_chat(model: DemoModel, criteria: Criteria) -> bool:
    """Make sure that the gate could judge the file, and say whether it has a chat template."""
    if model.format_name is None:
        raise ArtifactError(
            f"{model.path} is of none of the formats that the gate knows",
            next_step="give what `export-edge export` wrote",
        )
    with open_backend(backend_for(model.path), model.path, threads=1) as backend:
        info = backend.info
    baseline = choose_baseline(criteria.baselines, info.backend, format_name=model.format_name)
    check_match(
        baseline,
        criteria.pack,
        info.tokenizer_digest,
        format_name=model.format_name,
        prompt_digest=info.prompt_digest,
    )
    return info.chat_template is not None


def _gate(
    criteria: Criteria,
    seals: Mapping[Path, Seal],
    artifact: Path,
    *,
    progress: Progress,
    on_finding: Callable[[Finding], None],
) -> Gated:
    """Run the gate; its reports, without texts, go through a folder that is gone at once."""
    check_seal(artifact, seals[artifact])
    with TemporaryDirectory() as folder:
        judging = replace(criteria.judging, report=Path(folder), force=True)
        (found,) = gate_all(
            [Candidate(artifact)], replace(criteria, judging=judging), Recording(progress), on_finding=on_finding
        )
        check_seal(artifact, seals[artifact])
        return Gated(found.judgement, {path.name: path.read_bytes() for path in found.reports})


def _recall(given: Given, seals: Mapping[Path, Seal], artifact: Path) -> Judgement | None:
    """Judge the scores of an earlier report on `artifact` again; None where there is no report."""
    name = artifact.name if artifact.is_dir() else artifact.stem
    folders = () if given.report is None else (given.report / name, given.report)
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
