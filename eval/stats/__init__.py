"""Statistics under the verdict: shares, bounds of means, permutation tests."""
