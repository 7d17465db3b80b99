"""llama.cpp model: loads a GGUF (and a LoRA), tokenizes and detokenizes.

It uses llama-cpp-python's low-level functions, which mirror llama.h and are documented there.
"""

from __future__ import annotations

import ctypes
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgeproof.contracts.errors import ArtifactError, BackendError
from edgeproof.contracts.gguf_header import read_metadata
from edgeproof.runtime.llama import log as llama_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_NO = False


class Model:
    """A loaded model with its vocabulary; without weights if `vocabulary_only`. `close` frees it.

    `override` replaces integers of the file's metadata, by key.
    """

    def __init__(
        self,
        artifact: Path,
        lora: Path | None,
        beat: Callable[[], None],
        *,
        vocabulary_only: bool = False,
        override: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        import llama_cpp

        self._api = llama_cpp
        self.handle = None
        self.adapter = None
        llama_log.listen()
        llama_cpp.llama_backend_init()
        self.handle = self._load(artifact, beat, vocabulary_only=vocabulary_only, override=override)
        vocabulary = llama_cpp.llama_model_get_vocab(self.handle)
        if llama_cpp.llama_vocab_type(vocabulary) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            raise ArtifactError(f"{artifact} has no tokenizer", next_step="export it with its tokenizer")
        self._vocabulary = vocabulary
        self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(vocabulary))
        self.bos = self._special(llama_cpp.llama_vocab_bos)
        self.eos = self._special(llama_cpp.llama_vocab_eos)
        self.adds_bos = bool(llama_cpp.llama_vocab_get_add_bos(vocabulary)) and self.bos is not None
        self.recurrent = bool(
            llama_cpp.llama_model_is_recurrent(self.handle) or llama_cpp.llama_model_is_hybrid(self.handle)
        )
        self._refuse_non_decoders(artifact)
        if lora is not None:
            self.adapter = self._load_adapter(lora)

    def close(self) -> None:
        """Free the adapter and the weights. Contexts must be freed before."""
        if self.handle is not None:
            self._api.llama_model_free(self.handle)  # this also frees the adapter
            self.handle = self.adapter = None

    @property
    def training_context(self) -> int:
        """The model's training context, in tokens."""
        return int(self._api.llama_model_n_ctx_train(self.handle))

    @property
    def chat_template(self) -> str | None:
        """The file's default chat template, None if it has none."""
        template = self._api.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8") if template else None

    @property
    def cell_bytes(self) -> int:
        """Approximate bytes per token of a float16 key-value memory."""
        api, model = self._api, self.handle
        width = self._metadata_int("attention.key_length") + self._metadata_int("attention.value_length")
        if not width:
            width = 2 * int(api.llama_model_n_embd(model)) // max(1, int(api.llama_model_n_head(model)))
        heads = max(1, int(api.llama_model_n_head_kv(model)))
        return int(api.llama_model_n_layer(model)) * heads * width * 2

    def piece(self, token: int, *, special: bool) -> bytes:
        """Return the bytes that `token` adds to a text; for special tokens none, unless `special`."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self._api.llama_token_to_piece(self._vocabulary, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def named_text(self, role: str) -> str:
        """Return the text of the file's special token for `role` ("bos", "eos"), "" if it has none.

        llama.cpp's defaults for missing tokens are not used: they are ordinary tokens of another vocabulary.
        """
        named = self._metadata(f"tokenizer.ggml.{role}_token_id")
        if not named.isdigit() or int(named) >= self.vocabulary_size:
            return ""
        token = int(named)
        return str(self._api.llama_vocab_get_text(self._vocabulary, token).decode("utf-8", "replace"))

    def is_end(self, token: int) -> bool:
        """Whether `token` ends a generation (EOS, EOT, …)."""
        return bool(self._api.llama_vocab_is_eog(self._vocabulary, token))

    def tokenize(self, text: str, *, special: bool, parse_special: bool) -> tuple[int, ...]:
        """Return the ids of `text`; a BOS at the beginning of `text` is not doubled."""
        plain = self._tokenize(text, special=False, parse_special=parse_special)
        if not special:
            return plain
        if self.adds_bos and plain[:1] == (self.bos,):
            ends = bool(self._api.llama_vocab_get_add_eos(self._vocabulary)) and plain[-1] != self.eos
            return (*plain, self.eos) if ends and self.eos is not None else plain
        return self._tokenize(text, special=True, parse_special=parse_special)

    def _tokenize(self, text: str, *, special: bool, parse_special: bool) -> tuple[int, ...]:
        data = text.encode("utf-8", "replace")
        size = len(data) + 16
        while True:
            buffer = (self._api.llama_token * size)()
            count = self._api.llama_tokenize(self._vocabulary, data, len(data), buffer, size, special, parse_special)
            if count >= 0:
                return tuple(buffer[:count])
            size = -count

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, without special tokens."""
        array = (self._api.llama_token * len(tokens))(*tokens)
        size = 16 * len(tokens) + 16
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self._api.llama_detokenize(self._vocabulary, array, len(tokens), buffer, size, _NO, _NO)
            if count >= 0:
                return buffer.raw[:count].decode("utf-8", "replace")
            size = -count

    def engine(self) -> tuple[str, str]:
        """Return the engine's version with its commit, and its instruction sets."""
        from llama_cpp._ggml import libggml

        ask = libggml.ggml_commit
        ask.restype = ctypes.c_char_p
        commit = ask().decode().removesuffix("-dirty")
        flags = self._api.llama_print_system_info().decode()
        names = [part.split("=")[0].strip() for part in flags.split("|") if part.strip().endswith("= 1")]
        cleaned = " ".join(name.split(":")[-1].strip() for name in names)
        return f"llama.cpp {commit} (llama-cpp-python {self._api.__version__})", cleaned

    @property
    def shape(self) -> dict[str, int]:
        """Return sizes that distinguish models, by llama-server's names."""
        api, model = self._api, self.handle
        return {
            "n_vocab": self.vocabulary_size,
            "n_params": int(api.llama_model_n_params(model)),
            "size": int(api.llama_model_size(model)),
        }

    def _load(
        self, artifact: Path, beat: Callable[[], None], *, vocabulary_only: bool, override: Mapping[str, int]
    ) -> object:
        api = self._api
        options = api.llama_model_default_params()
        options.vocab_only = vocabulary_only
        options.n_gpu_layers = 0
        options.use_extra_bufts = may_repack()
        replaced = (api.llama_model_kv_override * (len(override) + 1))()  # an empty key ends it
        for entry, (key, value) in zip(replaced, override.items(), strict=False):
            entry.tag, entry.key, entry.value.val_i64 = api.LLAMA_KV_OVERRIDE_TYPE_INT, key.encode(), value
        options.kv_overrides = replaced

        def on_progress(_share: float, _data: object) -> bool:
            beat()
            return True

        options.progress_callback = callback = api.llama_progress_callback(on_progress)
        llama_log.forget()
        handle = api.llama_model_load_from_file(os.fsencode(artifact), options)
        del callback, replaced
        if not handle:
            raise ArtifactError(
                f"llama.cpp cannot load {artifact} ({artifact.stat().st_size:,} bytes): {llama_log.last_lines()}",
                next_step="export it again; if its architecture is new, llama-cpp-python must be upgraded",
            )
        return handle

    def _load_adapter(self, lora: Path) -> object:
        if not lora.is_file():
            raise ArtifactError(f"{lora}: no such file", next_step="give the path of a GGUF LoRA adapter")
        if any(entry.key.startswith("adapter.alora.") for entry in read_metadata(lora, ArtifactError)):
            raise ArtifactError(
                f"{lora} is an activated LoRA: an app applies it after certain tokens only, here it would always be on",
                next_step="export the adapter with --unmerged, or merge it",
            )
        llama_log.forget()
        adapter = self._api.llama_adapter_lora_init(self.handle, os.fsencode(lora))
        if not adapter:
            raise ArtifactError(
                f"llama.cpp cannot load the adapter {lora}: {llama_log.last_lines()}",
                next_step="export the adapter for this base with --unmerged",
            )
        return adapter

    def _refuse_non_decoders(self, artifact: Path) -> None:
        api = self._api
        if api.llama_model_has_encoder(self.handle) or not api.llama_model_has_decoder(self.handle):
            raise ArtifactError(
                f"{artifact} is not a decoder-only language model", next_step="give a causal language model"
            )

    def _special(self, ask: Callable[[object], int]) -> int | None:
        token = int(ask(self._vocabulary))
        return None if token < 0 else token

    def _metadata_int(self, key: str) -> int:
        name = self._metadata("general.architecture")
        value = self._metadata(f"{name}.{key}")
        return int(value) if value.isdigit() else 0

    def _metadata(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        count = self._api.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if count >= 0 else ""


def may_repack() -> bool:
    """Whether llama.cpp may repack weights for this processor.

    Not if it was built for AMX (Intel's server processors since Sapphire Rapids): its AMX kernels, which only repacked
    weights use, end in a segmentation fault (ggml-org/llama.cpp#20824).
    """
    import llama_cpp

    return b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()


def check_status(status: int, what: str) -> None:
    """Raise `BackendError` if llama.cpp's `status` is not 0 (llama.h, llama_decode)."""
    if status:
        meaning = {1: "no room in the key-value memory", 2: "aborted", -1: "invalid batch"}.get(status, "fatal error")
        raise BackendError(
            f"llama.cpp failed to {what}: status {status} ({meaning}): {llama_log.last_lines()}",
            next_step="close other programs if memory is short, or lower the context length",
        )
