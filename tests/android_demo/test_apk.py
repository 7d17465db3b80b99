"""The app's package: signed, what it asks for and holds, the same bytes each time, and programs that run."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from edgeproof_tests.android_demo.dex import Dex
from edgeproof_tests.runtime import tiny_gguf

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"libprobe_v8_0.so": "cortex-a53", "libprobe_dotprod.so": "cortex-a76", "libprobe_i8mm.so": "max"}
PERMISSIONS = {"FOREGROUND_SERVICE", "FOREGROUND_SERVICE_DATA_SYNC", "POST_NOTIFICATIONS", "WAKE_LOCK"}
AUTOMATION = {"Automatic", "Door", "Doors", "GameLoopActivity", "JobActivity", "JobInstrumentation"}
APP = {
    "Assets", "Bridge", "Chat", "Events", "EvidenceProvider", "Figures", "Intake", "MainActivity", "R", "RunService",
    "Screen", "Session", "Sessions", "Store",
}  # fmt: skip
PAGE = 16384


def said(*command: object) -> str:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


def components(package: Path) -> set[tuple[str, str]]:
    """What the manifest declares: kind and name."""
    tree = said("aapt2", "dump", "xmltree", "--file", "AndroidManifest.xml", package)
    found, kind = set(), ""
    for line in tree.splitlines():
        if element := re.match(r"\s*E: (\S+)", line):
            kind = element[1]
        elif name := re.search(r':name\(\w+\)="([^"]+)"', line):
            found.add((kind, name[1]))
    return found


@pytest.mark.parametrize("variant", ["debug", "release"])
def test_it_is_signed_and_names_what_it_needs(packages, variant):
    assert "Verifies" in said("apksigner", "verify", "-v", "--min-sdk-version", "26", packages[variant])
    badging = said("aapt2", "dump", "badging", packages[variant])
    for line in (
        "package: name='org.edgeproof.demo' ", "sdkVersion:'26'", "targetSdkVersion:'35'", "native-code: 'arm64-v8a'",
        "launchable-activity: name='org.edgeproof.demo.MainActivity'",
    ):  # fmt: skip
        assert line in badging
    asked = set(re.findall(r"uses-permission: name='android\.permission\.(\w+)'", badging))
    assert asked == PERMISSIONS
    assert ("application-debuggable" in badging) is (variant == "debug")


def test_the_release_has_no_automation(packages):
    own = "org.edgeproof.demo."
    found = {
        variant: {name for name in Dex(packages[variant]).classes() if name.startswith(own)} for variant in packages
    }
    plain = {variant: {name[len(own) :].partition("$")[0] for name in names} for variant, names in found.items()}
    assert plain == {"debug": APP | AUTOMATION, "release": APP}
    foreign = {name for name in Dex(packages["release"]).classes() if not name.startswith("org.edgeproof.")}
    assert foreign == set()

    common = {("activity", ".MainActivity"), ("service", ".RunService"), ("provider", ".EvidenceProvider"),
              ("action", "android.intent.action.MAIN"), ("category", "android.intent.category.LAUNCHER")}  # fmt: skip
    common |= {("uses-permission", f"android.permission.{name}") for name in PERMISSIONS}
    doors = {
        ("activity", ".JobActivity"), ("activity", ".GameLoopActivity"), ("meta-data", "com.google.test.loops"),
        ("action", "com.google.intent.action.TEST_LOOP"), ("category", "android.intent.category.DEFAULT"),
        ("instrumentation", "org.edgeproof.demo.JobInstrumentation"),
    }  # fmt: skip
    assert components(packages["release"]) == common
    assert components(packages["debug"]) == common | doors


def test_programs_lie_as_android_wants_them(packages, phone):
    for package in packages.values():
        assert "successful" in said("zipalign", "-c", "-v", "-p", "4", package)
        with zipfile.ZipFile(package) as opened, package.open("rb") as raw:
            libraries = {entry.filename: entry for entry in opened.infolist() if entry.filename.startswith("lib/")}
            assert set(libraries) == {f"lib/arm64-v8a/{name}" for name in PROGRAMS}
            for entry in libraries.values():
                raw.seek(entry.header_offset + 26)
                start = entry.header_offset + 30 + sum(struct.unpack("<HH", raw.read(4)))
                assert entry.compress_type == zipfile.ZIP_STORED
                assert start % PAGE == 0
                name = Path(entry.filename).stem.removeprefix("libprobe_").replace("v8_0", "v8.0")
                assert opened.read(entry) == (phone / f"probe-{name}").read_bytes()


def test_the_licences_of_all_that_is_linked_lie_in_it(packages):
    for package in packages.values():
        text = zipfile.ZipFile(package).read("assets/edgeproof-licences.txt").decode()
        for whose in (
            "Apache License", "The ggml authors", "Niels Lohmann", "Mozilla Foundation", "musl as a whole",
            "LLVM Exceptions", "Zig contributors",
        ):  # fmt: skip
            assert whose in text


@pytest.mark.phone
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_of_the_package_score_a_model(packages, phone, name, tmp_path):  # noqa: ARG001 (asks for qemu)
    program = Path(zipfile.ZipFile(packages["release"]).extract(f"lib/arm64-v8a/{name}", tmp_path))
    program.chmod(0o700)
    model = tiny_gguf.write(tmp_path / "tiny.gguf")
    lines = [
        {"open": {"model": str(model), "threads": 1}},
        {"id": 0, "score": {"context": [1, 2], "continuation": [3]}},
    ]
    run = subprocess.run(
        ["qemu-aarch64-static", "-cpu", PROGRAMS[name], program],
        input="".join(json.dumps(one) + "\n" for one in lines), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(run.stdout.splitlines()[1])["logprobs"][0] < 0


@pytest.mark.slow
def test_the_same_sources_give_the_same_bytes(packages, phone, tmp_path):
    """Built again elsewhere with the same key, from the checkout as it is: it is also what was tested above."""
    there = packages["release"].parent
    for name in ("debug.keystore", "dx-1.11.jar"):
        shutil.copy(there / name, tmp_path)
    subprocess.run(
        [sys.executable, ROOT / "android_demo" / "apk.py", tmp_path, "--programs", phone],
        check=True,
        capture_output=True,
    )
    for package in packages.values():
        assert (tmp_path / package.name).read_bytes() == package.read_bytes(), "run `make apk` again"


def test_a_missing_tool_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    run = subprocess.run(
        [sys.executable, ROOT / "android_demo" / "apk.py", tmp_path, "--programs", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 3
    assert "not installed: javac, java, keytool, npm, aapt2, zipalign, apksigner" in run.stderr
    assert "apt-get install aapt " in run.stderr


def test_the_manifest_is_well_formed_for_gradle_too():
    """Gradle names the package itself; a manifest that names another, or none of ours, would not build there."""
    for file in (ROOT / "android_demo" / "app" / "src").glob("*/AndroidManifest.xml"):
        manifest = ET.parse(file).getroot()  # noqa: S314 (our own file)
        assert manifest.tag == "manifest"
        assert "package" not in manifest.attrib
