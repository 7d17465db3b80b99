"""What a report says of the device and the engine that answered a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeproof.contracts.backend import ELSEWHERE, NOT_PROVED
from edgeproof.contracts.errors import EvidenceError
from edgeproof.runtime.values import count_at, number_at

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 600
COMPUTES = ("cpu", "gpu", "npu", "unknown")
CLAIM = "that the device computed the answers, since whoever has the job could write them"


class Described:
    """The header of evidence, checked and in the report's words.

    Attributes:
        engine: the engine and its version.
        processor: the device's processor.
        unscored: why there are no log-probabilities; empty where there are.
        options: everything else that a report says.

    """

    def __init__(self, header: Mapping[str, Any], summary: Mapping[str, Any], asked: str) -> None:
        device, engine, usage = (_table(header, name) for name in ("device", "engine", "usage"))
        name, computed = _text(engine, "name"), _text(engine, "computed")
        if computed not in COMPUTES:
            raise _wrong("engine", "computed")
        if not isinstance(engine.get("scores"), bool):
            raise _wrong("engine", "scores")
        named = (
            " ".join(filter(None, (_text(device, "manufacturer"), _text(device, "model")))) or "a device without name"
        )
        self.engine = _text(engine, "version") or name
        self.processor = (
            f"{_text(device, 'soc') or 'a processor that is not told'}, in {named}, {_text(device, 'build')}"
        )
        self.unscored = "" if engine["scores"] else f"the engine {name} on the device gives none"
        own = name == "probe"
        self.options = {
            "through": f"a job on the device, answered by {'the probe' if own else name}",
            "computed on": f"{computed.upper()}, {_text(engine, 'detail')}",
            "asked to compute": asked.upper(),
            "served file, shown": "its sha256, as the device says",
            NOT_PROVED: CLAIM,
            "device": named,
            "Android": f"{_text(device, 'android')}, API level {_text(device, 'api')}",
            "ABI": _text(device, "abi"),
            "graphics driver": _text(device, "driver") or "not told",
            "threads": str(count_at(engine.get("threads"), "the threads")),
            "answers of an interrupted run": str(count_at(engine.get("resumed"), "the answers of an interrupted run")),
            "speed": _speed(usage),
            "the device's own word": _text(summary, "verdict"),
            "app": _text(header, "app"),
            "lora": "none",
        }
        if own:
            self.options["probe"] = f"{_text(engine, 'variant')}, sha256 {_text(engine, 'program_sha256')}"
        if computed != asked:
            self.options[ELSEWHERE] = f"{asked} was asked for, the engine says {computed}"


def peak_memory(header: Mapping[str, Any]) -> int | None:
    """Return what evidence says of the memory, in bytes; None where the engine did not tell: nothing, or 0."""
    told = _table(header, "usage").get("peak_rss")
    return None if told is None else count_at(told, "the memory") or None


def _speed(usage: Mapping[str, Any]) -> str:
    words = []
    for key, scale, unit in (("tokens_per_second", 1.0, "tokens/s"), ("peak_rss", 1e6, "MB of peak memory")):
        value = 0.0 if usage.get(key) is None else number_at(usage[key], key)
        words.append(f"{value / scale:,.0f} {unit}" if value else f"{unit}: not told")
    return ", ".join(words)


def _table(header: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = header.get(name)
    if not isinstance(value, dict):
        raise _wrong("header", name)
    return value


def _text(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or len(value) > LONGEST or not (value.isprintable() or value == ""):
        raise _wrong("header", name)
    return value


def _wrong(where: str, name: str) -> EvidenceError:
    return EvidenceError(
        f"the evidence does not hold: its {where} does not say {name!r} as it must",
        next_step="run the job again with the app of this version",
    )
