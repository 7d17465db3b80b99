"""Makes a pack from the forget and retain sets of `unlearn`."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edgeproof.contracts.atomic import refuse_existing, write_failed
from edgeproof.contracts.errors import InputError, OutputError
from edgeproof.contracts.file_sets import write_all
from edgeproof.contracts.parsing import read_file
from edgeproof.contracts.progress import Recording
from edgeproof.release.steps.arguments import as_path, as_words, equivalent_command
from edgeproof.release.steps.files.new_folder import write_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.progress import Progress
    from edgeproof.eval.authoring.draft import Draft
    from edgeproof.eval.authoring.known import Known
    from edgeproof.eval.measurement import Measurement
    from edgeproof.eval.packs.pack import Pack
    from edgeproof.release.steps.arguments import StrPath

SALT_DIGITS = 64


@dataclass(frozen=True)
class NewPack:
    """A pack that was written.

    Attributes:
        out: its folder, or its encrypted file.
        name: its name.
        sha256: digest of what it asks.
        clusters: number of clusters by set.
        probes: number of probes by set.
        policy: the policy to gate it with, if it has too few subjects to bound a share; else None.
        notes: what was left out, and what the pack cannot show.

    """

    out: Path
    name: str
    sha256: str
    clusters: Mapping[str, int]
    probes: Mapping[str, int]
    policy: Path | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-compatible types."""
        return {
            "out": str(self.out),
            "pack": {"name": self.name, "sha256": self.sha256},
            "sets": {name: {"probes": count, "clusters": self.clusters[name]} for name, count in self.probes.items()},
            "policy": None if self.policy is None else str(self.policy),
            "notes": list(self.notes),
        }


