"""llama.cpp's tokenizer in a child process, so that an abort in native code does not end this process.

`start_engine` runs `python -P -m edgeproof.export.tokenizer.engine GGUF`, which reads all texts as one line of JSON
from stdin and writes one reply to stdout. Nothing is written to disk, since the texts may be from an encrypted pack.
Only the vocabulary is loaded, not the weights. The end of the child's stdin means that the parent is gone, and ends it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import BackendError, TokenizerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

MODULE = "edgeproof.export.tokenizer.engine"
TIMEOUT = 300.0
"""Time limit of the child, in seconds; it normally needs one or two."""


class TokenizeRequest(NamedTuple):
    """A text and llama_tokenize's two flags."""

    text: str
    add_special: bool
    parse_special: bool


class EngineVocabulary(NamedTuple):
    """The file's vocabulary as loaded by llama.cpp.

    `bos` and `eos` are the file's ids with their texts; None if the file has none (llama.cpp's defaults are then
    meaningless). `ends` are the ids at which it ends a generation: EOS and ends of turns, including those that it
    recognizes by their text.
    """

    size: int
    bos: tuple[int, str] | None
    eos: tuple[int, str] | None
    add_bos: bool
    add_eos: bool
    chat_template: str | None
    ends: tuple[int, ...]


class EngineReply(NamedTuple):
    """Token ids of each request, in order."""

    vocabulary: EngineVocabulary
    ids: tuple[tuple[int, ...], ...]


class Engine:
    """A running child process."""

    def __init__(self, gguf: Path, process: subprocess.Popen[bytes], output: Future[tuple[bytes, bytes]]) -> None:
        self._gguf, self._process, self._output = gguf, process, output

    def reply(self) -> EngineReply:
        """Wait for the reply.

        Raises:
            BackendError: the child crashed, hung, or could not load the file; the message has its last output.

        """
        try:
            written, log = self._output.result()
        except subprocess.TimeoutExpired as error:
            raise BackendError(
                f"llama.cpp did not tokenize within {TIMEOUT:.0f} s ({self._gguf})",
                next_step="try again on a less busy machine",
            ) from error
        if (code := self._process.returncode) != 0:
            words = log.decode(errors="replace").strip().splitlines()[-4:]
            raise BackendError(
                f"llama.cpp cannot use the vocabulary of {self._gguf} (exit code {code}): {' / '.join(words)}",
                next_step="the checkpoint's tokenizer files may be damaged: download them again",
            )
        content = json.loads(written)
        vocabulary = EngineVocabulary(**content["vocabulary"])
        bos, eos = (None if token is None else (token[0], token[1]) for token in (vocabulary.bos, vocabulary.eos))
        vocabulary = vocabulary._replace(bos=bos, eos=eos, ends=tuple(vocabulary.ends))
        return EngineReply(vocabulary, tuple(tuple(ids) for ids in content["ids"]))


@contextmanager
def start_engine(gguf: Path, requests: Sequence[TokenizeRequest]) -> Iterator[Engine]:
    """Start tokenizing `requests` in a child process; the caller continues and fetches the reply later.

    Args:
        gguf: a file with a vocabulary.
        requests: the texts to tokenize.

    Raises:
        TokenizerError: a text is not valid Unicode (a lone surrogate).

    """
    try:
        content = json.dumps([list(request) for request in requests], ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"a text holds a lone surrogate (U+{ord(error.object[error.start]):04X}): no tokenizer can encode it",
            next_step="remove it from the text",
        ) from error
    command = [sys.executable, "-P", "-m", MODULE, str(gguf.resolve())]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process, ThreadPoolExecutor(1) as thread:
        try:
            yield Engine(gguf, process, thread.submit(_exchange, process, content))
        finally:
            process.kill()


def _exchange(process: subprocess.Popen[bytes], content: bytes) -> tuple[bytes, bytes]:
    """Write `content` to the child; return its stdout and stderr when it has ended."""
    pipe, process.stdin = process.stdin, None  # `communicate` would close it, which ends the child
    assert pipe is not None
    try:
        with suppress(OSError):  # a child that ended early is reported by its exit code
            pipe.write(content)
            pipe.flush()
        return process.communicate(timeout=TIMEOUT)
    finally:
        with suppress(OSError):
            pipe.close()


def _end_with_parent() -> None:
    """Wait for the end of stdin, and end this process, even within native code."""
    while os.read(0, 4096):  # not sys.stdin, whose lock would be held while the interpreter ends
        pass
    os._exit(1)


def _serve(gguf: Path) -> None:
    # Native code prints to the log; the pipe carries the reply only.
    reply = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import ctypes

    import llama_cpp

    requests = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(gguf), parameters)
    if not model:
        sys.exit(f"llama.cpp cannot load {gguf}")
    vocab = llama_cpp.llama_model_get_vocab(model)
    all_ids = []
    for text, add_special, parse_special in requests:
        encoded = text.encode()
        room = len(encoded) + 8
        buffer = (ctypes.c_int32 * room)()
        count = llama_cpp.llama_tokenize(vocab, encoded, len(encoded), buffer, room, add_special, parse_special)
        if count < 0:  # more tokens than bytes: the negative number of tokens needed
            room = -count
            buffer = (ctypes.c_int32 * room)()
            count = llama_cpp.llama_tokenize(vocab, encoded, len(encoded), buffer, room, add_special, parse_special)
        all_ids.append(list(buffer[:count]))
    template = llama_cpp.llama_model_chat_template(model, None)

    def named(role: str, index: int) -> tuple[int, str] | None:
        key = f"tokenizer.ggml.{role}_token_id".encode()
        if llama_cpp.llama_model_meta_val_str(model, key, ctypes.create_string_buffer(16), 16) < 0:
            return None
        return index, llama_cpp.llama_vocab_get_text(vocab, index).decode()

    size = llama_cpp.llama_vocab_n_tokens(vocab)
    vocabulary = EngineVocabulary(
        size=size,
        bos=named("bos", llama_cpp.llama_vocab_bos(vocab)),
        eos=named("eos", llama_cpp.llama_vocab_eos(vocab)),
        add_bos=bool(llama_cpp.llama_vocab_get_add_bos(vocab)),
        add_eos=bool(llama_cpp.llama_vocab_get_add_eos(vocab)),
        chat_template=None if template is None else template.decode(),
        ends=tuple(index for index in range(size) if llama_cpp.llama_vocab_is_eog(vocab, index)),
    )
    content = {"vocabulary": vocabulary._asdict(), "ids": all_ids}
    with reply:
        reply.write(json.dumps(content).encode())


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
