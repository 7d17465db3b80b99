"""Answers of a run kept in a file, so that a stopped run goes on where it was."""
