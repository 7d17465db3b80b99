"""Training runs of OpenUnlearning: its folders (`saves/unlearn/NAME`), and its names on the hub.

Hydra writes the composed config into the folder that the model is saved to, as `.hydra/config.yaml`. Models on the hub
lack it; their names say the method: `unlearn_tofu_MODEL_forget10_NPO_lr1e-05_beta0.1_alpha1_epoch10`.
Source: https://github.com/locuslab/open-unlearning (configs/unlearn.yaml, configs/hydra/default.yaml).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.parsing import read_file
from edgeproof.contracts.training import LONGEST, MOST, NOT_NAMED, Training
from edgeproof.export.training import known
from edgeproof.export.training.yaml_config import read_config, value_at

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.training import Scalar
    from edgeproof.export.training.yaml_config import Config

OPEN_UNLEARNING = "OpenUnlearning"
CONFIG = ".hydra/config.yaml"
ORGANIZATION = "open-unlearning"
ARGUMENTS = (
    "learning_rate",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "weight_decay",
    "warmup_epochs",
    "optim",
    "lr_scheduler_type",
)
"""Arguments of the trainer that are kept beside the method's own (`trainer.method_args`)."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_NAME = re.compile(
    r"unlearn_tofu_(?P<model>[A-Za-z0-9._-]+)_(?P<forget>forget(?:01|05|10))_(?P<method>[A-Za-z]+)(?P<rest>(?:_[a-z0-9.-]+)*)"
)
_SETTING = re.compile(r"([A-Za-z]+?)(\d[\d.]*(?:e[-+]?\d+)?)")


def is_unlearning(config: Config) -> bool:
    """Whether a config is of an unlearning run of OpenUnlearning, not of its finetuning or evaluation, or another's."""
    trainer = config.get("trainer")
    return config.get("mode") == "unlearn" and isinstance(trainer, dict) and "handler" in trainer


def read_run(path: Path, source: str) -> Training:
    """Read the config of an unlearning run; `source` is the name of what the run made.

    Raises:
        InputError: it cannot be read, is of another kind, or lacks what is needed.

    """
    config = read_config(path)
    try:
        if not is_unlearning(config):
            raise ValueError(  # noqa: TRY301 (one door for what is wrong with a config)
                f"it is no config of an unlearning run: mode is {str(config.get('mode'))[:40]!r}, trainer.handler is "
                f"{str(value_at(config, 'trainer', 'handler'))[:40]!r}"
            )
        return Training(
            source=source,
            made_by=OPEN_UNLEARNING,
            method=_listed(_text(config, "trainer", "handler"), known.HANDLERS),
            start=_model(_text(config, "model", "model_args", "pretrained_model_name_or_path")),
            forget=_data(config, "forget"),
            retain=_data(config, "retain"),
            seed=_seed(config),
            hyperparameters=tuple(_hyperparameters(config)),
            file=CONFIG if path.parent.name == ".hydra" else path.name[:LONGEST],
            sha256=hashlib.sha256(read_file(path)).hexdigest(),
        )
    except ValueError as error:
        raise InputError(
            f"{path}: {error}",
            next_step=f"give the run's folder, or its {CONFIG} with all values; files under configs/ are not composed",
        ) from error


def read_name(name: str) -> Training | None:
    """Read the run that a folder's name on the hub describes; None if it is none of OpenUnlearning's."""
    found = _NAME.fullmatch(name)
    if found is None or len(name) > LONGEST:
        return None
    settings = [_SETTING.fullmatch(part) for part in found["rest"].split("_") if part]
    if not known.is_model(found["model"]) or found["method"] not in known.HANDLERS:
        return None
    if not all(item and item[1] in known.SETTINGS for item in settings):
        return None
    forget = found["forget"]
    return Training(
        source=name,
        made_by=OPEN_UNLEARNING,
        method=found["method"],
        start=f"{ORGANIZATION}/tofu_{found['model']}_full",
        forget=f"locuslab/TOFU {forget}",
        retain=f"locuslab/TOFU retain{100 - int(forget.removeprefix('forget')):02}",
        seed=None,
        hyperparameters=tuple((item[1], _number(item[2])) for item in settings if item)[:MOST],
        file="",
        sha256="",
    )


def _text(config: Config, *keys: str) -> str:
    value = value_at(config, *keys)
    if not isinstance(value, str) or not value or len(value) > LONGEST:
        raise ValueError(f"{'.'.join(keys)} is {'missing' if value is None else f'{str(value)[:80]!r}, no name'}")
    return value


def _model(name: str) -> str:
    """Return a public model's name, of a path the last part if that is one: manifests hold no other names."""
    return name if known.is_public(name) else known.model_name(re.split(r"[/\\]", name.rstrip("/\\"))[-1])


def _listed(name: str, names: frozenset[str]) -> str:
    return name if name in names else NOT_NAMED


def _data(config: Config, role: str) -> str:
    """Name the public data sets of a role; a local file's name stays out, as it may name whom it is about."""
    names, keys = [], _table(config, "data", role)
    for key in keys:
        path, *parts = (value_at(config, "data", role, key, "args", "hf_args", it) for it in ("path", "name", "split"))
        if isinstance(path, str) and known.is_public(path):
            names.append(" ".join([path, *(part for part in parts if isinstance(part, str) and known.is_part(part))]))
    if len(names) < len(keys):
        names.append(NOT_NAMED)
    return ", ".join(dict.fromkeys(names))[:LONGEST]


def _seed(config: Config) -> int | None:
    seed = value_at(config, "trainer", "args", "seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63):
        raise ValueError(f"trainer.args.seed is {str(seed)[:80]!r}, no seed")
    return seed


def _hyperparameters(config: Config) -> list[tuple[str, Scalar]]:
    own = [("method_args", name) for name in _table(config, "trainer", "method_args") if name in known.ARGUMENTS]
    found: list[tuple[str, Scalar]] = []
    for group, name in (own + [("args", name) for name in ARGUMENTS])[:MOST]:
        value = value_at(config, "trainer", group, name)
        if isinstance(value, str):
            value = _number(value)
        if isinstance(value, int | float) and not abs(value) < 2**63:
            raise ValueError(f"trainer.{group}.{name} is {str(value)[:80]}")
        if isinstance(value, int | float) or (isinstance(value, str) and value in known.VALUES):
            found.append((name, value))
    return found


def _table(config: Config, *keys: str) -> list[str]:
    """Return the keys of a table; none where there is none."""
    value = value_at(config, *keys)
    if value is None:
        return []
    if not isinstance(value, dict):
        raise ValueError(f"{'.'.join(keys)} is no table")  # noqa: TRY004 (one kind for the caller)
    return [key for key in value if isinstance(key, str)]


def _number(text: str) -> Scalar:
    """Return the number that a text is: YAML 1.1 reads 1e-5, without a point, as text."""
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text)
