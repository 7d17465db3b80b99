"""Mutations of files: of any bytes, and of what JSON, TOML, GGUF, safetensors and protobuf files are made of.

Each takes the bytes and a `random.Random`, and returns other bytes and what was changed. The same seed gives the same.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    Mutation = Callable[[bytes, Random], tuple[bytes, str]]

NUMBERS = [0, 1, -1, 2, 7, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
ODD: list[Any] = [
    None, True, False, *NUMBERS, 10**30, 0.0, -0.5, 1e-30, 1e300, float("nan"), float("inf"), "", "x", "\0", "../x",
    "/etc/passwd", "\ud800", "x" * 70000, [], {}, [None], [[]], ["x"], {"type": []}, {"x": {}},
]  # fmt: skip


def bytewise(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Flip, set, insert, delete, repeat, exchange, or cut."""
    made, at = bytearray(data), chance.randrange(max(len(data), 1))
    length = min(1 << chance.randrange(0, 12), len(data))
    kind = chance.choice(("flip", "set", "insert", "delete", "repeat", "exchange", "cut", "zero", "append"))
    if kind == "flip" and made:
        made[at] ^= 1 << chance.randrange(8)
    elif kind == "set" and made:
        made[at] = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    elif kind == "insert":
        made[at:at] = chance.randbytes(length or 1)
    elif kind == "delete":
        del made[at : at + length]
    elif kind == "repeat":
        made[at:at] = made[at : at + length]
    elif kind == "exchange":
        other = chance.randrange(max(len(data) - length, 1))
        made[at : at + length], made[other : other + length] = made[other : other + length], made[at : at + length]
    elif kind == "cut":
        del made[at:]
    elif kind == "zero":
        made[at : at + length] = bytes(len(made[at : at + length]))
    else:
        made += chance.randbytes(length or 1)
    return bytes(made), f"{kind} {length} at {at}"


