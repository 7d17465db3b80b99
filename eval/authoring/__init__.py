"""Packs made from the data that `unlearn` is given."""
