"""One metric a file, each with its source."""
