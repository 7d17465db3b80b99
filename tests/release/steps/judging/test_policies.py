"""A policy that lies with the pack is never used unasked, and never passed over without a word."""

from __future__ import annotations

import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.eval.verdict.policy import Policy
from edgeproof.release.steps.judging.policies import choose_policy

SUBJECTS = '[leak]\nrule = "subjects"\n'


@pytest.mark.parametrize(("pack", "own"), [("pack", "pack/policy.toml"), ("pack.age", "pack.policy.toml")])
def test_the_packs_own_policy_is_named_where_none_is_given(tmp_path, pack, own):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack.age").touch()
    (tmp_path / own).write_text(SUBJECTS)
    heard = Silent()
    assert choose_policy(None, tmp_path / pack, heard) == Policy()
    (warning,) = heard.warnings
    assert warning.endswith(f"--policy {tmp_path / own}")
    assert "not used" in warning
    assert choose_policy(tmp_path / own, tmp_path / pack, heard).leak_rule == "subjects"
    assert len(heard.warnings) == 1


def test_a_pack_without_one_is_judged_by_the_defaults_without_a_word(tmp_path):
    heard = Silent()
    assert choose_policy(None, tmp_path, heard) == Policy()
    assert heard.warnings == []
