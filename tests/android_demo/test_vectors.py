"""The phone's table of test vectors is what the gate's own functions give today."""

from __future__ import annotations

from pathlib import Path

from edgeproof_tests import phone_vectors

TABLE = Path(__file__).resolve().parents[2] / "android_demo" / "vectors.json"


def test_the_table_is_current():
    assert TABLE.read_text(encoding="ascii") == phone_vectors.written(), (
        "the rules have changed: python tests/phone_vectors.py > android_demo/vectors.json"
    )


def test_every_rule_has_right_and_wrong_cases():
    cases = {(case["rule"], case["right"]) for case in phone_vectors.matching()}
    rules = ("words", "spelling", "thoughts", "verbatim")
    assert {(rule, right) for rule in rules for right in (True, False)} | {("code", True), ("typed", True)} <= cases
