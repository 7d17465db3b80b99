"""The verdict: policy, judgement, and the rules between them."""
