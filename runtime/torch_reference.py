"""Reference backend: torch in float32, one request at a time; a slow and simple oracle for the other backends.

Reads a Hugging Face folder, or a GGUF whose weights transformers dequantizes. Needs the extra [unlearn].
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from edgeproof.contracts.backend import GenerateRequest, Generation, ModelInfo, Score, ScoreRequest, Step
from edgeproof.contracts.chat import render_chat
from edgeproof.contracts.errors import ArtifactError, UnsupportedError
from edgeproof.contracts.packages import missing_packages
from edgeproof.contracts.progress import no_beat
from edgeproof.runtime.batching.continuing import Continuation
from edgeproof.runtime.batching.logits import Scratch, score_token
from edgeproof.runtime.batching.requests import check_generations, check_scores, check_stream
from edgeproof.runtime.batching.watching import Watching
from edgeproof.runtime.opened import OpenedBackend
from edgeproof.runtime.processor import physical_cores, processor_name
from edgeproof.runtime.prompt_digest import folder_prompt_digest, gguf_prompt_digest
from edgeproof.runtime.tokenizer_digest import described_merges, read_tokenizer, tokenizer_digest, vocabulary_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DEFAULT_CONTEXT = 8192


class TorchReference(OpenedBackend):
    """`Backend` on torch and transformers, in this process.

    Args:
        artifact: a Hugging Face folder, or a GGUF file.
        lora: a PEFT folder to apply unmerged.
        context_length: maximum tokens of a request; default: the model's, at most 8,192.
        threads: default: the physical cores available to this process.
        beat: called after each forward pass; may raise to stop it.

    Raises:
        UnsupportedError: torch or transformers is not installed.
        ArtifactError: transformers cannot load the artifact.

    """

    def __init__(
        self,
        artifact: Path,
        *,
        lora: Path | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        beat: Callable[[], None] = no_beat,
    ) -> None:
        _require("torch", "transformers", *(["peft"] if lora else []))
        import torch

        self._artifact, self._lora, self._beat = artifact, lora, beat
        self._threads = threads or physical_cores()
        torch.set_num_threads(self._threads)
        self._model = _load_model(artifact, lora)
        config = self._model.config
        limit = int(getattr(config, "max_position_embeddings", DEFAULT_CONTEXT))
        self._context_length = context_length or min(limit, DEFAULT_CONTEXT)
        self._vocabulary = int(self._model.get_input_embeddings().weight.shape[0])
        self._scratch = Scratch(self._vocabulary)
        ends = self._model.generation_config.eos_token_id
        self._ends = frozenset([ends] if isinstance(ends, int) else ends or ())

    @cached_property
    def _tokenizer(self) -> Any:
        """The tokenizer, created on first use: for a GGUF that takes longer than loading the weights."""
        return _load_tokenizer(self._artifact)

    @cached_property
    def info(self) -> ModelInfo:
        """Description of the loaded artifact."""
        import torch
        import transformers

        lora = self._lora
        return ModelInfo(
            backend="torch",
            engine=f"torch {torch.__version__}, transformers {transformers.__version__}",
            processor=processor_name(),
            vocabulary=self._vocabulary,
            context_length=self._context_length,
            tokenizer_digest=self._digest(),
            chat_template=self._tokenizer.chat_template,
            bos=self._first_token(),
            options={"threads": str(self._threads), "dtype": "float32", "lora": "none" if lora is None else lora.name},
            eos=self._tokenizer.eos_token_id,
            prompt_digest=self._prompt_digest(),
        )

    def tokenize(self, text: str, *, special: bool, parse_special: bool = False) -> tuple[int, ...]:
        """Token ids of `text`; a BOS at the beginning of `text` is never doubled."""
        tokens = self._tokenizer(text, add_special_tokens=special, split_special_tokens=not parse_special)["input_ids"]
        bos = self._tokenizer.bos_token_id
        return tuple(tokens[1:] if special and bos is not None and tokens[:2] == [bos, bos] else tokens)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens` without special tokens; invalid UTF-8 becomes U+FFFD."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def render_chat(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Render `messages` with the artifact's own template; tokenize it with `special=True, parse_special=True`."""
        return render_chat(
            self._tokenizer.chat_template,
            messages,
            bos_token=self._tokenizer.bos_token or "",
            eos_token=self._tokenizer.eos_token or "",
            add_generation_prompt=add_generation_prompt,
        )

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """Score each request; all are checked before the first is computed."""
        check_scores(requests, self._context_length, self._vocabulary)
        return map(self._score, requests)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        """Continue each request; all are checked before the first is computed."""
        check_generations(requests, self._context_length, self._vocabulary)
        return map(self._generate, requests)

    def stream(self, request: GenerateRequest, watched: Sequence[tuple[int, ...]] = ()) -> Iterator[Step]:
        """Continue one request token by token, and score `watched` at each position."""
        check_stream(request, watched, self._context_length, self._vocabulary)
        one = Watching(request, watched, self._piece, self._ends.__contains__, self._scratch)
        tokens = request.context
        ended = False
        while not ended:
            ended = one.take(self._logits(tokens)[-1])
            for item in one.items:
                for position, row in enumerate(self._logits(item.tokens)[len(tokens) :], start=len(tokens)):
                    one.score((item,), position, row)
            yield one.step
            tokens = tokens if ended else (*tokens, one.last_token)

    def _score(self, request: ScoreRequest) -> Score:
        rows = self._logits(request.context + request.continuation[:-1])[len(request.context) - 1 :]
        columns = zip(
            *(score_token(row, token, self._scratch) for row, token in zip(rows, request.continuation, strict=True)),
            strict=True,
        )
        types = (np.float32, np.bool_, np.int32, np.float32, np.float32)
        return Score(*(np.array(column, kind) for column, kind in zip(columns, types, strict=True)))

    def _generate(self, request: GenerateRequest) -> Generation:
        going = Continuation(request, self._piece, self._ends.__contains__)
        tokens = request.context
        while not going.take(self._logits(tokens)[-1]):
            tokens = (*tokens, going.last_token)
        assert going.result is not None
        return going.result

    def _logits(self, tokens: tuple[int, ...]) -> NDArray[np.float32]:
        """Return the logits after each token, float32 [len(tokens), vocabulary]."""
        import torch

        with torch.inference_mode():
            logits = self._model(torch.tensor([tokens]), use_cache=False).logits[0]
        self._beat()
        array: NDArray[np.float32] = logits.float().numpy()
        return array

    def _piece(self, token: int, *, special: bool) -> bytes:
        """Return the bytes that `token` adds to a text. Incomplete UTF-8 characters become U+FFFD."""
        if token in self._tokenizer.all_special_ids:
            return str(self._tokenizer.convert_ids_to_tokens(token)).encode() if special else b""
        anchor = self._tokenizer("a", add_special_tokens=False)["input_ids"]
        return self.detokenize([*anchor, token]).removeprefix(self.detokenize(anchor)).encode()

    def _digest(self) -> str:
        first = self._first_token()
        if self._artifact.is_file():
            return tokenizer_digest(read_tokenizer(self._artifact), first=first)
        described = json.loads(self._tokenizer.backend_tokenizer.to_str())
        return vocabulary_digest(
            {index: piece.encode() for piece, index in self._tokenizer.get_vocab().items()},
            described_merges(described),
            first=first,
            eos=self._tokenizer.eos_token_id,
        )

    def _prompt_digest(self) -> str:
        if self._artifact.is_file():
            return gguf_prompt_digest(self._artifact)
        return folder_prompt_digest(self._artifact) if (self._artifact / "tokenizer.json").is_file() else ""

    def _first_token(self) -> int | None:
        tokens = self._tokenizer("a")["input_ids"]
        bos = self._tokenizer.bos_token_id
        return bos if bos is not None and tokens[:1] == [bos] else None


def _require(*packages: str) -> None:
    missing = missing_packages(*packages)
    if missing:
        raise UnsupportedError(
            f"the torch backend needs {' and '.join(missing)}",
            next_step='pip install "edgeproof[unlearn]", or use the backend llama.cpp',
        )


def _load_model(artifact: Path, lora: Path | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    folder, options = _source(artifact)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **options)
        if lora is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, lora)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _refused(artifact, error) from error
    return model.eval()


def _load_tokenizer(artifact: Path) -> Any:
    from transformers import AutoTokenizer

    folder, options = _source(artifact)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _refused(artifact, error) from error


def _source(artifact: Path) -> tuple[Path, dict[str, str]]:
    """Return the folder, and the argument that names the file if `artifact` is one."""
    if not artifact.exists():
        raise ArtifactError(f"{artifact}: no such file or folder", next_step="give a Hugging Face folder or a GGUF")
    return (artifact.parent, {"gguf_file": artifact.name}) if artifact.is_file() else (artifact, {})


def _refused(artifact: Path, error: Exception) -> ArtifactError:
    return ArtifactError(
        f"transformers cannot load {artifact}: {type(error).__name__}: {error}",
        next_step="give a folder with config.json, model.safetensors and a tokenizer, or a GGUF",
    )
