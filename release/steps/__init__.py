"""Steps of the jobs: arguments, digests, inputs of a gate, measurements."""
