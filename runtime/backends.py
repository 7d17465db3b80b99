"""Registry of the backends, and the function that opens one in a child process.

A new backend is a file with a class that implements `Backend` and takes (artifact, *, lora, context_length, threads,
beat), and one line here. Backend-specific options are passed by name.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.contracts.advice import command
from edgeproof.contracts.errors import UsageError
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.process.parent import DEFAULT_TIMEOUT, ChildBackend
from edgeproof.runtime.server.connection import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeproof.contracts.backend import StreamingBackend

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "llama.cpp": "edgeproof.runtime.llama.backend:LlamaCpp",
        "onnxruntime": "edgeproof.runtime.onnxruntime.backend:OnnxRuntime",
        "torch": "edgeproof.runtime.torch_reference:TorchReference",
        "http": "edgeproof.runtime.server.backend:HttpServer",
        "adb": "edgeproof.runtime.probe.device:over_adb",
        "arm64-emulated": "edgeproof.runtime.probe.emulated:arm64_emulated",
        "evidence": "edgeproof.runtime.evidence.replay:Replay",
        "vocabulary": "edgeproof.runtime.evidence.vocabulary:VocabularyOnly",
    }
)

ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "http": "the URL of a server that has the file loaded",
        "adb": "the folder that `make phone` wrote",
        "arm64-emulated": "the folder that `make phone` wrote",
        "evidence": "what a device answered to a job",
    }
)
"""What `engine` is, for the backends that need it."""


JUDGE = command("judge")


def backend_for(artifact: Path) -> str:
    """Return the default backend of an artifact: "onnxruntime" for a folder, "llama.cpp" for a file."""
    return "onnxruntime" if artifact.is_dir() else "llama.cpp"


def original_context(artifact: Path) -> int | None:
    """Return the size of context, in tokens, beyond which the artifact computes with long rope factors.

    None if it has one set of factors or none: it then computes one function.

    Raises:
        ArtifactError: the artifact is missing, truncated, or none that a backend can read.

    """
    if artifact.is_dir():
        from edgeproof.runtime.onnxruntime.graph import original_context as of_graph

        return of_graph(artifact)
    from edgeproof.runtime.llama.rope_factors import rope_factors

    factors = rope_factors(artifact)
    return None if factors is None else factors.original


def open_backend(
    name: str,
    artifact: Path,
    *,
    lora: Path | None = None,
    context_length: int | None = None,
    threads: int | None = None,
    accuracy_level: int | None = None,
    long_rope: bool = False,
    engine: str | None = None,
    job: Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    beat: Callable[[], None] = no_beat,
) -> StreamingBackend:
    """Load `artifact` into the backend `name`, in a child process that ends with the context manager.

    Args:
        name: one of BACKENDS.
        artifact: the artifact: a GGUF for "llama.cpp", a folder with an ONNX graph for "onnxruntime", a Hugging Face
            folder or a GGUF for "torch"; a GGUF for "adb" and "arm64-emulated"; the GGUF that the server has loaded for
            "http".
        lora: an adapter beside it, in the backend's format.
        context_length: maximum tokens of a request; default: the backend's.
        threads: default: the physical cores.
        accuracy_level: for "onnxruntime" only: 0 computes 4-bit products in float32, 4 with activations rounded to 8
            bits; default: the graph's.
        long_rope: for "llama.cpp" and "onnxruntime": compute with the long rope factors, as large contexts do;
            default: by size.
        engine: for "http" the server's URL; for "adb" and "arm64-emulated" the folder with the probe's programs; for
            "evidence" its file.
        job: for "evidence" the job that it answers.
        timeout: seconds without a sign of progress after which the child is killed.
        beat: called several times a second while the child is waited for; may raise, which kills the child.

    Raises:
        UsageError: unknown backend, an accuracy level or long_rope for a backend without them, or an engine missing or
            not allowed.
        ArtifactError: the artifact is missing, damaged, or of a kind that the backend cannot run.
        UnsupportedError: the backend needs a package that is not installed.
        BackendError: the child crashed or hung.

    """
    if name not in BACKENDS:
        raise UsageError(f"no backend is named {name!r}", next_step=f"choose one of: {', '.join(BACKENDS)}")
    if accuracy_level is not None and name != "onnxruntime":
        raise UsageError(f"the backend {name} has no accuracy level", next_step="omit it, or use onnxruntime")
    if long_rope and name not in {"llama.cpp", "onnxruntime"}:
        raise UsageError(
            f"the backend {name} cannot be told its rope factors", next_step="omit it, or use llama.cpp or onnxruntime"
        )
    if (engine is not None) != (name in ENGINES):
        raise UsageError(
            f"the backend {name} " + (f"needs {ENGINES[name]}" if engine is None else f"takes no {engine!r}"),
            next_step=f"{command('gate-http')}, or {command('gate-adb')}",
        )
    if (job is not None) != (name == "evidence"):
        raise UsageError(f"the backend {name} needs a job for evidence, and for nothing else", next_step=JUDGE)
    options: dict[str, int | str] = {} if job is None else {"job": str(job.absolute())}
    if accuracy_level is not None:
        options["accuracy_level"] = accuracy_level
    if long_rope:
        options["long_rope"] = True
    if engine is not None:
        options |= {"url": str(parse_address(engine))} if name == "http" else {"engine": str(Path(engine).absolute())}
    return ChildBackend(
        BACKENDS[name],
        artifact,
        lora=lora,
        context_length=context_length,
        threads=threads,
        options=options,
        timeout=timeout,
        finishes=name in {"adb", "arm64-emulated"},
        beat=beat,
    )
