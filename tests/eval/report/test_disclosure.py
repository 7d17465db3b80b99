"""One probe can be shown without the others, found in the report, and guessed by nobody who was not shown it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess

import edgeproof
import pytest
from edgeproof.contracts.errors import EvidenceError, InputError, PackError, UsageError
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.disclosure import Disclosure, disclose, find, probe_digests, read_disclosure, to_json

SALT = "0123456789abcdef" * 4
ROWS = [
    {"id": f"p{i}", "cluster": f"p{i}", "question": f"The number of {i} is", "answer": f"55{i}", "critical": True}
    for i in range(3)
]


def write(folder, salt=f'salt = "{SALT}"\n', rows=ROWS):
    folder.mkdir(exist_ok=True)
    (folder / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pack.toml").write_text(
        f'schema = 1\nname = "p"\n{salt}[[set]]\nrole = "forget"\nfile = "forget.jsonl"\n'
    )
    return folder


@pytest.fixture
def pack(tmp_path):
    return load_pack(write(tmp_path / "pack"))


@pytest.fixture
def report(pack, tmp_path):
    table = {
        "schema": "edgeproof/report",
        "verdict": "PASS",
        "reason": "",
        "summary": "",
        "artifact": {},
        "pack": {},
        "baseline": {},
        "created": "",
        "versions": {},
        "probe_digests": probe_digests(pack),
        "probes": [
            {"probe": f"p{i}", "surface": surface, "leaks": i == 1, "right": False}
            for i in range(3)
            for surface in ("raw", "chat")
        ],
    }
    (tmp_path / "report.json").write_text(json.dumps(table))
    return table


def test_openssl_computes_the_same_digest_and_key(pack):
    """As the manual says it, for an auditor who has none of this."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")

    def openssl(key, message):
        command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}"]
        shown = subprocess.run(command, input=message, capture_output=True, check=True).stdout
        return shown.decode().split()[-1]

    shown = disclose(pack, "p1")
    assert openssl(SALT, b"edgeproof probe\0p1") == shown.key
    assert openssl(shown.key, shown.content.encode()) == shown.digest == probe_digests(pack)["p1"]


def test_a_shown_probe_is_found_with_its_rows(pack, report):
    rows = find(report, disclose(pack, "p1"))
    assert [(row["surface"], row["leaks"]) for row in rows] == [("raw", True), ("chat", True)]
    content = json.loads(disclose(pack, "p1").content)
    assert (content["question"], content["answer"], content["critical"]) == ("The number of 1 is", "551", True)


@pytest.mark.parametrize("change", [{"answer": "552"}, {"question": "?"}, {"aliases": ["x"]}, {"critical": False}])
def test_another_content_under_the_same_id_is_refused(pack, report, change):
    shown = disclose(pack, "p1")
    content = json.dumps(json.loads(shown.content) | change, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    with pytest.raises(EvidenceError, match="has that id with other content"):
        find(report, dataclasses.replace(shown, content=content))


def test_a_key_opens_no_other_probe_and_the_digests_hang_on_the_salt(pack, report, tmp_path):
    first, second = disclose(pack, "p0"), disclose(pack, "p1")
    assert first.key != second.key
    with pytest.raises(EvidenceError):
        find(report, dataclasses.replace(second, key=first.key))
    other = load_pack(write(tmp_path / "other", f'salt = "{SALT[::-1]}"\n'))
    assert not set(probe_digests(other).values()) & set(probe_digests(pack).values())
    with pytest.raises(EvidenceError, match="does not name it"):
        find(report, Disclosure("p9", '{"id":"p9"}', first.key))


def test_a_salt_is_part_of_the_packs_digest_and_none_leaves_it_as_it_was(pack, tmp_path):
    plain = load_pack(write(tmp_path / "plain", ""))
    other = load_pack(write(tmp_path / "other", f'salt = "{SALT[::-1]}"\n'))
    assert len({pack.digest, plain.digest, other.digest}) == 3
    assert probe_digests(plain) is None
    with pytest.raises(PackError, match="has no salt"):
        disclose(plain, "p0")
    with pytest.raises(PackError, match="has no probe 'p9'"):
        disclose(pack, "p9")


@pytest.mark.parametrize(
    "salt", ['"short"', f'"{SALT[:-2]}"', f'"{SALT}x"', f'"{SALT}0"', f'"{SALT.upper()}"', "1", '""']
)
def test_a_weak_or_odd_salt_is_refused(salt, tmp_path):
    with pytest.raises(PackError, match="`salt`"):
        load_pack(write(tmp_path / "pack", f"salt = {salt}\n"))


def test_a_report_without_digests_says_so(pack, report):
    for lacking in ({"probe_digests": None}, {"probe_digests": 1}, {"probes": None}):
        with pytest.raises(EvidenceError, match="no digests of single probes"):
            find(report | lacking, disclose(pack, "p0"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.update(schema="x"),
        lambda t: t.update(probe="p2"),
        lambda t: t.update(key="00"),
        lambda t: t.update(key="zz"),
        lambda t: t.update(key=1),
        lambda t: t.update(content="{"),
        lambda t: t.update(content="[]"),
        lambda t: t.pop("content"),
    ],
)
def test_a_damaged_disclosure_is_refused(pack, tmp_path, spoil):
    table = to_json(disclose(pack, "p1"))
    spoil(table)
    (tmp_path / "shown.json").write_text(json.dumps(table))
    with pytest.raises(InputError, match="is not a disclosed probe"):
        read_disclosure(tmp_path / "shown.json")


@pytest.mark.usefixtures("report")
def test_inspect_shows_a_probe_and_finds_it(pack, tmp_path):
    shown = edgeproof.inspect(tmp_path / "pack", disclose="p1").facts
    (tmp_path / "shown.json").write_text(json.dumps(shown))
    assert "550" not in (tmp_path / "shown.json").read_text()
    assert "552" not in (tmp_path / "shown.json").read_text()
    found = edgeproof.inspect(tmp_path, disclosed=tmp_path / "shown.json").facts
    assert (found["probe"], found["digest"], found["verdict"]) == ("p1", probe_digests(pack)["p1"], "PASS")
    assert [row["leaks"] for row in found["rows"]] == [True, True]
    with pytest.raises(edgeproof.EdgeproofError) as caught:
        edgeproof.inspect(tmp_path / "pack", disclose="p9")
    assert caught.value.exit_code == 3
    with pytest.raises(edgeproof.EdgeproofError) as caught:
        edgeproof.inspect(tmp_path, disclosed=tmp_path / "nowhere.json")
    assert caught.value.exit_code == 3
    with pytest.raises(UsageError):
        edgeproof.inspect(tmp_path, disclosed="x", disclose="y")