def pack_new(
    *,
    forget: StrPath,
    retain: StrPath | None = None,
    untrained: StrPath | None = None,
    out: StrPath,
    name: str | None = None,
    cluster_by: str | None = None,
    clusters: int = 150,
    retain_probes: int = 500,
    bank: Sequence[str] = (),
    base: StrPath | None = None,
    pseudonyms: bool = False,
    salt: StrPath | None = None,
    encrypt_to: Sequence[str] = (),
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> NewPack:
    """Make a pack from what is to be forgotten. Nothing is sent anywhere.

    Args:
        forget: questions (.jsonl, .json) or texts (.txt, .json, .jsonl) to forget, as for `unlearn`.
        retain: the retain set of `unlearn`: a sample of it is reported, not judged.
        untrained: questions like those of `retain` that are not trained: judged, before those of the banks.
        out: folder to write, or with `encrypt_to` a file.
        name: the pack's name; the name of `out` by default.
        cluster_by: what tells subjects apart: a column, "each", "one", or "block:20" (so many rows in a row).
        clusters: maximum number of subjects, a seeded sample.
        retain_probes: number of untrained retain probes from the shipped banks.
        bank: names of the banks to take; by default those in English and in the languages of `forget`.
        base: the model before unlearning, as for `probe`: is asked once; what it does not know is left out.
        pseudonyms: whether ids and clusters are numbers.
        salt: file with the pack's secret salt; made if it is missing.
        encrypt_to: age public keys; the pack is then written as one encrypted file.
        threads: all cores by default.
        force: whether to replace what exists.
        progress: receives progress and warnings; by default nothing is shown.

    Raises:
        EdgeproofError: a file cannot be used, nothing is left to ask, or `out` cannot be written.

    """
    from edgeproof.eval.authoring.draft import Wanted, draft_pack, keep_known
    from edgeproof.eval.authoring.finish import finish
    from edgeproof.eval.authoring.probes import slug
    from edgeproof.eval.packs.files import policy_beside

    given = dict(locals())
    listener = Recording(progress)
    target, keys = Path(out), as_words(encrypt_to)
    _refuse_target(target, encrypted=bool(keys), force=force)
    wanted = Wanted(
        forget=Path(forget),
        retain=as_path(retain),
        untrained=as_path(untrained),
        cluster_by=cluster_by,
        clusters=clusters,
        retain_probes=retain_probes,
        banks=as_words(bank),
        name=name or slug(target.resolve().name.removesuffix(".age")) or "pack",
        pseudonyms=pseudonyms,
        salt=None if salt is None else _salt(Path(salt)),
        spare=base is not None,
    )
    draft = draft_pack(wanted)
    if base is not None:
        draft = keep_known(draft, _known(draft, Path(base), threads, listener))
    made = finish(draft, _command(given))
    policy = policy_beside(target, encrypted=bool(keys)) if made.by_subjects else None
    if keys:
        _write_sealed(target, made.files, keys, policy, force=force)
    else:
        write_folder(target, made.files, force=force)
    return NewPack(
        out=target,
        name=made.pack.name,
        sha256=made.pack.digest,
        clusters={key: len({p.cluster for p in made.pack.probes if p.group == key}) for key in _groups(made.pack)},
        probes=_groups(made.pack),
        policy=policy,
        notes=(*made.notes, *listener.warnings),
    )


def show(made: NewPack, file: TextIO | None = None) -> None:
    """Print what a new pack holds, and what it cannot show, to `file`, stderr by default."""
    from edgeproof.eval.authoring.terminal import render_pack

    render_pack(made.out, made.probes, made.clusters, made.notes, file=file)


def _known(draft: Draft, base: Path, threads: int | None, progress: Recording) -> Known:
    """Ask the base what it knows: the forget set first, and nothing else if it knows nothing of that."""
    from edgeproof.eval.authoring.draft import refuse_unknown
    from edgeproof.eval.authoring.known import what_it_knows
    from edgeproof.eval.measurement import Role
    from edgeproof.release.probe import Part, ask_model

    candidates = draft.candidates(chat=True)
    parts = Part("forget set", frozenset({Role.FORGET})), Part("untrained retain probes", frozenset({Role.RETAIN}))

    def heard(measurement: Measurement) -> None:
        if measurement.label.endswith(parts[0].name):
            refuse_unknown(draft, what_it_knows(base.name, candidates, [measurement]))

    _, measured = ask_model(
        base,
        candidates,
        parts=parts,
        on_part=heard,
        without_chat=draft.candidates(chat=False),
        threads=threads,
        progress=progress,
    )
    return what_it_knows(base.name, candidates, measured)


def _groups(pack: Pack) -> dict[str, int]:
    return dict(Counter(probe.group for probe in pack.probes))


def _command(given: Mapping[str, object]) -> tuple[str, ...]:
    """Return the command for README.md: file names without folders, and nothing that does not change the pack."""
    told = {
        key: Path(str(given[key])).name for key in ("forget", "retain", "untrained", "base") if given[key] is not None
    }
    told |= {"out": "PACK"} | ({"salt": "SALT"} if given["salt"] is not None else {})
    rest = {key: value for key, value in given.items() if key not in {"threads", "force", "encrypt_to", *told}}
    return equivalent_command(pack_new, "pack new", rest | told)


def _refuse_target(target: Path, *, encrypted: bool, force: bool) -> None:
    if encrypted:
        from edgeproof.eval.packs.files import policy_beside

        # Also where the new pack needs no policy: an old one would be taken for its own.
        for path in (target, policy_beside(target, encrypted=True)):
            refuse_existing(path, force=force)
    elif target.is_file():
        raise OutputError(f"{target} is a file; a pack is a folder", next_step="give another name, or --encrypt-to")
    elif target.exists() and any(target.iterdir()) and not (force and (target / "pack.toml").is_file()):
        step = (
            "give another name, or --force to replace the pack"
            if (target / "pack.toml").is_file()
            else "give another name"
        )
        raise OutputError(f"{target} exists and is not empty", next_step=step)


def _salt(path: Path) -> str:
    """Read a salt, or make one in a file that only its owner can read."""
    if not path.exists():
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(f"{secrets.token_hex(SALT_DIGITS // 2)}\n")
        except OSError as error:
            raise write_failed(path, error) from error
    try:
        salt = read_file(path).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the salt {path}: {error}", next_step="check --salt") from error
    if len(salt) != SALT_DIGITS or not set(salt) <= set("0123456789abcdef"):
        raise InputError(
            f"{path} does not hold a salt of {SALT_DIGITS} hexadecimal digits",
            next_step="name a file that does not exist: one is made; or openssl rand -hex 32",
        )
    return salt


def _write_sealed(
    target: Path, files: Mapping[str, bytes], keys: Sequence[str], policy: Path | None, *, force: bool
) -> None:
    """Write the encrypted file, and the policy, which is no secret, beside it; an older pack's policy goes with it."""
    from edgeproof.eval.packs.files import POLICY, policy_beside
    from edgeproof.eval.packs.sealing import seal

    contents, beside = {target.name: seal(files, keys)}, policy_beside(target, encrypted=True)
    refuse_existing(beside, force=force)
    if policy is not None:
        contents[beside.name] = files[POLICY]
    write_all(target.parent, contents, force=force, without=() if beside.name in contents else (beside.name,))
