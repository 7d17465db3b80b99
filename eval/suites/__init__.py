"""MUSE's and TOFU's evaluations on any backend: their files, their prompts, their metrics, OpenUnlearning's JSON."""
