"""Steps that the jobs share: arguments, digests, criteria, the measurement of one artifact."""
