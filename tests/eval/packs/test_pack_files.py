"""Encrypted packs are the folder's pack, opened in memory alone; whatever is wrong with one has its own message."""

from __future__ import annotations

import builtins
import io
import json
import shutil
import subprocess
import sys
import tarfile

import edgeproof
import pytest
from edgeproof.contracts.errors import PackError, UnsupportedError
from edgeproof.eval.packs.files import MAX_MEMBERS, open_pack, read_identity
from edgeproof.eval.packs.reader import load_pack

pyrage = pytest.importorskip("pyrage")

ANSWER = "the-erased-answer"


@pytest.fixture(scope="module")
def key():
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def folder(tmp_path):
    out = tmp_path / "pack"
    (out / "more").mkdir(parents=True)
    row = {"id": "p1", "cluster": "p1", "question": "The answer is", "answer": ANSWER}
    (out / "forget.jsonl").write_text(json.dumps(row) + "\n")
    (out / "more" / "keep.jsonl").write_text(json.dumps(row | {"id": "k1", "question": "Kept is"}) + "\r\n")
    (out / "README.md").write_text("for people")
    (out / "pack.toml").write_text(
        'schema = 1\nname = "p"\n[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n'
        '[[set]]\nrole = "retain"\nfile = "more/keep.jsonl"\n'
    )
    return out


def archived(files):
    """A tar of {name: bytes, or a TarInfo as it is}."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            body = b"" if isinstance(content, tarfile.TarInfo) else content
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return raw.getvalue()


def read(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def encrypted(content, key, path):
    path.write_bytes(pyrage.encrypt(content, [key.to_public()]))
    return path


@pytest.fixture
def sealed(folder, key, tmp_path):
    return encrypted(archived(read(folder)), key, tmp_path / "pack.age")


# --- the same pack


def test_an_encrypted_pack_is_the_folders_pack_with_its_digests(folder, sealed, key):
    opened = load_pack(sealed, str(key))
    assert opened == load_pack(folder)
    assert opened.digest == load_pack(folder).digest
    assert open_pack(sealed, str(key)).digest() == open_pack(folder).digest()


@pytest.mark.parametrize("armour", [[], ["-a"]])
@pytest.mark.parametrize("outside", [False, True])
def test_what_the_official_tools_make_is_read(folder, tmp_path, armour, outside):
    """As the manual says it, by Debian's `age` and `tar`, and from outside the folder."""
    if shutil.which("age") is None or shutil.which("tar") is None:
        pytest.skip("needs age and tar")
    subprocess.run(["age-keygen", "-o", tmp_path / "key.txt"], check=True, capture_output=True)
    (line,) = [line for line in (tmp_path / "key.txt").read_text().splitlines() if "public key" in line]
    where = ["-C", folder.parent, folder.name] if outside else ["-C", folder, "."]
    tar = subprocess.run(["tar", "-cf", "-", *where], check=True, capture_output=True).stdout
    out = tmp_path / "pack.age"
    subprocess.run(["age", *armour, "-r", line.split()[-1], "-o", out], input=tar, check=True)
    identity = read_identity((tmp_path / "key.txt").read_text(), "key.txt")
    assert load_pack(out, identity) == load_pack(folder)
    assert open_pack(out, identity).digest() == open_pack(folder).digest()


def test_any_of_several_keys_opens_it(sealed, folder, key):
    other = pyrage.x25519.Identity.generate()
    identity = read_identity(f"# created: today\n{other}\n\n{key}\n", "key.txt")
    assert load_pack(sealed, identity) == load_pack(folder)


