"""llama.cpp's tokenizer in a child process, so that an abort in native code does not end this process.

`start_engine` runs `python -P -m edgeproof.export.tokenizer.engine GGUF`; both exchange JSON through pipes, since the
texts may be from an encrypted pack and must not be written to disk. Only the vocabulary is loaded, not the weights.
The requests are one line; the end of the child's stdin means that the parent is gone, and ends the child.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from edgeproof.contracts.errors import BackendError, TokenizerError
from edgeproof.contracts.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODULE = "edgeproof.export.tokenizer.engine"
TIMEOUT = 120.0
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

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, gguf: Path) -> None:
        self._process, self._folder, self._gguf = process, folder, gguf

    def reply(self) -> EngineReply:
        """Wait for the reply.

        Raises:
            BackendError: the child crashed, hung, or could not load the file; the message has its last output.

        """
        try:
            written, _ = self._process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise BackendError(
                f"llama.cpp did not tokenize within {TIMEOUT:.0f} s ({self._gguf})",
                next_step="try again on a less busy machine",
            ) from error
        if (code := self._process.returncode) != 0:
            words = (self._folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-4:]
            raise BackendError(
                f"llama.cpp cannot use the vocabulary of {self._gguf} (exit code {code}): {' / '.join(words)}",
                next_step="the checkpoint's tokenizer files may be damaged: download them again",
            )
        content = json.loads(written)
        vocabulary = EngineVocabulary(**content["vocabulary"])
        bos, eos = (None if token is None else (token[0], token[1]) for token in (vocabulary.bos, vocabulary.eos))
        vocabulary = vocabulary._replace(bos=bos, eos=eos, ends=tuple(vocabulary.ends))
        return EngineReply(vocabulary, tuple(tuple(ids) for ids in content["ids"]))


def exchange_folder() -> AbstractContextManager[Path]:
    """Make a folder for files shared with the engine; it is removed when the block ends."""
    return scratch_folder(Path(tempfile.gettempdir()), "edgeproof-tokenizer-")


@contextmanager
def start_engine(gguf: Path, requests: Sequence[TokenizeRequest], folder: Path) -> Iterator[Engine]:
    """Start tokenizing `requests` in a child process; the caller continues and fetches the reply later.

    Args:
        gguf: a file with a vocabulary.
        requests: the texts to tokenize.
        folder: an empty folder for the child's log.

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
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert process.stdin is not None
    assert process.stdout is not None
    # A thread writes, since a pipe's buffer is small and the child reads only when it is ready.
    pipe, process.stdin = process.stdin, None  # `communicate` would close it, which ends the child
    feeder = threading.Thread(target=_feed, args=(pipe, content), daemon=True)
    feeder.start()
    try:
        yield Engine(process, folder, gguf)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        feeder.join()
        with suppress(OSError):
            pipe.close()
        process.stdout.close()


def _feed(pipe: IO[bytes], content: bytes) -> None:
    """Write `content` to the pipe; a child that ended early is reported by its exit code."""
    with suppress(OSError):
        pipe.write(content)
        pipe.flush()


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
    model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), parameters)
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
