"""Measures, judges, reports."""
