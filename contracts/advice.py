"""The commands that reports, warnings and errors advise, in one table: tests run each as a user would.

Words in capitals stand for what the user has (BASE, ADAPTER, PACK …). A command that is not here is advised nowhere.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

FOUR_BITS = ("gguf-q4", "gguf-q4_0", "gguf-q4_1", "gguf-q4_k_s", "gguf-iq4_nl")

WIDER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(FOUR_BITS, ("gguf-q8_0",)),
        "onnx-int4": ("onnx-int4-mixed", "onnx-int8"),
        "onnx-int4-mixed": ("onnx-int8",),
        "gguf-q8_0": ("gguf-f16",),
    }
)
"""The formats with more bits that a format's file may be replaced by, the smallest first."""

SURVIVABLE = (*FOUR_BITS, "gguf-q8_0", "onnx-int4", "onnx-int4-mixed", "onnx-int8")
"""Formats whose rounding `unlearn --survive` can train through."""


class Command(NamedTuple):
    """A command that is advised.

    Attributes:
        words: the command line, with {format}, {tensor} … for what the caller knows.
        formats: the formats that it is advised for; empty where it names none.
        elsewhere: what it needs that no test machine has; empty if it can be run.

    """

    words: str
    formats: tuple[str, ...] = ()
    elsewhere: str = ""


_SETS = "--base BASE --forget FORGET --retain RETAIN"
_MERGE = "export-edge --base BASE --adapter ADAPTER --format {format}"
_DRAFT = "export-edge pack new --forget FORGET --retain RETAIN"
_GATED = "--out DIST --probes PACK --baseline BASELINE"
_ANY = (*SURVIVABLE, "gguf-f16", "gguf-f32", "onnx-fp32")

COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "baseline": Command(
            "export-edge baseline --base BASE --adapter ADAPTER --format {format} --probes PACK --out BASELINE", _ANY
        ),
        "baseline-unlearned": Command(
            "export-edge baseline --base BASE --unlearned MODEL --format {format} --probes PACK --out BASELINE", _ANY
        ),
        "add-format": Command(
            "export-edge baseline --base BASE --adapter ADAPTER --add-format {format} --probes PACK --out RECORDED",
            SURVIVABLE,
        ),
        "add-format-unlearned": Command(
            "export-edge baseline --base BASE --unlearned MODEL --add-format {format} --probes PACK --out RECORDED",
            SURVIVABLE,
        ),
        "baseline-policy": Command(
            "export-edge baseline --base BASE --adapter ADAPTER --format {format} --probes PACK --policy POLICY "
            "--out BASELINE",
            _ANY,
        ),
        "baseline-unlearned-policy": Command(
            "export-edge baseline --base BASE --unlearned MODEL --format {format} --probes PACK --policy POLICY "
            "--out BASELINE",
            _ANY,
        ),
        "baseline-small-embedding": Command(
            "export-edge baseline --base BASE --adapter ADAPTER --format {format} --probes PACK --small-embedding "
            "--out BASELINE",
            ("onnx-int4", "onnx-int4-mixed", "onnx-int8"),
        ),
        "baseline-signed": Command(
            "export-edge baseline --base BASE --adapter ADAPTER --format FORMAT --probes PACK --sign KEY --out BASELINE"
        ),
        "export": Command(f"{_MERGE} --out DIST", _ANY),
        "imatrix": Command(f"{_MERGE} --imatrix IMATRIX --out DIST", FOUR_BITS),
        "unmerged": Command(f"{_MERGE} --unmerged --out DIST", (*FOUR_BITS, "gguf-q8_0")),
        "tensor-type": Command(f"{_MERGE} --tensor-type {{tensor}}=q4_0 --out DIST", FOUR_BITS),
        "small-embedding": Command(
            f"{_MERGE} --small-embedding --out DIST", ("onnx-int4", "onnx-int4-mixed", "onnx-int8")
        ),
        "survive": Command(
            f"export-edge unlearn {_SETS} --survive {{format}} --until-survives --steps 200 --out NEW", SURVIVABLE
        ),
        "unlearn-longer": Command(f"export-edge unlearn {_SETS} --probes PACK --epochs 40 --out NEW"),
        "unlearn-longer-keeping": Command(
            f"export-edge unlearn {_SETS} --probes PACK --epochs 40 --retain-weight 5 --out NEW"
        ),
        "unlearn-as-asked": Command(f"export-edge unlearn {_SETS} --probes PACK --out NEW"),
        "unlearn-as-asked-keeping": Command(f"export-edge unlearn {_SETS} --probes PACK --retain-weight 5 --out NEW"),
        "unlearn-gently": Command(f"export-edge unlearn {_SETS} --retain-weight 5 --retain-nll-rise 0.3 --out NEW"),
        "new-pack": Command(f"{_DRAFT} --base BASE --out PACK"),
        "new-pack-tofu": Command(f"{_DRAFT} --cluster-by block:20 --base BASE --out PACK"),
        "export-and-gate": Command(f"{_MERGE} {_GATED}", _ANY),
        "export-and-gate-policy": Command(f"{_MERGE} {_GATED} --policy POLICY", _ANY),
        "export-and-gate-unlearned": Command(f"export-edge --base MODEL --format {{format}} {_GATED}", _ANY),
        "export-and-gate-unlearned-policy": Command(
            f"export-edge --base MODEL --format {{format}} {_GATED} --policy POLICY", _ANY
        ),
        "check-pack": Command("export-edge inspect PACK"),
        "size-pack": Command("export-edge pack check PACK --base BASE --format {format}", _ANY),
        "probe": Command("export-edge probe BASE --probes PACK"),
        "verify": Command(
            "export-edge verify REPORT --artifact ARTIFACT --probes PACK --baseline BASELINE --key PUBLIC"
        ),
        "gate-lora": Command("export-edge gate PLAIN --lora LORA --probes PACK --baseline BASELINE"),
        "disclose": Command("export-edge inspect PACK --disclose ID"),
        "gate-http": Command(
            "export-edge gate ARTIFACT URL --backend http --probes PACK --baseline BASELINE", elsewhere="a server"
        ),
        "gate-adb": Command(
            "export-edge gate ARTIFACT PHONE --backend adb --probes PACK --baseline BASELINE", elsewhere="a phone"
        ),
        "phone-push": Command("export-edge phone push JOB FILE.gguf --app APK", elsewhere="a phone"),
        "judge": Command(
            "export-edge judge EVIDENCE --job JOB ARTIFACT --probes PACK --baseline BASELINE", elsewhere="a phone"
        ),
    }
)


def command(name: str, **values: str) -> str:
    """Return an advised command, with what the caller knows filled in."""
    return COMMANDS[name].words.format(**values)
