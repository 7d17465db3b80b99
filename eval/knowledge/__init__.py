"""Knowledge of a single model: what it answers, without a baseline and without a verdict."""
