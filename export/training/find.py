"""Finder of the training run behind a base or an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.errors import InputError
from edgeproof.contracts.training import NOT_NAMED
from edgeproof.contracts.visible import escaped
from edgeproof.export.training.openunlearning import CONFIG, is_unlearning, read_name, read_run
from edgeproof.export.training.own_card import CARD, read_card
from edgeproof.export.training.yaml_config import read_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeproof.contracts.training import Training


def find_training(path: Path, warn: Callable[[str], None]) -> Training | None:
    """Find how the base or adapter at `path` was trained to forget; None where nothing says so.

    A run's config counts first, then the card of `unlearn`, then a name on the hub. What cannot be read is named by
    `warn`: it costs the manifest the method, and a verdict nothing.
    """
    if not path.is_dir():
        return None
    named = read_name(path.resolve().name)
    source = NOT_NAMED if named is None else named.source
    try:
        if (path / CONFIG).is_file():
            return read_run(path / CONFIG, source) if is_unlearning(read_config(path / CONFIG)) else None
        card = read_card(path / CARD, source) if (path / CARD).is_file() else None
    except (InputError, OSError) as error:
        told = error.message if isinstance(error, InputError) else str(error)
        warn(f"the manifest does not name the unlearning method: {escaped(told)}")
        return None
    return card or named
