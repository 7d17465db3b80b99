"""The merge: adapters into a base, rows at a time."""
