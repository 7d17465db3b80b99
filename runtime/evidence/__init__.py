"""Answers that a device gave earlier, in a file: evidence, and the job that it answers."""
