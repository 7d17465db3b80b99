"""Writes what training made: a PEFT folder in float16, the log, and a card that says how to make it again.

The same adapter always gives the same bytes: names sorted, no times, no paths of the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import OutputError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeproof.unlearn.settings import Settings
    from edgeproof.unlearn.training import Step
    from peft import PeftModel
    from torch import Tensor

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
LOG = "log.jsonl"
CARD = "README.md"


class Provenance(NamedTuple):
    """What the card says beside the settings.

    Attributes:
        base: the base's name, as `adapter_config.json` has it.
        command: the command line that made the adapter; empty where none did.
        data: name, number of items and sha256 of the forget and of the retain file.
        versions: of python and the libraries, by name.
        threads: of the processor, as they were.
        steps: optimizer steps.
        measured: NLL per answer token before and after, by role ("forget", "retain").

    """

    base: str
    command: str
    data: Mapping[str, tuple[str, int, str]]
    versions: Mapping[str, str]
    threads: int
    steps: int
    measured: Mapping[str, tuple[float, float]]


@contextlib.contextmanager
def folder_for(out: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary folder beside `out` that gets that name when the block ends; if it raises, nothing appears.

    Entered before training, so that an unwritable place is known at once.

    Raises:
        OutputError: `out` exists and `force` is not given, or it is no adapter's folder; its parent is missing or
            read-only.

    """
    _refuse(out, force=force)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise OutputError(
            f"cannot write to {out.parent}: {error.strerror}", next_step="make the folder, or give another --out"
        ) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _refuse(out, force=force)
        if os.path.lexists(out):
            retired = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
            out.rename(retired / out.name)
            temporary.rename(out)
            shutil.rmtree(retired)
        else:
            temporary.rename(out)
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror or error}", next_step="free some space, or give another --out"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse(out: Path, *, force: bool) -> None:
    if not os.path.lexists(out):
        return
    if not force:
        raise OutputError(f"{out} exists", next_step="give another --out, or --force to replace it")
    if out.is_symlink() or not out.is_dir() or (any(out.iterdir()) and not (out / CONFIG).is_file()):
        raise OutputError(
            f"{out} is not the folder of an adapter; it is not replaced, with or without --force",
            next_step="give another --out",
        )


def adapter_tensors(model: PeftModel) -> dict[str, Tensor]:
    """Return the adapter's weights by PEFT's names, rounded to float16, sorted by name.

    Raises:
        TrainingError: every lora_B is still zero (nothing was learned), or a weight is NaN or too large for float16.

    """
    import torch
    from peft import get_peft_model_state_dict

    # "auto" would look on the network whether the vocabulary was changed; it never is here.
    state: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors: dict[str, Tensor] = {}
    for name in sorted(state):
        weight = state[name].detach().cpu()
        tensors[name] = weight.to(torch.float16).contiguous()
        if not tensors[name].isfinite().all():
            largest = float(weight.abs().max())
            raise TrainingError(
                f"{name} does not fit float16: its largest value is {largest:.6g}",
                next_step="train with a lower learning rate or fewer steps",
            )
    idle = [name for name in tensors if "lora_B" in name and not tensors[name].any()]
    trained = sum("lora_B" in name for name in tensors) - len(idle)
    if not trained:
        raise TrainingError(
            f"the adapter does nothing: lora_B is zero in all {len(idle)} of its layers after training",
            next_step="check that a forget text still counts (hinge), and that the learning rate is not far too small",
        )
    return tensors


def load_rounded(model: PeftModel, tensors: Mapping[str, Tensor]) -> None:
    """Put the float16 weights back into the model, so that what is measured is what is shipped."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, {name: tensor.float() for name, tensor in tensors.items()})


def write_adapter(
    folder: Path,
    model: PeftModel,
    tensors: Mapping[str, Tensor],
    *,
    settings: Settings,
    provenance: Provenance,
    log: Sequence[Step],
) -> None:
    """Write the four files into `folder`."""
    from safetensors.torch import save_file

    config = model.peft_config["default"].to_dict()
    config["base_model_name_or_path"] = provenance.base
    config["inference_mode"] = True
    plain = json.dumps(config, default=_plain, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / CONFIG).write_text(plain + "\n", encoding="utf-8")
    save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / LOG).write_text("".join(step.line() + "\n" for step in log), encoding="utf-8")
    (folder / CARD).write_text(card(settings, provenance), encoding="utf-8")
    (folder / WEIGHTS).chmod(0o666 & ~_umask())


def card(settings: Settings, provenance: Provenance) -> str:
    """Return the card: what it is, how to make it again, and what was measured."""
    rows = [
        ("method", settings.method),
        ("β", f"{settings.beta:g}"),
        ("weight of the retain loss", f"{settings.retain_weight:g}"),
        ("hinge", "none" if settings.hinge is None else f"{settings.hinge:g} nat per token"),
        ("rank, alpha, dropout", f"{settings.rank}, {settings.alpha:g}, {settings.dropout:g}"),
        ("layers", ", ".join(settings.targets) or "all linear layers but the output head"),
        ("optimizer", f"AdamW, learning rate {settings.learning_rate:g}, constant"),
        ("steps", f"{provenance.steps} of {settings.batch_size} forget and {settings.batch_size} retain texts"),
        ("surfaces", ", ".join(settings.surfaces)),
        ("seed", str(settings.seed)),
        ("threads", str(provenance.threads)),
        ("versions", ", ".join(f"{name} {version}" for name, version in provenance.versions.items())),
    ]
    data = "".join(
        f"| {role} | `{name}` | {count} | `{digest}` |\n" for role, (name, count, digest) in provenance.data.items()
    )
    measured = "".join(
        f"| {role} | {before:.3f} | {after:.3f} |\n" for role, (before, after) in provenance.measured.items()
    )
    command = f"\nMade by\n\n```\n{provenance.command}\n```\n" if provenance.command else ""
    return (
        f"---\nlibrary_name: peft\nbase_model: {json.dumps(provenance.base, ensure_ascii=False)}\n"
        "tags: [lora, unlearning]\n---\n\n"
        f"# An unlearning adapter for {provenance.base}\n\n"
        "A LoRA that makes its base forget the answers of one file and keep those of another. What it achieves in the "
        "file that ships is for `export-edge gate` to say, not for this card.\n"
        f"{command}\n"
        "| set | file | items | sha256 |\n|---|---|---|---|\n" + data + "\n"
        "| mean NLL per answer token, in nat, on the training texts | base | with this adapter |\n|---|---|---|\n"
        + measured
        + "\n| recipe | |\n|---|---|\n"
        + "".join(f"| {name} | {value} |\n" for name, value in rows)
        + "\nThe same command on the same machine gives the same bytes; `log.jsonl` has every step.\n"
    )


def _plain(value: object) -> object:
    """Turn what PEFT's config holds into JSON: sets in a fixed order, enumerations by value."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(getattr(value, "value", value))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
