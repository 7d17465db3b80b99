"""Steps on files: digests, changes while something is measured, paths that are held."""
