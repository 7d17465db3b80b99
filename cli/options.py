"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from edgeproof.release.steps.arguments import KEY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = TypeVar("Command", bound=Callable[..., object])

PATH = click.Path(path_type=Path)
"""Existence is checked by the verb: a missing path is exit code 3, not 2."""


def stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Make one decorator of several options, shown in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class _NumberOr(click.ParamType["float | str"]):
    """A number, or one of some words."""

    name = "number"

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Return the word or the number."""
        if value in self._words:
            return str(value)
        try:
            return float(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a number nor {' or '.join(self._words)}.", param, ctx)


def number_or(*words: str) -> click.ParamType[float | str]:
    """Return the type of an option that takes a number or one of `words`."""
    return _NumberOr(words)


def given_command() -> tuple[str, ...]:
    """Return the command line as it was given, for manifests and reports."""
    context = click.get_current_context(silent=True)
    given: tuple[str, ...] = () if context is None else context.find_root().obj or ()
    return ("export-edge", *given)


def known_formats(
    context: click.Context,  # noqa: ARG001 (click's signature)
    parameter: click.Parameter,  # noqa: ARG001 (the same)
    value: str | tuple[str, ...] | None,
) -> str | tuple[str, ...] | None:
    """Put each format by its own name; one that does not exist is a mistake on the command line."""
    from edgeproof.release.steps.arguments import as_format

    return as_format(value) if isinstance(value, str) else value and tuple(map(as_format, value))


ARTIFACT_FORMAT = click.option(
    "--format", callback=known_formats, metavar="NAME", help="What the artifact is; read from the file by default."
)
BASE = click.option(
    "--base",
    type=PATH,
    required=True,
    metavar="DIR|GGUF",
    help="Hugging Face folder, or a float GGUF (F16, BF16, F32).",
)
ADAPTERS = click.option(
    "--adapter", type=PATH, multiple=True, metavar="DIR", help="PEFT folder; several are merged in order."
)
FORMATS = click.option(
    "--format",
    multiple=True,
    callback=known_formats,
    metavar="NAME",
    help="gguf-q4 (= Q4_K_M), gguf-q4_0, gguf-q4_1, gguf-q4_k_s, gguf-iq4_nl, gguf-q8_0, gguf-f16, gguf-f32; "
    "onnx-int4, onnx-int4-mixed, onnx-int8, onnx-fp32. "
    "Several share one pass over the weights.",
)
BYTES = stack(
    click.option("--imatrix", type=PATH, metavar="FILE", help="llama.cpp's importance matrix (.dat or .gguf)."),
    click.option(
        "--tensor-type",
        multiple=True,
        metavar="PATTERN=TYPE",
        help="Type of the tensors whose name matches, as llama-quantize has it.",
    ),
    click.option(
        "--converter",
        type=PATH,
        metavar="DIR",
        help="A llama.cpp checkout of yours, for architectures not built in: its converter is run on the merge.",
    ),
    click.option(
        "--allow-requantize", is_flag=True, help="Accept a quantized GGUF as base (its rounding stays in the result)."
    ),
    click.option(
        "--shared-scales",
        is_flag=True,
        help="Give onnx-int4 llama.cpp's Q4_0 codes and scales: the same 4-bit weights as gguf-q4_0.",
    ),
    click.option(
        "--small-embedding",
        is_flag=True,
        help="Store an untied token embedding of an ONNX folder in 4 or 8 bits, not in float32 as the builder does.",
    ),
    click.option(
        "--onnx-builder",
        is_flag=True,
        help="For architectures not built in: your installed onnxruntime-genai builds the ONNX folder from the merge.",
    ),
    click.option("--name", default="", metavar="NAME", help="The model's name; the base's own by default."),
)
PROBES = click.option(
    "--probes",
    type=PATH,
    required=True,
    metavar="PACK",
    help="Folder with pack.toml, or one file encrypted with age.",
)
PACK_KEY = click.option(
    "--pack-key",
    type=PATH,
    metavar="FILE",
    help=f"The age identity that opens an encrypted PACK; by default what {KEY_VARIABLE} holds.",
)
LISTENING = stack(
    click.option("--quiet", "-q", is_flag=True, help="Only warnings and errors."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
)
THREADS = click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="Workers; all cores by default.")
FORCE = click.option("--force", is_flag=True, help="Replace what exists.")
POLICY_SHA256 = click.option(
    "--policy-sha256",
    metavar="HEX",
    help="Refuse any other policy: the sha256 of its file, or of its values as reports have it.",
)
BASELINE_KEY = click.option(
    "--baseline-key",
    type=PATH,
    metavar="PUB",
    help="Check the signature beside the baseline (`baseline --sign`): an ed25519 public key in PEM.",
)
WAIVING = stack(
    click.option("--waiver", type=PATH, metavar="FILE", help="A waiver of this file, made by `export-edge waive`."),
    click.option(
        "--waiver-key", type=PATH, metavar="PUB", help="Who may waive: an ed25519 public key in PEM; --waiver needs it."
    ),
    click.option("--accept-waivers", is_flag=True, help="Exit code 0 where the waiver holds. The verdict stays."),
)
_LIMITS = stack(
    click.option("--policy", type=PATH, metavar="FILE", help="Limits; the defaults are in docs/verdict.md."),
    POLICY_SHA256,
    BASELINE_KEY,
)
CRITERIA = stack(
    PROBES,
    PACK_KEY,
    click.option("--baseline", type=PATH, required=True, metavar="FILE", help="What `export-edge baseline` recorded."),
    _LIMITS,
)
_REPORT = click.option(
    "--report", type=PATH, metavar="DIR", help="Where report.json, junit.xml, report.html and summary.md go."
)
_DISCLOSURE = stack(
    click.option("--sign", type=PATH, metavar="KEY", help="Sign the report: a PEM file with an ed25519 key ([sign])."),
    click.option(
        "--show-answers", is_flag=True, help="Put probes and answers into the report: it then holds what was erased."
    ),
)
REPORTING = stack(_REPORT, _DISCLOSURE)
JUDGING = stack(
    click.option("--probes", type=PATH, metavar="PACK", help="Folder with pack.toml, or one file encrypted with age."),
    PACK_KEY,
    click.option("--baseline", type=PATH, metavar="FILE", help="What `export-edge baseline` recorded."),
    _LIMITS,
    _REPORT,
    click.option(
        "--backend",
        metavar="NAME",
        help="Engine that runs the artifact (default: llama.cpp for files, onnxruntime for folders).",
    ),
    _DISCLOSURE,
)
