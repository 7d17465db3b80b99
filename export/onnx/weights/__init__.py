"""Weights of the graph: which there are, how each is quantized, and where it lies in the file."""