def test_nothing_is_written_anywhere(sealed, key, monkeypatch, tmp_path):
    before = read(tmp_path)
    original = builtins.open

    def reading_only(file, mode="r", *args, **kwargs):
        assert not set(mode) & set("wax+"), f"{file} opened for writing"
        return original(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", reading_only)
    monkeypatch.setattr(io, "open", reading_only)
    for name in ("mkstemp", "TemporaryDirectory", "TemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(f"tempfile.{name}", lambda *_, **__: pytest.fail("a temporary file"))
    assert ANSWER in {probe.answer for probe in load_pack(sealed, str(key)).probes}
    assert read(tmp_path) == before


# --- what is wrong with it


def refused(path, identity, said=None, kind=PackError):
    with pytest.raises(kind, match=said) as error:
        load_pack(path, identity)
    assert error.value.exit_code == 3
    assert ANSWER not in str(error.value)


def test_without_the_key_or_with_another_it_stays_shut(sealed, key):
    refused(sealed, None, "is encrypted, and there is no key for it")
    refused(sealed, str(pyrage.x25519.Identity.generate()), "encrypted to another key")
    refused(sealed, "AGE-SECRET-KEY-1NONSENSE", "is not an age identity of the kind X25519")
    refused(sealed, None, "EDGEPROOF_PACK_KEY")
    assert load_pack(sealed, str(key))


def test_any_byte_changed_or_lost_is_refused(sealed, key):
    content = sealed.read_bytes()
    for place in {*range(0, len(content), 97), len(content) - 1}:
        changed = bytearray(content)
        changed[place] ^= 1
        sealed.write_bytes(bytes(changed))
        refused(sealed, str(key))
    for length in (0, 10, 200, len(content) // 2, len(content) - 1):
        sealed.write_bytes(content[:length])
        refused(sealed, str(key))
    sealed.write_bytes(content + b"x")
    refused(sealed, str(key), "cannot be decrypted")


def test_what_is_not_encrypted_is_told(folder, tmp_path, key):
    path = tmp_path / "plain.tar"
    path.write_bytes(archived(read(folder)))
    refused(path, str(key), "neither a pack's folder nor encrypted with age")
    refused(tmp_path / "nowhere", str(key), "no such folder or file")


def test_a_passphrase_is_told_from_a_key(folder, tmp_path, key):
    path = tmp_path / "pack.age"
    path.write_bytes(pyrage.passphrase.encrypt(archived(read(folder)), "open sesame"))
    refused(path, str(key), "cannot be decrypted")


def test_without_the_library_it_says_what_to_install(sealed, key, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrage", None)
    refused(sealed, str(key), "the library that opens it is not installed", UnsupportedError)
    refused(sealed, str(key), r"edgeproof\[encrypted\]", UnsupportedError)


def info(name, kind, link=""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"forget.jsonl": info("forget.jsonl", tarfile.SYMTYPE, "/etc/passwd")}, "is a link"),
        ({"more/keep.jsonl": info("more/keep.jsonl", tarfile.LNKTYPE, "forget.jsonl")}, "is a link"),
        ({"pipe": info("pipe", tarfile.FIFOTYPE)}, "is a link, a device"),
        ({"device": info("device", tarfile.CHRTYPE)}, "is a link, a device"),
        ({"/etc/passwd": b"x"}, "leads outside"),
        ({"../pack.toml": b"x"}, "leads outside"),
        ({"more/../../x": b"x"}, "leads outside"),
        ({"more\\..\\x": b"x"}, "leads outside"),
        ({"./forget.jsonl": b"{}"}, "appears twice"),
        ({f"f{index}": b"" for index in range(MAX_MEMBERS + 1)}, f"more than {MAX_MEMBERS} files"),
    ],
)
def test_an_archive_with_a_trick_in_it_is_refused(folder, key, tmp_path, change, said):
    refused(encrypted(archived(read(folder) | change), key, tmp_path / "pack.age"), str(key), said)


def test_a_file_with_holes_is_refused(folder, key, tmp_path):
    if shutil.which("tar") is None:
        pytest.skip("needs tar")
    with (folder / "holes.jsonl").open("wb") as file:
        file.truncate(10**9)
    command = ["tar", "--sparse", "--hole-detection=raw", "-C", folder, "-cf", "-", "."]
    made = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(made) < 10**6
    refused(encrypted(made, key, tmp_path / "pack.age"), str(key), "a file with holes")


def test_what_is_decrypted_and_no_archive_is_told(folder, key, tmp_path):
    import gzip

    tar = archived(read(folder))
    for content in (b"", b"hello", b"\x00" * 512, gzip.compress(tar), tar[:700], tar[512:]):
        refused(
            encrypted(content, key, tmp_path / "pack.age"), str(key), r"not a tar archive|there is no pack.toml|bytes"
        )


def test_a_key_file_without_a_key_is_told():
    for text in ("", "# created: today\n", "age1public", "AGE-SECRET-KEY-1X\nhello\n"):
        with pytest.raises(PackError, match="holds no age identity"):
            read_identity(text, "key.txt")


# --- files that pack.toml does not name


def test_hidden_files_are_no_part_of_a_pack(folder, key, tmp_path):
    digest = open_pack(folder).digest()
    for name in (".DS_Store", "more/._keep.jsonl", ".git/config"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert open_pack(folder).digest() == digest
    sealed = encrypted(archived(read(folder)), key, tmp_path / "pack.age")
    assert open_pack(sealed, str(key)).digest() == digest
    assert load_pack(sealed, str(key)) == load_pack(folder)


@pytest.mark.parametrize("name", [".forget.jsonl", ".more/forget.jsonl", "link.jsonl"])
def test_a_hidden_file_cannot_be_probed_without_being_in_the_digest(folder, key, tmp_path, name):
    hidden = folder / (name if name != "link.jsonl" else ".forget.jsonl")
    hidden.parent.mkdir(exist_ok=True)
    (folder / "forget.jsonl").rename(hidden)
    if name == "link.jsonl":
        (folder / name).symlink_to(hidden.name)
    toml = (folder / "pack.toml").read_text().replace('"forget.jsonl"', f'"{name}"')
    (folder / "pack.toml").write_text(toml)
    refused(folder, None, "is hidden")
    if name != "link.jsonl":
        sealed = encrypted(archived(read(folder)), key, tmp_path / "pack.age")
        refused(sealed, str(key), "there is no such file in the pack")


def test_a_path_that_turns_round_inside_the_pack_is_not_hidden(folder):
    plain = load_pack(folder)
    toml = (folder / "pack.toml").read_text().replace('"forget.jsonl"', '"./more/../forget.jsonl"')
    (folder / "pack.toml").write_text(toml)
    assert load_pack(folder) == plain
    (folder / "pack.toml").write_text(toml.replace("./more/..", "more/../.."))
    refused(folder, None, "leads outside the pack's folder")


def test_an_unnamed_file_counts_for_the_files_digest_and_not_for_the_packs(folder):
    files, content = open_pack(folder).digest(), load_pack(folder).digest
    (folder / "README.md").write_text("for other people")
    assert open_pack(folder).digest() != files
    assert load_pack(folder).digest == content
    (folder / "pack.toml").write_text((folder / "pack.toml").read_text() + "# a comment\n")
    assert load_pack(folder).digest == content


def test_the_files_digest_is_what_sha256sum_lists(folder):
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    script = "find . -type f ! -path '*/.*' | sed 's|^./||' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    shown = subprocess.run(["sh", "-c", script], cwd=folder, check=True, capture_output=True, text=True).stdout
    assert open_pack(folder).digest() == shown.split()[0]


# --- keys


def test_inspect_opens_it_with_the_key_of_the_option_or_of_the_environment(sealed, folder, key, tmp_path, monkeypatch):
    (tmp_path / "key.txt").write_text(f"# created: today\n{key}\n")
    plain = edgeproof.inspect(folder)
    assert edgeproof.inspect(sealed, pack_key=tmp_path / "key.txt").facts == plain.facts
    monkeypatch.setenv("EDGEPROOF_PACK_KEY", str(key))
    assert edgeproof.inspect(sealed).facts == plain.facts


@pytest.mark.parametrize(
    ("held", "option", "said"),
    [
        (None, None, "there is no key for it"),
        ("nonsense", None, "the environment variable EDGEPROOF_PACK_KEY holds no age identity"),
        (None, "nowhere.txt", "cannot read the key"),
        ("good", "bad.txt", "bad.txt holds no age identity"),
    ],
)
def test_a_missing_key_is_an_error_that_says_what_is_missing(sealed, key, tmp_path, monkeypatch, held, option, said):
    (tmp_path / "bad.txt").write_text("hello")
    monkeypatch.delenv("EDGEPROOF_PACK_KEY", raising=False)
    if held is not None:
        monkeypatch.setenv("EDGEPROOF_PACK_KEY", str(key) if held == "good" else held)
    with pytest.raises(edgeproof.EdgeproofError, match=said) as caught:
        edgeproof.inspect(sealed, pack_key=None if option is None else tmp_path / option)
    assert caught.value.exit_code == 3
    assert str(key) not in str(caught.value)
