"""Merges Android manifests as far as this app needs it: parts that only add something."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003
from xml.etree import ElementTree as ET

from packing import tools

ANDROID = "http://schemas.android.com/apk/res/android"
NAME = f"{{{ANDROID}}}name"


def merge(main: Path, additions: list[Path], *, package: str, debuggable: bool) -> bytes:
    """Return the main manifest with the elements of the others; an element that is in two of them ends the build."""
    ET.register_namespace("android", ANDROID)
    whole = read(main)
    application = whole.find("application")
    assert application is not None
    for path in additions:
        # The versions of Android are told to aapt2, once for all.
        for element in (one for one in read(path) if one.tag != "uses-sdk"):
            into = application if element.tag == "application" else whole
            for one in list(element) if element.tag == "application" else [element]:
                add(one, into, path)
    whole.set("package", package)
    if debuggable:
        application.set(f"{{{ANDROID}}}debuggable", "true")
    ET.indent(whole)
    return ET.tostring(whole, encoding="utf-8", xml_declaration=True)


def add(element: ET.Element, into: ET.Element, path: Path) -> None:
    """Append an element."""
    if any(one.tag == element.tag and one.get(NAME) == element.get(NAME) for one in into):
        tools.fail(f"{path}: {element.tag} {element.get(NAME)} is in the main manifest too")
    into.append(element)


def read(path: Path) -> ET.Element:
    """Return a manifest of this checkout."""
    return ET.parse(path).getroot()  # noqa: S314 (our own file)
