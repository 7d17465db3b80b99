"""Puts a job, its artifact and the app onto the phone on USB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, InputError
from edgeproof.contracts.progress import no_beat

if TYPE_CHECKING:
    from edgeproof.release.steps.arguments import StrPath
    from edgeproof.runtime.evidence.job_file import Job


@dataclass(frozen=True)
class Pushed:
    """What is on the device now: the job's id, and the names of the files that had to be copied."""

    job: str
    copied: tuple[str, ...]


def phone_push(job: StrPath, artifact: StrPath, *, app: StrPath | None = None) -> Pushed:
    """Install the app, and copy job and artifact into its private folder; what is there already is not copied again.

    Args:
        job: what `phone_job` wrote.
        artifact: the file that it was written for.
        app: the APK of the app's debug build; by default the app is there.

    Raises:
        EdgeproofError: a file is missing or not the job's, or the device cannot be used.

    """
    from edgeproof.runtime.evidence.job_file import read_job
    from edgeproof.runtime.probe.app import App

    job, artifact = Path(job), Path(artifact)
    given = read_job(job)
    refuse_other_artifact(given, artifact)
    if app is not None and not Path(app).is_file():
        raise InputError(f"there is no {app}", next_step="build it: make apk, in a checkout")
    device = App(no_beat)
    copied = [Path(app).name] if app is not None and device.install(Path(app)) else []
    copied += [
        source.name
        for source, name in ((artifact, model_name(given)), (job, job_name(given)))
        if device.put(source, name)
    ]
    return Pushed(given.id, tuple(copied))


def refuse_other_artifact(job: Job, artifact: Path) -> None:
    """Refuse a file that is not the job's, by its sha256."""
    from edgeproof.runtime.probe.launch import sha256

    if not artifact.is_file():
        raise ArtifactError(f"there is no file {artifact}", next_step="check the path")
    found, wanted = sha256(artifact, no_beat), str(job.content["artifact"]["sha256"])
    if found != wanted:
        raise ArtifactError(
            f"the job was written for another file than {artifact}: sha256 {wanted[:12]}… there, {found[:12]}… here",
            next_step="give the file that the job was written for, or write the job again",
        )


def model_name(job: Job) -> str:
    """Return where the app looks for the artifact, within its folder."""
    return f"models/{job.content['artifact']['sha256']}.gguf"


def job_name(job: Job) -> str:
    """Return where the app looks for the job, within its folder."""
    return f"jobs/{job.id}/job.json"
