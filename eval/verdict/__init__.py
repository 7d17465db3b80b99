"""Verdict: policy, criteria, controls, judgement."""
