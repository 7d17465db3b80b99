"""Evaluation: probe packs, measurements, baselines, verdicts, reports."""