def places(value: object, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below `value`."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*where, key)
        yield from places(inner, (*where, key))


def change(value: Any, chance: Random) -> str:
    """Change one value of a JSON table or list in place: replaced, removed, renamed, doubled, or exchanged."""
    # Every depth is as likely: else a vocabulary's thousands of entries would be all that is changed.
    inner, where = value, []
    while isinstance(inner, dict | list) and inner:
        key = chance.choice(list(inner)) if isinstance(inner, dict) else chance.randrange(len(inner))
        where.append(key)
        if not isinstance(inner[key], dict | list) or not inner[key] or chance.random() < 0.3:
            break
        inner = inner[key]
    if not where:
        return "nothing"
    key, name = where[-1], "/".join(str(key)[:40] for key in where)
    kind = chance.choice(("replace", "replace", "nudge", "nudge", "remove", "rename", "exchange", "nest"))
    old = inner[key]
    if kind == "nudge" and isinstance(old, int | float) and not isinstance(old, bool):
        inner[key] = chance.choice((old + 1, old - 1, -old, old * 2, old / 2, old * (1 + 1e-6), float(old), str(old)))
    elif kind == "nudge" and isinstance(old, str) and old:
        at = chance.randrange(len(old))
        inner[key] = old[:at] + chance.choice(("", "x", "\0", "/", '"', "é", "\u202e", old)) + old[at + 1 :]
    elif kind == "remove":
        del inner[key]
    elif kind == "rename" and isinstance(inner, dict):
        new = chance.choice((f"{key}x", "", str(key).upper(), chance.choice(list(inner))))
        inner[new] = inner.pop(key)
    elif kind == "exchange" and inner:
        other = chance.choice(list(inner)) if isinstance(inner, dict) else chance.randrange(len(inner))
        inner[key], inner[other] = inner[other], inner[key]
        name += f" with {str(other)[:40]}"
    elif kind == "nest":
        inner[key] = [old] if chance.random() < 0.5 else {"x": old}
    else:
        inner[key] = new = chance.choice(ODD)
        return f"{name} = {str(new)[:20]!r}"
    return f"{kind} {name}"


def json_value(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Change one or two values of a JSON text."""
    value = json.loads(data)
    said = [change(value, chance) for _ in range(chance.choice((1, 1, 1, 2)))]
    return encode(value, like=data), "; ".join(said)


def json_line(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Change one value of one line, or lines themselves."""
    lines = data.splitlines(keepends=True)
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.choice(("value", "value", "value", "remove", "double", "exchange", "one"))
    if kind == "remove":
        del lines[at]
    elif kind == "double":
        lines.insert(other, lines[at])
    elif kind == "exchange":
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "one":
        lines = lines[:1]
    else:
        lines[at], said = json_value(lines[at], chance)
        lines[at] += b"\n"
        return b"".join(lines), f"line {at}: {said}"
    return b"".join(lines), f"{kind} line {at}"


def encode(value: object, *, like: bytes) -> bytes:
    """JSON, with the spaces that `like` has."""
    text = json.dumps(value, separators=(",", ":") if b'", "' not in like and b'": ' not in like else None)
    return text.encode("utf-8", "surrogatepass")


def text_token(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Change a word of a text, or its lines: TOML, PEM, templates, JSON as a text."""
    import re

    text = data.decode()
    kind = chance.choice(("word", "word", "word", "number", "number", "line", "double", "exchange"))
    found = list(re.finditer(r"\d+" if kind == "number" else r"[A-Za-z_]+|\d+|[^\sA-Za-z_0-9]", text))
    if kind in {"word", "number"} and found:
        token = chance.choice(found)
        words = [
            chance.choice(found)[0],
            "",
            "0",
            "-1",
            "9" * 20,
            "nan",
            "inf",
            "1e999",
            "true",
            '"',
            "'",
            "[",
            "{{",
            "\0",
        ]
        if kind == "number":
            words += [str(int(token[0]) + 1), f"{token[0]}0", f"0.{token[0]}", f"-{token[0]}"]
        new = chance.choice(words)
        return (
            text[: token.start()] + new + text[token.end() :]
        ).encode(), f"{token[0][:20]!r} → {new[:20]!r} at {token.start()}"
    lines = text.splitlines(keepends=True)
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    if kind == "line":
        del lines[at]
    elif kind == "double":
        lines.insert(other, lines[at])
    else:
        lines[at], lines[other] = lines[other], lines[at]
    return "".join(lines).encode(), f"{kind} line {at}"


# --- safetensors


def safetensors_header(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Change the header's JSON, with or without its length."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    said = change(header, chance)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    counted = len(text) if chance.random() < 0.9 else chance.choice(NUMBERS) % 2**64
    return counted.to_bytes(8, "little") + text + data[8 + length :], f"header, {said}"


# --- GGUF

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class Span(NamedTuple):
    """A field of the header: where it lies, its bytes, and what it is."""

    at: int
    size: int
    what: str


def gguf_spans(data: bytes) -> list[Span]:
    """Every number and string of a GGUF's header (ggml's docs/gguf.md); of a long array the first items."""
    at, spans = 24, [Span(4, 4, "version"), Span(8, 8, "tensor count"), Span(16, 8, "metadata count")]

    def number(size: int, what: str) -> int:
        nonlocal at
        spans.append(Span(at, size, what))
        at += size
        return int.from_bytes(data[at - size : at], "little")

    def string(what: str) -> str:
        nonlocal at
        size = number(8, f"length of {what}")
        spans.append(Span(at, size, what))
        at += size
        return data[at - size : at].decode("utf-8", "replace")

    def value(kind: int, what: str) -> None:
        nonlocal at
        if kind == 8:
            string(what)
        elif kind == 9:
            item, count, kept = number(4, f"item type of {what}"), number(8, f"count of {what}"), 0
            for index in range(count):
                value(item, f"{what}[{index}]")
                kept = len(spans) if index == 20 else kept
            if kept:
                del spans[kept:]
        else:
            number(_SIZES[kind], what)

    tensors, entries = int.from_bytes(data[8:16], "little"), int.from_bytes(data[16:24], "little")
    for _ in range(entries):
        key = string("a key")
        spans[-1] = spans[-1]._replace(what=f"key {key}")
        value(number(4, f"type of {key}"), key)
    for _ in range(tensors):
        name = string("a tensor's name")
        for _ in range(number(4, f"dimensions of {name}")):
            number(8, f"shape of {name}")
        number(4, f"type of {name}")
        number(8, f"offset of {name}")
    return spans


def gguf_field(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Change one field of the header: a number, a string (its length too), or two exchanged."""
    spans = gguf_spans(data)
    span = chance.choice(spans)
    old, made = data[span.at : span.at + span.size], bytearray(data)
    kind = chance.choice(("number", "nudge", "bytes", "exchange"))
    if kind == "exchange":
        other = chance.choice([one for one in spans if one.size == span.size])
        made[span.at : span.at + span.size] = data[other.at : other.at + span.size]
        made[other.at : other.at + span.size] = old
        return bytes(made), f"exchange {span.what} with {other.what}"
    if kind == "bytes" or span.size not in {1, 2, 4, 8}:
        new = chance.randbytes(span.size)
    elif kind == "nudge":
        new = ((int.from_bytes(old, "little") + chance.choice((1, -1))) % 256**span.size).to_bytes(span.size, "little")
    else:
        new = (chance.choice(NUMBERS) % 256**span.size).to_bytes(span.size, "little")
    made[span.at : span.at + span.size] = new
    return bytes(made), f"{span.what} = {new[:16]!r}"


def gguf_entry(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Remove, double or rename a whole metadata entry, and count right: what an editor of metadata would write."""
    spans = gguf_spans(data)
    keys = [index for index, span in enumerate(spans) if span.what.startswith("key ")]
    which = chance.randrange(len(keys) - 1)
    begin, end = (spans[keys[index]].at - 8 for index in (which, which + 1))
    name, count = spans[keys[which]].what[4:], int.from_bytes(data[16:24], "little")
    kind = chance.choice(("remove", "double", "rename"))
    entry = data[begin:end]
    if kind == "rename":
        renamed = chance.choice((name + "x", name.upper(), "", "x" * 70000, name + "\0")).encode()
        entry = struct.pack("<Q", len(renamed)) + renamed + entry[8 + len(name.encode()) :]
    middle = {"remove": b"", "double": entry * 2, "rename": entry}[kind]
    count += {"remove": -1, "double": 1, "rename": 0}[kind]
    header_end = spans[-1].at + spans[-1].size
    header = data[:16] + struct.pack("<Q", count) + data[24:begin] + middle + data[end:header_end]
    # The data begin at the next multiple of 32, the default alignment.
    old_start, new_start = (-(-size // 32) * 32 for size in (header_end, len(header)))
    return header + bytes(new_start - len(header)) + data[old_start:], f"{kind} {name}"


def gguf_weights(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Damage the weights: NaN or infinity, a zeroed stretch, random bytes."""
    header = gguf_spans(data)[-1]
    start = -(-(header.at + header.size) // 32) * 32
    at = chance.randrange(start, len(data) - 4)
    at -= (at - start) % chance.choice((2, 4, 34, 18))  # halves, singles, blocks of Q8_0, blocks of Q4_0
    length = min(chance.choice((2, 4, 64, 4096, 65536)), len(data) - at)
    kind, new = chance.choice(
        (("NaN16", b"\x00\x7e"), ("NaN32", b"\x00\x00\xc0\x7f"), ("inf16", b"\x00\x7c"), ("zero", bytes(length)),
         ("random", chance.randbytes(length)), ("ones", b"\xff" * length))
    )  # fmt: skip
    return data[:at] + new + data[at + len(new) :], f"weights {kind} {len(new)} at {at}"


# --- tar, inside of age


def age_archive(identity: Path) -> Mutation:
    """Change a header or the bytes of the tar inside an age file, and encrypt it again."""

    def mutate(data: bytes, chance: Random) -> tuple[bytes, str]:
        import pyrage

        key = pyrage.x25519.Identity.from_str(identity.read_text().strip())
        kind = chance.choice((tar_header, tar_header, bytewise))
        changed, said = kind(pyrage.decrypt(data, [key]), chance)
        return pyrage.encrypt(changed, [key.to_public()]), f"{kind.__name__}, {said}"

    return mutate


_TAR = {"name": (0, 100), "mode": (100, 8), "uid": (108, 8), "size": (124, 12), "type": (156, 1), "link": (157, 100)}
_TEXTS = (b"../x", b"/etc/passwd", b"./pack.toml", b"", b"x" * 100, b"\xff\xfe", b"a/" * 50, b"777777777777", b"-1")


def tar_header(data: bytes, chance: Random) -> tuple[bytes, str]:
    """Change a field of one member's header, with a checksum that fits."""
    starts = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    at, (name, (begin, size)) = chance.choice(starts), chance.choice(list(_TAR.items()))
    new = chance.choice((*_TEXTS, chance.randbytes(size), b"0", b"1", b"2", b"5", b"6", b"x", b"L"))[:size]
    header = bytearray(data[at : at + 512])
    header[begin : begin + size] = new.ljust(size, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return data[:at] + bytes(header) + data[at + 512 :], f"{name} = {new[:20]!r} at {at}"


# --- protobuf: ONNX graphs, sentencepiece models


def protobuf_field(parse: Callable[[bytes], Any]) -> Mutation:
    """Change one field of a message that `parse` makes of bytes: a number, a text, or a repeated entry."""

    def mutate(data: bytes, chance: Random) -> tuple[bytes, str]:
        message = parse(data)
        inner, path = message, []
        while True:
            fields = inner.ListFields()
            if not fields:
                return bytewise(data, chance)
            field, value = chance.choice(fields)
            path.append(field.name)
            many = hasattr(value, "append") or hasattr(value, "add")
            if many and chance.random() < 0.15:
                del value[chance.randrange(len(value))]
                return message.SerializeToString(), f"remove one of {'/'.join(path)}"
            if field.message_type is None:
                break
            inner = value[chance.randrange(len(value))] if many else value
        name = "/".join(path)
        if many:
            index = chance.randrange(len(value))
            old = value[index]
        else:
            old = value
        new = _other(old, chance)
        try:
            if many:
                value[index] = new
            else:
                setattr(inner, field.name, new)
        except (ValueError, TypeError):  # out of the field's range
            return bytewise(data, chance)
        return message.SerializeToString(), f"{name}: {str(old)[:30]!r} → {str(new)[:30]!r}"

    return mutate


def _other(old: Any, chance: Random) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return chance.choice((old + 1, old - 1, -old, *NUMBERS))
    if isinstance(old, float):
        return chance.choice((0.0, -old, old * 2, old * 1.001, float("nan"), float("inf"), 1e30))
    if isinstance(old, bytes):
        return bytewise(old, chance)[0]
    return chance.choice(("", old + "x", old[:-1], "x" * 70000, "../x", "/etc/passwd", "\0"))
