"""Evaluations of MUSE and TOFU on any backend: files, prompts, metrics, OpenUnlearning's JSON."""
