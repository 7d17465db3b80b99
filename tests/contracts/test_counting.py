"""Counted nouns agree with their number."""

from __future__ import annotations

from edgeproof.contracts.counting import counted


def test_one_is_singular_and_every_other_number_is_not():
    assert [counted(n, "probe") for n in (0, 1, 2, 1200)] == ["0 probes", "1 probe", "2 probes", "1,200 probes"]
