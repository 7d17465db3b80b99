"""Criteria and controls of a verdict, one module each."""
