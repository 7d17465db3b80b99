"""Verification of a report after the gate."""
