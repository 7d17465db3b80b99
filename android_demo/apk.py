"""Builds the app for phones without Gradle: an APK from javac, dx, aapt2 and apksigner.

    python android_demo/apk.py [--variant debug|release] --programs FOLDER OUT
    python android_demo/apk.py --tools OUT       only fetches dx, and says with exit status 3 what is missing

writes OUT/edgeproof-VARIANT.apk with the programs that build.py wrote into FOLDER. The debug build has the doors for
automation, the release build has none. The same sources, tools and key give the same bytes; the key is made once, in
OUT/debug.keystore, and is good for trying out only.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from packing import archive, dex, java, manifest, programs, tools

HERE = Path(__file__).resolve().parent
VARIANTS = ("debug", "release")
PASSWORD = "android"  # noqa: S105 (of a key that anyone may make)


def sources(variant: str) -> list[Path]:
    """Return the Java files of a variant: the library's, the app's, and the variant's own."""
    folders = [HERE / "lib/src/main/java", HERE / "app/src/main/java", HERE / f"app/src/{variant}/java"]
    return sorted(file for folder in folders for file in folder.rglob("*.java"))


def resources(variant: str, into: Path) -> Path:
    """Return an archive of the compiled resources and the merged manifest."""
    compiled = into / "resources.zip"
    tools.call("aapt2", "compile", "--dir", str(HERE / "app/src/main/res"), "-o", str(compiled))
    merged = into / "AndroidManifest.xml"
    additions = [HERE / "lib/src/main/AndroidManifest.xml", HERE / f"app/src/{variant}/AndroidManifest.xml"]
    main = HERE / "app/src/main/AndroidManifest.xml"
    there = [one for one in additions if one.is_file()]
    merged.write_bytes(manifest.merge(main, there, package="org.edgeproof.demo", debuggable=variant == "debug"))
    linked = into / "linked.apk"
    versions = ("--min-sdk-version", "26", "--target-sdk-version", "35", "--version-code", "1", "--version-name")
    tools.call("aapt2", "link", "-I", str(tools.FRAMEWORK), "--manifest", str(merged), *versions, version(),
               "--java", str(into / "java"), "-o", str(linked), str(compiled))  # fmt: skip
    return linked


def version() -> str:
    """Return the version that pyproject.toml names."""
    lines = (HERE.parent / "pyproject.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


def sign(unsigned: Path, key: Path, target: Path) -> None:
    """Sign with a throw-away key, which is made if there is none."""
    if not key.is_file():
        tools.call("keytool", "-genkeypair", "-keystore", str(key), "-storepass", PASSWORD, "-alias", "debug",
                   "-keyalg", "RSA", "-keysize", "2048", "-validity", "10000", "-dname", "CN=debug")  # fmt: skip
    schemes = ("--v1-signing-enabled", "false", "--v4-signing-enabled", "false")
    tools.call("apksigner", "sign", "--ks", str(key), "--ks-pass", f"pass:{PASSWORD}", "--ks-key-alias", "debug",
               *schemes, "--out", str(target), str(unsigned))  # fmt: skip
    tools.call("apksigner", "verify", "--min-sdk-version", "26", str(target))


def build(variant: str, folder: Path, out: Path) -> Path:
    """Return the signed APK."""
    found = programs.entries(folder, "lib")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        work = Path(name)
        android = java.framework(work / "framework")
        entries = archive.unpack(resources(variant, work), work / "linked")
        jar = java.jar([*sources(variant), *archive.files(work / "java")], android, work)
        entries["classes.dex"] = dex.convert(jar, out, work)
        assets = HERE / "app/src/main/assets"
        entries |= {f"assets/{file.relative_to(assets)}": file for file in archive.files(assets)}
        entries |= found
        unsigned = archive.pack(work / "unsigned.apk", entries)
        tools.call("zipalign", "-c", "-p", "4", str(unsigned))
        signed = work / "signed.apk"
        sign(unsigned, out / "debug.keystore", signed)
        return Path(shutil.move(signed, out / f"edgeproof-{variant}.apk"))


def main() -> None:
    """Build, and print each file's name, size and sha256."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--programs", type=Path)
    what.add_argument("--tools", action="store_true")
    parser.add_argument("--variant", choices=VARIANTS, action="append")
    options = parser.parse_args()
    tools.check()
    if options.tools:
        options.out.mkdir(parents=True, exist_ok=True)
        dex.dx(options.out.absolute())
        return
    for variant in options.variant or VARIANTS:
        apk = build(variant, options.programs.absolute(), options.out.absolute())
        digest = hashlib.sha256(apk.read_bytes()).hexdigest()
        sys.stdout.write(f"{apk}  {apk.stat().st_size:,} bytes  sha256 {digest}\n")


if __name__ == "__main__":
    main()
