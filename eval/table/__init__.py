"""Tables of results over methods and formats: a row for each gated file, signed, with nothing of a pack's texts."""
