"""How a base or an adapter was trained to forget, as manifests and reports hold it."""

from __future__ import annotations

from dataclasses import dataclass

Scalar = str | int | float | bool
LONGEST = 200
"""Characters of a name or a value; a longer one is cut."""
MOST = 40
"""Hyperparameters that are kept."""
NOT_NAMED = "(not named)"
"""In place of a name that may say whom the data are about."""
_FARTHEST = 2**63


@dataclass(frozen=True)
class Training:
    """A training run, as its own files describe it; nobody has checked that it took place.

    Attributes:
        source: name of the base or adapter that it made, if it is OpenUnlearning's on the hub; else `NOT_NAMED`.
        made_by: "OpenUnlearning" or "edgeproof".
        method: the unlearning method, by the name that its maker gives it ("NPO", "npo+gdr"); or `NOT_NAMED`.
        start: the model that it began from, where it is a public one; else `NOT_NAMED`.
        forget: the forget set, where it is a public data set; else `NOT_NAMED`, or empty where none is said.
        retain: the same of the retain set.
        seed: the seed; None if unknown.
        hyperparameters: the others, by their makers' names.
        file: the file that says so, inside the source's folder; empty where only the folder's name does.
        sha256: digest of that file; empty without one.

    """

    source: str
    made_by: str
    method: str
    start: str
    forget: str
    retain: str
    seed: int | None
    hyperparameters: tuple[tuple[str, Scalar], ...]
    file: str
    sha256: str

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        return {**vars(self), "hyperparameters": dict(self.hyperparameters)}

    @property
    def words(self) -> str:
        """The run in a line: method, maker, beginning, data and hyperparameters."""
        data = " and ".join(
            f"{role} set {name}"
            for role, name in (("forget", self.forget), ("retain", self.retain))
            if name not in {"", NOT_NAMED}
        )
        values = ", ".join(f"{name} {value}" for name, value in self.hyperparameters)
        seed = "" if self.seed is None else f"seed {self.seed}"
        parts = (f"from {self.start}" if self.start not in {"", NOT_NAMED} else "", data, values, seed)
        told = "; ".join(part for part in parts if part)
        method = "a method that is not named" if self.method == NOT_NAMED else self.method
        return f"{method} by {self.made_by}{f' ({told})' if told else ''}"


def parse_training(value: object) -> tuple[Training, ...]:
    """Make the runs of plain data, as a manifest or a report holds them; none of None.

    Raises:
        KeyError, TypeError, ValueError: something is missing or of another kind.

    """
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError("no list of runs")
    return tuple(_training(item) for item in value)


def method_of(trainings: tuple[Training, ...]) -> str:
    """Return the methods in the order of training, joined by " then "; empty without any, or where one is not named."""
    if any(training.method == NOT_NAMED for training in trainings):
        return ""
    return " then ".join(training.method for training in trainings)


def _training(item: dict[str, object]) -> Training:
    seed, values = item["seed"], item["hyperparameters"]
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _FARTHEST):
        raise ValueError("no seed")
    if not isinstance(values, dict) or len(values) > MOST:
        raise ValueError("no table of hyperparameters")
    return Training(
        source=_text(item["source"]),
        made_by=_text(item["made_by"]),
        method=_text(item["method"]),
        start=_text(item["start"]),
        forget=_text(item["forget"]),
        retain=_text(item["retain"]),
        seed=seed,
        hyperparameters=tuple((_text(name), _scalar(value)) for name, value in values.items()),
        file=_text(item["file"]),
        sha256=_text(item["sha256"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise ValueError("no text, a long one, or one that cannot be printed")
    return value


def _scalar(value: object) -> Scalar:
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, int | float) or not abs(value) < _FARTHEST:
        raise ValueError("no number for a hyperparameter")
    return value
