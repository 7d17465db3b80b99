"""Retain probes that ship with edgeproof: data files, read through `catalogue`."""
