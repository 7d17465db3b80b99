"""The phone's table of test vectors is what the gate's own functions give today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgeproof_tests import phone_vectors

TABLE = Path(__file__).resolve().parents[2] / "android_demo" / "vectors.json"


def alike(found, expected) -> bool:
    """Whether both are equal, numbers within 1e-12 as on the phone: versions of scipy differ in their last bits."""
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-12)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(alike(found[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    return type(found) is type(expected) and found == expected


def test_the_table_is_current():
    found, expected = json.loads(phone_vectors.written()), json.loads(TABLE.read_text(encoding="ascii"))
    changed = [key for key in expected.keys() | found.keys() if not alike(found.get(key), expected.get(key))]
    assert not changed, "the rules have changed: python tests/phone_vectors.py > android_demo/vectors.json"


def test_every_rule_has_right_and_wrong_cases():
    cases = {(case["rule"], case["right"]) for case in phone_vectors.matching()}
    rules = ("words", "spelling", "thoughts", "verbatim")
    assert {(rule, right) for rule in rules for right in (True, False)} | {("code", True), ("typed", True)} <= cases
