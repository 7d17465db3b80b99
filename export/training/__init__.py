"""Training runs behind a base or an adapter: OpenUnlearning's configs, hub names, and this project's own cards."""
