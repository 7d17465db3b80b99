"""Statistics of the verdict: shares, bounds of means, permutation tests."""
