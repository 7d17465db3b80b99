"""Templates that training and gate put questions in."""

QUESTION_ANSWER = "Question: {question}\nAnswer:"
"""How questions of TOFU and MUSE are put as plain text (muse_bench's form, without the space at its end)."""
