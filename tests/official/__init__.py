"""llama.cpp's own tools as the oracle of tests and benchmarks: found, built and run; no line of them lives here."""
