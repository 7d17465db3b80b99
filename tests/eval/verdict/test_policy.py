"""The policy: DESIGN's limits by default, strict about everything in its file."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from importlib.resources import files

import pytest
from edgeproof.contracts.errors import PolicyError
from edgeproof.eval.verdict.policy import Policy, parse_policy, read_policy


def test_the_defaults_are_the_designs():
    policy = Policy()
    assert policy.confidence == 0.95
    assert policy.alpha == 0.05
    assert (policy.leak_share, policy.leak_queries, policy.leak_probability) == (0.10, 100, 0.5)
    assert (policy.critical_queries, policy.critical_probability) == (1000, 0.05)
    assert (policy.recovery, policy.recovery_gap) == (0.20, 1.0)
    assert (policy.quantizing_cost, policy.unlearning_cost) == (0.25, 0.30)
    assert policy.accuracy_probes == 150
    assert policy.surfaces == ()
    assert policy.decoys == policy.choices == "reported"
    assert policy.samples == 4
    assert (policy.asking_strength, policy.asking_blind, policy.asking_leg) == (0.90, 0.10, 0.5)
    assert policy.deviations() == ()


def test_the_shipped_file_says_every_default_and_nothing_else():
    tree = tomllib.loads((files("edgeproof.eval.verdict") / "default_policy.toml").read_text(encoding="utf-8"))
    leaves = sum(len(value) if isinstance(value, dict) else 1 for value in tree.values())
    assert leaves == len(dataclasses.fields(Policy))
    assert parse_policy(tree, "shipped") == Policy()
    assert parse_policy(tree, "shipped").digest == Policy().digest


def test_a_file_changes_what_it_names_and_keeps_the_rest(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('[leak]\nshare = 0.05\n[surfaces]\nforget = ["raw"]\n[retain]\n')
    policy = read_policy(path)
    assert policy == Policy(leak_share=0.05, surfaces=("raw",))
    assert policy.deviations() == ("leak.share = 0.05 (default 0.1)", 'surfaces.forget = ["raw"] (default [])')


def test_an_empty_file_is_the_default(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("")
    assert read_policy(path) == Policy()


def test_the_digest_follows_the_values_not_the_file(tmp_path):
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("confidence = 0.99\n[leak]\nshare = 0.05\n")
    other.write_text("# the same\n[leak]\nshare = 0.050\n\n[controls]\nrequire_holdout = false\n")
    assert read_policy(one).digest != read_policy(other).digest
    other.write_text("# the same\nleak.share = 0.050\nconfidence = 0.990\n")
    assert read_policy(one).digest == read_policy(other).digest


@pytest.mark.parametrize(
    ("text", "said", "step"),
    [
        ("[leak]\nshares = 0.2", 'unknown key "leak.shares"', 'did you mean "leak.share"?'),
        ("[laek]\nshare = 0.2", 'unknown key "laek.share"', 'did you mean "leak.share"?'),
        ("zzz = 1", 'unknown key "zzz"', "known keys: "),
        ("[zzz]", 'unknown key "zzz"', "known keys: "),
        ("leak = 1", 'unknown key "leak"', ""),
        ("[leak.share]\nvalue = 1", 'unknown key "leak.share.value"', ""),
        ("confidence = {}", "confidence must be a number", ""),
        ("[leak]\nshare = 1.0", "leak.share = 1.0 is out of range: above 0 and below 1", ""),
        ("[leak]\nshare = 0", "out of range", ""),
        ("[leak]\nshare = -0.1", "out of range", ""),
        ("[leak]\nshare = nan", "leak.share must be a number", ""),
        ("[leak]\nshare = inf", "leak.share must be a number", ""),
        ("[leak]\nshare = true", "leak.share must be a number, not true", ""),
        ('[leak]\nshare = "10 %"', "leak.share must be a number", ""),
        ("[leak]\nqueries = 100.0", "leak.queries must be a whole number", ""),
        ("[leak]\nqueries = 0", "out of range: 1 to", ""),
        ("[leak]\nprobability = 1", "out of range", ""),
        ("confidence = 0.5", "confidence = 0.5 is out of range", ""),
        ("confidence = 95", "out of range", ""),
        ("[controls]\nrequire_holdout = 1", "controls.require_holdout must be true or false", ""),
        ('[surfaces]\nforget = "raw"', "surfaces.forget must be a list", ""),
        ('[surfaces]\nforget = ["raw", "raw"]', "names a surface twice", ""),
        ("[surfaces]\nforget = [1]", "must be a list of names", ""),
        ('[decoys]\nrank = "judged"', 'must be "reported" or "minus-merged"', ""),
        ("[critical]\nqueries = 10", "at least as strict as the leak rule", ""),
        ("[critical]\nprobability = 0.9", "at least as strict as the leak rule", ""),
        ("[retain]\naccuracy_from_probes = 1", "out of range", ""),
        ("[recovery]\nminimum_gap = 0", "out of range", ""),
        ("[asking]\nstrength = 1.1", "asking.strength = 1.1 is out of range: 0 to 1", ""),
        ("[asking]\nweak = 1", 'unknown key "asking.weak"', ""),
        ('[choices]\nfirst = "judged"', 'must be "reported" or "over-chance"', ""),
        ("[leak", "is not TOML", ""),
        ("[leak]\nshare = 0.1\nshare = 0.2", "is not TOML", ""),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path, text, said, step):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert said in caught.value.message
    assert "policy.toml" in caught.value.message
    assert step in caught.value.next_step
    assert caught.value.exit_code == 3


def test_a_missing_file_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "latin.toml"):
        with pytest.raises(PolicyError):
            read_policy(path)


def test_a_policy_made_in_code_is_checked_too():
    with pytest.raises(PolicyError, match=r"leak\.share"):
        Policy(leak_share=math.nan)
    with pytest.raises(PolicyError, match="surfaces"):
        Policy(surfaces=["raw"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().leak_share = 0.5
